"""The second half of `sync --move` of one part: delete here what is whole at the destination."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace

from ckptctl.cli.moving import THERE, Move
from ckptctl.cli.noted import noted_of
from ckptctl.cli.run_by_run import reading_of
from ckptctl.cli.sync_cargo import Loader
from ckptctl.cli.sync_far import FarEnd
from ckptctl.errors import UnreadableError
from ckptctl.group import Found
from ckptctl.manifest import ManifestError
from ckptctl.model import Checkpoint, Copy, Lack, Run, State
from ckptctl.parts.standing import Standing, standing
from ckptctl.parts.whole import key_of
from ckptctl.stores._base import Store
from ckptctl.survey import read_run, run_store
from ckptctl.transfer.cargo import Piece
from ckptctl.transfer.destination import Destination
from ckptctl.transfer.sending import Sender


@dataclass(frozen=True, slots=True)
class PartMove(Move):
    """A run of which parts are here, and wholes perhaps at the destination."""

    far: FarEnd
    sender: Sender  # for digests

    def _seen(self, found: Found) -> Run:
        """Return the run, each part as if it were whole, with the copy that holds all of it."""
        run = read_run(self.view, found, reading_of(self.session, self.policy))
        there = self.far.look()
        with closing(run_store(self.view, found)) as source:
            seen = tuple(self._with_copy(one, found, there, source) for one in run.checkpoints)
        return replace(run, checkpoints=seen)

    def _with_copy(
        self, one: Checkpoint, found: Found, there: Destination | None, source: Store
    ) -> Checkpoint:
        """Return a part as what guards compare: the newest of them stays, as of whole ones."""
        counting = counted_whole(one)
        if there is None:
            return replace(counting, lacks=(Lack(THERE, "absent", "is empty"),))

        def digest(piece: Piece) -> str:
            return self.sender.digest(source, piece.path, piece.entry)

        try:
            manifest = noted_of(self.session, self.view, found)(one.member)
            cargo = Loader(self.view, found, self.to).cargo(one, manifest)
            how = standing(key_of(one), cargo, there, digest)
        except ManifestError as error:
            return replace(counting, unread=f"its manifest cannot be read ({error})")
        except OSError as error:
            raise UnreadableError(f"{one.path}: {error.strerror or error}; it was left") from error
        if how is not Standing.EQUAL:
            lack = Lack(THERE, "absent", "has no whole one that holds this part")
            return replace(counting, lacks=(lack,))
        path = f"{self.to.rstrip('/')}/{one.member}"
        return replace(counting, copies=(Copy(THERE, path, self.session.clock()),))


def counted_whole(one: Checkpoint) -> Checkpoint:
    """Return a checkpoint of which a part is here as if it were whole; one known as damaged is not."""
    if one.state is State.DAMAGED:
        return one
    return replace(one, state=State.COMPLETE, proven=True)
