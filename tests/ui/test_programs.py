from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import replace

import pytest

from ckptctl.decision import Decision, Reason
from ckptctl.model import Problem
from ckptctl.report import Outcome, Report, RunReport
from ckptctl.ui.data import checkpoint_data
from ckptctl.ui.render import render
from tests.checkpoints import NOW, checkpoint

BYTES = os.fsdecode(b"caf\xe9\x1b\n_1")


def rendered(report: Report, output: str, *, null: bool = False, terminal: bool = False) -> str:
    return render(
        report,
        output,
        width=80,
        colour=False,
        now_ns=NOW,
        verbose=False,
        null=null,
        terminal=terminal,
    )


def listed() -> Report:
    odd = replace(
        checkpoint(step=1, tags=["a", "b, c"], metrics={"bytes": float("nan"), "val,loss": 0.1}),
        name='with "quotes", commas\nand lines',
        path=f"/run/{BYTES}",
        problems=(Problem("torn", "x"), Problem("future-time", "y")),
    )
    plain = checkpoint(epoch=2, pinned=True, resumable=False)
    return Report(
        command="list", runs=(RunReport(name="r", location="/r", checkpoints=(odd, plain)),)
    )


def pruned(*, dry_run: bool = False) -> Report:
    kept = Decision(checkpoint(step=4), (Reason("last", "#1 by step"), Reason("newest", "newest")))
    doomed = [Decision(checkpoint(step=n), (), (f"last #{4 - n}",)) for n in (1, 2, 3)]
    statuses = (("done", None), ("skipped", "held"), ("failed", "Permission denied"))
    outcomes = [
        Outcome(d.checkpoint.name, d.checkpoint.path, "delete", status, 0, error)
        for d, (status, error) in zip(doomed, statuses, strict=True)
    ]
    run = RunReport(
        name="r",
        location="/r",
        decisions=(*doomed, kept),
        outcomes=() if dry_run else tuple(outcomes),
    )
    return Report(command="prune", runs=(run,), dry_run=dry_run)


def table(report: Report) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(rendered(report, "csv"))))


def test_json_lines_of_a_list_are_its_checkpoints() -> None:
    report = listed()
    lines = rendered(report, "jsonl").splitlines()
    expected = [json.loads(json.dumps(checkpoint_data(c))) for c in report.runs[0].checkpoints]
    assert list(map(json.loads, lines)) == expected


def test_json_lines_of_a_prune_are_its_decisions() -> None:
    lines = list(map(json.loads, rendered(pruned(), "jsonl").splitlines()))
    assert [(line["run"], line["checkpoint"]["step"], line["verdict"]) for line in lines] == [
        ("r", 1, "delete"),
        ("r", 2, "delete"),
        ("r", 3, "delete"),
        ("r", 4, "keep"),
    ]
    assert lines[3]["reasons"][0] == {"rule": "last", "text": "#1 by step"}
    assert list(lines[0]) == ["run", "checkpoint", "verdict", "reasons"]


def test_json_is_one_line() -> None:
    assert rendered(listed(), "json").count("\n") == 1
    assert json.loads(rendered(pruned(), "json"))["schema"] == "ckptctl/prune"


def test_csv_of_a_list_has_a_column_for_each_metric() -> None:
    odd, plain = table(listed())
    assert odd["name"] == 'with "quotes", commas\nand lines'
    assert os.fsencode(odd["path"]) == b"/run/caf\xe9\x1b\n_1"
    assert (odd["bytes"], odd["metrics.bytes"], odd["val,loss"]) == ("1000", "nan", "0.1")
    assert (odd["tags"], odd["problems"]) == ("a;b, c", "torn;future-time")
    assert (odd["step"], odd["epoch"], odd["resumable"], odd["pinned"]) == ("1", "", "", "false")
    assert (plain["step"], plain["epoch"]) == ("", "2")
    assert (plain["resumable"], plain["pinned"], plain["val,loss"]) == ("false", "true", "")
    assert plain["saved_at"] == "2026-01-15T11:00:00Z"


def test_csv_of_a_prune_says_what_became_of_each_and_why() -> None:
    rows = [(r["name"], r["verdict"], r["status"], r["why"], r["error"]) for r in table(pruned())]
    assert rows == [
        ("step_1", "delete", "done", "last #3", ""),
        ("step_2", "delete", "skipped", "last #2", "held"),
        ("step_3", "delete", "failed", "last #1", "Permission denied"),
        ("step_4", "keep", "", "last #1 by step; newest", ""),
    ]


def test_an_empty_csv_still_has_its_header() -> None:
    assert rendered(Report(command="list"), "csv").startswith("run,name,path,")


def test_csv_can_be_written_whatever_a_sidecar_holds() -> None:
    half = replace(checkpoint(step=1), tags=("\ud800",))  # JSON can spell half a character
    report = Report(command="list", runs=(RunReport(name="r", location="", checkpoints=(half,)),))
    rendered(report, "csv").encode("utf-8", "surrogateescape")


def test_paths_are_exact_and_can_end_with_nul() -> None:
    lines = rendered(listed(), "paths", null=True).encode("utf-8", "surrogateescape")
    assert lines == b"/run/caf\xe9\x1b\n_1\0/run/epoch_2.pt\0"
    assert rendered(listed(), "paths").endswith("\n/run/epoch_2.pt\n")


@pytest.mark.parametrize("output", ["paths", "csv"])
def test_a_terminal_gets_escapes(output: str) -> None:
    text = rendered(listed(), output, terminal=True)
    assert r"caf\xe9\x1b\n_1" in text
    assert all(line.isprintable() for line in text.splitlines())


def test_paths_of_a_prune_are_those_that_went() -> None:
    assert rendered(pruned(), "paths") == "/run/step_1.pt\n"


def test_paths_of_a_dry_run_are_those_that_would_go() -> None:
    assert rendered(pruned(dry_run=True), "paths").split() == [
        f"/run/step_{n}.pt" for n in (1, 2, 3)
    ]


def test_a_path_that_an_earlier_prune_cleared_and_a_save_used_again_is_not_gone() -> None:
    report = pruned()
    (run,) = report.runs
    again = Outcome("step_4", "/run/step_4.pt", "clean", "done")
    other = Outcome("step_0", "/run/step_0.pt", "clean", "done")
    more = replace(run, outcomes=(again, other, *run.outcomes))
    assert rendered(replace(report, runs=(more,)), "paths").split() == [
        "/run/step_0.pt",
        "/run/step_1.pt",
    ]


def test_an_unknown_output_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="xml"):
        rendered(listed(), "xml")
