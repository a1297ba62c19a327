"""What a checkpoint loses shows: each of its files deleted, cut to half, emptied, one at a time.

An alarm is whatever says at structure level that it is not whole: nothing takes it for a checkpoint
any more, it is `missing` something by names, by its framework's own metadata, or a proof finds it.
What raises none is named in `UNKNOWABLE` and `REAL_UNKNOWABLE`, with the reason.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ckptctl.formats._base import FORMATS, Format
from ckptctl.group import Item, look
from ckptctl.known import known_formats
from ckptctl.listing import Folder
from ckptctl.stores.local import LocalStore
from tests.claims import checkpoint_of, files_of, opened
from tests.trees import make_tree

DELETED, HALVED, EMPTIED = "deleted", "halved", "emptied"
ANY = (DELETED, HALVED, EMPTIED)
Unseen = set[tuple[str, str]]
"""A file, relative to its checkpoint, and what was done to it."""

KNOWN = known_formats()
_RANDOM = re.compile(r"(?<=/d/)[0-9a-f]{32}")  # Orbax gives data files random names


def alarm(item: Item, folder: Folder, store: LocalStore) -> str | None:
    """Return what says that a checkpoint is not whole; None where nothing does."""
    claim = item.claim
    if claim.missing is not None:
        return claim.missing
    if claim.expects_marker and claim.marker is None:
        return "no marker"
    said = item.format.metadata(claim, folder, store)
    if said.missing or said.unread:
        return said.missing or said.unread
    findings = item.format.prove(checkpoint_of(claim, folder), store)
    return next((f"{found.file} {found.text}" for found in findings), None)


def alarms(root: Path) -> dict[str, str | None]:
    """Return what each checkpoint of a directory raises, by its path, with all formats asked."""
    with opened(root) as (folder, store):
        found = look(folder, store, KNOWN)
        assert not found.unread
        return {item.path: alarm(item, folder, store) for item in found.items}


def members(root: Path) -> dict[str, list[str]]:
    """Return the files of each checkpoint of a directory, by its path."""
    with opened(root) as (folder, store):
        items = look(folder, store, KNOWN).items
        return {item.path: sorted(files_of(item.claim, folder)) for item in items}


@contextmanager
def torn(path: Path, how: str, aside: Path) -> Iterator[None]:
    """Damage a file, and put it back afterwards; what it shares an inode with stays as it is."""
    path.rename(aside)
    if how != DELETED:
        size = aside.stat().st_size
        path.write_bytes(aside.read_bytes()[: size // 2 if how == HALVED else 0])
        times = aside.stat()
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        aside.rename(path)


def unseen(root: Path, name: str, aside: Path) -> Unseen:
    """Return which damage to one checkpoint of a directory raises no alarm.

    A group has more than one file in the run's directory, so deleting its key file may rename it:
    it is seen if anything there raises an alarm, or if one checkpoint less is there.
    """
    found: Unseen = set()
    whole = members(root)
    for file in whole[name]:
        for how in ANY:
            if how != DELETED and not (root / file).stat().st_size:
                continue  # it is empty already
            with torn(root / file, how, aside):
                after = alarms(root)
            if len(after) == len(whole) and not any(after.values()):
                found.add((file.removeprefix(f"{name}/"), how))
    return found


HIGHEST = "the number of ranks is in no name, and no other checkpoint is there to compare with"
STRIPPED = "weights alone are whole: `resumable` is false, as where someone strips it to save space"
TEXT = "only its presence counts: its text is not read"
OPTIONAL = "not all of its framework's checkpoints have one"
FILL = "a chunk that holds nothing but its array's fill value is not written"
YAML = "what is left of YAML that was cut off is YAML; nothing is resumed from it"
BESIDE = "which files there are is told only by the checkpoints around it"
NO_ZERO = "without ZeRO the model states hold the optimizer's"

Entry = tuple[str, tuple[str, ...], str]

UNKNOWABLE: Mapping[str, tuple[Entry, ...]] = {
    "accelerate": (
        ("optimizer.bin", (DELETED,), STRIPPED),
        ("random_states_1.pkl", (DELETED,), HIGHEST),
        ("scheduler.bin", (DELETED,), OPTIONAL),
    ),
    "deepspeed": (("zero_pp_rank_1_mp_rank_00_optim_states.pt", (DELETED,), HIGHEST),),
    "hf-trainer": (
        ("config.json", (DELETED,), "a model of the user's own has none"),
        ("optimizer.pt", (DELETED,), STRIPPED),
        ("rng_state.pth", (DELETED,), STRIPPED),
    ),
    "levanter": (("model/weight/0", (DELETED,), FILL),),
    "lightning-deepspeed": (
        (
            "checkpoint/zero_pp_rank_0_mp_rank_00_optim_states.pt",
            (DELETED,),
            NO_ZERO,
        ),
        ("zero_to_fp32.py", (DELETED,), "a script; nothing is read from it"),
    ),
    "llama-factory": (
        ("model/config.json", (DELETED,), "a model of the user's own has none"),
        ("optimizer/state_dict.pt", (DELETED,), STRIPPED),
    ),
    "megatron": (("common.pt", (DELETED,), "a newer Megatron Core writes none"),),
    "nanotron": (
        ("config.yaml", (DELETED,), OPTIONAL),
        ("config.yaml", (HALVED,), "the first half of YAML is YAML"),
        ("model/norm/model_weight.safetensors", (DELETED,), "no index names the parameters"),
    ),
    "nemo": (
        ("context/io.json", (DELETED,), OPTIONAL),
        ("weights/common.pt", (DELETED,), "a newer Megatron Core writes none"),
    ),
    "nemo-rl": (
        ("config.yaml", ANY, YAML),
        ("train_dataloader.pt", (DELETED,), OPTIONAL),
    ),
    "olmo": (("config.yaml", (HALVED,), YAML),),
    "openrlhf": (
        ("metric.json", (DELETED,), OPTIONAL),
        ("zero_pp_rank_0_mp_rank_00_optim_states.pt", (DELETED,), NO_ZERO),
    ),
    "orbax": (
        ("_CHECKPOINT_METADATA", (DELETED,), OPTIONAL),
        ("commit_success.txt", (HALVED,), TEXT),
        ("default/_METADATA", (DELETED,), OPTIONAL),
        ("default/commit_success.txt", (HALVED,), TEXT),
        ("metrics/commit_success.txt", (HALVED,), TEXT),
    ),
    "paddlenlp": (("config.json", (DELETED,), "a model of the user's own has none"),),
    "speechbrain": tuple(
        (f"{name}.ckpt", (DELETED,), BESIDE) for name in ("counter", "model", "optimizer")
    ),
    "stable-baselines3": (
        ("rl_model_replay_buffer_1000_steps.pkl", (DELETED,), OPTIONAL),
        ("rl_model_vecnormalize_1000_steps.pkl", (DELETED,), OPTIONAL),
    ),
    "tensor-folder": (
        ("model.safetensors", (DELETED,), "what a loop of the user's own writes is not known"),
        ("optimizer.pt", (DELETED,), "what a loop of the user's own writes is not known"),
    ),
    "torch-dcp": (("__1_0.distcp", (DELETED,), "it is empty, and so is named by no index"),),
    "torchtitan": (
        ("model.safetensors.index.json", (DELETED,), "a loop's own shards have no index"),
    ),
    "torchtune": (
        ("config.json", (DELETED,), "it is a copy from the model's directory, which may have none"),
        ("recipe_state.pt", (DELETED,), "the last of a training has none: `resumable` is false"),
    ),
    "verl": (
        ("actor/fsdp_config.json", (DELETED,), OPTIONAL),
        ("actor/huggingface/config.json", (DELETED,), OPTIONAL),
    ),
}
"""Of each format's example: a file, what may be done to it unseen, and why."""

