"""Files of torch.save that a loop of the user's own, or a small trainer, numbers by itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import ClassVar

from ckptctl.formats._base import FORMATS, Format, Pointer
from ckptctl.formats._files import claim_files
from ckptctl.formats._latest import text_pointers
from ckptctl.formats._samples import torch_zip
from ckptctl.listing import Folder
from ckptctl.model import Claim
from ckptctl.patterns import later
from ckptctl.reading import Reader

_SUFFIXES = frozenset({".pt", ".pth", ".pth.tar", ".bin", ".ckpt", ".tar", ".th"})
_FIXED = later(
    r"(?:last|best)\.pt"  # ultralytics, engine/trainer.py
    r"|model_(?:final|best)\.pth"  # detectron2, engine/hooks.py
    r"|checkpoint_(?:best|last).*\.pt"  # fairseq, checkpoint_utils.py
    r"|(?:last|model_best)\.pth\.tar"  # timm, utils/checkpoint_saver.py
    r"|checkpoint\.pth"  # ESPnet, train/trainer.py; DETR, main.py
    r"|best(?:_w[0-9]+)?\.th"  # AllenNLP, training/checkpointer.py
    r"|best_.+\.pth?"  # MMEngine, hooks/checkpoint_hook.py: best_METRIC_epoch_12.pth
    r"|(?:last|best|latest)\.(?:ckpt|pth|pt)|last-v[0-9]+\.ckpt",
    re.DOTALL,
)


@FORMATS.add("torch-file")
class TorchFile(Format):
    """`step_1000.pt`, `model_0004999.pth`, `epoch_3_rank_0.pt`, and what trainers call best or last."""

    name = "torch-file"
    summary = "Files of torch.save whose name carries a step or an epoch: step_1000.pt"
    source = "pytorch, torch/serialization.py; section 3 of the contract for names"
    generic = True
    example: ClassVar[Mapping[str, bytes]] = {"step_1000.pt": torch_zip()}

    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield each file, or the rank and shard files of one step together."""
        return claim_files(folder, self.name, _SUFFIXES, _FIXED)

    def pointers(self, folder: Folder, reader: Reader) -> Iterable[Pointer]:
        """Yield what text files such as `latest` name, of whatever format that is."""
        return text_pointers(folder, reader)
