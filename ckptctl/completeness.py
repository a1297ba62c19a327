"""How far a checkpoint is: complete, saving, incomplete or damaged; section 3 of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ckptctl.containers import Check, Verdict, check
from ckptctl.decision import Context
from ckptctl.listing import Entry
from ckptctl.model import Claim, Inferred, Kind, Problem, State
from ckptctl.reading import Reader, VanishedError


class Fact(NamedTuple):
    """A state, and what a person should know about it."""

    state: State
    problems: tuple[Problem, ...] = ()
    inferred: bool = False  # only others of its family tell so


def unfinished(changed_ns: int, context: Context) -> State:
    """Return the state of what is not complete: still being written, or no longer."""
    settling = context.now_ns - changed_ns < context.settle_ns
    return State.SAVING if settling else State.INCOMPLETE


def state_of(
    claim: Claim,
    own: Mapping[str, Entry],
    missing: str | None,
    *,
    changed_ns: int,
    last: bool,
    reader: Reader,
    context: Context,
) -> Fact:
    """Return the state of one claim.

    `own` are its files without sidecars; `missing` what its framework's own metadata says is not
    there; `changed_ns` when it last changed; `last` whether it was saved last in its family.  Raises OSError where the one file that
    may have to be opened cannot be read.
    """
    lacking = claim.missing or missing
    if lacking is None and claim.expects_marker and claim.marker is None:
        lacking = "its commit marker is not there"
    if lacking is not None:
        problem = Problem("incomplete", str(lacking))
        inferred = isinstance(lacking, Inferred)
        return Fact(unfinished(changed_ns, context), (problem,), inferred)
    if claim.marker is not None:
        return _marked(claim, own, context)
    if claim.committed or not last:
        return Fact(State.COMPLETE)
    if claim.kind is Kind.FILE:
        checked = _checked(claim.key_file, own[claim.key_file], reader)
        if checked.verdict is Verdict.TORN:
            return Fact(
                unfinished(changed_ns, context),
                (Problem("torn", f"{claim.key_file} {checked.text}"),),
            )
        if checked.verdict is Verdict.WHOLE:
            return Fact(State.COMPLETE)
    if unfinished(changed_ns, context) is State.SAVING:
        return Fact(
            State.SAVING, (Problem("settling", "its files changed within the settle time"),)
        )
    return Fact(State.COMPLETE)


def _checked(path: str, entry: Entry, reader: Reader) -> Check:
    """Look at a file, and once more where it seems torn: perhaps only a transfer was."""
    try:
        checked = check(path, entry, reader)
        return check(path, entry, reader) if checked.verdict is Verdict.TORN else checked
    except VanishedError:
        return Check(Verdict.TORN, "it vanished while it was looked at")


def _marked(claim: Claim, own: Mapping[str, Entry], context: Context) -> Fact:
    """Let the marker decide; one that is older than a file it covers proves nothing for a while."""
    assert claim.marker is not None  # noqa: S101 - the caller has looked
    marker = own[claim.marker].mtime_ns
    uncovered = frozenset(claim.uncovered)
    newest, path = max(
        (entry.mtime_ns, path) for path, entry in own.items() if not _among(path, uncovered)
    )
    if newest <= marker:
        return Fact(State.COMPLETE)
    text = f"{path} is newer than the commit marker {claim.marker}"
    if unfinished(newest, context) is State.SAVING:
        return Fact(State.SAVING, (Problem("marker-older", text),))
    return Fact(State.COMPLETE, (Problem("marker-older", text),))


def _among(path: str, some: frozenset[str]) -> bool:
    """Whether a file is one of some, or lies in a directory ("a/") that is."""
    if not some or path in some:
        return bool(some)
    parent, slash, _ = path.rpartition("/")
    while slash:
        if f"{parent}/" in some:
            return True
        parent, slash, _ = parent.rpartition("/")
    return False
