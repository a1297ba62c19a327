from __future__ import annotations

from pathlib import Path

import pytest

from ckptctl.formats._samples import safetensors
from ckptctl.formats.safetensors_file import SafetensorsFile
from ckptctl.model import Kind
from tests.claims import claim_of, claims_of, findings_of

ST = safetensors()


def test_a_file_with_a_step(tmp_path: Path) -> None:
    claim = claim_of(SafetensorsFile, tmp_path, {"step_1000.safetensors": ST})
    assert (claim.format, claim.kind, claim.name) == ("safetensors", Kind.FILE, "step_1000")
    assert (claim.step, claim.family) == (1000, "step_#.safetensors")


def test_shards_with_a_step_are_a_group(tmp_path: Path) -> None:
    files = {f"model_1000-{at:05}-of-00004.safetensors": ST for at in (1, 2, 3, 4)}
    claim = claim_of(SafetensorsFile, tmp_path, files)
    assert (claim.kind, claim.step, claim.missing) == (Kind.GROUP, 1000, None)
    assert claim.key_file == "model_1000-00001-of-00004.safetensors"
    (tmp_path / "model_1000-00001-of-00004.safetensors").unlink()
    torn = claim_of(SafetensorsFile, tmp_path)
    assert torn.missing == "shard 1 of 4 is not there"
    assert torn.key_file == "model_1000-00002-of-00004.safetensors"


@pytest.mark.parametrize(
    "file",
    ["model.safetensors", "model-00001-of-00004.safetensors", "adapter_model.safetensors",
     "lora_64.safetensors", "step_5.pt", "best.safetensors.json"],
)  # fmt: skip
def test_a_final_model_is_none(tmp_path: Path, file: str) -> None:
    assert not claims_of(SafetensorsFile, tmp_path, {file: ST})


def test_proof(tmp_path: Path) -> None:
    assert not findings_of(SafetensorsFile, tmp_path, {"step_5.safetensors": ST})
    (finding,) = findings_of(SafetensorsFile, tmp_path, {"step_5.safetensors": ST[:-1]})
    assert finding.code == "torn"
    assert "its header says" in finding.text
