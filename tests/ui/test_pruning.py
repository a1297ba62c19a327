from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from ckptctl.decision import Decision, Reason
from ckptctl.errors import CkptctlError, RefusedError
from ckptctl.model import Problem
from ckptctl.report import Outcome, Report, RunReport
from ckptctl.ui.render import render
from tests.checkpoints import NOW, checkpoint

KEPT = Decision(
    checkpoint(step=3000),
    (
        Reason("last", "#1 by step"),
        Reason("best", "#2 by val_ppl (12.3)"),
        Reason("newest", "newest complete by step"),
        Reason("pinned", "pinned"),
    ),
)
GONE = Decision(
    checkpoint(step=1000),
    (),
    (
        "last #3 by step: kept by --keep-last 3",
        "best #3 by val_ppl (12.9): kept by --keep-best 3",
    ),
)
ALSO = replace(GONE, checkpoint=checkpoint(step=2000))
PLAN = (GONE, ALSO, KEPT)


def outcome(decision: Decision, status: str = "done", error: str | None = None) -> Outcome:
    size = 1000 if status == "done" else 0
    c = decision.checkpoint
    return Outcome(c.name, c.path, "delete", status, size, error)


def run(
    decisions: Sequence[Decision] = PLAN,
    outcomes: Sequence[Outcome] = (),
    *,
    name: str = "llm",
    error: CkptctlError | None = None,
) -> RunReport:
    return RunReport(
        name=name,
        location=f"/scratch/{name}",
        decisions=tuple(decisions),
        outcomes=tuple(outcomes),
        error=error,
    )


def table(
    *runs: RunReport,
    width: int = 100,
    dry_run: bool = False,
    colour: bool = False,
    unmatched: tuple[str, ...] = (),
) -> list[str]:
    report = Report(command="prune", runs=runs, dry_run=dry_run, unmatched=unmatched)
    text = render(report, "table", width=width, colour=colour, now_ns=NOW, verbose=False)
    return text.splitlines()


def test_a_plan_says_why_for_every_checkpoint() -> None:
    assert table(run(), dry_run=True) == [
        "        name       step     size  why",
        "delete  step_1000  1000  1.00 kB  last #3 by step: kept by --keep-last 3;",
        "                                  best #3 by val_ppl (12.9): kept by --keep-best 3",
        "delete  step_2000  2000  1.00 kB  last #3 by step: kept by --keep-last 3;",
        "                                  best #3 by val_ppl (12.9): kept by --keep-best 3",
        "keep    step_3000  3000  1.00 kB  last #1 by step; best #2 by val_ppl (12.3);",
        "                                  newest complete by step; pinned",
        "would delete 2 of 3 checkpoints, 2.00 kB of 3.00 kB; nothing was changed",
    ]


def test_a_row_is_one_line_where_there_is_room() -> None:
    lines = table(run(), dry_run=True, width=200)
    assert lines[3].endswith(
        "last #1 by step; best #2 by val_ppl (12.3); newest complete by step; pinned"
    )
    assert len(lines) == 5


def test_where_no_rule_says_anything_the_table_does() -> None:
    assert table(run([replace(GONE, short=()), KEPT]))[1].endswith("no rule keeps it")


def test_what_was_done_is_told_with_what_failed_and_why() -> None:
    third = replace(GONE, checkpoint=checkpoint(step=500))
    held = outcome(ALSO, "skipped", "is held by eval since")
    failed = outcome(third, "failed", "step_500.pt: Permission denied; it is untouched")
    lines = table(run([third, *PLAN], [failed, outcome(GONE), held]), width=200)
    assert [line.split()[0] for line in lines[1:5]] == ["failed", "deleted", "skipped", "keep"]
    assert lines[5:] == [
        "deleted 1 of 4 checkpoints (3 were to go), 1.00 kB of 4.00 kB; freed 1.00 kB",
        "failed step_500: step_500.pt: Permission denied; it is untouched",
        "skipped step_2000: is held by eval since",
    ]


