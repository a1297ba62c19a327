"""verl: which steps are its own, which ranks and roles they must have, what its tracker names."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptctl.formats._base import Pointer
from ckptctl.formats._samples import dcp_metadata, torch_zip
from ckptctl.formats.megatron import Megatron
from ckptctl.formats.verl import TRACKER, Verl
from ckptctl.group import look
from ckptctl.known import known_formats
from ckptctl.model import Unit
from tests.claims import Tree, claim_of, claims_of, findings_of, opened, pointers_of
from tests.trees import make_tree, set_age

PT = torch_zip()


def ranks(
    place: str, world: int, kinds: tuple[str, ...] = ("model", "optim", "extra_state")
) -> Tree:
    return {f"{place}/{k}_world_size_{world}_rank_{r}.pt": PT for k in kinds for r in range(world)}


def ppo(step: int, *roles: str, world: int = 2) -> dict[str, bytes | str]:
    tree: dict[str, bytes | str] = {f"global_step_{step}/data.pt": PT}
    for role in roles:
        tree |= ranks(f"global_step_{step}/{role}", world)
        tree |= {f"global_step_{step}/{role}/huggingface/config.json": b"{}"}
    return tree


def megatron(step: int) -> dict[str, bytes | str]:
    place = f"global_step_{step}/actor"
    return {
        f"{place}/dist_ckpt/.metadata": dcp_metadata({"__0_0.distcp": len(PT)}),
        f"{place}/dist_ckpt/__0_0.distcp": PT,
        f"{place}/dist_ckpt/common.pt": PT,
        f"{place}/dist_ckpt/metadata.json": b'{"sharded_backend": "torch_dist"}',
        f"{place}/huggingface/config.json": b"{}",
        f"{place}/transformer_config.json": b"{}",
        f"global_step_{step}/data.pt": PT,
    }


def test_an_actor_and_a_critic(tmp_path: Path) -> None:
    claim = claim_of(Verl, tmp_path, ppo(100, "actor", "critic"))
    assert (claim.name, claim.step, claim.counts, claim.family) == (
        "global_step_100",
        100,
        Unit.STEP,
        "global_step_#",
    )
    assert claim.key_file == "global_step_100/actor/model_world_size_2_rank_0.pt"
    assert (claim.missing, claim.resumable, claim.problems) == (None, True, ())
    assert findings_of(Verl, tmp_path) == []


def test_the_one_model_of_sft(tmp_path: Path) -> None:
    tree = {
        **ranks("global_step_5", 12),
        "global_step_5/data_0.pt": PT,
        "global_step_5/data_1.pt": PT,
    }
    claim = claim_of(Verl, tmp_path, tree)
    assert (claim.missing, claim.resumable) == (None, True)
    assert claim.key_file == "global_step_5/model_world_size_12_rank_0.pt"


def test_megatron_inside(tmp_path: Path) -> None:
    claim = claim_of(Verl, tmp_path, megatron(7))
    assert (claim.missing, claim.resumable) == (None, None)
    assert claim.key_file == "global_step_7/actor/dist_ckpt/metadata.json"
    assert findings_of(Verl, tmp_path) == []


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("metadata.json", "actor/dist_ckpt/: no metadata.json, which is written last"),
        (".metadata", "actor/dist_ckpt/: no .metadata, which is written last"),
        ("__0_0.distcp", "actor/dist_ckpt/: no .distcp file"),
    ],
)
def test_what_megatron_must_have(tmp_path: Path, lost: str, words: str) -> None:
    tree = megatron(7)
    del tree[f"global_step_7/actor/dist_ckpt/{lost}"]
    assert claim_of(Verl, tmp_path, tree).missing == words


@pytest.mark.parametrize(
    "name",
    ["global_step_5-best", "global_step_5.bak", "global_step5", "backup_global_step_5", "step_5"],
)  # fmt: skip
def test_other_names_are_not_claimed(tmp_path: Path, name: str) -> None:
    tree = {path.replace("global_step_5", name): data for path, data in ppo(5, "actor").items()}
    assert claims_of(Verl, tmp_path, tree) == {}


@pytest.mark.parametrize(
    "tree",
    [
        {"global_step_5/model.pt": PT},
        {"global_step_5/mp_rank_00_model_states.pt": PT},
        {"global_step_5/data.pt": PT, "global_step_5/unet/model.pt": PT},
    ],
)
def test_a_name_alone_is_not_enough(tmp_path: Path, tree: Tree) -> None:
    assert claims_of(Verl, tmp_path, tree) == {}


@pytest.mark.parametrize("lost", range(3))
@pytest.mark.parametrize("kind", ["model", "optim", "extra_state"])
def test_the_name_says_how_many_ranks_there_are(tmp_path: Path, kind: str, lost: int) -> None:
    tree = ppo(5, "actor", "critic", world=3)
    gone = f"{kind}_world_size_3_rank_{lost}.pt"
    del tree[f"global_step_5/critic/{gone}"]
    assert claim_of(Verl, tmp_path, tree).missing == f"critic/: no {gone}"


def test_enormous_numbers_in_a_name_cost_nothing(tmp_path: Path) -> None:
    big = 10**40
    tree = {f"global_step_5/actor/model_world_size_{big}_rank_{big}.pt": PT}
    assert claim_of(Verl, tmp_path, tree).missing == f"actor/: no model_world_size_{big}_rank_0.pt"


def test_weights_alone_cannot_resume(tmp_path: Path) -> None:
    tree = {**ranks("global_step_5/actor", 2, ("model",)), "global_step_5/data.pt": PT}
    claim = claim_of(Verl, tmp_path, tree)
    assert (claim.missing, claim.resumable) == (None, False)


def test_the_husk_that_verl_leaves_is_no_checkpoint(tmp_path: Path) -> None:
    tree = {"global_step_5/data.pt": PT, **ppo(10, "actor")}
    found = claims_of(Verl, tmp_path, tree)
    assert found["global_step_5"].missing is not None
    assert "husk" in found["global_step_5"].missing
    assert found["global_step_5"].key_file == "global_step_5/data.pt"
    assert found["global_step_10"].missing is None


def test_a_critic_that_verl_has_deleted(tmp_path: Path) -> None:
    tree = {**ppo(5, "actor"), **ppo(10, "actor"), **ppo(15, "actor", "critic"), TRACKER: b"15"}
    found = claims_of(Verl, tmp_path, tree)
    said = "no critic/, which others of its family have"
    assert [found[f"global_step_{s}"].missing for s in (5, 10, 15)] == [said, said, None]


def test_an_actor_that_verl_has_deleted(tmp_path: Path) -> None:
    claim = claim_of(Verl, tmp_path, ppo(5, "critic"))
    assert claim.missing == "no actor/, without which verl cannot go on"


def test_a_kind_of_file_that_the_steps_around_have(tmp_path: Path) -> None:
    tree = {**ppo(5, "actor", world=1), **ppo(10, "actor", world=1), **ppo(15, "actor", world=1)}
    del tree["global_step_10/actor/optim_world_size_1_rank_0.pt"]
    found = claims_of(Verl, tmp_path, tree)
    said = "no actor/optim, which the steps around it have"
    assert [found[f"global_step_{s}"].missing for s in (5, 10, 15)] == [None, said, None]


def test_the_state_of_the_data_comes_after_the_models(tmp_path: Path) -> None:
    tree = ppo(5, "actor")
    del tree["global_step_5/data.pt"]
    claim = claim_of(Verl, tmp_path, tree)
    assert claim.missing == "no data.pt or data_N.pt, which is written after the models"


@pytest.mark.parametrize("age", [0, 200])
def test_a_larger_run_before_left_ranks(tmp_path: Path, age: int) -> None:
    """The ranks that were written last count, whether they are more or fewer."""
    tree = {**ppo(5, "actor", world=2), **ranks("global_step_5/actor", 4)}
    make_tree(tmp_path, tree)
    for path in tmp_path.rglob("*_world_size_2_*"):
        set_age(path, 100)
    for path in tmp_path.rglob("*_world_size_4_*"):
        set_age(path, age)
    claim = claim_of(Verl, tmp_path)
    assert claim.missing is None
    world = 4 if age == 0 else 2
    assert claim.key_file.endswith(f"model_world_size_{world}_rank_0.pt")
    assert [problem.code for problem in claim.problems] == ["leftover-rank"]


@pytest.mark.parametrize(
    ("tracker", "age", "whole"),
    [(b"10", 50, True), (b"5", 50, False), (b"5", 0, True), (b"x", 50, True), (None, 0, True)],
)
def test_a_step_after_the_one_that_the_tracker_names(
    tmp_path: Path, tracker: bytes | None, age: int, whole: bool
) -> None:
    make_tree(tmp_path, {**ppo(5, "actor"), **ppo(10, "actor")}, age=20)
    if tracker is not None:
        make_tree(tmp_path, {TRACKER: tracker})
        set_age(tmp_path / TRACKER, age)
    found = claims_of(Verl, tmp_path)
    assert found["global_step_5"].missing is None
    assert (found["global_step_10"].missing is None) is whole


def test_the_tracker_is_megatrons_or_verls_by_what_lies_beside_it(tmp_path: Path) -> None:
    make_tree(tmp_path, {**ppo(5, "actor"), TRACKER: b"5\n"})
    assert pointers_of(Verl, tmp_path) == [Pointer(TRACKER, "global_step_5")]
    assert pointers_of(Megatron, tmp_path) == []
    other = tmp_path / "other"
    make_tree(other, {**Megatron.example})
    assert pointers_of(Verl, other) == []


def test_a_tracker_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    make_tree(tmp_path, ppo(5, "actor"))
    (tmp_path / TRACKER).write_bytes(b"5")
    with opened(tmp_path) as (folder, store):
        (tmp_path / TRACKER).unlink()
        (tmp_path / TRACKER).mkdir()
        found = look(folder, store, known_formats())
        assert [item.name for item in found.items] == ["global_step_5"]
        assert any(TRACKER in text for text in found.unread)


@pytest.mark.parametrize("path", sorted(p for p in ppo(5, "actor", "critic") if p.endswith(".pt")))
def test_every_member_that_is_lost_or_torn_shows(tmp_path: Path, path: str) -> None:
    tree = ppo(5, "actor", "critic")
    lost = {other: data for other, data in tree.items() if other != path}
    assert claim_of(Verl, tmp_path / "lost", lost).missing is not None
    assert claim_of(Verl, tmp_path / "empty", {**tree, path: b""}).missing is not None
    (finding,) = findings_of(Verl, tmp_path / "cut", {**tree, path: PT[:-9]})
    assert (finding.file, finding.code) == (path, "torn")
