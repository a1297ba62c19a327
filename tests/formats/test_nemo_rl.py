"""NeMo-RL: which names commit a step, what is left of a swap, what the training info says."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from ckptctl.annotate import Beside, annotate
from ckptctl.decision import Context
from ckptctl.formats._samples import dcp_metadata, safetensors, torch_zip
from ckptctl.formats.nemo_rl import NemoRl
from ckptctl.group import look
from ckptctl.known import known_formats
from ckptctl.model import Run, State, Unit
from tests.claims import Tree, claim_of, claims_of, findings_of, metadata_of, opened
from tests.trees import make_tree

PT = torch_zip()
INDEX = dcp_metadata({"__0_0.distcp": len(PT)})


def step(name: str, info: bytes = b'{"val:accuracy": 0.5}') -> dict[str, bytes | str]:
    return {
        f"{name}/training_info.json": info,
        f"{name}/config.yaml": b"grpo: {}\n",
        f"{name}/policy/weights/.metadata": INDEX,
        f"{name}/policy/weights/__0_0.distcp": PT,
        f"{name}/policy/optimizer/.metadata": INDEX,
        f"{name}/policy/optimizer/__0_0.distcp": PT,
        f"{name}/policy/tokenizer/tokenizer.json": b"{}",
        f"{name}/train_dataloader.pt": PT,
    }


def megatron(name: str) -> dict[str, bytes | str]:
    core = f"{name}/policy/weights/iter_0000000"
    return {
        f"{name}/training_info.json": b"{}",
        f"{core}/.metadata": INDEX,
        f"{core}/__0_0.distcp": PT,
        f"{core}/common.pt": PT,
        f"{core}/metadata.json": b'{"sharded_backend": "torch_dist"}',
        f"{name}/policy/weights/latest_checkpointed_iteration.txt": b"0",
        f"{name}/train_dataloader.pt": PT,
    }


def run_of(root: Path) -> Run:
    with opened(root) as (folder, store):
        found = look(folder, store, known_formats())
        late = Context(now_ns=4_000_000_000 * 10**9)
        return annotate(found, "run", str(root), store, Beside(), late)


def test_a_whole_step(tmp_path: Path) -> None:
    claim = claim_of(NemoRl, tmp_path, step("step_0"))
    assert (claim.step, claim.counts, claim.family) == (0, Unit.STEP, "step_#")
    assert claim.key_file == "step_0/policy/weights/.metadata"
    assert (claim.missing, claim.committed, claim.marker) == (None, True, None)
    assert (claim.resumable, claim.temporary) == (True, False)
    assert findings_of(NemoRl, tmp_path) == []


def test_megatron_inside_is_always_of_iteration_zero(tmp_path: Path) -> None:
    make_tree(tmp_path, megatron("step_500"))
    (checkpoint,) = run_of(tmp_path).checkpoints
    assert (checkpoint.format, checkpoint.step, checkpoint.state) == (
        "nemo-rl",
        500,
        State.COMPLETE,
    )
    assert checkpoint.resumable is None
    assert checkpoint.key_file == "step_500/policy/weights/iter_0000000/metadata.json"


def test_hugging_face_weights_without_an_optimizer(tmp_path: Path) -> None:
    tree = {"step_5/training_info.json": b"{}", "step_5/policy/weights/model.safetensors": safetensors()}  # fmt: skip
    claim = claim_of(NemoRl, tmp_path, tree)
    assert (claim.missing, claim.resumable) == (None, False)
    assert claim.key_file == "step_5/policy/weights/model.safetensors"


@pytest.mark.parametrize(
    "tree",
    [
        {"step_5/recipe_state.pt": PT, "step_5/model.safetensors": safetensors()},
        {"step_5/_CHECKPOINT_METADATA": b"{}", "step_5/config.yaml": b""},
        {"step_5/.metadata": b"x", "step_5/__0_0.distcp": b"x"},
        step("step_5-best"),
        step("step_5.bak"),
        step("step5"),
        step("my_step_5"),
        step("older_step_5"),
    ],
)
def test_others_are_not_claimed(tmp_path: Path, tree: Tree) -> None:
    assert claims_of(NemoRl, tmp_path, tree) == {}


def test_a_save_that_was_cut_off(tmp_path: Path) -> None:
    found = claims_of(NemoRl, tmp_path, {**step("step_5"), "tmp_step_10/training_info.json": b"{}"})
    left = found["tmp_step_10"]
    assert (left.temporary, left.step, left.family) == (True, 10, "step_#")
    assert left.missing == "NeMo-RL had not renamed it yet"
    assert (found["step_5"].temporary, found["step_5"].missing) == (False, None)


def test_an_old_step_that_is_alone_is_the_last_good_copy(tmp_path: Path) -> None:
    tree = {**step("step_5"), **step("old_step_10"), **step("tmp_step_10")}
    claim = claims_of(NemoRl, tmp_path, tree)["old_step_10"]
    assert (claim.step, claim.family, claim.missing) == (10, "step_#", None)
    assert (claim.temporary, claim.committed) == (False, True)
    kept = {c.name: c.state for c in run_of(tmp_path).checkpoints}
    assert kept == {"step_5": State.COMPLETE, "old_step_10": State.COMPLETE}


def test_an_old_step_beside_the_new_one_is_a_leftover(tmp_path: Path) -> None:
    found = claims_of(NemoRl, tmp_path, {**step("step_10"), **step("old_step_10")})
    assert (found["old_step_10"].temporary, found["step_10"].temporary) == (True, False)
    assert found["old_step_10"].missing == "step_10/ took its place"


def test_beside_a_torn_one_the_old_step_stays_a_checkpoint(tmp_path: Path) -> None:
    tree = {**step("step_10"), **step("old_step_10")}
    del tree["step_10/policy/weights/.metadata"]
    found = claims_of(NemoRl, tmp_path, tree)
    assert found["step_10"].missing is not None
    assert (found["old_step_10"].temporary, found["old_step_10"].missing) == (False, None)


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("training_info.json", "no training_info.json"),
        ("policy/weights/", "no policy/weights/"),
        ("policy/weights/.metadata", "policy/weights/: no .metadata, which is written last"),
        ("policy/weights/__0_0.distcp", "policy/weights/: no .distcp file"),
        ("policy/optimizer/.metadata", "policy/optimizer/: no .metadata, which is written last"),
    ],
)
def test_what_a_step_must_have(tmp_path: Path, lost: str, words: str) -> None:
    tree = {p: data for p, data in step("step_5").items() if not p.startswith(f"step_5/{lost}")}
    assert claim_of(NemoRl, tmp_path, tree).missing == words


@pytest.mark.parametrize("lost", ["train_dataloader.pt", "policy/optimizer/"])
def test_what_the_steps_around_have(tmp_path: Path, lost: str) -> None:
    tree = {**step("step_5"), **step("step_10"), **step("step_15")}
    tree = {path: data for path, data in tree.items() if not path.startswith(f"step_10/{lost}")}
    found = claims_of(NemoRl, tmp_path, tree)
    assert found["step_10"].missing == f"no {lost}, which the steps around it have"
    assert found["step_5"].missing is found["step_15"].missing is None


def test_metrics(tmp_path: Path) -> None:
    info = (
        b'{"val:accuracy": 0.25, "train:loss": NaN, "val_reward": 1, "consumed_samples": 320,'
        b' "current_step": 3, "step": 3, "total_steps": 10, "val:ok": true, "val:note": "x"}'
    )
    said = metadata_of(NemoRl, tmp_path, step("step_10", info))
    metrics = dict(said.metrics)
    assert math.isnan(metrics.pop("train:loss"))
    assert metrics == {"val:accuracy": 0.25, "val_reward": 1.0}
    assert (said.step, said.unread, said.missing) == (None, None, None)


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff", b'{"a": ' + b"[" * 5000])
def test_info_that_cannot_be_understood_is_unread(tmp_path: Path, content: bytes) -> None:
    said = metadata_of(NemoRl, tmp_path, step("step_5", content))
    assert said.unread is not None
    assert said.unread.startswith("step_5/training_info.json cannot be understood")


@pytest.mark.parametrize("path", ["training_info.json", "train_dataloader.pt"])
def test_empty_files(tmp_path: Path, path: str) -> None:
    tree = {**step("step_5"), f"step_5/{path}": b""}
    assert claim_of(NemoRl, tmp_path, tree).missing == f"{path} is empty"


@pytest.mark.parametrize(
    ("path", "content", "code"),
    [
        ("train_dataloader.pt", PT[:-5], "torn"),
        ("policy/weights/__0_0.distcp", PT[:-5], "data-truncated"),
        ("policy/optimizer/.metadata", INDEX[:-5], "index-unreadable"),
    ],
)
def test_what_structure_shows(tmp_path: Path, path: str, content: bytes, code: str) -> None:
    (finding,) = findings_of(NemoRl, tmp_path, {**step("step_5"), f"step_5/{path}": content})
    assert (finding.file, finding.code) == (f"step_5/{path}", code)
