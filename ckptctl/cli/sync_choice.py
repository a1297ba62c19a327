"""Which checkpoints of a run a sync copies, in which order, and which it cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ckptctl.chosen import chosen
from ckptctl.decision import Context
from ckptctl.errors import NotFoundError
from ckptctl.families import oldest_first
from ckptctl.formats._base import Format
from ckptctl.manifests import Manifests
from ckptctl.model import Checkpoint, Run, State
from ckptctl.prove import prove
from ckptctl.reading import Reader
from ckptctl.rules._base import Rule
from ckptctl.transfer.outcome import Status

Unfit = tuple[Status, str]
"""How it is told that a checkpoint is not copied, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How the user wants checkpoints to be copied."""

    names: tuple[str, ...] = ()
    proven: frozenset[str] | None = None  # just these members, which were whole a moment ago
    rules: tuple[Rule, ...] | None = None  # which are chosen; None: all complete ones
    members: frozenset[str] | None = None  # of these at most; None: of all
    oldest: bool = False  # first
    urgent: Mapping[str, int] = field(default_factory=dict)  # members that go before all, in order
    on_conflict: str | None = None  # None: what the policy says
    move: bool = False
    dry_run: bool = False
    verify: bool = True
    jobs: int = 2
    of_config: bool = (
        False  # a round of the configuration, whose command has no flags for conflicts
    )
    own_state: bool = False  # the destination has its own, wherever --state-dir is
    joins: bool = False  # what is there of a checkpoint already is completed
    finish_seconds: float = 0.0  # that a signal leaves to the checkpoint in hand


@dataclass(frozen=True, slots=True)
class Choice:
    """Chooses by names, by rules, or all that is complete."""

    wish: Wish
    rules: tuple[Rule, ...] | None
    formats: Mapping[str, Format]
    reader: Reader  # of the run
    manifests: Manifests

    def of(self, run: Run, context: Context) -> Iterator[tuple[Checkpoint, Unfit | None]]:
        """Yield the checkpoints that are meant, in order, and why one of them is not copied.

        The trainer's own copies come last, but for what is urgent.  NotFoundError where a name means nothing.
        """
        order = oldest_first(run)
        if not self.wish.oldest:
            order.reverse()
        last = len(self.wish.urgent)
        order.sort(key=lambda one: (self.wish.urgent.get(one.member, last), one.named))
        if self.wish.proven is not None:
            yield from ((one, None) for one in order if one.member in self.wish.proven)
            return
        meant = set(self._named(run))
        members = None if self.rules is None else chosen(run, self.rules, context)
        for checkpoint in order:
            if self.wish.names and checkpoint.member not in meant:
                continue
            if members is not None and checkpoint.member not in members:
                continue
            if self.wish.members is not None and checkpoint.member not in self.wish.members:
                continue
            if checkpoint.doomed_ns is not None:
                continue
            if checkpoint.state is State.COMPLETE:
                yield checkpoint, None
            elif self.wish.names:
                text = f"is {checkpoint.state}: only what is complete is copied"
                yield checkpoint, (Status.SKIPPED, text)

    def _named(self, run: Run) -> Iterator[str]:
        """Yield the members that were asked for by name.  NotFoundError."""
        for name in self.wish.names:
            called = name.removeprefix("./").rstrip("/")
            found = [c.member for c in run.checkpoints if called in {c.name, c.member}]
            if not found:
                raise NotFoundError(
                    f"{run.location}: no checkpoint is called {name!r}; nothing was copied",
                    "`ckptctl list` shows their names",
                )
            yield from found

    def torn(self, checkpoint: Checkpoint) -> Unfit | None:
        """Return why a complete checkpoint is not copied: by its bytes it turns out not to be whole."""
        if not self.wish.verify or self.wish.proven is not None or checkpoint.proven:
            return None
        found = prove(checkpoint, self.formats, self.reader, self.manifests)
        if not found:
            return None
        return Status.FAILED, f"is not whole: {found[0].file}: {found[0].text}; it was not copied"
