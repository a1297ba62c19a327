"""Directories of torch.distributed.checkpoint (DCP) somewhere in a checkpoint: each must be committed."""

from __future__ import annotations

from ckptctl.formats._dcp import METADATA, holds_data, read_commit
from ckptctl.listing import Folder

CORE = "metadata.json"
"""What Megatron Core writes last, after `.metadata` (dist_checkpointing/serialization.py `save`)."""


def uncommitted_below(inside: Folder, core: str | None = None) -> str | None:
    """Return in words what the first DCP directory below lacks; None where all are committed.

    Megatron Core's, which needs `metadata.json` too, is told by its `common.pt`, or by its name,
    `core`.
    """
    for path, folder in inside.tree():
        if not holds_data(folder.files) and METADATA not in folder.files:
            continue
        missing = read_commit(folder.files).missing
        name = path.rpartition("/")[2]
        if missing is None and CORE not in folder.files:
            if "common.pt" in folder.files or (core is not None and name == core):
                missing = f"no {CORE}, which is written last"
        elif missing is None and not folder.files[CORE].size:
            missing = f"{CORE} is empty"
        if missing is not None:
            return f"{path}/: {missing}" if path else missing
    return None
