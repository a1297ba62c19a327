"""What there is to copy of each chosen checkpoint of a run, on its way to one destination."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ckptctl.arriving import arrival, really_made
from ckptctl.cli.sync_choice import Choice
from ckptctl.cli.sync_results import Results
from ckptctl.decision import Context
from ckptctl.group import Found
from ckptctl.manifest import Manifest, ManifestError
from ckptctl.model import Checkpoint, Run
from ckptctl.stores import scheme_of
from ckptctl.stores.local import LocalStore
from ckptctl.survey import Survey, path_of
from ckptctl.transfer.cargo import Cargo, load
from ckptctl.transfer.outcome import Status


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads the checkpoints of one run for `to`, the run's path or URL at the destination."""

    view: Survey
    found: Found
    to: str

    def chosen(
        self, run: Run, choice: Choice, context: Context, results: Results
    ) -> Iterator[Cargo]:
        """Yield what there is to copy of what is chosen of the run, in order; what cannot be is told."""
        for checkpoint, unfit in choice.of(run, context):
            if unfit is not None:
                results.tell(checkpoint, *unfit)
                continue
            try:
                manifest = choice.manifests(checkpoint.member)
            except ManifestError as error:
                text = f"its manifest cannot be read ({error}); it was not copied"
                results.tell(checkpoint, Status.FAILED, text)
                continue
            yield self.cargo(checkpoint, manifest)

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
