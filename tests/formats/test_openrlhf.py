"""OpenRLHF: which tags are its own, what the two roots of a PPO checkpoint must have, its metric."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from ckptctl.annotate import Beside, annotate
from ckptctl.decision import Context
from ckptctl.formats._base import Pointer
from ckptctl.formats._samples import torch_zip
from ckptctl.formats.deepspeed import DeepSpeed
from ckptctl.formats.openrlhf import OpenRlhf
from ckptctl.group import look, runs_below
from ckptctl.known import known_formats
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Kind, Run, State, Unit
from tests.claims import Tree, claim_of, claims_of, metadata_of, opened, pointers_of
from tests.trees import make_tree, set_age

PT = torch_zip()
METRIC = b'{"metric_key": "eval_acc", "metric_value": 0.5}'


def tag(name: str, metric: bytes | None = METRIC, dp: int = 2) -> dict[str, bytes | str]:
    tree: dict[str, bytes | str] = {f"{name}/mp_rank_00_model_states.pt": PT}
    tree |= {f"{name}/zero_pp_rank_{d}_mp_rank_00_optim_states.pt": PT for d in range(dp)}
    return tree if metric is None else {**tree, f"{name}/metric.json": metric}


def ppo(*steps: int, prefix: str = "") -> dict[str, bytes | str]:
    tree: dict[str, bytes | str] = {}
    for root in ("_actor", "_critic"):
        for step in steps:
            tree |= tag(f"{root}/{prefix}global_step{step}")
        tree[f"{root}/latest"] = f"{prefix}global_step{steps[-1]}"
    return tree


def run_of(root: Path) -> Run:
    with opened(root) as (folder, store):
        found = look(folder, store, known_formats(), root.name)
        late = Context(now_ns=4_000_000_000 * 10**9)
        return annotate(found, "run", str(root), store, Beside(), late)


def one(root: Path) -> Checkpoint:
    (checkpoint,) = run_of(root).checkpoints
    return checkpoint


def test_a_tag_in_the_run_itself(tmp_path: Path) -> None:
    claim = claim_of(OpenRlhf, tmp_path, {**tag("global_step5"), "latest": b"global_step5"})
    assert (claim.step, claim.counts, claim.family) == (5, Unit.STEP, "global_step#")
    assert claim.key_file == "global_step5/mp_rank_00_model_states.pt"
    assert (claim.missing, claim.resumable, claim.named) == (None, True, False)
    assert dict(metadata_of(OpenRlhf, tmp_path).metrics) == {"eval_acc": 0.5}
    assert pointers_of(OpenRlhf, tmp_path) == [Pointer("latest", "global_step5")]


def test_the_best_belongs_to_its_trainer(tmp_path: Path) -> None:
    tree = {**tag("global_step5"), **tag("best_global_step10"), "latest": b"best_global_step10"}
    found = claims_of(OpenRlhf, tmp_path, tree)
    best = found["best_global_step10"]
    assert (best.named, best.step, best.family) == (True, None, "best_global_step#")
    assert not found["global_step5"].named
    assert run_of(tmp_path).checkpoints[0].pointers == ("latest",)


def test_tags_of_deepspeed_alone_are_its_own(tmp_path: Path) -> None:
    ours, others = tmp_path / "ours", tmp_path / "others"
    make_tree(ours, {**tag("global_step5", None), **tag("global_step10")})
    make_tree(others, {**tag("global_step5", None), **tag("global_step10", None)})
    assert (set(claims_of(OpenRlhf, ours)), claims_of(OpenRlhf, others)) == (
        {"global_step5", "global_step10"},
        {},
    )
    assert (claims_of(DeepSpeed, ours), set(claims_of(DeepSpeed, others))) == (
        {},
        {"global_step5", "global_step10"},
    )


@pytest.mark.parametrize(
    "name",
    ["global_step5_hf", "global_step_5", "best_5", "best", "global_step5.bak", "my_global_step5"],
)  # fmt: skip
def test_other_names_are_not_claimed(tmp_path: Path, name: str) -> None:
    tree = {**tag("global_step1"), **tag(name)}
    assert set(claims_of(OpenRlhf, tmp_path, tree)) == {"global_step1"}


@pytest.mark.parametrize("tree", [{"_actor/model.pt": PT}, {"_actor/step_5/model.pt": PT}])
def test_a_directory_of_that_name_is_not_enough(tmp_path: Path, tree: Tree) -> None:
    assert claims_of(OpenRlhf, tmp_path, tree) == {}


def test_two_roots_are_one_checkpoint(tmp_path: Path) -> None:
    make_tree(tmp_path, ppo(5))
    checkpoint = one(tmp_path)
    assert (checkpoint.name, checkpoint.format, checkpoint.kind) == (
        "global_step5",
        "openrlhf",
        Kind.DIRECTORY,
    )
    assert checkpoint.roots == ("_actor/global_step5", "_critic/global_step5")
    assert checkpoint.member == "_actor/global_step5"
    assert checkpoint.path == str(tmp_path / "_actor/global_step5")
    assert set(checkpoint.files) == {path for path in ppo(5) if not path.endswith("latest")}
    assert checkpoint.bytes == sum(
        len(content) for path, content in ppo(5).items() if not path.endswith("latest")
    )
    assert (checkpoint.state, checkpoint.resumable) == (State.COMPLETE, True)
    assert checkpoint.metrics == {"eval_acc": 0.5}
    assert set(checkpoint.pointers) == {"_actor/latest", "_critic/latest"}


def test_an_actor_alone_is_whole_where_there_is_no_critic(tmp_path: Path) -> None:
    make_tree(tmp_path, {path: data for path, data in ppo(5, 10).items() if "critic" not in path})
    assert {c.name: (c.state, c.roots) for c in run_of(tmp_path).checkpoints} == {
        f"global_step{step}": (State.COMPLETE, (f"_actor/global_step{step}",)) for step in (5, 10)
    }


@pytest.mark.parametrize("root", ["_actor", "_critic"])
def test_the_other_half_is_lost(tmp_path: Path, root: str) -> None:
    tree = {p: d for p, d in ppo(5, 10).items() if not p.startswith(f"{root}/global_step5/")}
    found = claims_of(OpenRlhf, tmp_path, tree)
    assert found["global_step5"].missing == f"no {root}/global_step5/, the other half of it"
    assert found["global_step10"].missing is None


def test_the_best_of_ppo_has_two_roots_too(tmp_path: Path) -> None:
    tree = {**ppo(5), **ppo(10, prefix="best_")}
    found = claims_of(OpenRlhf, tmp_path, tree)
    assert found["best_global_step10"].named
    assert found["best_global_step10"].members == (
        "_actor/best_global_step10",
        "_critic/best_global_step10",
    )


def test_nothing_beside_the_roots_is_a_run(tmp_path: Path) -> None:
    make_tree(tmp_path, {f"ppo/{path}": data for path, data in ppo(5).items()})
    with opened(tmp_path) as (folder, store):
        found = list(runs_below(folder, store, known_formats(), deep=True))
    assert [one.folder.path for one in found] == ["ppo"]


def test_a_link_guards_what_it_names_in_a_root(tmp_path: Path) -> None:
    make_tree(tmp_path, {**ppo(5, 10), "mine": "-> _critic/global_step5", "_actor/x": "-> latest"})
    found = {c.name: set(c.pointers) for c in run_of(tmp_path).checkpoints}
    assert found == {"global_step5": {"mine"}, "global_step10": {"_actor/latest", "_critic/latest"}}


@pytest.mark.parametrize("root", ["_actor", "_critic"])
@pytest.mark.parametrize("age", [5, 50])
def test_a_tag_after_the_one_that_latest_names(tmp_path: Path, root: str, age: int) -> None:
    make_tree(tmp_path, ppo(5, 10), age=20)
    (tmp_path / root / "latest").write_text("global_step5")
    set_age(tmp_path / root / "latest", age)
    found = claims_of(OpenRlhf, tmp_path)
    late = f"{root}/latest, which is written last, names global_step5 and was not updated after it"
    assert found["global_step10"].missing == (late if age == 50 else None)
    assert found["global_step5"].missing is None


def test_a_rank_that_others_have(tmp_path: Path) -> None:
    tree = ppo(5, 10, 15)
    del tree["_critic/global_step10/zero_pp_rank_1_mp_rank_00_optim_states.pt"]
    found = claims_of(OpenRlhf, tmp_path, tree)
    assert found["global_step10"].missing is not None
    assert "_critic/global_step10" not in (found["global_step5"].missing or "")
    assert found["global_step5"].missing is found["global_step15"].missing is None


def test_a_metric_that_the_tags_around_have(tmp_path: Path) -> None:
    tree = {**tag("global_step5"), **tag("global_step10", None), **tag("global_step15")}
    found = claims_of(OpenRlhf, tmp_path, tree)
    said = "no metric.json, which the tags around it have"
    assert [found[f"global_step{s}"].missing for s in (5, 10, 15)] == [None, said, None]


@pytest.mark.parametrize("path", sorted(p for p in ppo(5) if p.endswith((".pt", ".json"))))
def test_empty_files(tmp_path: Path, path: str) -> None:
    claim = claim_of(OpenRlhf, tmp_path, {**ppo(5), path: b""})
    root, name, file = path.split("/")
    assert claim.missing == f"{root}/{name}/: {file} is empty"


@pytest.mark.parametrize(
    ("content", "metrics"),
    [
        (b'{"metric_key": null, "metric_value": null}', {}),
        (b'{"metric_key": "acc", "metric_value": null}', {}),
        (b'{"metric_key": "acc", "metric_value": true}', {}),
        (b'{"metric_key": 5, "metric_value": 0.5}', {}),
        (b'{"metric_key": "acc", "metric_value": -Infinity}', {"acc": -math.inf}),
        (b"{}", {}),
    ],
)
def test_metrics(tmp_path: Path, content: bytes, metrics: dict[str, float]) -> None:
    said = metadata_of(OpenRlhf, tmp_path, tag("global_step5", content))
    assert (dict(said.metrics), said.unread) == (metrics, None)


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff", b'{"a": ' + b"[" * 5000])
def test_a_metric_that_cannot_be_understood_is_unread(tmp_path: Path, content: bytes) -> None:
    said = metadata_of(OpenRlhf, tmp_path, tag("global_step5", content))
    assert said.unread is not None
    assert said.unread.startswith("global_step5/metric.json cannot be understood")


@pytest.mark.parametrize("closed", ["_critic", "_critic/global_step10"])
def test_what_cannot_be_read_of_a_root_is_an_error(tmp_path: Path, closed: str) -> None:
    make_tree(tmp_path, ppo(5))
    shut = Folder(closed, error="Permission denied", forbidden=True)
    with opened(tmp_path) as (folder, store):
        critic = folder.folders["_critic"]
        beside = {**critic.folders, "global_step10": shut}
        critic = shut if closed == "_critic" else replace(critic, folders=beside)
        seen = replace(folder, folders={**folder.folders, "_critic": critic})
        with pytest.raises(OSError, match="Permission denied"):
            list(OpenRlhf().find(seen, store))
