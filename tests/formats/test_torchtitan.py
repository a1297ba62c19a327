"""torchtitan's last step in Hugging Face form."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptctl.formats._samples import dcp_metadata, safetensors, shard_index, torch_zip
from ckptctl.formats.torch_dcp import TorchDcp
from ckptctl.formats.torchtitan import Torchtitan
from tests.claims import claim_of, claims_of, findings_of

SHARDS = {f"model-0000{n}-of-00002.safetensors": [f"w{n}"] for n in (1, 2)}
INDEX = "model.safetensors.index.json"


def saved(name: str = "step-1000") -> dict[str, bytes | str]:
    weights = {f"{name}/{file}": safetensors(*tensors) for file, tensors in SHARDS.items()}
    return {**weights, f"{name}/{INDEX}": shard_index(SHARDS)}


def test_a_whole_one(tmp_path: Path) -> None:
    claim = claim_of(Torchtitan, tmp_path, saved())
    assert (claim.step, claim.family, claim.missing) == (1000, "step-#", None)
    assert claim.key_file == claim.marker == f"step-1000/{INDEX}"
    assert claim.resumable is False
    assert findings_of(Torchtitan, tmp_path) == []


def test_the_seed_checkpoint_is_step_0(tmp_path: Path) -> None:
    assert claim_of(Torchtitan, tmp_path, saved("step-0")).step == 0


def test_state_beside_the_weights_may_resume(tmp_path: Path) -> None:
    tree = {**saved(), "step-1000/optimizer.pt": torch_zip()}
    assert claim_of(Torchtitan, tmp_path, tree).resumable is None


@pytest.mark.parametrize("name", ["step-1000-promoted", "step_1000", "step1000", "checkpoint-5"])
def test_other_names_are_not_claimed(tmp_path: Path, name: str) -> None:
    assert claims_of(Torchtitan, tmp_path, saved(name)) == {}


def test_levanter_is_not_claimed(tmp_path: Path) -> None:
    tree = {
        "step-1/metadata.json": b'{"step": 1, "timestamp": "2026-01-01", "is_temporary": false}',
        "step-1/model/weight/.zarray": b"{}",
    }
    assert claims_of(Torchtitan, tmp_path, tree) == {}


def test_data_of_dcp_makes_it_plain_dcp(tmp_path: Path) -> None:
    tree = {
        **saved(),
        "step-1000/.metadata": dcp_metadata({"__0_0.distcp": 1}),
        "step-1000/__0_0.distcp": b"x",
    }
    assert claims_of(Torchtitan, tmp_path, tree) == {}
    assert set(claims_of(TorchDcp, tmp_path)) == {"step-1000"}


def test_shards_of_ranks_that_are_not_consolidated_yet(tmp_path: Path) -> None:
    tree = {"step-5/sharded/shard-00001-model-00001-of-00001.safetensors": safetensors()}
    claim = claim_of(Torchtitan, tmp_path, tree)
    assert claim.missing == f"no {INDEX}, which is written last"
    assert (claim.marker, claim.expects_marker) == (None, True)


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        (["model-00002-of-00002.safetensors"], "no shard 2 of 2"),
        (list(SHARDS), "no .safetensors file"),
    ],
)
def test_a_shard_that_is_lost(tmp_path: Path, lost: list[str], words: str) -> None:
    tree = {path: data for path, data in saved().items() if path.split("/")[1] not in lost}
    assert claim_of(Torchtitan, tmp_path, tree).missing == words


@pytest.mark.parametrize("file", [INDEX, "model-00001-of-00002.safetensors"])
def test_an_empty_file(tmp_path: Path, file: str) -> None:
    assert claim_of(Torchtitan, tmp_path, {**saved(), f"step-1000/{file}": b""}).missing == (
        f"{file} is empty"
    )


def test_an_index_that_names_what_is_not_there(tmp_path: Path) -> None:
    tree = {**saved(), f"step-1000/{INDEX}": shard_index({**SHARDS, "more.safetensors": ["x"]})}
    (finding,) = findings_of(Torchtitan, tmp_path, tree)
    assert (finding.file, finding.code) == (f"step-1000/{INDEX}", "shard-missing")


def test_a_shard_beyond_those_that_names_count(tmp_path: Path) -> None:
    tree = {**saved(), "step-1000/model-00003-of-00002.safetensors": safetensors()}
    assert claims_of(Torchtitan, tmp_path, tree)["step-1000"].missing is None
