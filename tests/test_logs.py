"""Metrics from training logs."""

from __future__ import annotations

import pytest

from ckptctl.logs import joined, parse_log
from ckptctl.model import Unit


def test_csv_by_step_and_by_epoch_later_rows_win_and_empty_cells_say_nothing() -> None:
    log = parse_log(b"epoch,step,loss,val\n0,3,1.5,\n0,3,,0.9\n1,7,1.0,nan\n1,7,0.8,\n")
    assert log.at(Unit.STEP, 3) == {"loss": 1.5, "val": 0.9}
    assert log.at(Unit.EPOCH, 1)["loss"] == 0.8
    assert log.at(Unit.STEP, 4) == {}


def test_json_lines_with_nan_and_a_torn_last_line() -> None:
    log = parse_log(
        b'{"step": 1, "loss": 2.0}\n{"iteration": 2, "loss": NaN, "ok": true}\n{"step": 3, "lo'
    )
    assert log.at(Unit.STEP, 1) == {"loss": 2.0}
    assert list(log.at(Unit.STEP, 2)) == ["loss"]
    assert log.at(Unit.STEP, 3) == {}


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"a,b\n1,2\n", b"just words\nmore words\n", b'{"a": 1}\n']
)
def test_what_is_no_log_says_so(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"is no text|has no column"):
        parse_log(content)


def test_an_empty_log_is_one_that_has_said_nothing_yet() -> None:
    assert parse_log(b"").at(Unit.STEP, 1) == {}


def test_several_logs_are_one_and_later_files_win() -> None:
    log = joined([parse_log(b"step,a,b\n1,1,1\n"), parse_log(b"step,b\n1,2\n")])
    assert log.at(Unit.STEP, 1) == {"a": 1.0, "b": 2.0}


def test_a_step_of_a_row_without_an_epoch_may_be_an_epoch() -> None:
    """So mmengine writes: what it trains with the step, what it validates after each epoch."""
    rows = b'{"loss": 2, "epoch": 1, "step": 3}\n{"acc": 5, "step": 1}\n{"loss": 1, "epoch": 2, "step": 1}'
    log = joined([parse_log(rows), parse_log(b'{"acc": 6, "step": 2}')])
    assert log.at_epoch(1) == {"loss": 2, "acc": 5}
    assert log.at_epoch(2) == {"loss": 1, "acc": 6}
    assert log.at_epoch(3) == {}
    assert log.at(Unit.STEP, 1) == {"acc": 5, "loss": 1}
