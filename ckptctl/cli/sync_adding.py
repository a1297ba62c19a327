"""Add to a checkpoint that was published without this caller what only this one has."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace

from ckptctl import __version__
from ckptctl.apply import Applier
from ckptctl.cli.prune_run import surroundings_of
from ckptctl.cli.runtime import Session
from ckptctl.cli.sync_far import FarEnd
from ckptctl.manifest import Manifest
from ckptctl.parts.opened import Opened
from ckptctl.parts.standing import Standing, added_to, standing
from ckptctl.prove import prove
from ckptctl.stores._base import Store
from ckptctl.survey import run_store
from ckptctl.transfer.cargo import Cargo, Piece
from ckptctl.transfer.delivery import Quay, noted_of
from ckptctl.transfer.destination import Destination
from ckptctl.transfer.notes import Sent
from ckptctl.transfer.sending import Sender
from ckptctl.transfer.small import write_sidecars


@dataclass(frozen=True, slots=True)
class Adding:
    """Adds under the lock of the run at the destination; `sender` reads the source."""

    session: Session
    far: FarEnd
    sender: Sender

    def added(self, key: str, cargo: Cargo, opened: Opened) -> bool:
        """Add it; return whether the copy is still one that it belongs to.

        What is there is whole at any moment, with or without it.  Raises LockedError, Stopped,
        UnreadableError, OSError; then nothing was added that the manifest does not name.
        """
        place = self.far.made()
        with (
            closing(run_store(place.view, place.found)) as root,
            Applier(root, place.dirs, surroundings_of(self.session)) as applier,
        ):
            there = self.far.locked()
            if standing(key, cargo, there, self._digest, opened) is not Standing.MORE:
                return False
            manifest = there.manifest(cargo.member)
            assert manifest is not None  # noqa: S101 - else it stands otherwise
            lacking = added_to(manifest, cargo)
            quay = Quay(
                run=root,
                state=applier.state(),
                clock=self.session.clock,
                check=applier.check,
                by=f"ckptctl {__version__}",
            )
            applier.check()
            sent = self._sent(lacking, there, quay)
            self._prove(cargo, lacking, sent, root)
            applier.recorder().keep(_with(manifest, lacking, sent, cargo))
        return True

    def _digest(self, piece: Piece) -> str:
        return self.sender.digest(self.sender.source, piece.path, piece.entry)

    def _sent(
        self, lacking: tuple[Piece, ...], there: Destination, quay: Quay
    ) -> Mapping[str, Sent]:
        """Send what is not there; what a call that died has left is compared."""
        sent, fresh = {}, []
        for piece in lacking:
            entry = there.found.folder.find(piece.target)
            if entry is None:
                fresh.append(piece)
                continue
            digest = self.sender.digest(quay.run, piece.target, entry)
            if digest != self._digest(piece):
                raise OSError(errno.EEXIST, "another file has its name there", piece.target)
            sent[piece.target] = Sent(entry, digest)
        return {**sent, **write_sidecars(fresh, self.sender, quay)}

    def _prove(
        self, cargo: Cargo, lacking: tuple[Piece, ...], sent: Mapping[str, Sent], root: Store
    ) -> None:
        """Take it back where the source is another by now, or what is there not whole with it."""
        try:
            self.sender.refuse_changed(cargo)
            self._refuse_torn(cargo.member, root)
        except BaseException:
            root.remove_files({piece.target: sent[piece.target].entry for piece in lacking})
            raise

    def _refuse_torn(self, member: str, root: Store) -> None:
        one = self.far.locked().by_member.get(member)
        if one is None:
            raise OSError(errno.EINVAL, "it is no checkpoint with what is here", member)
        for finding in prove(one, self.far.formats.by_name, root, lambda _: None):
            raise OSError(errno.EINVAL, finding.text, finding.file)


def _with(
    manifest: Manifest, lacking: tuple[Piece, ...], sent: Mapping[str, Sent], cargo: Cargo
) -> Manifest:
    files = {piece.target: noted_of(piece, sent[piece.target]) for piece in lacking}
    return replace(
        manifest, files={**manifest.files, **files}, dirs={**cargo.dirs, **manifest.dirs}
    )
