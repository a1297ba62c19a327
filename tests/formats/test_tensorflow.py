"""TensorFlow: which files are one checkpoint, what commits it, what its index proves."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ckptctl.formats._base import Pointer
from ckptctl.formats._samples import tensor_bundle
from ckptctl.formats._tensor_bundle import CompressedError, read_bundle
from ckptctl.formats.tensorflow import TensorFlow
from ckptctl.model import Kind, Unit
from tests.claims import Tree, agrees, claim_of, claims_of, findings_of, pointers_of
from tests.trees import make_tree
from tests.wrong import torn, wrong


def saved(prefix: str, *sizes: int, meta: bool = False) -> dict[str, bytes]:
    """Return a shard set whose data files have these sizes."""
    sizes = sizes or (8,)
    tree = {f"{prefix}.data-{n:05}-of-{len(sizes):05}": bytes(s) for n, s in enumerate(sizes)}
    tree[f"{prefix}.index"] = tensor_bundle(*sizes)
    if meta:
        tree[f"{prefix}.meta"] = b"\x0a\x04meta\x12\x02gr"
    return tree


def proto(last: str, *every: str) -> bytes:
    lines = [f'model_checkpoint_path: "{last}"']
    lines += [f'all_model_checkpoint_paths: "{path}"' for path in (*every, last)]
    return "\n".join([*lines, "last_preserved_timestamp: 1795439018.1377478"]).encode()


@pytest.mark.parametrize("directory", ["tf_ckpts", "by_step"])
def test_the_corpus(
    directory: str, corpus: Path, truth: Mapping[str, list[dict[str, Any]]]
) -> None:
    run = f"tensorflow/{directory}"
    agrees(TensorFlow, corpus / run, [one for one in truth["tensorflow"] if one["run"] == run])


@pytest.mark.parametrize("number", [0, 1])
def test_tearing_a_real_one(number: int, corpus: Path, tmp_path: Path) -> None:
    run = corpus / "tensorflow" / "tf_ckpts"
    files = sorted(run.glob("ckpt-7.*"))
    tree = {path.name: path.read_bytes() for path in files}
    assert wrong(TensorFlow, make_tree(tmp_path / "whole", tree)) == []
    assert list(torn(TensorFlow, tmp_path, tree)) == []
    cut = tree[files[number].name][:-1]
    assert wrong(TensorFlow, make_tree(tmp_path / "cut", {**tree, files[number].name: cut}))


def test_tearing_one_of_several_shards_by_tf1(tmp_path: Path) -> None:
    tree = saved("model.ckpt-1000", 8, 4, meta=True)
    assert wrong(TensorFlow, make_tree(tmp_path / "whole", tree)) == []
    assert list(torn(TensorFlow, tmp_path, tree)) == ["without model.ckpt-1000.meta"]


def test_a_group_of_index_and_data(tmp_path: Path) -> None:
    claim = claim_of(TensorFlow, tmp_path, saved("ckpt-12", 8, 4))
    assert (claim.kind, claim.name, claim.family) == (Kind.GROUP, "ckpt-12", "ckpt-#.index")
    assert (claim.step, claim.counts) == (12, Unit.STEP)
    assert claim.key_file == claim.marker == "ckpt-12.index"
    assert (claim.missing, claim.expects_marker, claim.uncovered) == (None, True, ())


@pytest.mark.parametrize(
    ("prefix", "step", "epoch", "family"),
    [
        ("model.ckpt-1000", 1000, None, "model.ckpt-#.index"),
        ("model-100", 100, None, "model-#.index"),
        ("ckpt-0", 0, None, "ckpt-#.index"),
        ("weights-epoch-03", None, 3, "weights-epoch-#.index"),
        ("ckpt-98765432109876543210", 98765432109876543210, None, "ckpt-#.index"),
    ],
)
def test_names(tmp_path: Path, prefix: str, step: int, epoch: int, family: str) -> None:
    claim = claim_of(TensorFlow, tmp_path, saved(prefix))
    assert (claim.step, claim.epoch, claim.family) == (step, epoch, family)


@pytest.mark.parametrize(
    "prefix",
    ["resnet-50", "cp-0010.ckpt", "variables", "variables/variables", "ckpt-12-best", "backup-ckpt-12", "ckpt-12.bak"],
)  # fmt: skip
def test_what_may_be_anything_is_not_claimed(tmp_path: Path, prefix: str) -> None:
    assert claims_of(TensorFlow, tmp_path, saved(prefix)) == {}


@pytest.mark.parametrize(
    ("prefix", "other", "family"),
    [
        ("cp-0010.ckpt", "cp-0020.ckpt", "cp-#.ckpt.index"),
        ("gan-7", "gan-8", "gan-#.index"),
        ("best_ckpt-12", "best_ckpt-13", "best_ckpt-#.index"),
    ],
)
def test_what_the_tracker_names_one_like_is_claimed(
    tmp_path: Path, prefix: str, other: str, family: str
) -> None:
    tree = {**saved(prefix), **saved(other), **saved("resnet-50"), "checkpoint": proto(other)}
    found = claims_of(TensorFlow, tmp_path, tree)
    assert set(found) == {prefix, other}
    assert found[prefix].family == family
    assert found[prefix].step is not None


def test_only_the_last_path_is_a_pointer(tmp_path: Path) -> None:
    tree = {**saved("ckpt-1"), **saved("ckpt-2"), **saved("ckpt-3")}
    tree["checkpoint"] = proto("ckpt-3", "ckpt-2")
    assert pointers_of(TensorFlow, tmp_path, tree) == [Pointer("checkpoint", "ckpt-3.index")]
    assert set(claims_of(TensorFlow, tmp_path)) == {"ckpt-1", "ckpt-2", "ckpt-3"}


@pytest.mark.parametrize(
    ("content", "target"),
    [
        (proto("/scratch/old place/ckpt-3"), "ckpt-3.index"),
        (proto("ckpt-4"), "ckpt-4"),
        (b'model_checkpoint_path: "p\\303\\250re-3"', "père-3"),
        (b'model_checkpoint_path: "a\\"b-3"', 'a"b-3'),
        (b'model_checkpoint_path: ""', None),
        (b"\x83\xa6params\x80", None),
        (b"", None),
        (proto("ckpt-3", *(f"ckpt-{number}" for number in range(5000))), "ckpt-3.index"),
    ],
)
def test_the_tracker(tmp_path: Path, content: bytes, target: str | None) -> None:
    tree = {**saved("ckpt-3"), "checkpoint": content}
    named = [pointer.target for pointer in pointers_of(TensorFlow, tmp_path, tree)]
    assert named == ([target] if target else [])


def test_without_an_index_it_is_not_whole(tmp_path: Path) -> None:
    tree = saved("ckpt-5", 8, 4)
    del tree["ckpt-5.index"]
    claim = claim_of(TensorFlow, tmp_path, tree)
    assert claim.missing == "no ckpt-5.index, which is written last"
    assert (claim.key_file, claim.marker) == ("ckpt-5.data-00000-of-00002", None)


def test_a_shard_that_is_lost(tmp_path: Path) -> None:
    tree = saved("ckpt-5", 8, 4)
    del tree["ckpt-5.data-00001-of-00002"]
    assert claim_of(TensorFlow, tmp_path, tree).missing == "no data file 1 of 2"


def test_an_index_whose_data_is_all_lost(tmp_path: Path) -> None:
    tree: Tree = {"ckpt-5.index": tensor_bundle(8), "step-9.index": b"IxF2" + bytes(60)}
    assert claim_of(TensorFlow, tmp_path, tree).missing == "no data file"


def test_files_of_a_graph_alone_are_nothing(tmp_path: Path) -> None:
    assert claims_of(TensorFlow, tmp_path, {"model-5.meta": b"\x0a\x00"}) == {}


def test_shards_of_an_earlier_save_are_a_problem_and_no_damage(tmp_path: Path) -> None:
    tree = {**saved("ckpt-5", 8), "ckpt-5.data-00001-of-00002": b"x"}
    claim = claim_of(TensorFlow, tmp_path, tree)
    assert claim.missing is None
    assert [problem.code for problem in claim.problems] == ["leftover-shard"]
    assert claim.uncovered == ("ckpt-5.data-00001-of-00002",)
    assert "ckpt-5.data-00001-of-00002" in claim.members
    assert findings_of(TensorFlow, tmp_path) == []


def test_two_whole_sets_of_one_number_and_what_the_index_says(tmp_path: Path) -> None:
    tree = {**saved("ckpt-5", 8, 4), "ckpt-5.data-00000-of-00001": bytes(9)}
    assert wrong(TensorFlow, make_tree(tmp_path, tree)) == []
    (tmp_path / "ckpt-5.data-00001-of-00002").unlink()
    assert claim_of(TensorFlow, tmp_path).missing is None
    (finding,) = findings_of(TensorFlow, tmp_path)
    assert finding.code == "data-missing"


def test_a_graph_that_those_around_have(tmp_path: Path) -> None:
    tree = {p: d for s in (1, 2, 3) for p, d in saved(f"model.ckpt-{s}", meta=s != 2).items()}
    found = claims_of(TensorFlow, tmp_path, tree)
    assert found["model.ckpt-2"].missing == "no model.ckpt-2.meta, unlike those around it"
    assert found["model.ckpt-1"].missing is None
    assert found["model.ckpt-1"].uncovered == ("model.ckpt-1.meta",)


@pytest.mark.parametrize("name", ["ckpt-5_temp", "ckpt-5_temp_" + "0123456789abcdef" * 2])
def test_what_an_unfinished_save_left(tmp_path: Path, name: str) -> None:
    tree = {f"{name}/part-00000-of-00001.data-00000-of-00001": b"x"}
    claim = claim_of(TensorFlow, tmp_path, tree)
    assert (claim.temporary, claim.step, claim.family) == (True, 5, "ckpt-#.index")
    assert claim.members == (name,)
    assert claim.key_file in tree


@pytest.mark.parametrize(
    "path",
    ["ckpt-5_temp/notes.txt", "ckpt-5_temp/part/x", "data_temp/part-0", "ckpt-5_temporary/part-0"],
)
def test_other_directories_are_nobodys(tmp_path: Path, path: str) -> None:
    assert claims_of(TensorFlow, tmp_path, {path: b"x"}) == {}


INDEX = tensor_bundle(8, 4)


def test_no_index_is_too_bad_to_be_looked_at() -> None:
    for at in range(len(INDEX)):
        for value in (0, 0x7F, 0x80, 0xFF):
            index = INDEX[:at] + bytes([value]) + INDEX[at + 1 :]
            with contextlib.suppress(ValueError, CompressedError):
                assert read_bundle(index).files > 0


def test_a_graph_that_is_cut(tmp_path: Path) -> None:
    tree = {**saved("model.ckpt-5"), "model.ckpt-5.meta": b"\x0a\x7fmeta"}
    (finding,) = findings_of(TensorFlow, tmp_path, tree)
    assert (finding.file, finding.code) == ("model.ckpt-5.meta", "torn")


def test_a_data_file_beyond_those_that_names_count(tmp_path: Path) -> None:
    tree = {**TensorFlow.example, "ckpt-12.data-00002-of-00002": b"x"}
    assert claims_of(TensorFlow, tmp_path, tree)["ckpt-12"].missing is None
