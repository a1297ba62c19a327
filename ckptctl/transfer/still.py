"""Whether what was copied is still there when all is done; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from ckptctl.listing import Folder
from ckptctl.transfer.cargo import Cargo
from ckptctl.transfer.outcome import Shipped, Status


def still_there(
    results: Iterable[Shipped], cargoes: Mapping[str, Cargo], folder: Folder
) -> Iterator[Shipped]:
    """Yield results again, failed where a copy has lost a file, or part of one, since it was proven.

    `cargoes` by their members at the source; `folder` is the run at the destination as it is now:
    its directory may have been moved away, and another one made, while we wrote.
    """
    for result in results:
        cargo = cargoes.get(result.member)
        own_name = cargo is not None and result.path.endswith(f"/{cargo.member}")
        if cargo is None or not own_name or result.status is not Status.DONE:
            yield result
            continue
        lost = next(_lost(cargo, folder), None)
        text = f"was copied, but {lost} is not there any more as it was written"
        yield result if lost is None else replace(result, status=Status.FAILED, error=text)


def _lost(cargo: Cargo, folder: Folder) -> Iterator[str]:
    for piece in cargo.payload():
        found = folder.find(piece.target)
        if found is None or found.size != piece.entry.size:
            yield piece.target
