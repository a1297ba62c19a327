"""The explanation of one decision, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator

from ckptctl import variants
from ckptctl.decision import Verdict
from ckptctl.ui import printable, words
from ckptctl.ui.columns import Look
from ckptctl.ui.data import VERSION, decision_data
from ckptctl.ui.pruning import why
from ckptctl.units import format_until
from ckptctl.why import Change, Explanation, Said


def why_data(explanation: Explanation) -> dict[str, object]:
    """Return the one JSON object; `results` has one entry."""
    checkpoint = explanation.decision.checkpoint
    result = {
        "run": checkpoint.run,
        "name": checkpoint.name,
        "path": checkpoint.path,
        **decision_data(explanation.decision),
        "rules": [_rule(said) for said in explanation.rules],
        "guards": [{"rule": guard.rule, "text": guard.text} for guard in explanation.guards],
        "siblings": [sibling.name for sibling in explanation.siblings],
        "changes": [_change(change, explanation) for change in explanation.changes],
        "fixed": explanation.fixed,
    }
    return {"schema": "ckptctl/why", "version": VERSION, "results": [result]}


def _rule(said: Said) -> dict[str, object]:
    return {
        "rule": said.rule.name,
        "flags": variants.flags([said.rule]),
        "kept": said.kept,
        "text": said.text,
    }


def _change(change: Change, explanation: Explanation) -> dict[str, object]:
    """Return a change with what replays it: all rules as flags, and how the checkpoint would be."""
    before, after = explanation.decision.checkpoint, change.checkpoint
    return {
        "text": change.text,
        "flags": variants.flags(change.case.rules),
        "pinned": after.pinned,
        "tags": after.tags,
        "released": len(after.holds) < len(before.holds),
        "delete_incomplete": None
        if change.case.incomplete_after_ns is None
        else variants.duration(change.case.incomplete_after_ns),
    }


def explanation_lines(explanation: Explanation, look: Look) -> Iterator[str]:
    """Yield the lines for people: the decision, each rule, guards, siblings, what would change it."""
    decision = explanation.decision
    checkpoint = decision.checkpoint
    kept = decision.verdict is Verdict.KEEP
    said = "is kept" if kept else "would be deleted"
    shown = printable.name(checkpoint.name)
    yield f"{look.paint(shown, 'bold')} {said}: {printable.name(checkpoint.path)}"
    if checkpoint.doomed_ns is not None:
        when = f"  scheduled to go with the first prune after {format_until(checkpoint.doomed_ns)}"
        yield from words.folded(
            "", f"{when}: no rule counts it any more; `ckptctl undo` cancels that", look
        )
    for reason in why(decision) if kept else ():
        yield from words.folded("  because ", printable.text(reason), look)
    yield "rules:"
    names = [printable.text(variants.shown(said.rule)) for said in explanation.rules]
    width = max(map(printable.cells, names))
    for name, rule in zip(names, explanation.rules, strict=True):
        begin = (
            f"  {'keep' if rule.kept else '-   '} {name}{' ' * (width - printable.cells(name))}  "
        )
        yield from words.folded(begin, printable.text(rule.text), look)
    if checkpoint.problems:
        yield from words.problems((checkpoint,), (), look)
    if explanation.siblings:
        names = [sibling.name for sibling in explanation.siblings]
        yield from words.folded("lives and dies with ", words.listed(names, look), look)
    if explanation.fixed is not None:
        yield from words.folded("", printable.text(explanation.fixed), look)
        return
    if kept:
        yield "what would let go of it, all together:"
        parts = [part for change in explanation.changes for part in change.text.split("; ")]
    else:
        yield "what would keep it, each alone:"
        parts = [change.text for change in explanation.changes]
    for part in parts:
        yield from words.folded("  ", printable.text(part), look)
