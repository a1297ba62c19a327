"""Layouts that trip other tools, as a user meets them: what `list` says and `prune` leaves.

They are those of formats.md, section 4; what its items say of one name or one file alone is tested
with its format.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.claims import Tree
from tests.layouts import (
    EXAMPLES,
    PT,
    by_rank,
    files,
    finished,
    grid,
    like,
    numbered,
    proto,
    shards,
    snapshot,
    without,
    zero3,
)
from tests.program import Ckptctl
from tests.saved import names_left
from tests.trees import make_tree, set_age

UNSAVED = "gpt--val_loss=1.00-step=300-consumed_samples=19200.0"
RAY = [f"checkpoint_2026-11-23_13-07-5{second}.5" for second in range(4)]
CKPT = [f"CKPT+2026-01-0{day}+03-04-05+00" for day in range(1, 4)]
NUMPY = b"""unixtime: 1767323045.5
WER: !!python/object/apply:numpy.core.multiarray.scalar
- !!python/object/apply:numpy.dtype {args: [f8, false, true]}
- !!binary |
  mpmZmZmZKEA=
"""


CASES: dict[str, tuple[Tree, set[str], set[str]]] = {
    # what lies there, what `list` calls incomplete, what `prune --keep-last 1` leaves of the names
    "Lightning's metrics, a version, and a nan": (
        files(
            "epoch=3-step=1000-val_loss=-1.5e-05-v1.ckpt",
            "epoch=0-step=0-val_loss=nan.ckpt",
            "epoch=4-step=2000-val_loss=0.5.ckpt",
        ),
        set(),
        {"epoch=4-step=2000-val_loss=0.5.ckpt"},
    ),
    "a slash in a metric's name": (
        files("epoch=1-val/loss=0.5.ckpt", "epoch=2-val/loss=0.4.ckpt"),
        set(),
        {"epoch=2-val"},
    ),
    "FSDP without meta.pt": (
        {
            **like("lightning-fsdp", "epoch=1-step=10.ckpt", "epoch=2-step=20.ckpt"),
            **without(like("lightning-fsdp", "epoch=3-step=30.ckpt"), "epoch=3-step=30.ckpt/meta.pt"),
        },
        {"epoch=3-step=30.ckpt"},
        {"epoch=2-step=20.ckpt", "epoch=3-step=30.ckpt"},
    ),
    "numbers that begin alike, and a user's copy": (
        like("hf-trainer", "checkpoint-5", "checkpoint-50", "checkpoint-500", "checkpoint-500-best"),
        set(),
        {"checkpoint-500", "checkpoint-500-best"},
    ),
    "ZeRO-3": ({**zero3(400), **zero3(500)}, set(), {"checkpoint-500"}),
    "a DeepSpeed grid with a hole": (
        {
            **grid("global_step100", 4, 2),
            **grid("global_step200", 4, 2),
            **without(
                grid("global_step300", 4, 2),
                "global_step300/zero_pp_rank_3_mp_rank_00_optim_states.pt",
            ),
            "latest": "global_step200",
        },
        {"global_step300"},
        {"global_step200", "global_step300", "latest"},
    ),
    "Megatron's tracker says release": (
        {
            **like("megatron", "iter_0001000", "iter_0002000", "release"),
            "latest_checkpointed_iteration.txt": "release",
        },
        set(),
        {"iter_0002000", "release", "latest_checkpointed_iteration.txt"},
    ),
    "an iteration that is a link": (
        {
            **like("megatron", "iter_0002000", "iter_0003000", "iter_0004000"),
            "iter_0001000": "-> iter_0002000",
            "latest_checkpointed_iteration.txt": "4000",
        },
        set(),
        {"iter_0001000", "iter_0002000", "iter_0004000", "latest_checkpointed_iteration.txt"},
    ),
    "Megatron Core without common.pt": (
        without(
            like("megatron", "iter_0001000", "iter_0002000"),
            "iter_0001000/common.pt",
            "iter_0002000/common.pt",
        ),
        set(),
        {"iter_0002000"},
    ),
    "NeMo's sign that one is unfinished": (
        {
            **like("nemo", UNSAVED),
            f"{UNSAVED}-unfinished": b"",
            **like("nemo", UNSAVED.replace("300", "100"), UNSAVED.replace("300", "200")),
        },
        {UNSAVED},
        {UNSAVED, f"{UNSAVED}-unfinished", UNSAVED.replace("300", "200")},
    ),
    "DCP where each rank commits, and one did not": (
        {**by_rank("step-1"), **by_rank("step-2"), **without(by_rank("step-3"), "step-3/__1.metadata")},
        {"step-3"},
        {"step-2", "step-3"},
    ),
    "Orbax's temporary names, and one that was never finalised": (
        {
            **like("orbax", "10", "20", "30.orbax-checkpoint-tmp", "40.orbax-checkpoint-tmp-1767323045"),
            **without(like("orbax", "50"), "50/commit_success.txt"),
            "10/_CHECKPOINT_METADATA": finished(5),
            "20/_CHECKPOINT_METADATA": finished(5),
            "50/_CHECKPOINT_METADATA": finished(None),
        },
        {"50"},
        {"20", "30.orbax-checkpoint-tmp", "40.orbax-checkpoint-tmp-1767323045", "50"},
    ),
    "TensorFlow without a shard, and one that left its list": (
        {
            **shards(1, 2, 3),
            **without(shards(4), "ckpt-4.data-00001-of-00002"),
            "checkpoint": proto("ckpt-2", "ckpt-3"),
        },
        {"ckpt-4"},
        {"checkpoint", *shards(3), "ckpt-4.index", "ckpt-4.data-00000-of-00002"},
    ),
    "detectron2 points to its best": (
        {**files("model_0004999.pth", "model_0009999.pth", "model_best.pth"), "last_checkpoint": "model_best.pth"},
        set(),
        {"model_0009999.pth", "model_best.pth", "last_checkpoint"},
    ),
    "MMEngine points to a path of another machine": (
        {**files("epoch_1.pth", "epoch_2.pth", "epoch_3.pth"), "last_checkpoint": "/data/x/epoch_1.pth"},
        set(),
        {"epoch_1.pth", "epoch_3.pth", "last_checkpoint"},
    ),
    "Ray's snapshot lists one that is not there": (
        {
            **files(*(f"{name}/model.pt" for name in RAY[:3])),
            "checkpoint_manager_snapshot.json": snapshot([RAY[0], RAY[1], RAY[3]]),
        },
        {RAY[2]},
        {*RAY[:3], "checkpoint_manager_snapshot.json"},
    ),
    "a husk of verl": (
        {
            **like("verl", "global_step_10", "global_step_20"),
            "global_step_5/data.pt": PT,
            "latest_checkpointed_iteration.txt": "20",
        },
        {"global_step_5"},
        {"global_step_5", "global_step_20", "latest_checkpointed_iteration.txt"},
    ),
    "NeMo-RL with the old copy only": (
        like("nemo-rl", "step_5", "old_step_10"),
        set(),
        {"old_step_10"},
    ),
    "SpeechBrain's YAML with numpy in it": (
        {**like("speechbrain", *CKPT), f"{CKPT[2]}/CKPT.yaml": NUMPY.replace(b"3045", b"9045")},
        set(),
        {CKPT[2]},
    ),
    "OLMo-core when half of one was deleted": (
        {**like("olmo-core", "step100", "step200"), **without(like("olmo-core", "step50"), "step50/.metadata.json")},
        {"step50"},
        {"step50", "step200"},
    ),
    "Stable-Baselines3's companions": (
        numbered("stable-baselines3", "1000", 1000, 2000),
        set(),
        set(numbered("stable-baselines3", "1000", 2000)),
    ),
    "AllenNLP without a training state": (
        files(*(f"{part}_state_e{n}_b0.th" for n in (0, 1) for part in ("model", "training")), "model_state_e2_b0.th"),
        {"model_state_e2_b0"},
        {"model_state_e1_b0.th", "training_state_e1_b0.th", "model_state_e2_b0.th"},
    ),
    "ESPnet's links": (
        {
            **files(*(f"{n}epoch.pth" for n in range(1, 5)), "checkpoint.pth", "valid.acc.ave_2best.pth"),
            "latest.pth": "-> 4epoch.pth",
            "valid.acc.best.pth": "-> 2epoch.pth",
            "valid.acc.ave.pth": "-> valid.acc.ave_2best.pth",
        },
        set(),
        {"2epoch.pth", "4epoch.pth", "checkpoint.pth", "latest.pth", "valid.acc.ave.pth", "valid.acc.ave_2best.pth", "valid.acc.best.pth"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_listed_and_pruned_as_it_should_be(
    tmp_path: Path, ckptctl: Ckptctl, case: str
) -> None:
    tree, incomplete, left = CASES[case]
    run = make_tree(tmp_path / "run", tree, age=7200)
    [listed] = ckptctl("list", run, "--json").json["runs"]
    states = {c["name"]: c["state"] for c in listed["checkpoints"]}
    assert {name for name, state in states.items() if state == "incomplete"} == incomplete
    assert set(states.values()) <= {"complete", "incomplete"}
    assert ckptctl("prune", "--keep-last", "1", run).code == 0
    assert names_left(run) == sorted(left)


def test_the_trainers_order_is_by_number_whatever_the_times_and_these_stay(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    """Transformers 5 deletes by the directory's time: where it changed, the wrong one goes next."""
    steps = (500, 100, 400, 200, 300)  # 100 is the second that was saved last
    run = make_tree(tmp_path / "run", like("hf-trainer", *(f"checkpoint-{n}" for n in steps)))
    for hours, step in enumerate(steps, 1):
        set_age(run / f"checkpoint-{step}", hours * 3600)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert ckptctl("prune", "--keep-last", "2", run).code == 0
    assert names_left(run) == ["checkpoint-100", "checkpoint-400", "checkpoint-500"]
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")}.items() <= before.items()


