from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptctl.errors import CkptctlError, UnreadableError
from ckptctl.listing import Entry
from ckptctl.model import Checkpoint, Copy, Hold, Problem, State
from ckptctl.report import Report, RunReport
from ckptctl.ui import printable
from ckptctl.ui.render import render
from tests.checkpoints import HOUR, NOW, checkpoint, several


def table(
    *runs: RunReport,
    width: int = 80,
    metrics: tuple[str, ...] = (),
    colour: bool = False,
    verbose: bool = False,
) -> list[str]:
    report = Report(command="list", runs=runs)
    text = render(
        report,
        "table",
        width=width,
        colour=colour,
        now_ns=NOW,
        verbose=verbose,
        metric_columns=metrics,
    )
    return text.splitlines()


def run(
    checkpoints: Sequence[Checkpoint], name: str = "llm", error: CkptctlError | None = None
) -> RunReport:
    return RunReport(
        name=name, location=f"/scratch/{name}", checkpoints=tuple(checkpoints), error=error
    )


def test_a_table_says_what_a_person_wants_to_know() -> None:
    rows = several(
        [
            {"step": 1000, "metrics": {"val_ppl": 20.5}},
            {"step": 2000, "metrics": {"val_ppl": 19.0}, "pinned": True, "tags": ["release"]},
            {"step": 3000, "metrics": {"val_ppl": float("nan")}, "state": "incomplete"},
            {"step": 10000, "state": "saving", "pointers": ["latest"]},
        ]
    )
    rows[0] = replace(rows[0], bytes=1_230_000_000)
    rows[2] = replace(rows[2], problems=(Problem("torn", "its ZIP directory is missing"),))
    assert table(run([checkpoint(name="last", named=True), *rows])) == [
        "name         step  age     size  state       val_ppl  marks",
        "last                1h  1.00 kB  complete             named",
        "step_1000    1000   4h  1.23 GB  complete       20.5",
        "step_2000    2000   3h  1.00 kB  complete         19  pinned tag:release",
        "step_3000    3000   2h  1.00 kB  incomplete      nan  !",
        "step_10000  10000   1h  1.00 kB  saving               <- latest",
        "5 checkpoints, 1.23 GB, 2 not complete (1 incomplete, 1 saving)",
        "! step_3000: its ZIP directory is missing (torn)",
    ]


def test_epochs_stand_where_there_are_no_steps() -> None:
    lines = table(run([checkpoint(epoch=1), checkpoint(epoch=2.5), checkpoint(step=7)]))
    assert lines[0].split()[:3] == ["name", "step", "epoch"]
    assert lines[1].split()[:2] == ["epoch_1", "1"]
    assert lines[2].split()[:2] == ["epoch_2.5", "2.5"]
    assert "epoch" not in table(run([checkpoint(step=7)]))[0]
    assert "step" not in table(run([checkpoint(epoch=7)]))[0]


def test_a_time_ahead_of_the_clock_is_no_age() -> None:
    assert "in 2h" in table(run([checkpoint(step=1, saved="+2h")]))[1]


def test_every_mark_is_shown() -> None:
    marked = replace(
        checkpoint(step=1, aliases=["prod"], resumable=False, tags=["for paper"]),
        holds=(Hold("eval", "node7", NOW + HOUR), Hold("past", "node7", NOW - HOUR)),
        copies=(Copy("cloud", "s3://b/x", NOW), Copy("cloud", "s3://b/y", NOW)),
        doomed_ns=NOW + 49 * HOUR,
    )
    (row,) = table(run([marked]), width=200)[1:2]
    assert row.endswith(
        r"complete  held:eval doomed:2d1h alias:prod tag:for\x20paper weights-only copy:cloud"
    )


def test_marks_that_do_not_fit_are_counted() -> None:
    row = table(run([checkpoint(step=1, tags=[f"t{n}" for n in range(30)], pointers=["latest"])]))[
        1
    ]
    assert "<- latest tag:t0" in row
    assert row.endswith(" tag:t3 +26")


def test_metrics_that_say_least_go_first_and_are_named() -> None:
    metrics = {f"metric_{n}": n / 3 for n in range(12)}
    rows = [checkpoint(step=s, metrics={**metrics, "metric_9": s, "lr": 0.1}) for s in (1, 2)]
    lines = table(run(rows), metrics=("lr", "metric_11"))
    assert lines[0].split()[5:] == ["lr", "metric_11", "metric_0", "metric_9"]
    assert lines[3].startswith("no room for metric_1, metric_2, metric_3, metric_4, metric_5 and 4")
    assert "metric_0" in table(run(rows), width=200)[0]


def test_a_metric_that_is_asked_for_has_a_column_even_where_nothing_has_it() -> None:
    assert "acc" in table(run([checkpoint(step=1)]), metrics=("acc",))[0]


def test_names_that_fit_without_less_important_columns_are_whole() -> None:
    name = f"epoch=3-step=1000-{'x' * 40}"
    lines = table(run([checkpoint(step=1000, name=name, metrics={"val_loss": 0.5})]))
    assert lines[1].startswith(name)
    assert lines[0].split() == ["name", "age", "size"]
    assert all(len(line) <= 80 for line in lines)


def test_a_metric_says_more_than_a_step_that_the_name_says_too() -> None:
    rows = [
        checkpoint(
            step=s, name=f"epoch={s}-step={s}-{'x' * 22}", metrics={"val_loss": s / 3, "lr": 1}
        )
        for s in (4000, 8000)
    ]
    assert table(run(rows))[0].split() == ["name", "age", "size", "state", "val_loss"]


