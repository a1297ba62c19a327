"""What a link, a tracker or a checkpoint's own metadata names is kept, however it is spelled."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ckptctl.formats._samples import safetensors, torch_zip
from tests.program import Ckptctl
from tests.saved import names_left, save, steps_left
from tests.trees import make_tree, set_age


@pytest.mark.parametrize(
    "text",
    [
        "{tmp}/run/step_1.pt",
        "{tmp}/other/step_1.pt",  # another way to the same directory: /scratch for /lustre/scratch
        "../other/step_1.pt",
        "{tmp}/far/../run/step_1.pt",
        "{tmp}/pointer.pt",  # a link outside that comes back
        "here/step_1.pt",
        "here/here/../run/step_1.pt",
    ],
)
def test_a_link_that_leads_to_a_checkpoint_keeps_it(
    tmp_path: Path, ckptctl: Ckptctl, text: str
) -> None:
    run = save(tmp_path / "run", dict.fromkeys((1, 2, 3)))
    make_tree(tmp_path, {"other": "-> run", "far/": b"", "pointer.pt": "-> run/step_1.pt"})
    make_tree(run, {"here": "-> .", "good.pt": "-> " + text.format(tmp=tmp_path)})
    assert ckptctl("prune", "--keep-last", "1", run).code == 0
    assert steps_left(run) == [1, 3]


@pytest.mark.parametrize("text", ["{tmp}/step_1.pt", "../step_1.pt", "loop/step_1.pt", "step_9.pt"])
def test_a_link_that_leads_elsewhere_keeps_nothing(
    tmp_path: Path, ckptctl: Ckptctl, text: str
) -> None:
    run = save(tmp_path / "run", dict.fromkeys((1, 2, 3)))
    make_tree(run, {"loop": "-> loop", "good.pt": "-> " + text.format(tmp=tmp_path)})
    assert ckptctl("prune", "--keep-last", "1", run).code == 0
    assert steps_left(run) == [3]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("step_5", ["step_5.pt", "step_5.safetensors"]),  # either may be meant
        ("/elsewhere/step_5/", ["step_5.pt", "step_5.safetensors"]),
        ("model_1_rank_1", ["model_1_rank_0.pt", "model_1_rank_1.pt"]),
    ],
)
def test_a_tracker_that_leaves_the_suffix_out_keeps_all_that_it_may_mean(
    tmp_path: Path, ckptctl: Ckptctl, text: str, left: list[str]
) -> None:
    ranks = [f"model_{step}_rank_{rank}.pt" for step in (1, 2, 3) for rank in (0, 1)]
    files = dict.fromkeys([*ranks, *(f"step_{step}.pt" for step in (11, 12, 5))], torch_zip())
    weights = dict.fromkeys([f"step_{step}.safetensors" for step in (11, 12, 5)], safetensors("w"))
    run = make_tree(tmp_path / "run", {**files, **weights, "latest": text}, age=7200)
    assert ckptctl("prune", "--keep-last", "1", run).code == 0
    newest = [
        "latest",
        "model_3_rank_0.pt",
        "model_3_rank_1.pt",
        "step_12.pt",
        "step_12.safetensors",
    ]
    assert names_left(run) == sorted([*newest, *left])


def _trainer(run: Path, best: dict[int, str | None]) -> Path:
    """Write `checkpoint-N/`, each naming what was the best when it was saved."""
    for step, name in best.items():
        state = {"global_step": step, "log_history": [], "best_model_checkpoint": name}
        make_tree(
            run / f"checkpoint-{step}",
            {
                "model.safetensors": safetensors("w"),
                "optimizer.pt": torch_zip(),
                "trainer_state.json": json.dumps(state),
            },
        )
    set_age(run, 7200)
    return run


def test_only_the_newest_complete_one_says_which_is_the_best(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    best = {1: None, 2: None, 3: "out/checkpoint-1", 4: "/old/out/checkpoint-2"}
    run = _trainer(tmp_path / "run", best)
    assert ckptctl("prune", "--keep-last", "1", run).code == 0
    assert names_left(run) == ["checkpoint-2", "checkpoint-4"]


def test_one_whose_proof_fails_does_not_say_which_is_the_best(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    best = {1: None, 2: None, 3: "out/checkpoint-1", 4: "out/checkpoint-2"}
    run = _trainer(tmp_path / "run", best)
    os.truncate(run / "checkpoint-4" / "model.safetensors", 20)
    set_age(run, 7200)
    assert ckptctl("prune", "--keep-last", "1", run).code == 0
    assert names_left(run) == ["checkpoint-1", "checkpoint-3", "checkpoint-4"]


def test_another_training_in_the_directory_does_not_hide_what_is_the_best(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", dict.fromkeys((8, 9)))
    _trainer(run, {1: None, 2: None, 3: "out/checkpoint-1"})
    assert ckptctl("prune", "--keep-last", "1", run).code == 0
    assert names_left(run) == ["checkpoint-1", "checkpoint-3", "step_9.pt"]


def test_a_tracker_that_two_formats_read_is_told_once(tmp_path: Path, ckptctl: Ckptctl) -> None:
    states = {
        "mp_rank_00_model_states.pt": torch_zip(),
        "zero_pp_rank_0_mp_rank_00_optim_states.pt": torch_zip(),
    }
    run = make_tree(tmp_path / "run" / "global_step5", states).parent
    make_tree(run, {"latest": "../run/global_step5"}, age=7200)
    [found] = ckptctl("list", run, "--json").json["runs"][0]["checkpoints"]
    assert found["pointers"] == ["latest"]
