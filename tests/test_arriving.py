"""At no moment does a copy that comes file by file look whole before it is."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from ckptctl.arriving import Arrival, arrival
from ckptctl.formats._base import FORMATS, Format
from ckptctl.formats._samples import ocdbt_manifest
from ckptctl.model import Checkpoint, Run, State
from tests.claims import Tree
from tests.layouts import EXAMPLES, grid, zero3
from tests.memory import KNOWN, folder_of, read

UNPROVABLE = {
    "tensor-folder": "a folder of tensors that no framework is known to have written has no proof",
    "torchtitan": "when all shards are there, they are a plain folder of weights without their index",
}
"""Formats of which a half copy may look whole to ckptctl, and why that cannot be helped."""

_ARRAYS = {
    "checkpoint_1000": EXAMPLES["flax"]["checkpoint_1000"],
    "checkpoint_1000_gda/params/w/.zarray": b'{"shape": [1], "chunks": [1], "zarr_format": 2}',
    "checkpoint_1000_gda/params/w/0": b"0123",
}
_OLD_ORBAX = {
    path: content
    for path, content in EXAMPLES["orbax"].items()
    if not path.endswith("commit_success.txt")
}
_PLAIN_TREE = {"1000/_METADATA": b"{}", "1000/manifest.ocdbt": ocdbt_manifest(), "1000/d/f": b"1"}

MORE: Mapping[str, Tree] = {
    "flax-arrays": _ARRAYS,
    "orbax-before-0.12.3": _OLD_ORBAX,
    "orbax-tree": _PLAIN_TREE,
    "deepspeed-grid": grid("global_step5", 2, 2),
    "trainer-with-zero3": zero3(500),
}


def a_run(tree: Tree, *, bucket: bool) -> Run:
    files = {path: c.encode() if isinstance(c, str) else c for path, c in tree.items()}
    return read(folder_of(files, bucket=bucket), files, "s3://b/run" if bucket else "/run")[1]


def kind_of(checkpoint: Checkpoint) -> Format:
    return KNOWN.by_name[checkpoint.format]


def halves(checkpoint: Checkpoint, how: Arrival) -> Iterator[tuple[str, ...]]:
    """Yield what may be there of a copy, in the order in which it came, before all of it is."""
    order = how.order(checkpoint)
    rest = order[len(how.first) : len(order) - len(how.last)]
    if len(rest) <= 4:
        sizes = range(len(rest) + 1)
        some = [each for n in sizes for each in itertools.combinations(rest, n)]
    else:
        some = [*(rest[:n] for n in range(len(rest))), *((one,) for one in rest)]
    yield from (how.first[:n] for n in range(1, len(how.first)))
    yield from ((*how.first, *each) for each in some)
    yield from (order[:n] for n in range(len(order) - len(how.last), len(order)))


def looks_whole(run: Run) -> list[str]:
    return [one.member for one in run.checkpoints if one.state is State.COMPLETE]


def comes_whole(checkpoint: Checkpoint, tree: Tree, scheme: str) -> None:
    """Let a checkpoint come to a bucket, and look at each moment."""
    how = arrival(kind_of(checkpoint), checkpoint, scheme)
    there = {**tree, **how.made}
    order = how.order(checkpoint)
    assert sorted(order) == sorted({*checkpoint.files, *how.made})
    if checkpoint.format not in UNPROVABLE:
        for half in halves(checkpoint, how):
            assert not looks_whole(a_run({p: there[p] for p in half}, bucket=True)), half
    beside = {path: c for path, c in tree.items() if path not in order}  # its tracker, last of all
    last = a_run({**{p: there[p] for p in order}, **beside}, bucket=True)
    assert looks_whole(last) == [checkpoint.member], last


@pytest.mark.parametrize("scheme", ["gs", "s3"])
@pytest.mark.parametrize("name", [*EXAMPLES, *MORE])
def test_no_half_of_a_copy_in_a_bucket_looks_whole(name: str, scheme: str) -> None:
    tree = MORE.get(name) or EXAMPLES[name]
    (checkpoint,) = a_run(tree, bucket=False).checkpoints
    assert checkpoint.state is State.COMPLETE
    comes_whole(checkpoint, tree, scheme)


def test_no_half_of_what_real_frameworks_wrote_looks_whole(corpus: Path) -> None:
    seen = set()
    for top in runs_of(corpus):
        tree = {
            os.path.relpath(os.path.join(place, name), top): Path(place, name).read_bytes()
            for place, _, names in os.walk(top)
            for name in names
            if not os.path.islink(os.path.join(place, name))
        }
        run = a_run(tree, bucket=False)
        for checkpoint in run.checkpoints:
            if checkpoint.state is State.COMPLETE:
                seen.add(checkpoint.format)
                trackers = set(run.trackers) & set(checkpoint.pointers)
                comes_whole(
                    checkpoint, {path: tree[path] for path in {*checkpoint.files, *trackers}}, "gs"
                )
    assert len(seen) >= 10, seen


def runs_of(corpus: Path) -> list[Path]:
    """Return the directories of the corpus that hold checkpoints themselves."""
    below = ("", "checkpoints", "weights", "models", "by_step", "tf_ckpts")
    return [
        place
        for run in sorted(corpus.iterdir())
        for name in below
        if (place := run / name).is_dir()
    ]


@pytest.mark.parametrize("kind", list(FORMATS), ids=lambda kind: kind.name)
def test_on_a_disk_nothing_is_made(kind: type[Format]) -> None:
    (checkpoint,) = a_run(kind.example, bucket=False).checkpoints
    assert not arrival(kind_of(checkpoint), checkpoint, "file").made


def test_an_old_step_of_orbax_gets_its_markers_in_a_bucket_the_steps_own_last() -> None:
    (checkpoint,) = a_run(_OLD_ORBAX, bucket=False).checkpoints
    how = arrival(kind_of(checkpoint), checkpoint, "gs")
    assert list(how.made) == [
        "1000/default/commit_success.txt",
        "1000/metrics/commit_success.txt",
        "1000/commit_success.txt",
    ]
    assert how.last[-3:] == tuple(how.made)
    assert how.made["1000/commit_success.txt"] == b"Checkpoint commit was successful to 1000"


def test_a_step_that_has_its_markers_gets_none() -> None:
    (checkpoint,) = a_run(EXAMPLES["orbax"], bucket=False).checkpoints
    how = arrival(kind_of(checkpoint), checkpoint, "gs")
    assert not how.made
    assert how.last[-1] == checkpoint.key_file == "1000/commit_success.txt"


def test_markers_that_were_made_for_one_bucket_are_made_anew_for_the_next() -> None:
    (checkpoint,) = a_run(_OLD_ORBAX, bucket=False).checkpoints
    made = arrival(kind_of(checkpoint), checkpoint, "gs").made
    (there,) = a_run({**_OLD_ORBAX, **made}, bucket=True).checkpoints
    again = arrival(kind_of(there), there, "s3", tuple(made))
    assert again.made == made
    assert again.last[-1] == "1000/commit_success.txt"
    back = arrival(kind_of(there), there, "file", tuple(made))
    assert not back.made
    assert not set(made) & {*back.first, *back.last}


def test_flax_finds_a_checkpoint_by_its_file_which_comes_after_the_marker_of_its_arrays() -> None:
    (checkpoint,) = a_run(_ARRAYS, bucket=False).checkpoints
    how = arrival(kind_of(checkpoint), checkpoint, "gs")
    assert how.last[-2:] == ("checkpoint_1000_gda/commit_success.txt", "checkpoint_1000")
