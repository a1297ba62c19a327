"""Small JSON files of a framework's own: one that was cut off shows by being none."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ckptctl.formats._json_stream import chunks_of, read_object
from ckptctl.model import Checkpoint
from ckptctl.reading import SIDECAR_LIMIT, Finding, Reader, TooLargeError

CONFIGS = frozenset(
    {
        "config.json", "generation_config.json", "adapter_config.json", "tokenizer_config.json",
        "special_tokens_map.json", "preprocessor_config.json", "processor_config.json",
    }
)  # fmt: skip
"""What `save_pretrained` of transformers and PEFT writes; a `tokenizer.json` is too long to parse."""


def prove_json(
    checkpoint: Checkpoint, reader: Reader, names: Collection[str] = CONFIGS
) -> Iterator[Finding]:
    """Yield a finding for each file of such a name, at any depth, that holds no JSON object."""
    for path, entry in checkpoint.files.items():
        if path.rpartition("/")[2] not in names or path in checkpoint.sidecars:
            continue
        try:
            read_object(chunks_of(reader, path, entry.size, SIDECAR_LIMIT))
        except ValueError as error:
            yield Finding(path, "metadata-unreadable", f"cannot be understood: {error}")
        except TooLargeError:
            continue
