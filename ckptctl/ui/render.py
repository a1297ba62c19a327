"""A command's result as the text that goes to stdout, in the format that was asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ckptctl.formats._base import Format
from ckptctl.report import Report
from ckptctl.ui import printable, programs
from ckptctl.ui.columns import Column, Look, rows
from ckptctl.ui.data import VERSION, report_text
from ckptctl.ui.listing import list_table
from ckptctl.ui.pruning import prune_table
from ckptctl.ui.trash import render_trash


def render(  # noqa: PLR0913 - what a person's terminal and flags say; each is a word of its own
    report: Report,
    output: str,
    *,
    width: int,
    colour: bool,
    now_ns: int,
    verbose: bool,
    metric_columns: Sequence[str] = (),
    null: bool = False,
    terminal: bool = False,
) -> str:
    """Return what `list` or `prune` prints: output is table, json, jsonl, csv or paths.

    Write it as UTF-8 with `surrogateescape`: paths and CSV hold the exact bytes of names, unless
    `terminal` says that a person would get them, who gets escapes as in the table.
    """
    if output == "json":
        return report_text(report)
    look = Look(width=max(width, 40), colour=colour, now_ns=now_ns, verbose=verbose)
    if report.command in {"undo", "purge"}:
        return render_trash(report, output, look, null=null, shown=terminal)
    if output == "jsonl":
        return "".join(programs.json_lines(report))
    if output == "csv":
        return "".join(programs.csv_lines(report, shown=terminal))
    if output == "paths":
        return "".join(programs.paths(report, null=null, shown=terminal))
    if output != "table":
        raise ValueError(f"no output is called {output!r}")
    lines = (
        list_table(report, look, metric_columns)
        if report.command == "list"
        else prune_table(report, look)
    )
    return "".join(f"{line}\n" for line in lines)


def render_formats(formats: Sequence[Format], output: str) -> str:
    """Return what `list --formats` prints: each format that is recognised, in the order of asking."""
    found = [
        {"name": name, "summary": known.summary, "source": known.source}
        for known in formats
        for name in known.names()
    ]
    if output == "json":
        return json.dumps({"schema": "ckptctl/list", "version": VERSION, "results": found}) + "\n"
    if output == "jsonl":
        return "".join(json.dumps(each) + "\n" for each in found)
    columns = [
        Column(head=key, cells=[printable.text(each[key]) for each in found])
        for key in ("name", "summary")
    ]
    look = Look(width=0, colour=False, now_ns=0, verbose=False)
    return "".join(f"{line}\n" for line in rows(columns, look))
