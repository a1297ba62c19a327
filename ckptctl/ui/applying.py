"""What `apply` and `watch` print: what was copied and deleted of each run, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ckptctl.model import Problem
from ckptctl.report import freed
from ckptctl.transfer.applied import Applied, Part
from ckptctl.transfer.outcome import Shipped, Status
from ckptctl.ui import printable, words
from ckptctl.ui.columns import Look
from ckptctl.ui.data import VERSION, error_data, run_data
from ckptctl.ui.pruning import deleted
from ckptctl.ui.syncing import result_data
from ckptctl.units import format_size

_COPIED = {Status.DONE: "copied", Status.PLANNED: "would copy"}


def applied_data(done: Applied) -> dict[str, object]:
    """Return the one JSON object."""
    return {
        "schema": "ckptctl/apply",
        "version": VERSION,
        "dry_run": done.dry_run,
        "freed_bytes": done.report.freed_bytes,
        "results": [
            {**result_data(result), "tier": part.tier, "to": part.copy_to}
            for part in done.parts
            for result in part.results
        ],
        "runs": [_run_data(part) for part in done.parts],
        "tiers": [
            {
                "name": lost.tier,
                "location": lost.location,
                "error": _without_head(error_data(lost.error)),
            }
            for lost in done.lost
        ],
        "unmatched": done.unmatched,
        "problems": [problem._asdict() for problem in done.problems],
    }


def _run_data(part: Part) -> dict[str, object]:
    problems = [problem._asdict() for problem in _problems(part)]
    error = _without_head(error_data(part.error)) if part.error else None
    pruned = run_data(part.pruned)
    return {
        **pruned,
        "tier": part.tier,
        "copy_to": part.copy_to,
        "problems": problems,
        "error": error,
    }


def _without_head(data: dict[str, object]) -> dict[str, object]:
    return {key: data[key] for key in ("code", "kind", "message", "hint")}


def _problems(part: Part) -> tuple[Problem, ...]:
    copying = part.copied.problems if part.copied else ()
    return tuple(dict.fromkeys((*part.pruned.problems, *copying)))


def applied_lines(done: Applied, look: Look) -> Iterator[str]:
    """Yield lines for people: nothing of a run of which nothing is new, and the sum."""
    for part in done.parts:
        yield from _part(part, look, dry_run=done.dry_run)
    for lost in done.lost:
        yield from words.error(lost.error, look)
    if done.unmatched:
        said = f"left alone, as no entry of `runs` in the configuration matches them: {words.listed(done.unmatched, look)}"
        yield from words.folded("", said, look)
    yield from words.problems((), done.problems, look)
    yield summary(done)


def _part(part: Part, look: Look, *, dry_run: bool) -> Iterator[str]:
    begin = f"{printable.name(part.pruned.name)} on {part.tier}: "
    for status, verb in _COPIED.items():
        them = [r for r in part.results if r.status is status and r.action != "point"]
        if them:
            size = format_size(sum(r.bytes for r in them))
            names = words.listed([r.checkpoint for r in them], look)
            yield from words.folded(begin, f"{verb} to {part.copy_to} {names} ({size})", look)
    gone = _names(part, dry_run=dry_run)
    if gone:
        verb = "would delete" if dry_run else "deleted"
        yield from words.folded(begin, f"{verb} {words.listed(gone, look)}", look)
    wrong = [(r.checkpoint, r.error) for r in part.results if r.error and _is_wrong(r)]
    wrong += [(o.checkpoint, o.error) for o in part.pruned.outcomes if o.error]
    for name, error in wrong:
        said = f"{printable.name(name)}: {printable.text(error)}"
        yield from words.folded(f"! {begin}", said, look)
    shown = [p for p in _problems(part) if look.verbose or p.code in _LOUD]
    yield from words.problems((), shown, look)
    for each in part.errors:
        yield from words.error(each, look)


AT_RISK = frozenset({"purge-at-risk", "purge-unknown", "records-at-risk"})
"""Problems that a site's purge makes."""

_LOUD = {"unsound", "not-recorded", "stays-here"} | AT_RISK
"""Problems that are told each time: the others `ckptctl list` shows as well."""


def _is_wrong(result: Shipped) -> bool:
    pointer = result.action == "point" and result.status is Status.SKIPPED
    return result.status not in {Status.DONE, Status.EQUAL, Status.PLANNED} and not pointer


def _names(part: Part, *, dry_run: bool) -> Sequence[str]:
    """Return the names of what was deleted or scheduled, or would be."""
    known = {d.checkpoint.path: d.checkpoint.name for d in part.pruned.decisions}
    known |= {outcome.path: outcome.checkpoint for outcome in part.pruned.outcomes}
    return [known[path] for path in deleted(part.pruned, dry_run=dry_run)]


def summary(done: Applied) -> str:
    """Return the line that tells a whole round."""
    runs = {part.pruned.name for part in done.parts}
    said = [words.count(len(runs), "run")]
    wanted = Status.PLANNED if done.dry_run else Status.DONE
    copied = [r for r in done.results if r.status is wanted and r.action != "point"]
    gone = sum(len(_names(part, dry_run=done.dry_run)) for part in done.parts)
    would = "would be " if done.dry_run else ""
    if copied:
        size = format_size(sum(r.bytes for r in copied))
        said.append(f"{len(copied):,} {would}copied ({size})")
    if gone:
        said.append(f"{gone:,} {would}deleted")
    size_freed = sum(freed(part.pruned) for part in done.parts)
    if size_freed:
        said.append(f"freed {format_size(size_freed)}")
    if not copied and not gone:
        said.append("nothing to do" if not done.did else "nothing new")
    if done.errors:
        said.append(words.count(len(done.errors), "error"))
    if done.dry_run:
        said.append("nothing was changed")
    return ", ".join(said)
