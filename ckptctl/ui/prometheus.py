"""How well runs are saved, as metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ckptctl.at_risk import AtRisk
from ckptctl.health import Copied, Health
from ckptctl.model import NS


def prometheus_text(runs: Sequence[Health], now_ns: int) -> str:
    """Return the metrics in Prometheus's text format; a number that is not known is left out."""
    lines: list[str] = []

    def metric(name: str, what: str, samples: Sequence[tuple[str, str]]) -> None:
        lines.append(f"# HELP ckptctl_{name} {what}")
        lines.append(f"# TYPE ckptctl_{name} gauge")
        lines.extend(f"ckptctl_{name}{labels} {value}" for labels, value in samples)

    read = [run for run in runs if run.counts]

    def each(number: Callable[[Health], str | None]) -> list[tuple[str, str]]:
        found = ((_labels(run), number(run)) for run in read)
        return [(labels, value) for labels, value in found if value is not None]

    metric(
        "newest_complete_timestamp_seconds",
        "When the newest complete checkpoint was saved, in Unix seconds.",
        each(lambda r: _seconds(now_ns - r.age_ns) if r.age_ns is not None else None),
    )
    metric(
        "newest_complete_age_seconds",
        "Age of the newest complete checkpoint when this file was written.",
        each(lambda r: _seconds(r.age_ns) if r.age_ns is not None else None),
    )
    metric(
        "checkpoints",
        "Checkpoints by state.",
        [(_labels(r, state=state), str(n)) for r in read for state, n in r.counts.items()],
    )
    metric("bytes", "Bytes of the checkpoints, each inode once.", each(lambda r: str(r.bytes)))
    metric(
        "leftover_bytes", "Bytes that unfinished saves left.", each(lambda r: str(r.leftover_bytes))
    )
    metric(
        "trash_entries",
        "Entries in the trash that can come back.",
        each(lambda r: str(r.trash.entries)),
    )
    metric(
        "trash_bytes", "Bytes in the trash that can come back.", each(lambda r: str(r.trash.bytes))
    )
    metric(
        "gone_bytes",
        "Bytes of what is deleted, still to be removed.",
        each(lambda r: str(r.trash.gone_bytes)),
    )
    metric(
        "next_purge_timestamp_seconds",
        "When the first of what is in the trash is past its grace, in Unix seconds.",
        each(lambda r: _seconds(r.trash.purge_ns) if r.trash.purge_ns is not None else None),
    )
    for name, what, number in _COPIED:
        metric(
            name,
            what,
            [(_labels(r, to=r.copied.to), str(number(r.copied))) for r in read if r.copied],
        )
    for name, what, of in _AT_RISK:
        metric(name, what, [(_labels(r), str(of(r.risk))) for r in read if r.risk])
    firsts = [(r, r.risk.expiry.at_ns) for r in read if r.risk and r.risk.expiry]
    metric(
        "site_purge_first_timestamp_seconds",
        "When the site's purge takes the first file of a checkpoint, in Unix seconds.",
        [(_labels(r), _seconds(at_ns)) for r, at_ns in firsts],
    )
    metric(
        "disk_free_bytes",
        "Free bytes of the run's file system.",
        each(lambda r: str(r.disk.free) if r.disk else None),
    )
    metric(
        "disk_size_bytes",
        "Size of the run's file system.",
        each(lambda r: str(r.disk.size) if r.disk else None),
    )
    metric(
        "run_error",
        "1 where something of the run could not be read.",
        [(_labels(r), str(int(r.error is not None))) for r in runs],
    )
    metric("status_timestamp_seconds", "When this file was written.", [("", _seconds(now_ns))])
    return "\n".join(lines) + "\n"


_COPIED: tuple[tuple[str, str, Callable[[Copied], int]], ...] = (
    ("copy_backlog", "Checkpoints still to be copied to the next tier.", lambda c: c.backlog),
    ("copy_backlog_bytes", "Bytes still to be copied to it.", lambda c: c.backlog_bytes),
    (
        "copy_conflicts",
        "Checkpoints of which it holds another of that name.",
        lambda c: c.conflicts,
    ),
    ("copies_proven", "Proven copies on other tiers.", lambda c: c.proven),
    ("copies_missing", "Proven copies that deletions still need.", lambda c: c.missing),
    ("copy_tiers_unreachable", "Other tiers that cannot be read.", lambda c: len(c.unreachable)),
)


_AT_RISK: tuple[tuple[str, str, Callable[[AtRisk], int]], ...] = (
    (
        "site_purge_at_risk",
        "Checkpoints of which the site's purge is about to take a file.",
        lambda r: r.checkpoints,
    ),
    ("site_purge_at_risk_bytes", "Their bytes.", lambda r: r.bytes),
    ("site_purge_due", "Of those, the ones that may have lost one by now.", lambda r: r.due),
    (
        "site_purge_without_copy",
        "Of those at risk, the ones without a proven copy on another tier.",
        lambda r: len(r.uncopied),
    ),
)


def _seconds(ns: int) -> str:
    return f"{ns // NS}.{ns % NS // 1_000_000:03d}"


def _labels(run: Health, **more: str) -> str:
    labels = {"run": run.name, "location": run.location, **more}
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    r"""Return a label's value: UTF-8, with `\`, `"` and line ends escaped."""
    text = value.encode("utf-8", "backslashreplace").decode()
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
