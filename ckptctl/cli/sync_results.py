"""What became of one run's checkpoints and pointers so far, as a sync goes on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace

from ckptctl.cli.runtime import Session
from ckptctl.errors import CkptctlError, PartialError, UnreadableError
from ckptctl.hashing import Stopped
from ckptctl.model import Checkpoint, Problem
from ckptctl.report import Outcome
from ckptctl.sides import Point
from ckptctl.stores import told
from ckptctl.transfer.outcome import Shipped, Status, SyncedRun, copy_of


@dataclass(slots=True)
class Results:
    """Gathers them, and writes to the log what was done."""

    session: Session
    run: str
    to: str
    shipped: list[Shipped] = field(default_factory=list, init=False)
    problems: list[Problem] = field(default_factory=list, init=False)
    noted: bool = field(default=False, init=False)  # something was recorded at the destination

    def tell(self, checkpoint: Checkpoint, status: Status, error: str | None) -> None:
        """Take what is said of a checkpoint of which nothing is copied."""
        self.shipped.append(copy_of(checkpoint, self.to, status, error))

    def heard(self, done: Shipped) -> None:
        """Take what was done."""
        self.shipped.append(done)
        self._log(_outcome(done))

    def looked_at(self, results: Iterable[Shipped]) -> None:
        """Take them as they turned out to be in the end; the log has the last word of each as well."""
        before, self.shipped = self.shipped, list(results)
        for old, new in zip(before, self.shipped, strict=True):
            if new is not old:
                self._log(_outcome(new))

    def pointed(self, points: Iterable[Point], root: str) -> None:
        """Take what became of the pointers; `root` is the full path of the run there."""
        for point in points:
            self.heard(
                Shipped(
                    run=self.run,
                    checkpoint=point.path,
                    path=f"{root.rstrip('/')}/{point.path}",
                    action="point",
                    status=Status(point.fate),
                    error=point.text,
                )
            )

    def moved(self, outcomes: Iterable[Outcome | Problem], source: str) -> None:
        """Take what became of those that were to go at the source (its full path) once they were copied."""
        places = {r.member: number for number, r in enumerate(self.shipped)}
        for each in outcomes:
            if isinstance(each, Problem):
                self.problems.append(each)
                continue
            number = places[each.path.removeprefix(source).lstrip("/")]
            self.shipped[number] = replace(
                self.shipped[number],
                action="move",
                status=Status(each.status),
                error=each.error and f"was copied, and is still here: {each.error}",
            )
            self._log(each)

    def foreseen(self, going: Collection[str], stays: Iterable[Problem]) -> None:
        """Take what would go at the source once it is copied, and what would stay."""
        self.problems += stays
        self.shipped = [
            replace(r, action="move", status=Status.PLANNED) if r.member in going else r
            for r in self.shipped
        ]

    @property
    def coming(self) -> frozenset[str]:
        """The members that would be whole at the destination."""
        there = {Status.PLANNED, Status.EQUAL}
        return frozenset(r.member for r in self.shipped if r.status in there)

    def _log(self, outcome: Outcome) -> None:
        if self.session.log is not None:
            self.session.log.add("sync", self.run, outcome)

    @property
    def whole(self) -> frozenset[str]:
        """The members (at the source) that are whole at the destination under that name."""
        ours = {Status.DONE, Status.EQUAL}
        ends = {r.member: f"/{r.member}" for r in self.shipped if r.status in ours}
        return frozenset(
            r.member for r in self.shipped if r.path.endswith(ends.get(r.member, "//"))
        )

    @property
    def conflicts(self) -> frozenset[str]:
        """The members under whose names something else is there."""
        return frozenset(r.member for r in self.shipped if r.status is Status.CONFLICT)


def _outcome(done: Shipped) -> Outcome:
    return Outcome(
        done.checkpoint, done.path, done.action, done.status, done.bytes_sent, done.error
    )


def ended(sync: Callable[[], None], results: Results, location: str) -> SyncedRun:
    """Return what became of a run (`location` is its path at the source), however it ended."""
    error: CkptctlError | None = None
    to = results.to
    try:
        sync()
    except Stopped:
        error = PartialError(f"{to}: interrupted; the same call goes on where it stopped")
    except CkptctlError as failed:
        error = failed
    except OSError as failed:
        said, check = told(to, failed.strerror or str(failed), "check the disk and its permissions")
        where = f"{failed.filename}: " if failed.filename else ""
        error = UnreadableError(f"{to}: {where}{said}; nothing more was copied there", check)
    return SyncedRun(
        name=results.run,
        location=location,
        destination=to,
        results=tuple(results.shipped),
        problems=tuple(results.problems),
        noted=results.noted,
        error=error,
    )
