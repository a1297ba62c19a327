"""`metadata.json`, by which Megatron Core commits a checkpoint; NeMo 2 has it in `weights/`."""

from __future__ import annotations

from ckptctl.formats._json_stream import chunks_of, read_object
from ckptctl.reading import SIDECAR_LIMIT, Reader, TooLargeError

CONFIG = "metadata.json"


def uncommitted(path: str, size: int, reader: Reader) -> str | None:
    """Return why a `metadata.json` commits nothing; None where it is Megatron Core's.

    Source: Megatron-LM, megatron/core/dist_checkpointing/core.py `CheckpointingConfig`.
    Raises VanishedError or OSError where it cannot be read.
    """
    try:
        said = read_object(
            chunks_of(reader, path, size, SIDECAR_LIMIT), wanted=("sharded_backend",)
        )
    except (ValueError, TooLargeError) as error:
        return f"{CONFIG} cannot be understood: {error}"
    if "sharded_backend" not in said:
        return f"{CONFIG} is not Megatron's: it names no sharded_backend"
    return None
