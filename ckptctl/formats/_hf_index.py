"""Hugging Face shard indexes (`*.index.json`): every file that they name must be there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from ckptctl.formats._json_stream import chunks_of, read_object
from ckptctl.model import Checkpoint
from ckptctl.reading import Finding, Reader, TooLargeError

INDEX_LIMIT = 256 * 2**20
"""Bytes of the largest index that is read; the largest known are a few MiB."""

_INDEX = re.compile(r".*\.(?:safetensors|bin)\.index\.json", re.DOTALL)


def prove_indexes(checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
    """Yield a finding for each index that cannot be read, and each shard that is not there."""
    for path, entry in checkpoint.files.items():
        if path not in checkpoint.sidecars and _INDEX.fullmatch(path):
            try:
                index = read_object(chunks_of(reader, path, entry.size, INDEX_LIMIT))
                shards = shards_of(index)
            except (ValueError, TooLargeError) as error:
                yield Finding(path, "index-unreadable", f"cannot be understood: {error}")
            else:
                yield from _absent(path, shards, checkpoint)


def shards_of(index: Mapping[str, object]) -> list[str]:
    """Return the shard files that an index names, sorted; ValueError where it names none."""
    weights = index.get("weight_map")
    if not isinstance(weights, Mapping) or not weights:
        raise ValueError("it has no weight_map")
    return sorted({str(file) for file in weights.values()})


def _absent(path: str, shards: Iterable[str], checkpoint: Checkpoint) -> Iterator[Finding]:
    parent = path.rpartition("/")[0]
    for shard in shards:
        if any(part in {"", ".", ".."} for part in shard.split("/")):
            yield Finding(path, "index-escapes", f"names {shard!r}, which is no file beside it")
        elif (f"{parent}/{shard}" if parent else shard) not in checkpoint.files:
            yield Finding(path, "shard-missing", f"names {shard}, which is not there")
