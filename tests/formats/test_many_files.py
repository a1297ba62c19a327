"""A checkpoint of very many files is read in time that grows with their number, not its square."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from ckptctl.annotate import Beside, annotate
from ckptctl.decision import Context
from ckptctl.formats._base import FORMATS, Format
from ckptctl.group import runs_below
from ckptctl.known import known_formats
from ckptctl.listing import Entry, Folder
from ckptctl.model import Run
from tests.claims import opened
from tests.trees import make_tree

MANY = 20_000
LATER = Context(now_ns=4_000_000_000 * 10**9)

# What takes a second here takes minutes where each file is compared with each other one.
pytestmark = [pytest.mark.timeout(120), pytest.mark.sampled]


def with_files(folder: Folder, top: str, paths: Iterable[str]) -> Folder:
    """Return a listing with more files in the directory `top`, so many that none is really made."""
    entry = Entry(size=1, mtime_ns=1, device=1, inode=1)
    inside = folder.folders[top]
    files, below = dict(inside.files), dict(inside.folders)
    nested: dict[str, dict[str, Entry]] = {}
    for path in paths:
        parent, _, name = path.rpartition("/")
        if parent:
            nested.setdefault(parent, {})[name] = entry
        else:
            files.setdefault(name, entry)
    for parent, more in nested.items():
        known = below.get(parent, Folder(path=f"{top}/{parent}"))
        below[parent] = replace(known, files={**more, **known.files})
    grown = replace(inside, files=files, folders=below)
    return replace(folder, folders={**folder.folders, top: grown})


def read_with(kind: type[Format], root: Path, paths: Iterable[str]) -> list[Run]:
    """Read a run that is the format's example with more files in its checkpoint."""
    make_tree(root, kind.example)
    with opened(root) as (folder, store):
        (top,) = folder.folders
        grown = with_files(folder, top, paths)
        found = list(runs_below(grown, store, known_formats(), deep=False))
        return [annotate(one, "run", str(root), store, Beside(), LATER) for one in found]


DIRECTORIES = [k for k in FORMATS if any("/" in path for path in k.example)]


@pytest.mark.parametrize("shape", ["flat", "folders"])
@pytest.mark.parametrize("kind", DIRECTORIES, ids=lambda kind: kind.name)
def test_many_more_files_in_a_checkpoint(kind: type[Format], shape: str, tmp_path: Path) -> None:
    spelling = {"flat": "extra-{}.bin", "folders": "d{}x/w.bin"}
    more = [spelling[shape].format(number) for number in range(MANY)]
    (run,) = read_with(kind, tmp_path, more)
    (checkpoint,) = run.checkpoints
    assert checkpoint.format == kind.name
    assert len(checkpoint.files) >= MANY + sum("/" in path for path in kind.example)


@pytest.mark.parametrize(
    ("format_name", "spelling"),
    [
        ("hf-trainer", "rank{0}-of-{0}-optimizer.pt"),
        ("hf-trainer", "rng_state_{}.pth"),
        ("hf-trainer", "layer{}-00001-of-00001.safetensors"),
        ("hf-trainer", "layer{}.safetensors.index.json"),
        ("hf-trainer", "global_step{}/mp_rank_00_model_states.pt"),
        ("deepspeed", "zero_pp_rank_{}_mp_rank_00_optim_states.pt"),
        ("deepspeed", "layer_{0}_expert_{0}_mp_rank_{0}_model_states.pt"),
        ("torch-dcp", "__{}_0.distcp"),
        ("megatron", "mp_rank_{:02}/model_optim_rng.pt"),
        ("orbax", "item{}/_METADATA"),
        ("verl", "model_world_size_50000_rank_{}.pt"),
        ("verl", "model_world_size_{}_rank_0.pt"),
        ("openrlhf", "zero_pp_rank_{}_mp_rank_00_optim_states.pt"),
        ("nemo-rl", "train_dataloader_{}.pt"),
        ("speechbrain", "object{}.ckpt"),
        ("tensor-folder", "model_rank_{}.pt"),
        ("tensor-folder", "model-{}-of-99999.safetensors"),
    ],
)
def test_many_files_that_the_format_counts(format_name: str, spelling: str, tmp_path: Path) -> None:
    more = [spelling.format(number) for number in range(MANY)]
    (run,) = read_with(FORMATS[format_name], tmp_path, more)
    (checkpoint,) = run.checkpoints
    assert len(checkpoint.files) >= MANY


def test_many_ranks_that_each_commit_by_a_marker_of_their_own(tmp_path: Path) -> None:
    example = {"step_1000/__0.metadata": b"x", "step_1000/__0_0.distcp": b"x"}
    make_tree(tmp_path, example)
    more = [name.format(n) for n in range(MANY // 2) for name in ("__{}.metadata", "__{}_0.distcp")]
    with opened(tmp_path) as (folder, store):
        grown = with_files(folder, "step_1000", more)
        (found,) = runs_below(grown, store, known_formats(), deep=False)
        run = annotate(found, "run", str(tmp_path), store, Beside(), LATER)
    (checkpoint,) = run.checkpoints
    assert len(checkpoint.files) == MANY
