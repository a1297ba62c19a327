"""Text files by which loops of all kinds name a checkpoint: `latest`, `last_checkpoint`, ..."""

from __future__ import annotations

from collections.abc import Iterator

from ckptctl.formats._base import Pointer
from ckptctl.listing import Folder
from ckptctl.reading import TRACKER_LIMIT, Reader, TooLargeError, VanishedError

NAMES = (
    "checkpoint_latest.txt",
    "last_checkpoint",
    "latest",
    "latest.txt",
    "latest_checkpoint",
    "latest_checkpoint.txt",
    "newest",  # SageMaker's model parallel library
)


def text_pointers(folder: Folder, reader: Reader) -> Iterator[Pointer]:
    """Yield what each such file names, if it is one line of text.

    fvcore writes a name, MMEngine a whole path, DeepSpeed a tag: only the last part counts.
    Raises OSError where one cannot be read.
    """
    for name in NAMES:
        if name not in folder.files or folder.files[name].size > TRACKER_LIMIT:
            continue
        try:
            content = reader.read(name, TRACKER_LIMIT)
        except (VanishedError, TooLargeError):
            continue  # it is being replaced, or is no such file
        try:
            text = content.decode("utf-8").strip()
        except UnicodeDecodeError:
            continue
        target = text.rstrip("/").rpartition("/")[2]
        if target and target.isprintable():
            yield Pointer(name, target)
