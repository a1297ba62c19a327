"""JSON files of a framework's own: one that was cut off shows by being none."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from ckptctl.formats._json_stream import chunks_of, read_object
from ckptctl.model import Checkpoint, Metadata, Problem
from ckptctl.reading import FRAMEWORK_LIMIT, SIDECAR_LIMIT, Finding, Reader, TooLargeError

CONFIGS = frozenset(
    {
        "config.json", "generation_config.json", "adapter_config.json", "tokenizer_config.json",
        "special_tokens_map.json", "preprocessor_config.json", "processor_config.json",
    }
)  # fmt: skip
"""What `save_pretrained` of transformers and PEFT writes; a `tokenizer.json` is too long to parse."""


def read_json(
    reader: Reader,
    path: str,
    size: int,
    limit: int = FRAMEWORK_LIMIT,
    wanted: Collection[str] | None = None,
) -> Mapping[str, object] | str:
    """Return the object in a file that was listed with `size` bytes; else in words why there is none.

    The words follow the file's name; `wanted` is as in `read_object`.  Raises VanishedError, or
    OSError where it cannot be read.
    """
    try:
        return read_object(chunks_of(reader, path, size, limit), wanted=wanted)
    except TooLargeError:
        return too_large(limit)
    except ValueError as error:
        return f"cannot be understood: {error}"


def too_large(limit: int) -> str:
    """Return in words, to follow a file's name, that it was passed over."""
    size = f"{limit >> 30} GiB" if limit >> 30 else f"{limit >> 20} MiB"
    return f"is larger than {size}, so it was not read"


def unread(text: str, missing: str | None = None) -> Metadata:
    """Return what a file says that could not be understood; the checkpoint is kept for it.

    `missing` is given where the file must be sound for the checkpoint to be whole.
    """
    problems = (Problem("metadata-unreadable", text),)
    return Metadata(unread=text, missing=missing, problems=problems)


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
