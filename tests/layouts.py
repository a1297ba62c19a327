"""Directories as frameworks leave them, made from the examples of the formats."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from ckptctl.formats._base import FORMATS
from ckptctl.formats._samples import dcp_metadata, torch_zip
from tests.claims import Tree

PT = torch_zip()
EXAMPLES = {kind.name: kind.example for kind in FORMATS}
NUMBER = re.compile(r"[0-9]+")


def like(framework: str, *tops: str) -> Tree:
    """Return a framework's example in directories of other names, and of the numbers in these."""
    made: dict[str, bytes | str] = {}
    for top in tops:
        for path, content in EXAMPLES[framework].items():
            old, joint, rest = path.partition("/")
            before, now = NUMBER.findall(old), NUMBER.findall(top)
            said = rest.endswith(".json") and before and now
            if joint:
                made[f"{top}/{rest}"] = (
                    content.replace(before[-1].encode(), now[-1].encode()) if said else content
                )
    return made


def files(*names: str) -> Tree:
    return dict.fromkeys(names, PT)


def without(tree: Tree, *lost: str) -> Tree:
    assert all(any(path.startswith(one) for path in tree) for one in lost)
    return {path: content for path, content in tree.items() if not path.startswith(lost)}


def grid(tag: str, copies: int, ranks: int) -> Tree:
    """Return DeepSpeed's ZeRO 1: model states for each mp rank, optimizer states for each dp rank."""
    models = [f"{tag}/mp_rank_{mp:02}_model_states.pt" for mp in range(ranks)]
    return files(
        *models,
        *(
            f"{tag}/zero_pp_rank_{dp}_mp_rank_{mp:02}_optim_states.pt"
            for dp in range(copies)
            for mp in range(ranks)
        ),
    )


def zero3(step: int) -> Tree:
    """Return what the Trainer leaves with ZeRO-3: no weights but those in DeepSpeed's directory."""
    top = f"checkpoint-{step}"
    return {
        **without(like("hf-trainer", top), f"{top}/model.safetensors", f"{top}/optimizer.pt"),
        **files(
            f"{top}/global_step{step}/zero_pp_rank_0_mp_rank_00_model_states.pt",
            f"{top}/global_step{step}/zero_pp_rank_0_mp_rank_00_optim_states.pt",
        ),
        f"{top}/latest": f"global_step{step}",
    }


def proto(*prefixes: str) -> str:
    """Return TensorFlow's `checkpoint`: the last is the one to resume from."""
    lines = [f'all_model_checkpoint_paths: "{prefix}"' for prefix in prefixes]
    return "\n".join([f'model_checkpoint_path: "{prefixes[-1]}"', *lines, ""])


def numbered(framework: str, old: str, *numbers: int) -> Tree:
    """Return the files of a framework's example with other numbers in their names."""
    return {
        path.replace(old, str(number)): content
        for path, content in EXAMPLES[framework].items()
        if old in path
        for number in numbers
    }


def shards(*steps: int) -> Tree:
    """Return shard sets of TensorFlow."""
    return numbered("tensorflow", "12", *steps)


def by_rank(top: str) -> Tree:
    """Return a DCP directory of two ranks that commit for themselves."""
    made: dict[str, bytes | str] = {}
    for rank in (0, 1):
        data = f"__{rank}_0.distcp"
        made |= {f"{top}/{data}": PT, f"{top}/__{rank}.metadata": dcp_metadata({data: len(PT)})}
    return made


def snapshot(names: Iterable[str]) -> str:
    results = [{"checkpoint_dir_name": name, "metrics": {}} for name in names]
    return json.dumps({"ray_version": "2.60.0", "checkpoint_results": results})


def finished(commit: int | None) -> str:
    """Return what Orbax notes of one step."""
    return json.dumps({"item_handlers": {}, "metrics": {}, "commit_timestamp_nsecs": commit})
