from __future__ import annotations

import json
import os
import signal
from dataclasses import replace

import pytest

from ckptctl.decision import Decision, Reason
from ckptctl.errors import CkptctlError, Interrupted, RefusedError, UnreadableError
from ckptctl.listing import Entry
from ckptctl.model import Copy, Hold, Problem
from ckptctl.report import Outcome, Report, RunReport
from ckptctl.ui.data import checkpoint_data, error_data, report_data, report_text
from ckptctl.units import parse_time
from tests.checkpoints import checkpoint

FULL = replace(
    checkpoint(
        step=1000,
        saved="2026-01-02T03:04:05.25Z",
        metrics={"val_ppl": 12.3, "a": float("nan"), "b": float("inf"), "c": float("-inf")},
        tags=["release"],
        pinned=True,
        pointers=["latest"],
        aliases=["prod"],
        resumable=False,
    ),
    epoch=1.5,
    files={"step_1000.pt": Entry(900, 1), "step_1000.json": Entry(100, 1)},
    holds=(Hold("eval", "node7", parse_time("2026-01-03T00:00:00Z")),),
    copies=(Copy("cloud", "s3://bucket/x", parse_time("2026-01-02T04:00:00Z")),),
    doomed_ns=parse_time("2026-02-01T00:00:00Z"),
    problems=(Problem("sidecar-unreadable", "is no JSON"),),
)
FULL_JSON = {
    "run": "run",
    "name": "step_1000",
    "path": "/run/step_1000.pt",
    "format": "torch-file",
    "kind": "file",
    "family": "step_#.pt",
    "step": 1000,
    "epoch": 1.5,
    "saved_at": "2026-01-02T03:04:05.25Z",
    "bytes": 1000,
    "files": ["step_1000.json", "step_1000.pt"],
    "state": "complete",
    "resumable": False,
    "metrics": {"val_ppl": 12.3, "a": "nan", "b": "inf", "c": "-inf"},
    "tags": ["release"],
    "pinned": True,
    "pointers": ["latest"],
    "aliases": ["prod"],
    "holds": [{"by": "eval", "host": "node7", "until": "2026-01-03T00:00:00Z"}],
    "copies": [{"tier": "cloud", "path": "s3://bucket/x", "proven_at": "2026-01-02T04:00:00Z"}],
    "doomed_at": "2026-02-01T00:00:00Z",
    "problems": [{"code": "sidecar-unreadable", "text": "is no JSON"}],
}


def test_a_checkpoint_has_every_key_of_the_contract_in_its_order() -> None:
    written = json.loads(json.dumps(checkpoint_data(FULL), allow_nan=False))
    assert written == FULL_JSON
    assert list(written) == list(FULL_JSON)


def test_keys_are_there_where_nothing_is_known() -> None:
    data = checkpoint_data(checkpoint(epoch=3.0))
    assert list(data) == list(FULL_JSON)
    assert data["step"] is data["resumable"] is data["doomed_at"] is None
    assert json.dumps(data["epoch"]) == "3"


def test_an_epoch_that_is_no_number_is_still_json() -> None:
    data = checkpoint_data(replace(FULL, epoch=float("nan")))
    assert json.loads(json.dumps(data, allow_nan=False))["epoch"] == "nan"


def test_an_undecodable_name_survives_json_byte_by_byte() -> None:
    name = os.fsdecode(b"caf\xe9_1")
    report = Report(
        command="list",
        runs=(
            RunReport(
                name="r", location="/r", checkpoints=(replace(FULL, name=name, path=f"/r/{name}"),)
            ),
        ),
    )
    text = report_text(report)
    assert text.isascii()
    read = json.loads(text)["runs"][0]["checkpoints"][0]
    assert os.fsencode(read["path"]) == b"/r/caf\xe9_1"


def test_a_list_is_one_object() -> None:
    error = UnreadableError("/x: cannot be read", "check its permissions")
    report = Report(
        command="list",
        runs=(
            RunReport(name="run", location="/run", checkpoints=(FULL,)),
            RunReport(name="x", location="/x", error=error, problems=(Problem("p", "t"),)),
        ),
        problems=(Problem("folder-unreadable", "lost+found"),),
    )
    assert json.loads(json.dumps(report_data(report))) == {
        "schema": "ckptctl/list",
        "version": 1,
        "runs": [
            {
                "name": "run",
                "location": "/run",
                "checkpoints": [FULL_JSON],
                "problems": [],
                "error": None,
            },
            {
                "name": "x",
                "location": "/x",
                "checkpoints": [],
                "problems": [{"code": "p", "text": "t"}],
                "error": {
                    "code": 7,
                    "kind": "unreadable",
                    "message": "/x: cannot be read",
                    "hint": "check its permissions",
                },
            },
        ],
        "problems": [{"code": "folder-unreadable", "text": "lost+found"}],
    }


PRUNE = Report(
    command="prune",
    dry_run=False,
    runs=(
        RunReport(
            name="run",
            location="/run",
            decisions=(
                Decision(FULL, (Reason("best", "#1 by val_ppl (12.3)"),)),
                Decision(checkpoint(step=1), (), ("last #3 by step",)),
            ),
            outcomes=(
                Outcome("step_1", "/run/step_1.pt", "delete", "done", 123),
                Outcome("step_0", "/run/step_0.pt", "clean", "failed", 7, "Permission denied"),
            ),
        ),
    ),
    unmatched=("other",),
)


def test_a_prune_is_one_object() -> None:
    data = json.loads(json.dumps(report_data(PRUNE)))
    (run,) = data.pop("runs")
    assert data == {
        "schema": "ckptctl/prune",
        "version": 1,
        "dry_run": False,
        "freed_bytes": 130,
        "unmatched": ["other"],
        "problems": [],
    }
    assert list(run) == ["name", "location", "error", "decisions", "outcomes", "problems"]
    kept, gone = run["decisions"]
    assert kept == {
        "checkpoint": FULL_JSON,
        "verdict": "keep",
        "reasons": [{"rule": "best", "text": "#1 by val_ppl (12.3)"}],
    }
    assert (gone["verdict"], gone["reasons"]) == ("delete", [])
    assert run["outcomes"] == [
        {
            "checkpoint": "step_1",
            "path": "/run/step_1.pt",
            "action": "delete",
            "status": "done",
            "bytes": 123,
            "error": None,
        },
        {
            "checkpoint": "step_0",
            "path": "/run/step_0.pt",
            "action": "clean",
            "status": "failed",
            "bytes": 7,
            "error": "Permission denied",
        },
    ]


@pytest.mark.parametrize("command", ["list", "prune"])
def test_the_text_says_what_the_data_say(command: str) -> None:
    report = replace(PRUNE, command=command, runs=(replace(PRUNE.runs[0], checkpoints=(FULL,)),))
    assert json.loads(report_text(report)) == json.loads(json.dumps(report_data(report)))
    also = json.loads(report_text(report, error_data(RefusedError("no"))))
    assert (also["schema"], also["code"], len(also["runs"])) == ("ckptctl/error", 4, 1)


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (RefusedError("over the limit", "use --max-delete 9"), 4, "refused"),
        (Interrupted(signal.SIGINT), 130, "interrupted"),
        (Interrupted(signal.SIGTERM), 143, "interrupted"),
    ],
)
def test_an_error_is_an_object(error: CkptctlError, code: int, kind: str) -> None:
    assert error_data(error) == {
        "schema": "ckptctl/error",
        "version": 1,
        "code": code,
        "kind": kind,
        "message": error.message,
        "hint": error.hint,
    }
