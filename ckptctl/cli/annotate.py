"""`ckptctl annotate`: record metrics that arrive later, tags and pins."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated

import typer

from ckptctl.cli.completing import locations
from ckptctl.cli.naming import Name, Target, near, target_of
from ckptctl.cli.options import Common
from ckptctl.cli.recording import dirs_of, read_after, read_standing, recorder_of
from ckptctl.cli.runtime import Session
from ckptctl.errors import RefusedError, UnreadableError, UsageError
from ckptctl.model import Checkpoint, Metadata, State
from ckptctl.noting import Note, noted
from ckptctl.reading import SIDECAR_LIMIT, Below, VanishedError
from ckptctl.recording import read_record
from ckptctl.records import Record, RecordError
from ckptctl.sidecar import parse_sidecar
from ckptctl.stores import told
from ckptctl.ui import printable
from ckptctl.ui.data import VERSION, metric_data

_NUMBER = re.compile(
    r"[+-]?(?:\d+(?:\.\d*)?(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?|nan|inf|infinity)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotateOptions:
    """The options of `annotate` alone."""

    location: Annotated[
        str | None,
        typer.Option(
            "--in",
            metavar="LOCATION",
            help="Where the checkpoint is; by default the current directory.",
            autocompletion=locations,
        ),
    ] = None
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="T", help="Give it a tag; repeatable.")
    ] = None
    untag: Annotated[
        list[str] | None, typer.Option("--untag", metavar="T", help="Take a tag back; repeatable.")
    ] = None
    pin: Annotated[bool, typer.Option("--pin", help="Keep it whatever the rules say.")] = False
    unpin: Annotated[bool, typer.Option("--unpin", help="Take the pin back.")] = False

    def note(self, pairs: Sequence[str]) -> Note:
        """Return what is to be recorded.  Raises UsageError."""
        metrics = dict(map(_metric, pairs))
        tags, untags = tuple(self.tag or ()), tuple(self.untag or ())
        if any(not tag.strip() for tag in (*tags, *untags)):
            raise UsageError(
                "--tag, --untag: a tag needs at least one character; nothing was changed"
            )
        if both := set(tags) & set(untags):
            raise UsageError(
                f"{', '.join(sorted(both))}: both --tag and --untag; nothing was changed"
            )
        if self.pin and self.unpin:
            raise UsageError("--pin and --unpin at once; nothing was changed")
        if not (metrics or tags or untags or self.pin or self.unpin):
            raise UsageError(
                "nothing to record",
                "give KEY=VALUE, --tag T, --untag T, --pin or --unpin",
            )
        pin = True if self.pin else False if self.unpin else None
        return Note(metrics=metrics, tags=tags, untags=untags, pin=pin)


def annotate(
    common: Common,
    options: AnnotateOptions,
    name: Name,
    pairs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Metrics: numbers, nan and inf included.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Record metrics that arrive later (an asynchronous evaluation), tags and pins.

    They go before what a sidecar, the framework or the name says. A step that is saved anew loses
    its metrics; tags and pins stay.
    """
    session = Session(common=common)
    note = options.note(pairs or ())
    session.open(near(name, options.location))
    target = target_of(session, name, options.location, remote=True)
    checkpoint = read_standing(session, target)
    _refuse_what_others_say(session, target, checkpoint, note)
    with recorder_of(session, target) as recorder, session.signals.noted():
        record = recorder.change(target.member, lambda old: noted(old, note, checkpoint))
        after = read_after(session, target, recorder)
    if note.metrics and checkpoint.state is State.SAVING:
        session.say(
            f"warning: {checkpoint.name} is still being saved: these metrics are void once it changes"
        )
    session.warn()
    if common.format == "json":
        session.print(json.dumps(_data(after, record)) + "\n")
        return
    said = "; ".join(_said(note))
    session.print(f"{printable.name(after.name)}: {printable.text(said)}\n")


def _metric(text: str) -> tuple[str, float]:
    """Return what KEY=VALUE says; the key may hold `=`.  Raises UsageError."""
    key, sign, value = text.rpartition("=")
    if not sign or not key.strip() or not _NUMBER.fullmatch(value.strip()):
        raise UsageError(
            f"{text!r} is no KEY=VALUE with a number; nothing was changed",
            "write it like val_ppl=12.3; nan and inf are numbers, too",
        )
    return key.strip(), float(value)


def _refuse_what_others_say(
    session: Session, target: Target, checkpoint: Checkpoint, note: Note
) -> None:
    """Refuse to take back what a sidecar or another state directory says: a record cannot."""
    wanted = [tag for tag in note.untags if tag in checkpoint.tags]
    if not wanted and not (note.pin is False and checkpoint.pinned):
        return
    for place, said in _others(session, target, checkpoint):
        tags = [tag for tag in wanted if tag in said.tags]
        what = [f"the tag {tag}" for tag in tags]
        if note.pin is False and said.pinned:
            what.append("the pin")
        if what:
            raise RefusedError(
                f"{checkpoint.name}: {' and '.join(what)} stands in {place}, which no record can take back; "
                "nothing was changed",
                "take it out of that file",
            )


def _others(
    session: Session, target: Target, checkpoint: Checkpoint
) -> Iterator[tuple[str, Metadata | Record]]:
    """Yield what sidecars and the records of other state directories say, each with its place."""
    below = Below(target.view.store, target.found.folder.path)
    for path in checkpoint.sidecars:
        try:
            yield path, parse_sidecar(path, below.read(path, SIDECAR_LIMIT))
        except VanishedError:
            continue
        except OSError as error:
            said, check = told(checkpoint.path, error.strerror or str(error), "")
            raise UnreadableError(
                f"{path}: cannot be read ({said}); nothing was changed", check
            ) from error
    dirs = dirs_of(session, target)
    for place in (*dirs.existing[1:], *(path for path, _ in dirs.passed_over)):
        try:
            with closing(dirs.open(place)) as store:
                yield f"a record of {place}", read_record(store, target.member)
        except (OSError, RecordError) as error:
            raise UnreadableError(
                f"{place}: its records cannot be read ({error}); nothing was changed"
            ) from error


def _said(note: Note) -> Iterator[str]:
    """Yield what was recorded, in words."""
    if note.metrics:
        shown = ", ".join(f"{key}={_shown(value)}" for key, value in note.metrics.items())
        yield f"recorded {shown}"
    if note.tags:
        yield f"tagged {', '.join(note.tags)}"
    if note.untags:
        yield f"no longer tagged {', '.join(note.untags)}"
    if note.pin is not None:
        yield "pinned" if note.pin else "no longer pinned"


def _shown(value: float) -> str:
    return f"{value:g}" if math.isfinite(value) else str(value)


def _data(checkpoint: Checkpoint, record: Record) -> dict[str, object]:
    """Return the one JSON object: what is recorded, and what holds with all that others say."""
    result = {
        "run": checkpoint.run,
        "name": checkpoint.name,
        "path": checkpoint.path,
        "metrics": {key: metric_data(value) for key, value in checkpoint.metrics.items()},
        "tags": checkpoint.tags,
        "pinned": checkpoint.pinned,
        "recorded": {
            "metrics": {key: metric_data(value) for key, value in record.metrics.items()},
            "tags": record.tags,
            "pinned": record.pinned,
        },
    }
    return {"schema": "ckptctl/annotate", "version": VERSION, "results": [result]}
