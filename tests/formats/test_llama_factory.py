"""LLaMA-Factory's v1 engine: its marker, what it writes under each strategy, whose name it shares."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptctl.formats._samples import dcp_metadata, safetensors, torch_zip
from ckptctl.formats.accelerate import Accelerate
from ckptctl.formats.hf_trainer import HfTrainer
from ckptctl.formats.llama_factory import LlamaFactory
from ckptctl.model import Unit
from tests.claims import Tree, claim_of, claims_of, findings_of, metadata_of


def saved(step: int, *, ranks: int = 2) -> dict[str, bytes | str]:
    tree: dict[str, bytes | str] = {
        "CHECKPOINT_COMPLETE": b"",
        "metadata.json": f'{{"global_step": {step}, "epoch": 1, "num_training_steps": 900}}',
        "model/config.json": b"{}",
        "model/model.safetensors": safetensors(),
        "optimizer/state_dict.pt": torch_zip(),
        "scheduler.pt": torch_zip(),
    }
    for rank in range(ranks):
        for folder in ("dataloader", "rng_state"):
            tree[f"{folder}/rank_{rank}.pt"] = torch_zip()
    return {f"checkpoint-{step}/{path}": content for path, content in tree.items()}


def fsdp(step: int) -> dict[str, bytes | str]:
    tree = without(saved(step), "/model/", "/optimizer/")
    for folder in ("model", "optimizer"):
        data = {f"__{rank}_0.distcp": torch_zip() for rank in (0, 1)}
        index = dcp_metadata({file: len(content) for file, content in data.items()})
        for file, content in {**data, ".metadata": index}.items():
            tree[f"checkpoint-{step}/{folder}/{file}"] = content
    return tree


def deepspeed(step: int) -> dict[str, bytes | str]:
    """Return what accelerate wrote for the engine."""
    tree = without(saved(step), "/model/", "/optimizer/", "/scheduler.pt", "/rng_state/")
    more = {f"random_states_{rank}.pkl": torch_zip() for rank in (0, 1)}
    more["pytorch_model/mp_rank_00_model_states.pt"] = torch_zip()
    for rank in (0, 1):
        more[f"pytorch_model/zero_pp_rank_{rank}_mp_rank_00_optim_states.pt"] = torch_zip()
    return {**tree, **{f"checkpoint-{step}/{path}": content for path, content in more.items()}}


def without(tree: Tree, *parts: str) -> dict[str, bytes | str]:
    return {p: content for p, content in tree.items() if not any(part in p for part in parts)}


@pytest.mark.parametrize("tree", [saved(500), fsdp(500), deepspeed(500), saved(500, ranks=1)])
def test_a_checkpoint(tmp_path: Path, tree: Tree) -> None:
    claim = claim_of(LlamaFactory, tmp_path, tree)
    assert (claim.step, claim.counts, claim.family) == (500, Unit.STEP, "checkpoint-#")
    assert (claim.missing, claim.resumable) == (None, True)
    assert claim.marker == claim.key_file == "checkpoint-500/CHECKPOINT_COMPLETE"
    assert claim.claims_sidecars == ("metadata.json",)
    said = metadata_of(LlamaFactory, tmp_path)
    assert (said.step, said.epoch, said.missing) == (500, 1, None)
    assert findings_of(LlamaFactory, tmp_path) == []


@pytest.mark.parametrize("other", [HfTrainer, Accelerate])
@pytest.mark.parametrize("tree", [saved(500), fsdp(500), deepspeed(500)])
@pytest.mark.parametrize("torn", [(), ("CHECKPOINT_COMPLETE",), ("CHECKPOINT_COMPLETE", "data")])
def test_nobody_else_claims_it(
    tmp_path: Path, other: type[HfTrainer | Accelerate], tree: Tree, torn: tuple[str, ...]
) -> None:
    left = without(tree, *torn)
    if "data" in torn:
        left = {path: c for path, c in tree.items() if path.endswith("metadata.json")}
    assert claims_of(other, tmp_path, left) == {}


@pytest.mark.parametrize(
    "tree",
    [
        {"checkpoint-5/trainer_state.json": b"{}", "checkpoint-5/CHECKPOINT_COMPLETE": b""},
        {"checkpoint-5/metadata.json": b'{"loss": 1}', "checkpoint-5/model.pt": torch_zip()},
        {"checkpoint-5-best/CHECKPOINT_COMPLETE": b""},
        {"checkpoint_5/CHECKPOINT_COMPLETE": b""},
        {"checkpoint-5/": b""},
    ],
)
def test_what_is_not_its_own(tmp_path: Path, tree: Tree) -> None:
    assert claims_of(LlamaFactory, tmp_path, tree) == {}


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("CHECKPOINT_COMPLETE", "no CHECKPOINT_COMPLETE, which is written last"),
        ("metadata.json", "no metadata.json"),
        ("/model/", "no weights in model/"),
        ("scheduler.pt", "no scheduler.pt"),
        ("dataloader/rank_1", "no dataloader/rank_1.pt"),
        ("rng_state/rank_0", "no rng_state/rank_0.pt"),
        ("rng_state", "no rng_state/rank_0.pt"),
    ],
)
def test_what_is_not_there(tmp_path: Path, lost: str, words: str) -> None:
    claim = claim_of(LlamaFactory, tmp_path, without(saved(500), lost))
    assert claim.missing == words


@pytest.mark.parametrize("lost", ["model/.metadata", "optimizer/.metadata"])
def test_what_fsdp_must_have(tmp_path: Path, lost: str) -> None:
    missing = claim_of(LlamaFactory, tmp_path, without(fsdp(500), lost)).missing
    assert missing is not None
    assert lost.replace("/", "/: no ") in missing


def test_a_rank_that_deepspeed_must_have(tmp_path: Path) -> None:
    tree = without(deepspeed(500), "zero_pp_rank_0")
    assert claim_of(LlamaFactory, tmp_path, tree).missing is not None


def test_without_an_optimizer_it_cannot_resume(tmp_path: Path) -> None:
    claim = claim_of(LlamaFactory, tmp_path, without(saved(500), "/optimizer/"))
    assert (claim.missing, claim.resumable) == (None, False)


def test_metadata_of_another_step(tmp_path: Path) -> None:
    tree = {**saved(500), "checkpoint-500/metadata.json": b'{"global_step": 400}'}
    assert metadata_of(LlamaFactory, tmp_path, tree).missing == "metadata.json is of step 400"


@pytest.mark.parametrize("content", [b"", b"{", b"[]"])
def test_metadata_that_cannot_be_understood(tmp_path: Path, content: bytes) -> None:
    tree = {**saved(500), "checkpoint-500/metadata.json": content}
    said = metadata_of(LlamaFactory, tmp_path, tree)
    assert said.missing == said.unread is not None
