"""What became of every run on every tier: the result of one round of a configuration's life."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ckptctl.errors import CkptctlError, LockedError, PartialError
from ckptctl.model import Problem
from ckptctl.report import Report, RunReport
from ckptctl.transfer.outcome import Shipped, SyncedRun, is_unfinished


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One run on one tier: what was copied from there, and what was deleted there."""

    tier: str
    pruned: RunReport
    copied: SyncedRun | None = None  # None where the tier is not copied from
    copy_to: str | None = None  # a tier's name
    noted: bool = False  # digests of what is new were recorded there

    @property
    def error(self) -> CkptctlError | None:
        """Why the rest of it was left as it is, deletions first."""
        return self.pruned.error or (self.copied.error if self.copied else None)

    @property
    def errors(self) -> Iterator[CkptctlError]:
        """Yield every error of it."""
        if self.copied is not None and self.copied.error is not None:
            yield self.copied.error
        if self.pruned.error is not None:
            yield self.pruned.error

    @property
    def results(self) -> tuple[Shipped, ...]:
        """What was to be copied from there."""
        return self.copied.results if self.copied else ()

    @property
    def did(self) -> bool:
        """Whether anything was changed."""
        sent = self.copied is not None and self.copied.did
        gone = any(outcome.status == "done" for outcome in self.pruned.outcomes)
        return sent or gone or self.noted

    @property
    def unfinished(self) -> bool:
        """Whether something is left to do or to look at."""
        skipped = any(o.status not in {"done", "planned"} for o in self.pruned.outcomes)
        unsound = any(p.code in {"unsound", "not-recorded"} for p in self.pruned.problems)
        return skipped or unsound or any(map(is_unfinished, self.results))


@dataclass(frozen=True, slots=True)
class LostTier:
    """A tier that cannot be read, with all that should have happened there."""

    tier: str
    location: str
    error: CkptctlError


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The whole result of one round."""

    parts: tuple[Part, ...] = ()
    lost: tuple[LostTier, ...] = ()
    unmatched: tuple[str, ...] = ()  # runs that no entry of the configuration matches
    problems: tuple[Problem, ...] = ()  # of locations, not of a run
    dry_run: bool = False
    due_ns: int | None = None  # when the first of what is being saved now will have settled

    @property
    def results(self) -> Iterator[Shipped]:
        """Yield what was to be copied, over all runs and tiers."""
        for part in self.parts:
            yield from part.results

    @property
    def errors(self) -> list[CkptctlError]:
        """Every error, those of whole tiers first."""
        return [lost.error for lost in self.lost] + [e for p in self.parts for e in p.errors]

    @property
    def did(self) -> bool:
        """Whether anything was changed."""
        return any(part.did for part in self.parts)

    @property
    def locked(self) -> bool:
        """Whether nothing could be done at all because another process is at it."""
        errors = self.errors
        runs = {part.pruned.name for part in self.parts}
        held = {
            part.pruned.name
            for part in self.parts
            if any(isinstance(error, LockedError) for error in part.errors)
        }
        only = all(isinstance(error, LockedError) for error in errors)
        return bool(errors) and only and held == runs and not self.did

    @property
    def own_error(self) -> CkptctlError | None:
        """The error that is that of the whole, where there is no more than one run.

        What was done before stays done: that is no plain refusal.
        """
        several = len({part.pruned.name for part in self.parts}) > 1
        if not self.errors or self.did or (several and not self.locked):
            return None
        return self.errors[0]

    @property
    def code(self) -> int:
        """Return the exit code."""
        if self.own_error is not None:
            return self.own_error.code
        unfinished = any(part.unfinished for part in self.parts)
        missing = any(problem.code == "no-such-run" for problem in self.problems)
        return PartialError.code if self.errors or unfinished or missing else 0

    @property
    def report(self) -> Report:
        """What was deleted, as a prune of all these runs would tell it."""
        return Report(
            command="prune",
            runs=tuple(part.pruned for part in self.parts),
            problems=self.problems,
            dry_run=self.dry_run,
            unmatched=self.unmatched,
        )
