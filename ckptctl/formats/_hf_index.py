"""Hugging Face shard indexes (`*.index.json`): every file that they name must be there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ckptctl.formats._few import few
from ckptctl.formats._json_stream import chunks_of, read_object
from ckptctl.model import Checkpoint
from ckptctl.patterns import later
from ckptctl.reading import Finding, Reader, TooLargeError

INDEX_LIMIT = 256 * 2**20
"""Bytes of the largest index that is read; the largest known are a few MiB."""

_SHARD_LIMIT = 100_000
_NAME_LIMIT = 4096
_INDEX = later(r".*\.(?:safetensors|bin)\.index\.json", re.DOTALL)


def prove_indexes(checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
    """Yield a finding for each index that cannot be read, and each shard that is not there."""
    for path, entry in checkpoint.files.items():
        if path not in checkpoint.sidecars and _INDEX.fullmatch(path):
            try:
                shards = read_shards(chunks_of(reader, path, entry.size, INDEX_LIMIT))
            except (ValueError, TooLargeError) as error:
                yield Finding(path, "index-unreadable", f"cannot be understood: {error}")
            else:
                yield from few(_absent(path, shards, checkpoint))


def read_shards(chunks: Iterator[bytes]) -> list[str]:
    """Return the shard files that an index names, sorted.

    ValueError where it names none, or cannot be understood.  What is kept is each file's name, not
    the index.
    """
    shards: set[str] = set()

    def take(pair: object) -> None:
        said = pair[1] if isinstance(pair, tuple) else None
        for file in said if isinstance(said, list) else [said]:  # Keras splits a layer's weights
            if not isinstance(file, str) or len(file) > _NAME_LIMIT:
                raise ValueError("its weight_map names something that is no file")
            shards.add(file)
        if len(shards) > _SHARD_LIMIT:
            raise ValueError(f"it names more than {_SHARD_LIMIT:,} files")

    read_object(chunks, {"weight_map": take}, wanted=())
    if not shards:
        raise ValueError("it has no weight_map")
    return sorted(shards)


def _absent(path: str, shards: Iterable[str], checkpoint: Checkpoint) -> Iterator[Finding]:
    parent = path.rpartition("/")[0]
    for shard in shards:
        if any(part in {"", ".", ".."} for part in shard.split("/")):
            yield Finding(path, "index-escapes", f"names {shard!r}, which is no file beside it")
        elif (f"{parent}/{shard}" if parent else shard) not in checkpoint.files:
            yield Finding(path, "shard-missing", f"names {shard}, which is not there")
