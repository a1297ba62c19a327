"""Checkpoints and runs for tests of decisions, made in memory from what matters to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ckptctl.listing import Entry
from ckptctl.model import NS, Checkpoint, Copy, Hold, Kind, Run, State
from ckptctl.names import split_suffix
from ckptctl.units import parse_duration, parse_time

HOUR = 3600 * NS
NOW = parse_time("2026-01-15T12:00:00Z")

_PLAIN = frozenset(
    {"step", "epoch", "stated", "resumable", "pinned", "named", "temporary", "unread"}
)
_LISTS = ("tags", "pointers", "aliases")


def checkpoint(now_ns: int = NOW, **said: Any) -> Checkpoint:
    """Make a checkpoint from what is said of it, everything else as usual.

    `saved` is a time, or a duration before now (after it with a +); `zeros` names metrics;
    `holds` and `doomed` are durations after now.  The name follows from family and number.
    """
    number = said.get("step") if said.get("step") is not None else said.get("epoch")
    usual = "step_#.pt" if said.get("step") is not None else "epoch_#.pt"
    family = said.pop("family", said.get("name", "") + ".pt" if said.get("named") else usual)
    stem, suffix = split_suffix(family)
    name = said.pop("name", stem.replace("#", str(number)))
    member = name + suffix
    saved_ns = when(said.pop("saved", "1h"), now_ns)
    # Each reader makes a nan of its own, and two nans are not even equal to themselves.
    metrics = {key: float(str(value)) for key, value in said.pop("metrics", {}).items()}
    plain = {key: said.pop(key) for key in list(said) if key in _PLAIN}
    lists = {key: tuple(said.pop(key, ())) for key in _LISTS}
    holds = tuple(
        Hold(by, "node7", now_ns + _signed(after)) for by, after in said.pop("holds", {}).items()
    )
    copies = tuple(Copy(tier, f"/{tier}/{member}", now_ns) for tier in said.pop("copies", ()))
    doomed = said.pop("doomed", None)
    state = State(said.pop("state", "complete"))
    zeros = frozenset(said.pop("zeros", ()))
    if said:
        raise ValueError(f"a checkpoint has no {', '.join(said)}")
    return Checkpoint(
        run="run",
        name=name,
        path=f"/run/{member}",
        member=member,
        format="torch-file",
        kind=Kind.FILE,
        family=family,
        saved_ns=saved_ns,
        changed_ns=saved_ns,
        bytes=1000,
        files={member: Entry(size=1000, mtime_ns=saved_ns)},
        folders=(),
        key_file=member,
        sidecars=(),
        state=state,
        metrics=metrics,
        zeros=zeros,
        holds=holds,
        copies=copies,
        doomed_ns=None if doomed is None else now_ns + _signed(doomed),
        future=saved_ns > now_ns,
        **{"step": None, "epoch": None, "stated": False, **plain, **lists},
    )


def run(checkpoints: Sequence[Checkpoint]) -> Run:
    """Make a run of checkpoints."""
    return Run(name="run", location="/run", path="", checkpoints=tuple(checkpoints))


def several(said: Sequence[Mapping[str, Any]], now_ns: int = NOW) -> list[Checkpoint]:
    """Make checkpoints; where no time is said, one was saved each hour, the last an hour ago."""
    return [
        checkpoint(now_ns, **{"saved": f"{len(said) - index}h", **each})
        for index, each in enumerate(said)
    ]


def when(text: str, now_ns: int) -> int:
    """Return a time, or a duration before now; after it with a plus."""
    return parse_time(text) if text[:4].isdigit() and "-" in text else now_ns - _signed(text, -1)


def _signed(text: str, sign: int = 1) -> int:
    if text[:1] in {"+", "-"}:
        return sign * parse_duration(text[1:]) * (1 if text[0] == "+" else -1)
    return parse_duration(text)
