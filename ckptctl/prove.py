"""A decision that rests on what is really whole: those that are to be kept are proven first."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from ckptctl.comparing import HARMLESS, Expected, by_sizes
from ckptctl.completeness import unfinished
from ckptctl.decide import decide, guarded
from ckptctl.decision import Context, Decision, Reason
from ckptctl.errors import UnreadableError
from ckptctl.formats._base import Format
from ckptctl.manifest import ManifestError
from ckptctl.manifests import Manifests
from ckptctl.model import Checkpoint, Problem, Run, State
from ckptctl.pace import in_order
from ckptctl.pointing import naming_their_best
from ckptctl.reading import Finding, Reader, VanishedError
from ckptctl.rules._base import RULES, Rule
from ckptctl.stores import told

_GUARDS = frozenset({"newest", "newest-saved", "resumable"})


def decide_proven(
    run: Run,
    rules: Sequence[Rule],
    context: Context,
    formats: Mapping[str, Format],
    reader: Reader,
    manifest: Manifests,
) -> tuple[Run, tuple[Decision, ...]]:
    """Return the run and its decisions once every checkpoint they rest on is proven.

    One that fails at structure level becomes incomplete (`saving` within the settle time), and the
    decision is made anew.  `reader` starts at the run, `manifest` gives what was recorded of it.  Raises UnreadableError where a file cannot
    be read, and what `decide` raises.
    """
    resting = _GUARDS | set(RULES.names())
    decisions: tuple[Decision, ...] = ()

    def rest(run: Run) -> set[str]:
        nonlocal decisions
        decisions = decide(run, rules, context)
        return {d.checkpoint.member for d in decisions if any(r.rule in resting for r in d.reasons)}

    return _proven(run, rest, context, lambda c: prove(c, formats, reader, manifest)), decisions


def guarded_proven(
    run: Run,
    context: Context,
    formats: Mapping[str, Format],
    reader: Reader,
    manifest: Manifests,
) -> tuple[Run, Mapping[str, tuple[Reason, ...]]]:
    """Return the run and what guards keep of it, once every checkpoint they rest on is proven.

    What `decide_proven` does for rules, for who carries out what was decided before.
    """
    reasons: Mapping[str, tuple[Reason, ...]] = {}

    def rest(run: Run) -> set[str]:
        nonlocal reasons
        reasons = guarded(run, (), context)
        return {m for m, given in reasons.items() if any(r.rule in _GUARDS for r in given)}

    return _proven(run, rest, context, lambda c: prove(c, formats, reader, manifest)), reasons


def checked(
    run: Run,
    members: Collection[str],
    context: Context,
    formats: Mapping[str, Format],
    reader: Reader,
    manifest: Manifests,
) -> Run:
    """Return the run with some of its complete checkpoints (members) looked at: see `decide_proven`.

    Raises UnreadableError where a file cannot be read.
    """
    some = set(members)
    return _proven(run, lambda _: some, context, lambda c: prove(c, formats, reader, manifest))


def _proven(
    run: Run,
    rest: Callable[[Run], set[str]],
    context: Context,
    findings: Callable[[Checkpoint], tuple[Finding, ...]],
) -> Run:
    """Return the run with all that a decision rests on proven; `rest` makes it anew each time."""
    proven: set[str] = set()
    while True:
        rests = rest(run)
        unproven = [
            checkpoint
            for checkpoint in run.checkpoints
            if checkpoint.state is State.COMPLETE
            and not checkpoint.proven
            and checkpoint.member in rests - proven
        ]
        if not unproven:
            return run
        results = in_order(findings, unproven)
        proven.update(checkpoint.member for checkpoint in unproven)
        failed = {c.member: found for c, found in zip(unproven, results, strict=True) if found}
        if not failed:
            return run
        demoted = (_demoted(c, failed, context) for c in run.checkpoints)
        run = replace(run, checkpoints=naming_their_best(demoted))


def prove(
    checkpoint: Checkpoint, formats: Mapping[str, Format], reader: Reader, manifest: Manifests
) -> tuple[Finding, ...]:
    """Return what is wrong with a checkpoint at structure level.  Raises UnreadableError.

    What its manifest noted is only found here: a file that is gone, or has another size.
    """
    try:
        seen = manifest(checkpoint.member)
        noted = Expected(checkpoint, seen, rewrites=formats[checkpoint.format].rewrites)
        unlike = [found for found in by_sizes(noted) if found.code not in HARMLESS]
        return (*findings_of(checkpoint, formats, reader), *unlike)
    except ManifestError:  # then the guard `unread` keeps it, and nothing rests on it
        return findings_of(checkpoint, formats, reader)
    except OSError as error:
        said, check = told(
            checkpoint.path, error.strerror or str(error), "check its permissions, or the disk"
        )
        raise UnreadableError(
            f"{checkpoint.path}: {error.filename or ''} cannot be read ({said}); "
            f"nothing of the run {checkpoint.run} was deleted",
            check,
        ) from error


def findings_of(
    checkpoint: Checkpoint, formats: Mapping[str, Format], reader: Reader
) -> tuple[Finding, ...]:
    """Return what is wrong with a checkpoint at structure level.  Raises OSError.

    It is looked at once more where something is: a broken transfer is no damage.
    """
    return _findings_of(checkpoint, formats, reader) and _findings_of(checkpoint, formats, reader)


def _findings_of(
    checkpoint: Checkpoint, formats: Mapping[str, Format], reader: Reader
) -> tuple[Finding, ...]:
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
