"""One run as `verify` goes through it: what is read, what is found, and what is noted of that."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckptctl.cli.run_by_run import Read, ReadPlace
from ckptctl.cli.runtime import Session
from ckptctl.errors import CkptctlError, PartialError, UnreadableError
from ckptctl.hashing import Hashed, Stopped, Wanted
from ckptctl.looking import How, Looked, Other
from ckptctl.manifests import manifests_in
from ckptctl.model import Checkpoint, Problem
from ckptctl.remembering import damage_of, refuted, sample, to_record
from ckptctl.resumption import Resumption
from ckptctl.statedir import StateDirs
from ckptctl.stores import told
from ckptctl.stores._base import Store
from ckptctl.survey import run_store, state_dirs
from ckptctl.ui.progress import Progress
from ckptctl.ui.verifying import Verified
from ckptctl.verdicts import BAD, Level, Result, of_one_node
from ckptctl.verifying import look_at_all, read_all
from ckptctl.vouching import vouched, with_checksums

if TYPE_CHECKING:
    from ckptctl.cli.verify_notes import Notebook
    from ckptctl.cli.verify_share import Judged
    from ckptctl.parts.part import Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyWish:
    """How the user wants every run to be verified."""

    level: Level
    record: bool
    reread: bool
    percent: float | None  # of the bytes; None: all
    jobs: int
    scope: str | None  # what an interrupted verification must have been, to go on with it
    caller: Caller | None = None  # which of several this is, who divide the reading


class VerifyRun:
    """One run being verified."""

    def __init__(
        self,
        session: Session,
        place: ReadPlace,
        read: Read,
        beside: tuple[ReadPlace, Read | None] | None,
        wish: VerifyWish,
        progress: Progress,
    ) -> None:
        self._session = session
        self._place = place
        self._read = read
        self._beside = beside
        self._wish = wish
        self._progress = progress
        self._problems: list[Problem] = []
        self._results: list[Result] = []
        self._stack = ExitStack()

    def verified(self, checkpoints: Sequence[Checkpoint]) -> Verified:
        """Verify these checkpoints of the run, and note what came of it."""
        error = self._read.error
        if self._read.run is not None and checkpoints:
            with self._stack:
                try:
                    with self._session.signals.heeded():
                        self._verify(checkpoints)
                except CkptctlError as failed:
                    error = failed
                except OSError as failed:  # of the state; of the run it is a value
                    said, check = told(
                        self._read.location,
                        failed.strerror or str(failed),
                        "check the permissions of its state directory, or name another with --state-dir",
                    )
                    text = f"{self._read.location}: what was recorded cannot be read ({said})"
                    error = UnreadableError(text, check)
        wrong = next((result for result in self._results if result.error is not None), None)
        if wrong is not None and wrong.error is not None:
            path = wrong.error.filename or wrong.checkpoint.path
            said, check = told(
                self._read.location,
                wrong.error.strerror or str(wrong.error),
                "check its permissions and the mount",
            )
            error = error or UnreadableError(
                f"{path}: cannot be read ({said}), so {wrong.checkpoint.name} could not be verified",
                check,
            )
        run = self._read.run
        order = {one.member: number for number, one in enumerate(checkpoints)}
        sound = [result for result in self._results if result.error is None]
        if self._is_per_node():
            sound = list(map(of_one_node, sound))
        return Verified(
            name=self._read.name,
            location=self._read.location,
            results=tuple(sorted(sound, key=lambda result: order[result.checkpoint.member])),
            problems=(*(run.problems if run else ()), *self._problems),
            error=error,
        )

    def _verify(self, checkpoints: Sequence[Checkpoint]) -> None:
        view, found, wish = self._place.view, self._read.found, self._wish
        assert view is not None  # noqa: S101 - a run that was read was listed
        assert found is not None  # noqa: S101 - the same
        dirs = self._dirs
        source = self._opened(run_store(view, found))
        how = How(
            source=source,
            formats=view.by_name,
            manifest=manifests_in(dirs.existing, dirs.open),
            level=wish.level,
            record=wish.record,
            reread=wish.reread,
            sampled=wish.percent is not None,
            other=self._other(),
            jobs=wish.jobs,
            folder=found.folder,
            links=source.able.links,
        )
        self._progress.started(f"{self._read.name}: looking at headers and indexes")
        chosen = None if wish.percent is None else self._sampled
        looked = with_checksums(look_at_all(checkpoints, how, chosen, self._session.late), how)
        wanted = [each for one in looked for each in one.wanted]
        caller = self._dividing(wanted)
        resumes = wish.scope is not None and not dirs.remote
        scope, now_ns = f"{wish.level}, {wish.scope}", self._session.clock()
        resumption = Resumption(scope, now_ns, self._state, caller)
        known = resumption.known(dirs.existing, wanted) if resumes else {}
        known |= vouched(looked, how)
        self._progress.started(
            f"{self._read.name}: reading",
            of_bytes=sum(each.entry.size for each in wanted if each.path not in known),
        )
        finished, ready = False, looked
        try:
            if caller is not None:
                from ckptctl.cli.verify_share import Share  # noqa: PLC0415 - most calls are no step's

                advanced, late = self._progress.advanced, self._session.late
                judged = Share(caller, how, resumption, advanced, late).read(looked, known)
                self._handed_in(judged, looked)
                ready, known = list(judged.ready), judged.known
            with closing(
                read_all(
                    ready,
                    how,
                    known=known,
                    heard=resumption.heard if resumes else _unheard,
                    advanced=self._progress.advanced,
                    stop=self._session.late,
                )
            ) as read:
                for one, (result, files) in zip(ready, read, strict=False):
                    if result.status in BAD:  # is told even where it cannot be noted
                        self._results.append(result)
                    self._note(one, result, files, whole=wish.percent is None)
                    if result.status not in BAD:
                        self._results.append(result)
            if len(looked) < len(checkpoints):
                raise Stopped  # noqa: TRY301 - as where it came while reading
            finished = len(ready) == len(looked)
        except Stopped:
            raise PartialError(
                f"{self._read.location}: --timeout has passed: {len(self._results)} of "
                f"{len(checkpoints)} checkpoints were verified",
                "the same command goes on where this one stopped"
                if wish.record or wish.level is Level.DIGEST
                else "give it more time, or name fewer with --name or --newer-than",
            ) from None
        finally:
            if finished:
                resumption.finished()
            else:
                resumption.flush()

    @functools.cached_property
    def _dirs(self) -> StateDirs:
        """Where the state of the run lies: looked for once, since a bucket is asked for it."""
        view, found = self._place.view, self._read.found
        assert view is not None  # noqa: S101 - a run that was read was listed
        assert found is not None  # noqa: S101 - the same
        return state_dirs(view, found, self._session.common.state_dir, os.geteuid())

    def _opened(self, store: Store) -> Store:
        self._stack.callback(store.close)
        return store

    def _other(self) -> Other | None:
        """Return the same run at the location of --against, opened."""
        if self._beside is None:
            return None
        place, read = self._beside
        if read is None or read.run is None or read.found is None or place.view is None:
            if read is not None and read.error is not None:
                raise read.error
            raise UnreadableError(
                f"{place.location}: holds no run that corresponds to {self._read.location}",
                "name the directory that corresponds to LOCATION",
            )
        source = self._opened(run_store(place.view, read.found))
        return Other(read.location, source, {c.member: c for c in read.run.checkpoints})

    def _sampled(self, wanted: Sequence[Wanted]) -> set[str]:
        import random  # noqa: PLC0415 - takes longer to import than most commands look

        order = list(range(len(wanted)))
        random.SystemRandom().shuffle(order)
        assert self._wish.percent is not None  # noqa: S101 - else nothing is chosen
        return sample([(w.path, w.entry.size) for w in wanted], self._wish.percent, order)

    @functools.cached_property
    def _notebook(self) -> Notebook:
        """What writes to the state of the run; most verifications write nothing."""
        from ckptctl.cli.verify_notes import Notebook  # noqa: PLC0415 - see above

        notebook = Notebook(self._session, self._read.location, self._dirs, self._problems)
        return self._stack.enter_context(notebook)

    def _state(self) -> Store | None:
        recorder = self._notebook.recorder
        return recorder.state if recorder else None

    def _dividing(self, wanted: Sequence[Wanted]) -> Caller | None:
        """Return which share this task reads; None where it reads all, or cannot hand anything in."""
        wish = self._wish
        alone = wish.scope is None or self._beside is not None or self._dirs.remote
        if wish.caller is None or alone or not wanted or self._is_per_node():
            return None
        return wish.caller if self._state() is not None else None

    def _is_per_node(self) -> bool:
        """Whether each node has another run there."""
        config = self._session.config
        on_tier = config.place(self._read.location) if config else None
        return on_tier is not None and on_tier[0].per_node

    def _handed_in(self, judged: Judged, looked: Sequence[Looked]) -> None:
        """Tell of what others have still to read, and note damage that this task's share shows."""
        if not judged.waiting:
            return
        by_member = {one.noted.checkpoint.member: one for one in looked}
        for result in judged.waiting:
            self._results.append(result)
            self._note(by_member[result.checkpoint.member], result, (), whole=False)
        text = (
            f"{len(judged.waiting):,} of {len(looked):,} checkpoints have files that other tasks have "
            "not read yet: the last task, or the same command later, says whether they are whole (where "
            "each node has files of its own, --part 0/1 reads them all)"
        )
        self._problems.append(Problem("parts-missing", text))

    def _note(self, one: Looked, result: Result, files: tuple[Hashed, ...], *, whole: bool) -> None:
        """Write the manifest, remember damage, or forget one that is refuted; by its `whole` reading."""
        writes = whole and to_record(
            one, result, record=self._wish.record, reread=self._wish.reread
        )
        damage = damage_of(result)
        clear = refuted(result, whole=whole)
        if writes or damage is not None or clear:
            assert self._read.found is not None  # noqa: S101 - a run that was read was listed
            from ckptctl.cli.verify_notes import Notes  # noqa: PLC0415 - see _notebook

            notes = self._notebook
            manifest = notes.manifest(one, files, self._read.found.folder) if writes else None
            level = self._wish.level
            notes.write(
                Notes(result.checkpoint, manifest, damage, clear=clear, level=level),
                must_record=self._wish.record,
            )


def _unheard(_: Hashed) -> None:
    """Note nothing: this is not what an interruption is gone on with."""
