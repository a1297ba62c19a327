"""PaddleNLP: its files, its ranks, what comes last, whose name it shares."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ckptctl.formats._samples import safetensors, shard_index
from ckptctl.formats.hf_trainer import HfTrainer
from ckptctl.formats.paddlenlp import PaddleNlp
from ckptctl.model import Unit
from tests.claims import Tree, claim_of, claims_of, findings_of, metadata_of

PICKLE = b"\x80\x04}."


def saved(step: int, *ranks: str, world: int = 1) -> dict[str, bytes | str]:
    state = {
        "best_model_checkpoint": "out/checkpoint-5",
        "epoch": 1.5,
        "global_step": step,
        "log_history": [{"eval_loss": 0.5, "step": step}],
    }
    tree: dict[str, bytes | str] = {
        "config.json": b"{}",
        "rng_state.pth" if world == 1 else f"rng_state_{world}.pth": PICKLE,
        "scheduler.pdparams": PICKLE,
        "trainer_state.json": json.dumps(state),
        "training_args.bin": PICKLE,
    }
    for rank in ranks or ("",):
        tree[f"model_state{rank}.pdparams"] = PICKLE
        tree[f"optimizer{rank}.pdopt"] = PICKLE
    return {f"checkpoint-{step}/{path}": content for path, content in tree.items()}


def unified(step: int) -> dict[str, bytes | str]:
    tree = without(saved(step), "model_state", "pdopt")
    for base in ("model", "optimizer"):
        one, two = (f"{base}-0000{n}-of-00002.safetensors" for n in (1, 2))
        tree[f"checkpoint-{step}/{base}.safetensors.index.json"] = shard_index(
            {one: ["a"], two: ["b"]}
        )
        tree[f"checkpoint-{step}/{one}"] = safetensors("a")
        tree[f"checkpoint-{step}/{two}"] = safetensors("b")
    return tree


def without(tree: Tree, *parts: str) -> dict[str, bytes | str]:
    return {p: content for p, content in tree.items() if not any(part in p for part in parts)}


GRID = [f".tp0{tp}_pp0{pp}" for tp in (0, 1) for pp in (0, 1)]


@pytest.mark.parametrize("tree", [saved(10), saved(10, *GRID, world=4), unified(10)])
def test_a_checkpoint(tmp_path: Path, tree: Tree) -> None:
    claim = claim_of(PaddleNlp, tmp_path, tree)
    assert (claim.step, claim.counts, claim.family) == (10, Unit.STEP, "checkpoint-#")
    assert (claim.missing, claim.resumable) == (None, True)
    assert claim.marker == claim.key_file == "checkpoint-10/trainer_state.json"
    said = metadata_of(PaddleNlp, tmp_path)
    assert (said.step, said.epoch, said.metrics) == (10, 1.5, {"eval_loss": 0.5})
    assert said.points_to == "out/checkpoint-5"
    assert findings_of(PaddleNlp, tmp_path) == []
    assert claims_of(HfTrainer, tmp_path) == {}


def test_the_number_of_a_random_state_is_no_rank(tmp_path: Path) -> None:
    claim = claim_of(PaddleNlp, tmp_path, saved(10, world=8))
    assert (claim.missing, claim.uncovered) == (None, ("checkpoint-10/rng_state_8.pth",))


@pytest.mark.parametrize(
    "tree",
    [
        without(saved(10), ".pd"),
        {"checkpoint-10-best/model_state.pdparams": PICKLE},
        {"checkpoint_10/model_state.pdparams": PICKLE},
        {"checkpoint-10/": b""},
    ],
)
def test_what_is_not_claimed(tmp_path: Path, tree: Tree) -> None:
    assert claims_of(PaddleNlp, tmp_path, tree) == {}


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("trainer_state.json", "no trainer_state.json"),
        ("rng_state", "no rng_state.pth, which is written last"),
        ("model_state", "no weights"),
        ("scheduler", "no scheduler.pdparams"),
        ("model_state.tp01_pp01", "model_state.tp#_pp#.pdparams: tp 1, pp 1"),
        ("model_state.tp01", "model_state.tp#_pp#.pdparams: tp 1, pp 0"),
        ("optimizer.tp00_pp01", "optimizer.tp#_pp#.pdopt: tp 0, pp 1"),
    ],
)
def test_what_is_not_there(tmp_path: Path, lost: str, words: str) -> None:
    missing = claim_of(PaddleNlp, tmp_path, without(saved(10, *GRID, world=4), lost)).missing
    assert missing is not None
    assert missing.startswith(words)


def test_what_comes_after_all_where_a_flag_asks_for_it(tmp_path: Path) -> None:
    tree = {**saved(10), "checkpoint-10/.checkpoint_done": PICKLE, **saved(20)}
    found = claims_of(PaddleNlp, tmp_path, tree)
    assert found["checkpoint-10"].marker == "checkpoint-10/.checkpoint_done"
    assert found["checkpoint-20"].missing == "no .checkpoint_done, which others of its family have"


def test_weights_alone_cannot_resume(tmp_path: Path) -> None:
    claim = claim_of(PaddleNlp, tmp_path, without(saved(10), "optimizer"))
    assert (claim.missing, claim.resumable) == (None, False)


@pytest.mark.parametrize(
    "file", ["model_state.pdparams", "optimizer.pdopt", "rng_state.pth", "training_args.bin"]
)
def test_a_pickle_that_is_cut_off(tmp_path: Path, file: str) -> None:
    tree = {**saved(10), f"checkpoint-10/{file}": PICKLE[:-1]}
    (finding,) = findings_of(PaddleNlp, tmp_path, tree)
    assert (finding.file, finding.code) == (f"checkpoint-10/{file}", "torn")


def test_a_shard_that_an_index_names_in_vain(tmp_path: Path) -> None:
    tree = without(unified(10), "optimizer-00002")
    assert claim_of(PaddleNlp, tmp_path, tree).missing is not None
    assert [found.code for found in findings_of(PaddleNlp, tmp_path)] == ["shard-missing"]


def test_a_state_of_another_step(tmp_path: Path) -> None:
    tree = {**saved(10), "checkpoint-10/trainer_state.json": b'{"global_step": 5}'}
    assert metadata_of(PaddleNlp, tmp_path, tree).missing is not None
