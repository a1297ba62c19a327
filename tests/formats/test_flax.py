"""Flax before Orbax: which names are checkpoints, steps and metrics, arrays beside the file."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from ckptctl.containers import UnsoundError
from ckptctl.decision import Context
from ckptctl.formats._flax_state import begins_state, read_state
from ckptctl.formats._samples import ocdbt_manifest, torch_zip
from ckptctl.formats.flax import Flax
from ckptctl.formats.orbax import Orbax
from ckptctl.formats.torch_file import TorchFile
from ckptctl.listing import Folder
from ckptctl.model import Claim, Kind, Unit
from ckptctl.survey import Reading, read_run, survey
from tests.claims import Tree, claim_of, claims_of, findings_of, opened
from tests.trees import make_tree
from tests.wrong import torn, wrong

STATE = b"\x82\xa6params\x81\xa1w\xc7\x05\x01abcde\xa4step\xcd\x03\xe8"
SPLIT = b"\x81\xa6params\x81\xa1w\xb9//GDAPlaceholder:params/w"


def arrays(name: str, path: str = "params/w") -> dict[str, bytes]:
    array = b'{"chunks": [2], "compressor": null, "dtype": "<f4", "shape": [2], "zarr_format": 2}'
    return {f"{name}_gda/{path}/.zarray": array, f"{name}_gda/{path}/0": bytes(8)}


def split(name: str) -> dict[str, bytes]:
    return {name: SPLIT, **arrays(name)}


def bare(folder: Folder) -> Folder:
    """Return a listing as a bucket gives it: without inodes."""
    return replace(
        folder,
        files={name: entry._replace(inode=0) for name, entry in folder.files.items()},
        folders={name: bare(inside) for name, inside in folder.folders.items()},
    )


def in_bucket(root: Path, tree: Tree) -> Claim:
    make_tree(root, tree)
    with opened(root) as (folder, store):
        (claim,) = Flax().find(bare(folder), store)
    return claim


def test_a_file(tmp_path: Path) -> None:
    claim = claim_of(Flax, tmp_path, {"checkpoint_1000": STATE})
    assert (claim.step, claim.counts, claim.family) == (1000, Unit.STEP, "checkpoint_#")
    assert (claim.kind, claim.key_file, claim.name) == (
        Kind.FILE,
        "checkpoint_1000",
        "checkpoint_1000",
    )
    assert (claim.missing, claim.committed, claim.expects_marker) == (None, True, False)
    assert wrong(Flax, tmp_path) == []


def test_a_file_and_its_arrays(tmp_path: Path) -> None:
    claim = claim_of(Flax, tmp_path, split("checkpoint_5"))
    assert (claim.kind, claim.name, claim.step) == (Kind.GROUP, "checkpoint_5", 5)
    assert claim.members == ("checkpoint_5", "checkpoint_5_gda")
    assert claim.key_file == "checkpoint_5"
    assert (claim.missing, claim.committed) == (None, True)
    assert wrong(Flax, tmp_path) == []
    assert claims_of(Orbax, tmp_path) == {}


@pytest.mark.parametrize("tree", [{"checkpoint_5": STATE}, split("checkpoint_5")])
def test_tearing(tree: dict[str, bytes], tmp_path: Path) -> None:
    zeros = [f"without {path}" for path in tree if path.endswith("/0")]  # zeros are not stored
    assert list(torn(Flax, tmp_path, tree)) == zeros


@pytest.mark.parametrize(
    ("names", "steps"),
    [
        (["0", "5", "100"], [0, 5, 100]),
        (["-5", "+3", "1000.0", "1e5"], [-5, 3, 1000, 100000]),
        (["98765432109876543210"], [98765432109876543210]),
    ],
)
def test_whole_numbers_are_steps(tmp_path: Path, names: list[str], steps: list[int]) -> None:
    found = claims_of(Flax, tmp_path, {f"checkpoint_{name}": STATE for name in names})
    assert [found[f"checkpoint_{name}"].step for name in names] == steps
    assert {claim.family for claim in found.values()} == {"checkpoint_#"}
    assert all(claim.metrics == {} for claim in found.values())


@pytest.mark.parametrize("text", ["-0.25", "0.5", ".5", "1.5e-05", "+0.25"])
def test_others_are_a_metric_and_so_are_all_beside_them(tmp_path: Path, text: str) -> None:
    found = claims_of(Flax, tmp_path, {f"checkpoint_{text}": STATE, "checkpoint_-1": STATE})
    assert found[f"checkpoint_{text}"].metrics == {"checkpoint": float(text)}
    assert found["checkpoint_-1"].metrics == {"checkpoint": -1}
    assert {(c.step, c.counts, c.family) for c in found.values()} == {(None, None, "checkpoint_#")}


@pytest.mark.parametrize(
    "name",
    ["checkpoint", "checkpoint_", "checkpoint_x", "checkpoint_5.bak", "checkpoint_5.pt", "checkpoint_1_2", "xcheckpoint_5",
     "checkpoint-5", "checkpoint_5_gda.txt", "checkpoint_nan", "model_5"],
)  # fmt: skip
def test_other_names_are_not_claimed(tmp_path: Path, name: str) -> None:
    assert claims_of(Flax, tmp_path, {name: STATE}) == {}


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80", torch_zip(), b"\x80\x02}q\x00.", b"text", b"\x83", b"\x83\x01\x02", b"\xdf\x00", b"\xc1", b'{"step": 5}'],
)  # fmt: skip
def test_a_file_that_is_no_state_may_be_anything(tmp_path: Path, content: bytes) -> None:
    assert not begins_state(content)
    assert claims_of(Flax, tmp_path, {"checkpoint_5": content, "checkpoint_6": content}) == {}


@pytest.mark.parametrize(
    "content",
    [STATE, SPLIT, b"\xde\x00\x01\xa1a\x01", b"\xc7\x05\x01abcde", b"\xb1//GDAPlaceholder:"],
)
def test_a_state_begins_like_one(tmp_path: Path, content: bytes) -> None:
    assert begins_state(content[:16])
    assert set(claims_of(Flax, tmp_path, {"checkpoint_5": content})) == {"checkpoint_5"}


def test_one_that_is_empty_beside_others_is_torn(tmp_path: Path) -> None:
    found = claims_of(Flax, tmp_path, {"checkpoint_4": STATE, "checkpoint_5": b""})
    assert found["checkpoint_5"].missing == "checkpoint_5 is empty"


COLLISIONS: list[Tree] = [
    {"checkpoint_5/model.safetensors": b"x", "checkpoint_5/random_states_0.pkl": b"x"},  # accelerate
    {"checkpoint_000005/model.pt": torch_zip()},  # Ray
    {"checkpoint_5/5/mp_rank_00_model_states.pt": torch_zip()},  # ESPnet with DeepSpeed
    {"checkpoint_1_500.pt": torch_zip()},  # fairseq
    {"checkpoint_5/_METADATA": b"{}", "checkpoint_5/manifest.ocdbt": ocdbt_manifest()},  # Orbax
    {"checkpoint": b'model_checkpoint_path: "ckpt-1"'},  # TensorFlow
    {"checkpoint_5_gda/notes.txt": b"x"},
]  # fmt: skip


@pytest.mark.parametrize("tree", COLLISIONS)
def test_others_of_the_same_name(tree: Tree, tmp_path: Path) -> None:
    assert claims_of(Flax, tmp_path, tree) == {}


def test_what_orbax_saved_under_a_number_that_is_no_step_of_orbax(tmp_path: Path) -> None:
    tree = {
        path.format(name): data
        for name in ("checkpoint_-0.25", "checkpoint_0.5")
        for path, data in (
            ("{}/_METADATA", b'{"tree_metadata": {}, "use_ocdbt": true}'),
            ("{}/manifest.ocdbt", ocdbt_manifest()),
        )
    }
    found = claims_of(Flax, tmp_path, tree)
    assert {name: c.metrics["checkpoint"] for name, c in found.items()} == {
        "checkpoint_-0.25": -0.25,
        "checkpoint_0.5": 0.5,
    }
    assert found["checkpoint_0.5"].kind is Kind.DIRECTORY
    assert claims_of(Orbax, tmp_path) == {}


def test_arrays_whose_file_was_not_renamed_yet(tmp_path: Path) -> None:
    claim = claim_of(Flax, tmp_path, arrays("checkpoint_5"))
    assert claim.missing == "no checkpoint_5, which is renamed last"
    assert (claim.name, claim.members) == ("checkpoint_5", ("checkpoint_5_gda",))


def test_a_file_that_has_lost_its_arrays(tmp_path: Path) -> None:
    tree = {**split("checkpoint_1"), "checkpoint_2": SPLIT, **split("checkpoint_3")}
    found = claims_of(Flax, tmp_path, tree)
    assert found["checkpoint_2"].missing == "no _gda, unlike those around it"
    (finding,) = findings_of(Flax, tmp_path / "alone", {"checkpoint_2": SPLIT})
    assert (finding.file, finding.code) == ("checkpoint_2_gda/params/w/.zarray", "data-missing")


def test_in_a_bucket_the_arrays_are_committed_by_a_file(tmp_path: Path) -> None:
    claim = in_bucket(tmp_path, split("checkpoint_5"))
    assert (claim.marker, claim.expects_marker, claim.committed) == (None, True, False)
    more = {"checkpoint_5_gda/commit_success.txt": b"ok"}
    claim = in_bucket(tmp_path, more)
    assert claim.marker == "checkpoint_5_gda/commit_success.txt"
    assert (claim.missing, claim.key_file, claim.uncovered) == (
        None,
        "checkpoint_5",
        ("checkpoint_5",),
    )
    plain = in_bucket(tmp_path / "plain", {"checkpoint_5": STATE})
    assert (plain.expects_marker, plain.committed) == (False, True)


@pytest.mark.parametrize(
    ("left", "kind"),
    [
        ({"checkpoint_tmp": STATE[:9]}, Kind.FILE),
        (arrays("checkpoint_tmp"), Kind.DIRECTORY),
        ({"checkpoint_tmp": SPLIT, **arrays("checkpoint_tmp")}, Kind.GROUP),
        ({"checkpoint_-0.5.orbax-checkpoint-tmp-123/d/0": b"x"}, Kind.DIRECTORY),
    ],
)
def test_what_an_unfinished_save_left(left: dict[str, bytes], kind: Kind, tmp_path: Path) -> None:
    found = claims_of(Flax, tmp_path, {"checkpoint_4": STATE, **left})
    (claim,) = [claim for claim in found.values() if claim.temporary]
    assert (claim.kind, claim.step, claim.family) == (kind, None, "checkpoint_#")
    assert set(claim.members) == {path.split("/")[0] for path in left}
    assert claim.key_file in left
    assert claims_of(Flax, tmp_path / "alone", left) == {}


def test_a_run_is_ordered_and_pruned_by_its_steps(tmp_path: Path) -> None:
    tree = {path: data for step in (9, 10, 100) for path, data in split(f"checkpoint_{step}").items()}  # fmt: skip
    make_tree(tmp_path, tree)
    view = survey(str(tmp_path), deep=True)
    (found,) = view.found
    run = read_run(view, found, Reading(context=Context(2 * 10**18)))
    assert [(c.name, c.step, c.state) for c in run.checkpoints] == [
        ("checkpoint_9", 9, "complete"),
        ("checkpoint_10", 10, "complete"),
        ("checkpoint_100", 100, "complete"),
    ]
    assert all(len(c.files) == 3 for c in run.checkpoints)


class Bytes:
    """An opened file in memory."""

    def __init__(self, content: bytes) -> None:
        self.content, self.size = content, len(content)

    def read(self, offset: int, length: int) -> bytes:
        return self.content[offset : offset + length]

    def readinto(self, offset: int, buffer: memoryview) -> int:
        data = self.read(offset, len(buffer))
        buffer[: len(data)] = data
        return len(data)


def test_each_kind_of_object_is_passed_over() -> None:
    leaves = [
        b"\x05", b"\xff", b"\xc0", b"\xc3", b"\xca0000", b"\xcb00000000", b"\xcc0", b"\xd300000000", b"\xd4\x01x", b"\xd8\x01" + bytes(16),
        b"\xc4\x02xx", b"\xc5\x00\x02xx", b"\xc6\x00\x00\x00\x02xx", b"\xc7\x02\x01xx", b"\xc9\x00\x00\x01\x00\x01" + bytes(256),
        b"\xd9\x02xx", b"\xda\x00\x02xx", b"\xdb\x00\x00\x00\x02xx", b"\x92\x01\x02", b"\xdc\x00\x01\x01", b"\xdd\x00\x00\x00\x01\x01",
        b"\x81\x01\x02", b"\xde\x00\x01\x01\x02", b"\xdf\x00\x00\x00\x01\x01\x02",
    ]  # fmt: skip
    state = b"\xdc" + len(leaves).to_bytes(2, "big") + b"".join(leaves)
    assert read_state(Bytes(state)) == []
    for length in range(len(state)):
        with pytest.raises(UnsoundError, match="cut"):
            read_state(Bytes(state[:length]))
    with pytest.raises(UnsoundError, match="ends after"):
        read_state(Bytes(state + b"\x00"))


@pytest.mark.parametrize("content", [b"\xdf\xff\xff\xff\xff" * 100, b"\x91" * 100_000, b"\xc1"])
def test_what_was_made_to_hurt(content: bytes) -> None:
    with contextlib.suppress(UnsoundError):
        assert read_state(Bytes(content)) is None


def test_a_state_of_too_many_objects_is_not_judged() -> None:
    assert read_state(Bytes(b"\xdd" + (400_000).to_bytes(4, "big") + bytes(400_000))) is None


def test_files_with_a_suffix_are_those_of_others(tmp_path: Path) -> None:
    tree = {"checkpoint_5": STATE, "checkpoint_7.pt": torch_zip()}
    assert set(claims_of(Flax, tmp_path, tree)) == {"checkpoint_5"}
    assert set(claims_of(TorchFile, tmp_path)) == {"checkpoint_7"}
