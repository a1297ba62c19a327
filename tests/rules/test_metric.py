from __future__ import annotations

import pytest

from ckptctl.rules._base import Metric, Mode
from ckptctl.rules.metric import mode_of, parse_metric, with_mode


@pytest.mark.parametrize(
    "name",
    [
        *[
            "loss",
            "ppl",
            "perplexity",
            "error",
            "err",
            "wer",
            "cer",
            "mae",
            "mse",
            "rmse",
            "nll",
            "bpb",
            "bpc",
            "eer",
            "der",
            "fid",
        ],
        *("val_loss", "eval/loss", "loss2", "LOSS", "valid-ppl", "lm.loss:token", "wer_clean"),
    ],
)
def test_less_of_these_is_better(name: str) -> None:
    assert mode_of(name) is Mode.MIN


@pytest.mark.parametrize(
    "name",
    [
        *[
            "acc",
            "accuracy",
            "f1",
            "auc",
            "bleu",
            "rouge",
            "rougel",
            "map",
            "iou",
            "miou",
            "dice",
            "recall",
            "precision",
            "reward",
        ],
        *["score", "r2", "em", "success", "top", "psnr", "ssim", "ndcg", "mrr"],
        *("map50", "metrics/mAP50-95(B)", "top5", "rouge1", "eval_rougeL", "val-f1", "ndcg@10"),
    ],
)
def test_more_of_these_is_better(name: str) -> None:
    assert mode_of(name) is Mode.MAX


@pytest.mark.parametrize(
    "name",
    [
        *("quality", "step", "valLoss", "floss", "losses", "mapping", "f2", "r3", "", "50"),
        *("acc_err", "top1_error", "reward/loss"),  # both kinds
    ],
)
def test_nothing_is_guessed(name: str) -> None:
    assert mode_of(name) is None


@pytest.mark.parametrize(
    ("text", "metric"),
    [
        ("val_loss", Metric("val_loss")),
        ("quality:max", Metric("quality", Mode.MAX)),
        ("eval:loss", Metric("eval:loss")),
        ("eval:loss:min", Metric("eval:loss", Mode.MIN)),
        ("min", Metric("min")),
        ("a:maximum", Metric("a:maximum")),
    ],
)
def test_a_metric_may_carry_its_mode(text: str, metric: Metric) -> None:
    assert parse_metric(text) == metric


@pytest.mark.parametrize("text", ["", " ", ":min"])
def test_a_metric_has_a_name(text: str) -> None:
    with pytest.raises(ValueError, match="NAME"):
        parse_metric(text)


def test_a_given_mode_wins() -> None:
    assert with_mode(Metric("loss", Mode.MAX)) == Metric("loss", Mode.MAX)
    assert with_mode(Metric("loss")) == Metric("loss", Mode.MIN)
