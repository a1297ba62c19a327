"""safetensors files that a loop of the user's own numbers by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from ckptctl.formats._base import FORMATS, Format
from ckptctl.formats._files import claim_files
from ckptctl.formats._samples import safetensors
from ckptctl.listing import Folder
from ckptctl.model import Claim
from ckptctl.reading import Reader


@FORMATS.add("safetensors")
class SafetensorsFile(Format):
    """`step_1000.safetensors`, `model_1000-00001-of-00004.safetensors`."""

    name = "safetensors"
    summary = "safetensors files whose name carries a step or an epoch: step_1000.safetensors"
    source = "huggingface/safetensors, README; section 3 of the contract for names"
    generic = True
    example: ClassVar[Mapping[str, bytes]] = {"step_1000.safetensors": safetensors()}

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield each file, or the rank and shard files of one step together."""
        return claim_files(folder, self.name, frozenset({".safetensors"}))
