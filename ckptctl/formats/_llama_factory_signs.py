"""How a directory of LLaMA-Factory's v1 engine is told from others of the same name."""

from __future__ import annotations

from ckptctl.listing import Folder
from ckptctl.reading import SIDECAR_LIMIT, Reader, TooLargeError, VanishedError

COMPLETE = "CHECKPOINT_COMPLETE"
"""The commit marker: an empty file, written when all ranks are done."""

METADATA = "metadata.json"
"""What is written first; a user's sidecar has the same name."""

_OWN_KEY = b'"num_training_steps"'
_RANKED = ("rng_state", "dataloader")


def is_llama_factory(name: str, inside: Folder, reader: Reader) -> bool:
    """Whether `checkpoint-N` is of the v1 engine: by its marker, its folders, or its metadata.

    Source: LLaMA-Factory, src/llamafactory/v1/core/utils/checkpoint.py `save`.  Raises OSError.
    """
    if COMPLETE in inside.files:
        return True
    for folder in _RANKED:
        below = inside.folders.get(folder)
        if below is not None and any(file.startswith("rank_") for file in below.files):
            return True
    if METADATA not in inside.files:
        return False
    try:
        return _OWN_KEY in reader.read(f"{name}/{METADATA}", SIDECAR_LIMIT)
    except (VanishedError, TooLargeError):
        return False
