"""`metadata.json`, by which Megatron Core commits a checkpoint; NeMo 2 has it in `weights/`."""

from __future__ import annotations

from ckptctl.formats._json_files import read_json
from ckptctl.reading import SIDECAR_LIMIT, Reader

CONFIG = "metadata.json"


def why_uncommitted(path: str, size: int, reader: Reader) -> str | None:
    """Return why a `metadata.json` commits nothing; None where it is Megatron Core's.

    Source: Megatron-LM, megatron/core/dist_checkpointing/core.py `CheckpointingConfig`.
    Raises VanishedError or OSError where it cannot be read.
    """
    said = read_json(reader, path, size, SIDECAR_LIMIT, wanted=("sharded_backend",))
    if isinstance(said, str):
        return f"{CONFIG} {said}"
    if "sharded_backend" not in said:
        return f"{CONFIG} is not Megatron's: it names no sharded_backend"
    return None
