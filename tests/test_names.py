"""The grammar of names, word by word from section 3 of the contract."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptctl import names
from ckptctl.model import Unit
from ckptctl.units import parse_time

WORDS = (
    "step", "steps", "global_step", "iter", "iters", "iteration", "update", "updates", "ckpt",
    "checkpoint", "snapshot",
)  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("separator", ["", "_", "-", "=", "."])
@pytest.mark.parametrize("shape", ["{}", "llm_{}", "{}_ema", "x-{}.y", "2b-{}"])
def test_a_step_comes_after_a_step_word(word: str, separator: str, shape: str) -> None:
    said = names.parse(shape.format(f"{word}{separator}0100"), file=False)
    assert (said.step, said.epoch, said.counts) == (100, None, Unit.STEP)


@pytest.mark.parametrize("word", ["epoch", "epochs", "ep", "Epoch"])
@pytest.mark.parametrize("separator", ["", "_", "-", "="])
def test_an_epoch_comes_after_an_epoch_word(word: str, separator: str) -> None:
    said = names.parse(f"net_{word}{separator}07", file=False)
    assert (said.step, said.epoch, said.counts) == (None, 7, Unit.EPOCH)


@pytest.mark.parametrize(
    ("stem", "step", "epoch"),
    [
        ("epoch=3-step=1000", 1000, 3),
        ("step100epoch5", 100, 5),
        ("ckpt_epoch_5", None, 5),
        ("checkpoint-1-step-2", 2, None),  # of several the last counts
        ("epoch_1_of_run_epoch_9", None, 9),
        ("step_1000.0", 1000, None),
        ("step_0", 0, None),
        ("step_5_2024-01-31", 5, None),
        ("20240131_step_5", 5, None),
        ("step_100000000000000000000", 10**20, None),
        ("model_step_5_rank_0", 5, None),
    ],
)
def test_which_of_several_numbers_counts(stem: str, step: int | None, epoch: int | None) -> None:
    said = names.parse(stem, file=False)
    assert (said.step, said.epoch) == (step, epoch)


@pytest.mark.parametrize(
    ("stem", "step"),
    [
        ("model_1000", 1000),
        ("model1000", 1000),
        ("net-0007", 7),
        ("optimizer_state_1000", 1000),
        ("optim.1000", 1000),
        ("weights_5-v2", 5),
        ("model_ema_1000", 1000),
        ("scheduler_9", 9),
        ("G_100", 100),
        ("net_D_100", 100),
        ("generator_3", 3),
        ("discriminator_3", 3),
        ("model_1000_rank_3", 1000),
        ("rank0_model_1000", 1000),
        ("model_1000-00001-of-00004", 1000),
    ],
)
def test_a_number_that_ends_the_name_of_a_part_is_a_step_of_a_file_only(
    stem: str, step: int
) -> None:
    assert names.parse(stem, file=True).step == step
    assert not names.parse(stem, file=False).numbered


NONE = [
    "exp_12", "version_3", "fold_1", "resnet_50", "train_000001", "sample_17", "1000", "unet",
    "vocab", "model-00001-of-00004", "model", "model-v1", "g_100", "netG_100", "unet_5", "layer_5",
    "2024-01-31", "20240131", "checkpoint_20240131", "checkpoint-2024-01-31", "model_20240131",
    "snapshot_2024-01", "ckpt_31.01.2024", "checkpoint_01-31-2024", "checkpoint-24-01-31",
    "ckpt_2024-01-31_12-30-45", "ckpt+2024-01-31+12-30-45+00", "iter_20240131T123045Z",
    "model_20240131_1000", "checkpoint_0.95", "checkpoint-7B", "step_10k", "step_1e5", "ckpt_1.5",
    "timestep_5", "substep5", "nep_5", "step", "step_", "epoch", "rank_0", "part_3", "shard-00001",
    "model_1000_final_x", "model_0.5", "model_1_2", "step_5-of-10", "v1.2.3", "llama-7b", "step_-5",
]  # fmt: skip


@pytest.mark.parametrize("stem", NONE)
def test_any_other_number_is_none(stem: str) -> None:
    assert not names.parse(stem, file=True).numbered, stem


@pytest.mark.parametrize(
    ("stem", "ranks", "shard"),
    [
        ("step_5_rank_3", (3,), None),
        ("step_5-rank0", (0,), None),
        ("shard-2_step_5", (2,), None),
        ("step_5.part01", (1,), None),
        ("dp_rank_1_mp_rank_02_step_5", (1, 2), None),
        ("step_5-00001-of-00004", (), (1, 4)),
        ("step_5_rank_0-00002-of-00004", (0,), (2, 4)),
        ("step_5_frank_3", (), None),
        ("step_5_rank_0.5", (), None),
        ("step_5_world_8", (), None),
    ],
)
def test_ranks_and_shards(stem: str, ranks: tuple[int, ...], shard: tuple[int, int] | None) -> None:
    said = names.parse(stem, file=True)
    assert (said.step, said.ranks, said.shard) == (5, ranks, shard)
    assert len(said.rank_words) == len(ranks)


@pytest.mark.parametrize(
    ("stem", "family"),
    [
        ("step_1000", "step_#"),
        ("epoch=3-step=1000-val_loss=1.5e-05", "epoch=#-step=#-val_loss=#"),
        ("epoch=3-step=1000-v1", "epoch=#-step=#"),
        ("epoch=3-val_loss=-0.5", "epoch=#-val_loss=#"),
        ("epoch=3-val_loss=0", "epoch=#-val_loss=#"),
        ("epoch=3-val_loss=nan", "epoch=#-val_loss=#"),
        ("epoch=3-val_loss=-inf", "epoch=#-val_loss=#"),
        ("step_5_loss_0.25", "step_#_loss_#"),
        ("step_5_loss-0.25", "step_#_loss-#"),
        ("step_5_loss--0.25", "step_#_loss-#"),
        ("step_5_loss0.25", "step_#_loss#"),
        ("step_5_loss.25", "step_#_loss#"),
        ("step_5-top1=0.75", "step_#-top1=#"),
        ("step_5_top5_0.75", "step_#_top5_#"),
        ("step_5_acc=95", "step_#_acc=95"),  # an integer is no metric value
        ("step_5_acc_0", "step_#_acc_0"),  # a bare 0 is one right after `word=` alone
        ("exp12_step_5", "exp12_step_#"),
        ("llama-7b_step_5", "llama-7b_step_#"),
        ("resnet_50_epoch_3", "resnet_50_epoch_#"),
        ("step_5_2024-01-31", "step_#_#"),
        ("run_20240131_123045_step_5", "run_#_step_#"),
        ("step_5_rank_3", "step_#_rank_#"),
        ("step_5-00001-of-00004", "step_#-#"),
        ("model_1000", "model_#"),
        ("step_5-0a1b2c3d", "step_#-#"),
        ("step_5-deadbeef", "step_#-deadbeef"),
        ("step_5-12345678", "step_#-12345678"),
        ("consumed_samples=6400.0-step=5", "consumed_samples=#-step=#"),
        ("model.400", "model.#"),  # the dot is no decimal point of a number that is a step
        ("model400", "model#"),
        ("step.6", "step.#"),
        ("epoch.7-val0.5", "epoch.#-val#"),
        ("ckpt.20240131-step.6", "ckpt.#-step.#"),
        ("step_5.rank.3", "step_#.rank.#"),
        ("step=1000.0-top1=0.75", "step=#-top1=#"),
        ("step_14_lossnan", "step_#_loss#"),
        ("step_14_val_lossNaN-v1", "step_#_val_loss#"),
        ("step_14_pplinf", "step_#_ppl#"),
        ("step_14_finan", "step_#_finan"),
        ("step_14_model_info", "step_#_model_info"),
        ("step_14_lossinfo", "step_#_lossinfo"),
        ("step_14_finan_0.5", "step_#_finan_#"),
    ],
)
def test_families(stem: str, family: str) -> None:
    said = names.parse(stem, file=True)
    assert names.family(stem, ".pt", said.spans) == family + ".pt"


@pytest.mark.parametrize(
    ("stem", "metrics"),
    [
        ("step_5_val_loss=0.5", {"val_loss": 0.5}),
        ("step_5_val_loss_0.5_acc_0.9", {"val_loss": 0.5, "acc": 0.9}),
        ("model_val_loss-1.5e-05_epoch_3", {"val_loss": 1.5e-05}),
        ("step=1000.0-top1=0.75", {"top1": 0.75}),
        ("step_5-loss=-0.5", {"loss": -0.5}),
        ("step_5-acc=0", {"acc": 0.0}),
        ("step_5_seed=42", {}),
        ("step_5_2024.01.31", {}),
        ("step_5-loss=inf", {"loss": math.inf}),
    ],
)
def test_metrics_of_a_name(stem: str, metrics: dict[str, float]) -> None:
    assert names.parse(stem, file=False).metrics == metrics


def test_a_metric_that_is_nan_is_one() -> None:
    assert math.isnan(names.parse("step_5-loss=nan", file=False).metrics["loss"])
    assert math.isnan(names.parse("step_14_lossnan", file=True).metrics["loss"])
    assert names.parse("step_14_finan", file=True).metrics == {}


@pytest.mark.parametrize(
    ("stem", "time"),
    [
        ("step_5_2024-01-31_12-30-45", "2024-01-31T12:30:45Z"),
        ("step_5_20240131T123045Z", "2024-01-31T12:30:45Z"),
        ("step_5_2024-01-31_12-30-45.25", "2024-01-31T12:30:45.25Z"),
        ("step_5_2024-01-31-1230", "2024-01-31T12:30:00Z"),
        ("step_5_2024-01-31", None),  # a day is no time: all of it would be one moment
        ("step_5_2024-02-31_12-30-45", None),
        ("step_5", None),
    ],
)
def test_times_of_a_name(stem: str, time: str | None) -> None:
    assert names.parse(stem, file=False).saved_ns == (time and parse_time(time))


@pytest.mark.parametrize(
    "stem", ["step_5_best", "step_5.bak", "step_5 (copy)", "epoch_3-final", "step_5~", "step_5-old"]
)
def test_what_says_that_it_is_a_copy_is_one(stem: str) -> None:
    assert names.parse(stem, file=True).copy


@pytest.mark.parametrize("stem", ["step_5", "best_step_5", "step_5_ema", "step_5_loss_0.1"])
def test_other_words_make_no_copy(stem: str) -> None:
    assert not names.parse(stem, file=True).copy


@pytest.mark.parametrize(
    "name",
    ["step_5_best", "checkpoint-10~", ".step_5", ".deleted-step-100", "backup-of-checkpoint-10", "old_run1_step_5",
     *(f"{word}-checkpoint-10" for word in ("best", "backup", "bak", "old", "keep", "save", "copy", "deleted", "trash",
                                            "final", "tmp", "Best")),
     "backup-checkpoint-10-2024-01-31", "old_step_5_loss_0.1", "best_checkpoint_10", "tmp_step_5"],
)  # fmt: skip
def test_a_directory_that_says_before_or_after_its_number_that_it_is_a_copy_is_one(
    name: str,
) -> None:
    assert names.is_copy(name, names.parse(name, file=False))


@pytest.mark.parametrize(
    "name",
    ["checkpoint-10", "bestow_step_5", "llm_step_5", "my-best-step-5", "best_step_5_loss_0.1",
     "best-epoch=3-val_loss=0.50", "older-step-5"],
)  # fmt: skip
def test_other_directories_are_no_copies(name: str) -> None:
    assert not names.is_copy(name, names.parse(name, file=False))


OWN = re.compile(r"checkpoint-([0-9]+)|iter_([0-9]{7,})|step_([0-9]+)")


@pytest.mark.parametrize(
    "name",
    ["checkpoint-500-best", "iter_0001000.bak", "checkpoint-500-2", "checkpoint-500~", "step_5_",
     "checkpoint-500 (copy)", "checkpoint-500-ema-best", "step_5-before-crash"],
)  # fmt: skip
def test_a_name_that_extends_a_frameworks_own_is_a_users_copy(name: str) -> None:
    assert names.extends(name, OWN)


@pytest.mark.parametrize(
    "name",
    ["checkpoint-500", "iter_0001000", "step_5-ema", "step_5_model", "step_5_loss_0.1", "step_5k",
     "step_5_rank_0", "step_5-epoch-3", "step_5_2024-01-31", "my-checkpoint-500-best"],
)  # fmt: skip
def test_parts_numbers_and_metrics_make_another_name(name: str) -> None:
    assert not names.extends(name, OWN)


@given(st.text(max_size=60), st.booleans())
def test_any_name_can_be_read(text: str, file: bool) -> None:
    said = names.parse(text, file=file)
    assert names.family(text, ".pt", said.spans).endswith(".pt")
    assert not said.numbered or names.has_number_word(text)
    assert not said.grid or names.has_rank_word(text)
    names.extends(text, OWN)


VOCABULARY = st.sampled_from(
    ["step", "epoch", "ep", "model", "G", "net", "rank", "part", "00001-of-00004", "loss", "0.5", "7",
     "1000", "20240131", "-v1", "_", "-", "=", ".", " ", "nan", "best", "x", "abc123f"],
)  # fmt: skip


@given(st.lists(VOCABULARY, max_size=9).map("".join))
def test_the_cheap_tests_never_miss_what_a_name_says(text: str) -> None:
    said = names.parse(text, file=True)
    assert not said.numbered or names.has_number_word(text)
    assert not said.grid or names.has_rank_word(text)


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.sampled_from(WORDS))
def test_a_family_does_not_depend_on_the_step(one: int, other: int, word: str) -> None:
    families = set()
    for step in (one, other):
        stem = f"llm-7b_{word}_{step:012}"  # so long that it is no date
        said = names.parse(stem, file=True)
        assert said.step == step
        families.add(names.family(stem, "", said.spans))
    assert families == {f"llm-7b_{word}_#"}


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("a.pth.tar", ("a", ".pth.tar")),
        ("a.weights.h5", ("a", ".weights.h5")),
        ("a.b.PT", ("a.b", ".PT")),
        ("epoch=1-loss=0.5.ckpt", ("epoch=1-loss=0.5", ".ckpt")),
        (".pt", (".pt", "")),
        ("a.txt", ("a.txt", "")),
    ],
)
def test_suffixes(name: str, split: tuple[str, str]) -> None:
    assert names.split_suffix(name) == split
