"""A plan as a file: what one prune decided, for another to carry out once, and no more than that.

JSON: `{"schema":"ckptctl/plan","version":1,"id","created_at","location","recursive","runs":[{"name",
"location","keepers":[...],"metrics":[[name, mode]],"grace_ns","copies","actions":[{"action","checkpoint",
"member","bytes","files":{path: [bytes, mtime_ns, inode or ETag]},"why":[...]}]}]}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ckptctl.decision import Decision
from ckptctl.errors import UsageError
from ckptctl.listing import Version, version_of
from ckptctl.model import Checkpoint, Run
from ckptctl.plan import Action, Doing, Plan
from ckptctl.rules._base import Metric, Mode

SCHEMA = "ckptctl/plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedAction:
    """One deletion as it was planned, with what its files were then."""

    doing: Doing
    name: str
    member: str
    bytes: int
    files: Mapping[str, Version]
    why: tuple[str, ...]

    def means(self, checkpoint: Checkpoint) -> bool:
        """Whether a checkpoint is still, file by file, the one that was planned."""
        now = {path: entry.version for path, entry in checkpoint.files.items()}
        return now == self.files


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """What was planned for one run."""

    name: str
    location: str  # full path
    keepers: frozenset[str]
    metrics: tuple[Metric, ...]
    grace_ns: int
    copies: int  # on other tiers, that each deletion needs
    actions: tuple[PlannedAction, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFile:
    """A whole plan; `id` is what makes it one that can be used once."""

    id: str
    created_at: str
    location: str
    recursive: bool
    runs: tuple[PlannedRun, ...]


def planned_run(
    plan: Plan, location: str, metrics: Sequence[Metric], grace_ns: int, copies: int
) -> PlannedRun:
    """Return what a plan file holds of one run's plan."""
    short = {d.checkpoint.member: d.short for d in plan.decisions}
    actions = (
        PlannedAction(
            doing=action.doing,
            name=action.checkpoint.name,
            member=action.checkpoint.member,
            bytes=action.checkpoint.bytes,
            files={path: entry.version for path, entry in action.checkpoint.files.items()},
            why=short.get(action.checkpoint.member, ()),
        )
        for action in plan.actions
    )
    return PlannedRun(
        name=plan.run.name,
        location=location,
        keepers=plan.keepers,
        metrics=tuple(metrics),
        grace_ns=grace_ns,
        copies=copies,
        actions=tuple(actions),
    )


def plan_again(planned: PlannedRun, run: Run) -> tuple[Plan, tuple[PlannedAction, ...]]:
    """Return the plan for a run as it is now, and what of the file does not hold any more."""
    now = {c.member: c for c in (*run.checkpoints, *run.leftovers)}
    actions, stale = [], []
    for action in planned.actions:
        checkpoint = now.get(action.member)
        if checkpoint is None or not action.means(checkpoint):
            stale.append(action)
        else:
            actions.append((Action(action.doing, checkpoint), Decision(checkpoint, (), action.why)))
    plan = Plan(
        run=run,
        decisions=tuple(decision for _, decision in actions),
        actions=tuple(action for action, _ in actions),
        keepers=planned.keepers,
    )
    return plan, tuple(stale)


def dump(plan: PlanFile) -> str:
    """Return the text of a plan file."""
    value = {
        "schema": SCHEMA,
        "version": 1,
        "id": plan.id,
        "created_at": plan.created_at,
        "location": plan.location,
        "recursive": plan.recursive,
        "runs": [
            {
                "name": run.name,
                "location": run.location,
                "keepers": sorted(run.keepers),
                "metrics": [[metric.name, metric.mode] for metric in run.metrics],
                "grace_ns": run.grace_ns,
                "copies": run.copies,
                "actions": [
                    {
                        "action": action.doing,
                        "checkpoint": action.name,
                        "member": action.member,
                        "bytes": action.bytes,
                        "files": {path: list(seen) for path, seen in action.files.items()},
                        "why": list(action.why),
                    }
                    for action in run.actions
                ],
            }
            for run in plan.runs
        ],
    }
    return json.dumps(value, indent=1) + "\n"


def parse(content: bytes, file: str) -> PlanFile:
    """Return the plan in a file.  UsageError where it is none, or of another version."""
    try:
        value = json.loads(content)
        if (value["schema"], value["version"]) != (SCHEMA, 1):
            raise UsageError(
                f"{file}: is no plan that this version of ckptctl can read; nothing was changed"
            )
        return PlanFile(
            id=str(value["id"]),
            created_at=str(value["created_at"]),
            location=str(value["location"]),
            recursive=bool(value["recursive"]),
            runs=tuple(_run(run) for run in value["runs"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{file}: cannot be understood as a plan ({type(error).__name__}); nothing was changed",
            "make one with --plan-out",
        ) from error


def _run(value: Mapping[str, object]) -> PlannedRun:
    run: dict[str, object] = dict(value)
    metrics = [
        Metric(str(name), Mode(mode) if mode else None) for name, mode in _list(run["metrics"])
    ]
    return PlannedRun(
        name=str(run["name"]),
        location=str(run["location"]),
        keepers=frozenset(str(member) for member in _list(run["keepers"])),
        metrics=tuple(metrics),
        grace_ns=int(str(run["grace_ns"])),
        copies=int(str(run.get("copies", 0))),
        actions=tuple(_action(action) for action in _list(run["actions"])),
    )


def _action(value: Mapping[str, object]) -> PlannedAction:
    files = value["files"]
    if not isinstance(files, dict):
        raise TypeError("files")
    return PlannedAction(
        doing=Doing(str(value["action"])),
        name=str(value["checkpoint"]),
        member=str(value["member"]),
        bytes=int(str(value["bytes"])),
        files={str(path): version_of(seen) for path, seen in files.items()},
        why=tuple(str(text) for text in _list(value["why"])),
    )


def _list(value: object) -> list:  # type: ignore[type-arg]  # JSON: each item is checked where it is used
    if not isinstance(value, list):
        raise TypeError("a list is missing")
    return value