REAL_UNKNOWABLE: Mapping[str, tuple[Entry, ...]] = {
    "accelerate": (("optimizer.bin", (DELETED,), STRIPPED),),
    "deepspeed-zero1": (
        (
            "bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt",
            (DELETED,),
            "of a tag of free text, which has no family to compare with",
        ),
    ),
    "hf-trainer": (
        ("optimizer.pt", (DELETED,), STRIPPED),
        ("rng_state.pth", (DELETED,), STRIPPED),
        ("scheduler.pt", (DELETED,), STRIPPED),
    ),
    "orbax": (
        ("commit_success.txt", (HALVED,), TEXT),
        ("default/commit_success.txt", (HALVED,), TEXT),
        ("default/ocdbt.process_0/d/*", (DELETED,), "its name is compressed in the manifest"),
        ("metrics/commit_success.txt", (HALVED,), TEXT),
    ),
}
"""The same of real runs, whose checkpoints have others beside them to be compared with."""


@pytest.mark.parametrize("kind", list(FORMATS), ids=lambda kind: kind.name)
def test_each_file_of_an_example(kind: type[Format], tmp_path: Path) -> None:
    root = make_tree(tmp_path / "run", kind.example)
    assert set(alarms(root).values()) == {None}, "the untouched one raises no alarm"
    (name,) = members(root)
    known = {(file, how) for file, hows, _ in UNKNOWABLE.get(kind.name, ()) for how in hows}
    assert unseen(root, name, tmp_path / "aside") == known


def test_every_entry_is_of_a_format_that_is_there() -> None:
    assert UNKNOWABLE.keys() <= set(FORMATS.names())
    assert set(REAL) >= REAL_UNKNOWABLE.keys()


REAL = (
    "torch-plain", "hf-trainer", "lightning", "torch-dcp", "deepspeed-zero1", "orbax", "accelerate",
    "mmengine-epoch", "timm", "tensorflow",
)  # fmt: skip
"""One run of each framework whose names need no `formats:` of the user's, as Keras' do."""


@pytest.mark.parametrize("directory", REAL)
def test_each_file_of_a_real_run(
    directory: str, corpus: Path, truth: Mapping[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    # Hard links: nothing here writes into a file.
    shutil.copytree(corpus / directory, tmp_path / "runs", symlinks=True, copy_function=os.link)
    found: Unseen = set()
    for run in {one["run"] for one in truth[directory]}:
        root = tmp_path / "runs" / Path(run).relative_to(directory)
        assert set(alarms(root).values()) == {None}, "the untouched ones raise no alarm"
        whole = [c for c in truth[directory] if c["run"] == run and c["state"] == "complete"]
        for at in {0, len(whole) // 2, len(whole) - 1}:  # the first and the last have no neighbour
            found |= {
                (_RANDOM.sub("*", file), how)
                for file, how in unseen(root, whole[at]["main"], tmp_path / "aside")
            }
    known = {(file, how) for file, hows, _ in REAL_UNKNOWABLE.get(directory, ()) for how in hows}
    assert found == known
