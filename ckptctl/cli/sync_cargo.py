"""What there is to copy of each chosen checkpoint of a run, on its way to one destination."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ckptctl.arriving import arrival, really_made
from ckptctl.group import Found
from ckptctl.manifest import Manifest
from ckptctl.model import Checkpoint
from ckptctl.stores import scheme_of
from ckptctl.stores.local import LocalStore
from ckptctl.survey import Survey, path_of
from ckptctl.transfer.cargo import Cargo, load


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads the checkpoints of one run for `to`, the run's path or URL at the destination."""

    view: Survey
    found: Found
    to: str

    def cargo(self, checkpoint: Checkpoint, manifest: Manifest | None) -> Cargo:
        """Return what there is to copy of one; `manifest` is its own at the source."""
        noted = [p for p, file in manifest.files.items() if file.made] if manifest else ()
        kind = self.view.by_name[checkpoint.format]
        strange = really_made(kind, checkpoint, scheme_of(path_of(self.view, self.found)), noted)
        how = arrival(kind, checkpoint, scheme_of(self.to), strange)
        return load(checkpoint, self.found.folder, manifest, how, self._link_time(), strange)

    def _link_time(self) -> Callable[[str], int] | None:
        """Return what tells when a link was made; None where there can be none."""
        store, below = self.view.store, self.found.folder.path
        if not isinstance(store, LocalStore):
            return None
        return lambda path: store.link_time(f"{below}/{path}".lstrip("/"))
