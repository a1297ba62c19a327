"""Stable-Baselines3: which files are of one step, what a step lacks, what shows that one is torn."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from ckptctl.formats.stable_baselines3 import StableBaselines3
from ckptctl.model import Kind, Unit
from tests.claims import Tree, claim_of, claims_of, findings_of

ZIP = torch_zip()
PKL = b"\x80\x05N."


def step(number: int | str, prefix: str = "rl_model", *, alone: bool = False) -> Tree:
    tree: Tree = {f"{prefix}_{number}_steps.zip": ZIP}
    if alone:
        return tree
    parts = ("replay_buffer", "vecnormalize")
    return {**tree, **{f"{prefix}_{part}_{number}_steps.pkl": PKL for part in parts}}


def test_all_files_of_a_step_are_one_checkpoint(tmp_path: Path) -> None:
    claim = claim_of(StableBaselines3, tmp_path, step(1000))
    assert (claim.kind, claim.name, claim.step) == (Kind.GROUP, "rl_model_1000_steps", 1000)
    assert (claim.key_file, claim.family) == ("rl_model_1000_steps.zip", "rl_model_#_steps.zip")
    assert claim.members == tuple(sorted(step(1000)))
    assert (claim.counts, claim.missing, claim.resumable) == (Unit.STEP, None, None)
    assert findings_of(StableBaselines3, tmp_path) == []


def test_a_model_alone_is_a_file(tmp_path: Path) -> None:
    claim = claim_of(StableBaselines3, tmp_path, step(1000, alone=True))
    assert (claim.kind, claim.missing) == (Kind.FILE, None)


def test_the_best_model_belongs_to_the_trainer(tmp_path: Path) -> None:
    found = claims_of(StableBaselines3, tmp_path, {"best_model.zip": ZIP, **step(5)})
    assert (found["best_model"].named, found["best_model"].step) == (True, None)
    assert not found["rl_model_5_steps"].named


@pytest.mark.parametrize(
    ("prefix", "family"),
    [("ppo2", "ppo2_#_steps.zip"), ("a_b-c", "a_b-c_#_steps.zip"), ("x_7", "x_7_#_steps.zip")],
)
def test_prefixes(tmp_path: Path, prefix: str, family: str) -> None:
    claim = claim_of(StableBaselines3, tmp_path, step(40, prefix))
    assert (claim.step, claim.family, len(claim.members)) == (40, family, 3)


def test_two_trainings_in_one_directory_stay_apart(tmp_path: Path) -> None:
    found = claims_of(StableBaselines3, tmp_path, {**step(5, "a"), **step(5, "b", alone=True)})
    assert {name: claim.missing for name, claim in found.items()} == {
        "a_5_steps": None,
        "b_5_steps": None,
    }


@pytest.mark.parametrize(
    "file",
    [
        "rl_model_5_steps_best.zip", "backup_rl_model_5_steps.zip", "rl_model_steps.zip",
        "rl_model_5_steps.zip.bak", "rl_model_5_steps.pkl", "rl_model_replay_buffer_5_steps.zip",
        "_5_steps.zip", "5_steps.zip", "data_5.zip", "best_model.zip.tmp", "rl_model_5_step.zip",
    ],
)  # fmt: skip
def test_other_names_are_not_claimed(tmp_path: Path, file: str) -> None:
    assert claims_of(StableBaselines3, tmp_path, {file: ZIP}) == {}


def test_buffers_without_a_model(tmp_path: Path) -> None:
    tree = {path: data for path, data in step(5).items() if not path.endswith(".zip")}
    claim = claim_of(StableBaselines3, tmp_path, tree)
    assert claim.missing == "no rl_model_5_steps.zip, the model itself"
    assert (claim.step, claim.kind, len(claim.members)) == (5, Kind.GROUP, 2)


@pytest.mark.parametrize("lost", ["replay_buffer", "vecnormalize"])
@pytest.mark.parametrize("at", [5, 10, 15])
def test_a_companion_that_the_steps_around_have(tmp_path: Path, lost: str, at: int) -> None:
    tree = {**step(5), **step(10), **step(15)}
    whole = {path: data for path, data in tree.items() if path != f"rl_model_{lost}_{at}_steps.pkl"}
    found = {c.step: c.missing for c in claims_of(StableBaselines3, tmp_path, whole).values()}
    said = f"no {lost}, which the steps around it have"
    assert found == {s: said if s == at else None for s in (5, 10, 15)}


def test_a_run_that_went_on_without_buffers_is_whole(tmp_path: Path) -> None:
    tree = {**step(5), **step(10), **step(15, alone=True), **step(20, alone=True)}
    assert {c.missing for c in claims_of(StableBaselines3, tmp_path, tree).values()} == {None}


@pytest.mark.parametrize("path", sorted(step(5)))
def test_torn_files(tmp_path: Path, path: str) -> None:
    empty = claim_of(StableBaselines3, tmp_path / "empty", {**step(5), path: b""})
    assert empty.missing == f"{path} is empty"
    content = step(5)[path]
    assert isinstance(content, bytes)
    (finding,) = findings_of(StableBaselines3, tmp_path / "cut", {**step(5), path: content[:-1]})
    assert (finding.file, finding.code) == (path, "torn")
