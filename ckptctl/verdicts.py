"""What a verification comes to, for each checkpoint: pure; section 6 of the contract."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ckptctl.comparing import HARMLESS, MISSING
from ckptctl.model import Checkpoint, State
from ckptctl.reading import Finding


class Level(StrEnum):
    """How deep a verification looks; each level includes those before it."""

    NAMES = "names"
    STRUCTURE = "structure"
    DIGEST = "digest"

    @property
    def depth(self) -> int:
        """Return its place in that order."""
        return list(Level).index(self)


class Status(StrEnum):
    """What is known of a checkpoint after a verification."""

    OK = "ok"
    INCOMPLETE = "incomplete"
    DAMAGED = "damaged"
    SAVING = "saving"
    UNRECORDED = "unrecorded"
    PART = "part"  # others have more of it: files on their nodes, or a share that they read


BAD = frozenset({Status.INCOMPLETE, Status.DAMAGED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One checkpoint as a verification found it."""

    checkpoint: Checkpoint
    status: Status
    findings: tuple[Finding, ...] = ()
    files_checked: int = 0
    bytes_read: int = 0
    error: OSError | None = None  # why something of it could not be read: then it proves nothing


def status_of(
    checkpoint: Checkpoint, findings: Sequence[Finding], level: Level, *, covered: bool
) -> Status:
    """Return what findings come to; `covered` says whether digests are known of its files.

    What is still being saved cannot fail, and what was never whole cannot be damaged.
    """
    wrong = {finding.code for finding in findings} - HARMLESS
    if checkpoint.state is State.SAVING:
        return Status.SAVING
    if "changed" in {f.code for f in findings} and not wrong:
        return Status.SAVING
    if checkpoint.state is State.INCOMPLETE:
        return Status.INCOMPLETE
    if wrong - MISSING:
        return Status.DAMAGED
    if wrong:
        return Status.INCOMPLETE
    stale = any(finding.code == "stale-record" for finding in findings)
    if level is Level.DIGEST and (stale or not covered):
        return Status.UNRECORDED
    return Status.OK


def of_one_node(result: Result) -> Result:
    """Return what is said of what one node has: never that it is whole, nor that it lacks what others have."""
    wrong = {finding.code for finding in result.findings} - HARMLESS
    lacks = result.status is Status.INCOMPLETE and wrong and wrong <= MISSING
    return replace(result, status=Status.PART) if lacks or result.status is Status.OK else result


def by_names(checkpoint: Checkpoint) -> list[Finding]:
    """Return what the listing alone says is not there, or not whole."""
    key = checkpoint.key_file
    return [
        Finding(key, problem.code, problem.text.removeprefix(f"{key} "))
        for problem in checkpoint.problems
        if problem.code in {"incomplete", "torn", "settling", "marker-older"}
    ]


def remembered(
    checkpoint: Checkpoint, findings: Collection[Finding], level: Level, *, covered: bool
) -> list[Finding]:
    """Return the damage that an earlier verification found, where this one cannot refute it.

    Of bytes that are not as they were noted, nothing does but what they should be: `covered`.
    """
    damage_level = checkpoint.damage_level
    if checkpoint.state is not State.DAMAGED or any(f.code not in HARMLESS for f in findings):
        return []
    known = Level(damage_level) if damage_level in set(Level) else Level.DIGEST
    if damage_level == known and known.depth <= level.depth and (covered or known != Level.DIGEST):
        return []
    text = next((p.text for p in checkpoint.problems if p.code == "damaged"), "it is damaged")
    deep = known.depth <= level.depth
    clears = "digests, of which none are known now," if deep else f"all of level {known}"
    file = damaged_file(checkpoint, text)
    text = f"was found damaged ({text.removeprefix(f'{file}: ')}); only {clears} can clear that"
    return [Finding(file, "recorded-damage", text)]


def damaged_file(checkpoint: Checkpoint, damage: str) -> str:
    """Return the file that a damage is of, as it was noted (`damage_of`): the key file where it names none."""
    named = (file for file in checkpoint.files if damage.startswith(f"{file}: "))
    return max(named, key=len, default=checkpoint.key_file)