@pytest.mark.parametrize("width", [80, 200])
def test_the_longest_names_fit_and_differ(width: int) -> None:
    steps = [10**19 + n for n in range(3)]
    names = [f"{'x' * 120}-step={s}-".ljust(255, "y") for s in steps]
    rows = [checkpoint(step=s, name=n) for s, n in zip(steps, names, strict=True)]
    lines = table(run(rows), width=width)
    assert all(len(line) <= width for line in lines)
    assert len({line.split()[0] for line in lines[1:4]}) == 3
    assert [line.split()[1] for line in lines[1:4]] == [str(s) for s in steps]
    assert lines[4].startswith("names are shortened here")


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("room", [0, 12, 19])
def test_a_name_of_most_of_the_width_is_shortened_rather_than_costing_columns(
    width: int, room: int
) -> None:
    name = f"{'x' * width}_step_1"[room - width :]
    lines = table(run([checkpoint(step=1, name=name)]), width=width)
    assert lines[0].split() == ["name", "step", "age", "size", "state"]
    assert lines[1].split()[1:] == ["1", "1h", "1.00", "kB", "complete"]
    assert all(len(line) <= width for line in lines)
    assert lines[2].startswith("names are shortened here")


def test_wide_characters_are_aligned() -> None:
    rows = [checkpoint(step=1, name="检查点_1"), checkpoint(step=22, name="plain_name_22")]
    header, *lines = table(run(rows))[:3]
    end = header.index("step") + 4
    for line, step in zip(lines, ("1", "22"), strict=True):
        at = line.index("  ", line.index("1" if step == "1" else "22"))
        shown = line[: line.index(step, at)] + step
        assert printable.cells(shown) == end


@given(
    st.lists(
        st.binary(min_size=1, max_size=90).map(os.fsdecode) | st.text(min_size=1, max_size=90),
        min_size=1,
        max_size=6,
        unique=True,
    ),
    st.integers(60, 120),
)
def test_no_name_reaches_the_terminal_as_it_is_or_makes_a_second_row(
    names: list[str], width: int
) -> None:
    rows = [replace(checkpoint(step=n), name=name, tags=(name,)) for n, name in enumerate(names)]
    lines = table(run(rows, name=names[0]), width=width)
    body = lines[1 : len(names) + 1]
    assert all(line.isprintable() for line in lines)
    assert lines[len(names) + 1].startswith(("names are shortened", f"{len(names)} checkpoint"))
    assert len(set(body)) == len(names)


def test_markup_in_a_name_is_text() -> None:
    lines = table(run([checkpoint(step=1, name="[red]a[/red]")]), colour=True)
    assert "[red]a[/red]" in lines[1]


def test_colour_only_where_it_is_asked_for() -> None:
    rows = [checkpoint(step=1, state="damaged", pinned=True)]
    coloured, plain = table(run(rows), colour=True), table(run(rows))
    assert "\x1b[31mdamaged\x1b[0m" in coloured[1]
    assert "\x1b" not in "".join(plain)


def test_several_runs_have_titles_and_a_sum() -> None:
    error = UnreadableError("/scratch/b: cannot be read", "check its permissions", ("  really",))
    lines = table(run([checkpoint(step=1)], "a"), run([], "b", error=error), run([], "c\n"))
    assert lines == [
        "a  /scratch/a",
        "name    step  age     size  state",
        "step_1     1   1h  1.00 kB  complete",
        "1 checkpoint, 1.00 kB",
        "",
        "b  /scratch/b",
        "error: /scratch/b: cannot be read",
        "         really",
        "  hint: check its permissions",
        "",
        r"c\n  /scratch/c\n",
        r"no checkpoints in /scratch/c\n",
        "",
        "3 runs: 1 checkpoint, 1.00 kB",
        "1 run with an error: b",
    ]


def test_an_empty_location_says_so() -> None:
    assert table() == ["no checkpoints here (`ckptctl list --formats` says what is recognised)"]


def test_problems_are_folded_below_the_table_and_not_endless() -> None:
    long = Problem("torn", "the end of the file is missing, " * 4 + "so that it is torn")
    rows = [replace(checkpoint(step=n), problems=(long,)) for n in range(30)]
    lines = table(run(rows))
    assert all(len(line) <= 80 for line in lines)
    assert sum(line.startswith("! step_") for line in lines) == 20
    assert lines[-1] == "! and 10 more problems: -v or --json shows them all"
    assert sum(line.startswith("! step_") for line in table(run(rows), verbose=True)) == 30


def test_the_total_counts_shared_bytes_once() -> None:
    first, second = checkpoint(step=1), checkpoint(step=2)
    linked = Entry(1000, 1, device=1, inode=7, links=2)
    rows = [replace(c, files={c.member: linked}) for c in (first, second)]
    assert "2 checkpoints, 1.00 kB" in table(run(rows))


def test_a_sidecar_of_two_counts_once() -> None:
    rows = [
        replace(c, bytes=1100, files={**c.files, "s.json": Entry(100, 1)}, sidecars=("s.json",))
        for c in (checkpoint(step=1), checkpoint(step=2))
    ]
    assert "2 checkpoints, 2.10 kB" in table(run(rows))
    elsewhere = run([replace(rows[1], run="other")], "other")
    assert table(run(rows[:1]), elsewhere)[-1] == "2 runs: 2 checkpoints, 2.20 kB"


def test_a_hundred_thousand_rows_take_seconds() -> None:
    rows = [replace(checkpoint(step=1), name=f"步_{n}", step=n) for n in range(100_000)]
    began = time.process_time()
    lines = table(run(rows))
    assert time.process_time() - began < 30
    assert len(lines) == 100_002


def test_states_are_those_of_the_contract() -> None:
    rows = [checkpoint(step=n, state=state) for n, state in enumerate(State)]
    shown = [line.split()[-1] for line in table(run(rows))[1:5]]
    assert shown == ["complete", "saving", "incomplete", "damaged"]