def test_a_flax_number_that_is_a_metric_orders_nothing(tmp_path: Path, ckptctl: Ckptctl) -> None:
    content = EXAMPLES["flax"]["checkpoint_1000"]
    names = [f"checkpoint_{value}" for value in ("-0.25", "0.5", "-1.5")]
    run = make_tree(tmp_path / "run", dict.fromkeys(names, content))
    for hours, name in enumerate(names, 2):
        set_age(run / name, hours * 3600)
    assert ckptctl("prune", "--keep-last", "1", run).code == 0
    assert names_left(run) == ["checkpoint_-0.25"]


def test_fairseqs_best_by_its_value_without_the_digit_that_breaks_ties(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    names = [
        f"checkpoint.best_loss_{value}.pt" for value in ("2.3007", "-0.1009", "nan1", "-0.2000")
    ]
    run = make_tree(tmp_path / "run", files(*names), age=7200)
    set_age(run / names[0], 3600)
    done = ckptctl("prune", "--keep-best", "1", "--metric", "loss", run, "--json")
    metrics = {d["checkpoint"]["name"]: d["checkpoint"]["metrics"]["loss"] for d in done.json["runs"][0]["decisions"]}  # fmt: skip
    assert list(map(metrics.get, (name.removesuffix(".pt") for name in names))) == [2.3, -0.1, "nan", -0.2]  # fmt: skip
    assert names_left(run) == sorted([names[0], names[3]])


def test_timms_three_names_of_one_file(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = make_tree(tmp_path / "run", files(*(f"checkpoint-{n}.pth.tar" for n in range(3))))
    os.link(run / "checkpoint-0.pth.tar", run / "model_best.pth.tar")
    os.link(run / "checkpoint-2.pth.tar", run / "last.pth.tar")
    set_age(run, 7200)
    done = ckptctl("prune", "--keep-last", "1", run, "--json")
    alone = 4096 * (len(PT) // 4096 + 1)
    assert (done.code, done.json["freed_bytes"]) == (0, alone)  # only checkpoint-1 had one name
    assert names_left(run) == ["checkpoint-2.pth.tar", "last.pth.tar", "model_best.pth.tar"]
    assert (run / "model_best.pth.tar").read_bytes() == PT


@pytest.mark.parametrize(
    ("framework", "top", "file"),
    [
        ("hf-trainer", "checkpoint-500", "model.safetensors"),
        ("hf-trainer", "checkpoint-500", "optimizer.pt"),
        ("lightning-fsdp", "epoch=3-step=1000.ckpt", "meta.pt"),
        ("lightning-deepspeed", "epoch=3-step=1000.ckpt", "checkpoint/mp_rank_00_model_states.pt"),
    ],
)
def test_an_empty_file_of_states_is_seen_without_opening_it(
    tmp_path: Path, ckptctl: Ckptctl, framework: str, top: str, file: str
) -> None:
    run = make_tree(tmp_path / "run", {**like(framework, top), f"{top}/{file}": b""}, age=7200)
    [found] = ckptctl("list", run, "--json").json["runs"][0]["checkpoints"]
    assert found["state"] == "incomplete"
    assert found["problems"][0] == {"code": "incomplete", "text": f"{file} is empty"}
