"""A decision that rests on what is really whole: those that are to be kept are proven first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ckptctl.completeness import unfinished
from ckptctl.decide import decide
from ckptctl.errors import UnreadableError
from ckptctl.formats._base import Format
from ckptctl.model import Checkpoint, Context, Decision, Problem, Run, State
from ckptctl.pace import in_order
from ckptctl.pointing import naming_their_best
from ckptctl.reading import Finding, Reader, VanishedError
from ckptctl.rules._base import RULES, Rule

_GUARDS = frozenset({"newest", "newest-saved", "resumable"})


def decide_proven(
    run: Run, rules: Sequence[Rule], context: Context, formats: Mapping[str, Format], reader: Reader
) -> tuple[Run, tuple[Decision, ...]]:
    """Return the run and its decisions once every checkpoint they rest on is proven.

    One that fails at structure level becomes incomplete (`saving` within the settle time), and the
    decision is made anew.  `reader` starts at the run.  Raises UnreadableError where a file cannot
    be read, and what `decide` raises.
    """
    proven: set[str] = set()
    resting = _GUARDS | set(RULES.names())
    while True:
        decisions = decide(run, rules, context)
        unproven = [
            decision.checkpoint
            for decision in decisions
            if decision.checkpoint.state is State.COMPLETE
            and not decision.checkpoint.proven
            and decision.checkpoint.member not in proven
            and any(reason.rule in resting for reason in decision.reasons)
        ]
        if not unproven:
            return run, decisions
        results = in_order(lambda c: prove(c, formats, reader), unproven)
        proven.update(checkpoint.member for checkpoint in unproven)
        failed = {c.member: found for c, found in zip(unproven, results, strict=True) if found}
        if not failed:
            return run, decisions
        demoted = (_demoted(c, failed, context) for c in run.checkpoints)
        run = replace(run, checkpoints=naming_their_best(demoted))


def prove(
    checkpoint: Checkpoint, formats: Mapping[str, Format], reader: Reader
) -> tuple[Finding, ...]:
    """Return what is wrong with a checkpoint at structure level.  Raises UnreadableError."""
    try:
        return findings_of(checkpoint, formats, reader)
    except OSError as error:
        raise UnreadableError(
            f"{checkpoint.path}: {error.filename or ''} cannot be read ({error.strerror or error}); "
            f"nothing of the run {checkpoint.run} was deleted",
            "check its permissions, or the disk",
        ) from error


def findings_of(
    checkpoint: Checkpoint, formats: Mapping[str, Format], reader: Reader
) -> tuple[Finding, ...]:
    """Return what is wrong with a checkpoint at structure level.  Raises OSError."""
    try:
        return tuple(formats[checkpoint.format].prove(checkpoint, reader))
    except VanishedError as error:
        return (Finding(str(error.filename or checkpoint.key_file), "vanished", "is gone"),)


def _demoted(
    checkpoint: Checkpoint, failed: Mapping[str, tuple[Finding, ...]], context: Context
) -> Checkpoint:
    findings = failed.get(checkpoint.member)
    if not findings:
        return checkpoint
    problems = tuple(Problem(f.code, f"{f.file}: {f.text}") for f in findings)
    state = unfinished(checkpoint.changed_ns, context)
    return replace(checkpoint, state=state, problems=(*checkpoint.problems, *problems))
