"""nanotron: which directories of digits are its own, their grids, what commits them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptctl.formats._base import Pointer
from ckptctl.formats._samples import ocdbt_manifest, safetensors, torch_zip
from ckptctl.formats.nanotron import Nanotron
from ckptctl.model import Unit
from tests.claims import Tree, claim_of, claims_of, findings_of, metadata_of, pointers_of


def saved(name: str, *, tp: int = 2, pp: int = 2) -> dict[str, bytes | str]:
    """Return a checkpoint of tp x pp ranks, in which each pipeline rank has a layer of its own."""
    tree: dict[str, bytes | str] = {
        "checkpoint_metadata.json": f'{{"metas": {{"last_train_step": {name}}}, "tp": {tp}}}',
        "config.yaml": "general: {}\n",
        "model_config.json": "{}",
        "optimizer/optimizer_config.json": "{}",
        "lr_scheduler/lr_scheduler.pt": torch_zip(),
    }
    for p in range(pp):
        tree[f"model/layer/{p}/norm/model_weight.safetensors"] = safetensors()
        for t in range(tp):
            at = f"pp-{p}-of-{pp}_tp-{t}-of-{tp}"
            rank = f"pp-rank-{p}-of-{pp}_tp-rank-{t}-of-{tp}"
            tree[f"model/layer/{p}/mlp/model_weight_{rank}.safetensors"] = safetensors()
            tree[f"optimizer/optimizer_{at}_exp-0-of-1.pt"] = torch_zip()
            tree[f"random/tp-{t}-of-{tp}_dp-0-of-1_pp-{p}-of-{pp}.pt"] = torch_zip()
    return {f"{name}/{path}": content for path, content in tree.items()}


def without(tree: Tree, *parts: str) -> dict[str, bytes | str]:
    return {p: content for p, content in tree.items() if not any(part in p for part in parts)}


def test_a_checkpoint(tmp_path: Path) -> None:
    claim = claim_of(Nanotron, tmp_path, saved("1000"))
    assert (claim.step, claim.counts, claim.family) == (1000, Unit.STEP, "#")
    assert (claim.missing, claim.resumable) == (None, True)
    assert claim.marker == claim.key_file == "1000/model_config.json"
    assert len(claim.uncovered) == 4
    assert metadata_of(Nanotron, tmp_path).step == 1000
    assert findings_of(Nanotron, tmp_path) == []


@pytest.mark.parametrize(
    "tree",
    [
        {"1000/_CHECKPOINT_METADATA": b"{}", "1000/default/manifest.ocdbt": ocdbt_manifest()},
        {"1000/mp_rank_00_model_states.pt": torch_zip()},  # ESPnet with DeepSpeed
        {"1000/model_config.json": b"{}"},
        {"1000/model/a.safetensors": safetensors()},
        {"step_5/checkpoint_metadata.json": b"{}"},
        {"1000.bak/checkpoint_metadata.json": b"{}"},
        {"\u0661/checkpoint_metadata.json": b"{}"},
    ],
)
def test_what_is_anothers_is_not_claimed(tmp_path: Path, tree: Tree) -> None:
    assert claims_of(Nanotron, tmp_path, tree) == {}


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("model_config.json", "no model_config.json, which is written last"),
        ("checkpoint_metadata.json", "no checkpoint_metadata.json"),
        ("/model/", "no weights in model/"),
        ("/optimizer_pp", "no states in optimizer/"),
        ("optimizer_config", "no optimizer/optimizer_config.json"),
        ("/random/", "no random states in random/"),
        ("random/tp-1-of-2_dp-0-of-1_pp-1", "random/#_#_#.pt: "),
        ("optimizer_pp-0-of-2_tp-0", "optimizer/optimizer_#_#_#.pt: "),
        ("pp-rank-1-of-2_tp-rank-1", "model/layer/1/mlp/"),
    ],
)
def test_what_is_not_there(tmp_path: Path, lost: str, words: str) -> None:
    missing = claim_of(Nanotron, tmp_path, without(saved("1000"), lost)).missing
    assert missing is not None
    assert missing.startswith(words)


def test_a_parameter_that_those_around_have(tmp_path: Path) -> None:
    tree = {**saved("1"), **without(saved("2"), "layer/1/norm"), **saved("3")}
    found = claims_of(Nanotron, tmp_path, tree)
    assert found["2"].missing == (
        "no model/layer/1/norm/model_weight.safetensors, unlike those around it"
    )
    assert found["1"].missing is found["3"].missing is None


def test_weights_alone_cannot_resume(tmp_path: Path) -> None:
    claim = claim_of(Nanotron, tmp_path, without(saved("1000"), "/optimizer/", "/lr_scheduler/"))
    assert (claim.missing, claim.resumable) == (None, False)


def test_a_grid_of_any_size(tmp_path: Path) -> None:
    tree = saved("1000")
    tree["1000/random/tp-0-of-999999999_dp-0-of-999999999_pp-0-of-2.pt"] = torch_zip()
    assert claim_of(Nanotron, tmp_path, tree).missing is not None


@pytest.mark.parametrize("content", [b"{", b"", b"[]"])
def test_metadata_that_cannot_be_understood(tmp_path: Path, content: bytes) -> None:
    tree = {**saved("1000"), "1000/checkpoint_metadata.json": content}
    said = metadata_of(Nanotron, tmp_path, tree)
    assert said.missing == said.unread is not None


@pytest.mark.parametrize(("text", "named"), [("1000", True), ("1000\n", True), ("latest", False)])
def test_the_tracker(tmp_path: Path, text: str, named: bool) -> None:
    found = pointers_of(Nanotron, tmp_path, {**saved("1000"), "latest.txt": text})
    assert found == ([Pointer("latest.txt", "1000")] if named else [])


def test_a_rank_beyond_those_that_names_count_fills_no_place(tmp_path: Path) -> None:
    tree = {path.replace("tp-rank-1", "tp-rank-5"): c for path, c in Nanotron.example.items()}
    assert "tp 1 is not there" in str(claim_of(Nanotron, tmp_path, tree).missing)