def test_what_befell_many_is_told_once() -> None:
    many = [replace(GONE, checkpoint=checkpoint(step=n)) for n in range(1000)]
    skipped = [outcome(d, "skipped", "interrupted by a signal") for d in many]
    assert table(run([*many, KEPT], skipped), width=200)[-1] == (
        "skipped 1,000: step_0, step_1, step_2, step_3, step_4 and 995 more: interrupted by a signal"
    )


def test_nothing_to_delete_says_so() -> None:
    assert table(run([KEPT]))[-1] == "nothing to delete: 1 checkpoint kept (1.00 kB)"
    assert table() == ["no checkpoints here: nothing to delete"]


def test_what_an_earlier_prune_left_is_no_checkpoint_of_this_one() -> None:
    old = Outcome("step_3000", KEPT.checkpoint.path, "clean", "done", 7)  # saved anew since
    lines = table(run([KEPT], [old]))
    assert lines[1].startswith("keep  step_3000")
    assert lines[-1] == (
        "nothing to delete: 1 checkpoint kept (1.00 kB); finished 1 deletion of an earlier prune; "
        "freed 7 B"
    )


def test_a_run_with_an_error_shows_it_with_its_hint_and_claims_nothing() -> None:
    error = RefusedError("llm: 2 would go, the limit is 1", "--max-delete 2 lets it through once")
    lines = table(run(error=error), dry_run=True)
    assert lines[-2:] == [
        "error: llm: 2 would go, the limit is 1",
        "  hint: --max-delete 2 lets it through once",
    ]
    assert not any("would delete" in line for line in lines)


def test_several_runs_have_titles_and_one_sum() -> None:
    error = RefusedError("no", "")
    lines = table(
        run([GONE, KEPT], [outcome(GONE)], name="a"),
        run([], name="b", error=error),
        unmatched=("c\x1b", "d"),
        width=200,
    )
    assert lines[0] == "a  /scratch/a"
    assert lines[-3:] == [
        r"left alone, as no entry of `runs` in the configuration matches them: c\x1b, d",
        "2 runs: deleted 1 of 2 checkpoints, 1.00 kB of 2.00 kB; freed 1.00 kB",
        "1 run with an error: b",
    ]


def test_reasons_stand_below_names_that_leave_no_room() -> None:
    long = [
        replace(d, checkpoint=replace(d.checkpoint, name=f"{'x' * 200}-{d.checkpoint.name}"))
        for d in PLAN
    ]
    lines = table(run(long), width=80, dry_run=True)
    assert all(len(line) <= 80 for line in lines)
    assert lines[1].startswith("delete  xxx")
    assert "…" in lines[1]
    assert lines[2:4] == [
        "          last #3 by step: kept by --keep-last 3;",
        "          best #3 by val_ppl (12.9): kept by --keep-best 3",
    ]
    assert lines[-2].startswith("names are shortened here")
    assert [line.split()[1][-4:] for line in lines if "1.00 kB" in line][:3] == [
        "1000",
        "2000",
        "3000",
    ]


def test_text_of_others_never_reaches_the_terminal_raw() -> None:
    evil = "\x1b[2J\n\u202e"
    decision = Decision(
        replace(checkpoint(step=1), name=evil, problems=(Problem("x", evil),)),
        (Reason("held", f"by {evil} on node7"),),
    )
    failed = Outcome(evil, "/other", "delete", "failed", 0, evil)
    lines = table(run([decision], [failed], name=evil, error=RefusedError(evil, evil)), run())
    assert all(line.isprintable() for line in lines)
    assert "\x1b[2J" not in "".join(table(run([decision]), colour=True))


def test_colour_marks_what_went_wrong() -> None:
    assert (
        "\x1b[31mfailed\x1b[0m" in table(run(PLAN, [outcome(GONE, "failed", "x")]), colour=True)[1]
    )


def test_a_hundred_thousand_decisions_take_seconds() -> None:
    many = [replace(GONE, checkpoint=checkpoint(step=1))] * 50_000 + [KEPT] * 50_000
    began = time.process_time()
    table(run(many), dry_run=True, width=80)
    assert time.process_time() - began < 45
