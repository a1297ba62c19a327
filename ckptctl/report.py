"""What a command has to tell about each run: data for people and programs alike."""

from __future__ import annotations

from dataclasses import dataclass

from ckptctl.decision import Decision
from ckptctl.errors import CkptctlError, PartialError
from ckptctl.model import Checkpoint, Problem


@dataclass(frozen=True, slots=True)
class Outcome:
    """What really happened to one action; `bytes` were freed on the medium."""

    checkpoint: str
    path: str
    action: str  # delete, trash, clean, purge, restore
    status: str  # done, failed, skipped; planned where nothing was to be changed
    bytes: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """One run as a command leaves it; a run with an `error` was left as it is."""

    name: str
    location: str
    checkpoints: tuple[Checkpoint, ...] = ()  # of `list`
    decisions: tuple[Decision, ...] = ()  # of `prune`
    outcomes: tuple[Outcome, ...] = ()
    problems: tuple[Problem, ...] = ()
    hidden_bytes: int = 0  # of what was deleted, but only hidden by versioning
    error: CkptctlError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A command's whole result."""

    command: str  # list, prune, undo, purge
    runs: tuple[RunReport, ...] = ()
    problems: tuple[Problem, ...] = ()  # of the location, not of a run
    dry_run: bool = False
    unmatched: tuple[str, ...] = ()  # runs that no entry of the configuration matches

    @property
    def freed_bytes(self) -> int:
        """Return the allocated bytes of inodes whose last link went; of objects, their sizes."""
        return sum(freed(run) for run in self.runs)


def freed(run: RunReport) -> int:
    """Return the bytes that were really freed of a run."""
    gone = (o for o in run.outcomes if o.action != "restore" and o.status != "planned")
    return sum(outcome.bytes for outcome in gone) - run.hidden_bytes


def verdict(report: Report) -> tuple[int, CkptctlError | None]:
    """Return the exit code of a report, and the error where it is that of a single run."""
    errors = [run.error for run in report.runs if run.error is not None]
    if errors and len(report.runs) == 1:
        return errors[0].code, errors[0]
    unfinished = any(
        outcome.status not in {"done", "planned"} for run in report.runs for outcome in run.outcomes
    )
    return (PartialError.code if errors or unfinished else 0), None
