"""OpenRLHF's DeepSpeed tags, told from those of any other program that saves through DeepSpeed.

Source: OpenRLHF, openrlhf/utils/deepspeed/deepspeed.py `save_ckpt`, `_write_ckpt_metric`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ckptctl.formats._deepspeed_grid import is_tag
from ckptctl.listing import Folder
from ckptctl.patterns import later

METRIC = "metric.json"
"""Written into each tag, after DeepSpeed is done with it."""

TAG = later(r"(best_)?global_step([0-9]{1,4000})")  # no more digits than int() takes


def tags_in(folder: Folder) -> dict[str, Folder]:
    """Return the directories that have a name of OpenRLHF's tags and hold states."""
    return {
        name: inside
        for name, inside in folder.folders.items()
        if "global_step" in name and TAG.fullmatch(name) and is_tag(inside)
    }


def tags_of(folder: Folder) -> Mapping[str, Folder]:
    """Return OpenRLHF's tags that lie in a folder directly; none where the tags are another's."""
    tags = tags_in(folder)
    ours = any(METRIC in tag.files or name.startswith("best_") for name, tag in tags.items())
    return tags if ours else {}
