"""`ckptctl promote`: pin, tag and name a checkpoint that is whole, and note who did so and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from ckptctl.cli.naming import Target, apart, near
from ckptctl.cli.noted import noted_of
from ckptctl.cli.options import Common, Location
from ckptctl.cli.recording import dirs_of, host_name, read_after, recorder_of, user_name
from ckptctl.cli.resolve import MetricName, SelectorText
from ckptctl.cli.resolving import policy_metric, wrong_with
from ckptctl.cli.runtime import Session
from ckptctl.cli.tier_runs import RunThere, run_at
from ckptctl.config import policy_for
from ckptctl.errors import DamagedError, NotFoundError, RefusedError, UnreadableError, UsageError
from ckptctl.manifest import ManifestError
from ckptctl.model import Checkpoint, State
from ckptctl.policy import Policy
from ckptctl.promoting import demoted, digest_of, handed_over, promoted
from ckptctl.records import Promotion, Record, RecordError, read_all
from ckptctl.resuming import Candidate
from ckptctl.selecting import Selector, Word, parse_selector, select
from ckptctl.survey import name_of, path_of
from ckptctl.ui import printable
from ckptctl.ui.promoting import promotion_data, promotion_text


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteOptions:
    """The options of `promote` alone."""

    alias: Annotated[
        str | None,
        typer.Option("--as", metavar="ALIAS", help="Let this name mean it, and no other any more."),
    ] = None
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="Give it a tag; repeatable.")
    ] = None
    to: Annotated[
        str | None, typer.Option("--to", metavar="LOCATION", help="Copy it there; not yet.")
    ] = None
    note: Annotated[str | None, typer.Option("--note", metavar="TEXT", help="Why.")] = None
    metric: MetricName = None
    demote: Annotated[
        bool, typer.Option("--demote", help="Undo what promote did, or with --as one alias of it.")
    ] = False

    def check(self) -> None:
        """Refuse what makes no sense.  Raises UsageError."""
        if self.to is not None:
            raise UsageError("--to: is not there yet; nothing was changed")
        if any(not text.strip() for text in (*(self.tag or ()), self.alias or "-")):
            raise UsageError("--as, --tag: need at least one character; nothing was changed")
        if self.demote and (self.tag or self.note is not None):
            raise UsageError("--demote goes with --as only; nothing was changed")


def promote(
    common: Common, options: PromoteOptions, selector: SelectorText, location: Location = None
) -> None:
    """Pin a checkpoint that is whole, tag it, let an alias name it, and note who did so and why.

    An alias is a record that `resolve alias:NAME` reads. When it moves, the checkpoint that had it
    loses it, and the pin that came with it. Exit 6 where what is meant is damaged or incomplete:
    nothing is recorded then. `--demote` undoes what promote did, no more.
    """
    # It is proven here, so that its age says nothing.
    session = Session(common=replace(common, settle="0s"))
    options.check()
    selector, location = apart(selector, location)
    wanted = parse_selector(selector, options.metric)
    session.open(near(selector, location))
    with session.progress() as progress:
        progress.started("listing")
        everywhere = run_at(session, location)
        if everywhere.errors:
            raise everywhere.errors[0]
        (place,) = everywhere.places
        metric = policy_metric(session, (place,)) if wanted.word is Word.BEST else None
        found, notes = select(wanted, [place.seen], metric, own=False)
        meant = found[0].checkpoint
        if not options.demote:
            meant, passed = _whole(session, place, wanted, found, common.settle)
            notes = [*notes, *passed]
    for note in notes:
        session.say(f"warning: {printable.text(note)}")
    target = Target(place.view, place.found, meant.member, meant.name)
    if options.demote:
        _demote(session, target, meant, options.alias)
    else:
        _promote(session, place, target, meant, wanted, options)


def _whole(
    session: Session,
    place: RunThere,
    selector: Selector,
    found: Sequence[Candidate],
    settle: str | None,
) -> tuple[Checkpoint, list[str]]:
    """Return the checkpoint that is meant, and what was passed over since it is just being saved.

    DamagedError where it is not whole.
    """
    policy = policy_for(
        session.config_of(place.run.location),
        name_of(place.view, place.found),
        path_of(place.view, place.found),
    )
    settle_ns = session.duration("--settle", settle) if settle else (policy or Policy()).settle_ns
    passed: list[str] = []
    for one in (each.checkpoint for each in found):
        wrong = wrong_with(session, place, one)
        if wrong is None:
            return one, passed
        saving = session.clock() - one.changed_ns < settle_ns and one.state is not State.DAMAGED
        if not (saving and selector.word in {Word.LATEST, Word.SAVED}):
            raise DamagedError(
                f"{one.path}: {wrong}; nothing was recorded",
                f"`ckptctl verify --name {one.name}` says all that is wrong",
            )
        passed.append(f"passed over {one.name}, which is perhaps still being saved: {wrong}")
    raise NotFoundError(f"{place.run.location}: none that {selector.text} could mean is whole")


def _promote(
    session: Session,
    place: RunThere,
    target: Target,
    meant: Checkpoint,
    selector: Selector,
    options: PromoteOptions,
) -> None:
    """Record the promotion, and take the alias from whoever had it, in one turn."""
    alias = options.alias
    now_ns = session.clock()
    own = Promotion(
        at_ns=now_ns,
        by=user_name(),
        host=host_name(),
        selector=selector.text,
        path=meant.path,
        note=options.note,
        alias=alias,
        tags=tuple(options.tag or ()),
        metrics=meant.metrics,
        digest=_digest(session, place, meant),
    )
    if alias is not None:
        _refuse_elsewhere(session, target, alias)

    def other(record: Record) -> Record:
        return record if alias is None else handed_over(record, alias, now_ns)

    with recorder_of(session, target) as recorder, session.signals.noted():
        changed = recorder.change_among(target.member, lambda old: promoted(old, own), other)
        after = read_after(session, target, recorder)
    record = changed.pop(target.member)
    if meant.named:
        session.say(f"warning: {meant.name} is the trainer's own copy, which it may replace")
    if own.digest is not None:
        more = f"ckptctl verify --level digest --name {meant.name}"
        session.say(f"verified at structure level; `{more}` reads every byte")
    _show(session, "promote", after, record, alias, tuple(changed))


def _demote(session: Session, target: Target, meant: Checkpoint, alias: str | None) -> None:
    """Undo the promotions of a checkpoint.  NotFoundError where there are none."""
    now_ns = session.clock()

    def change(record: Record) -> Record:
        ended = demoted(record, now_ns, alias)
        if ended == record:
            what = f" as {alias}" if alias is not None else ""
            raise NotFoundError(f"{meant.path}: was not promoted{what}, so nothing was undone")
        return ended

    with recorder_of(session, target) as recorder, session.signals.noted():
        record = recorder.change(target.member, change)
        after = read_after(session, target, recorder)
    _show(session, "demote", after, record)


def _show(
    session: Session,
    action: str,
    after: Checkpoint,
    record: Record,
    alias: str | None = None,
    former: tuple[str, ...] = (),
) -> None:
    session.warn()
    if session.common.format == "json":
        session.print(json.dumps(promotion_data(action, after, record, former)) + "\n")
    else:
        session.print(promotion_text(action, after, alias, former) + "\n")


def _digest(session: Session, place: RunThere, meant: Checkpoint) -> str | None:
    """Return the digest of a checkpoint where its manifest was made for these very files."""
    try:
        manifest = noted_of(session, place.view, place.found)(meant.member)
    except (ManifestError, OSError) as error:
        raise UnreadableError(
            f"{meant.path}: its manifest cannot be read ({error}); nothing was recorded",
            "`ckptctl verify --record` writes it anew",
        ) from error
    rewrites = place.view.by_name[meant.format].rewrites
    fits = manifest is not None and manifest.fits(meant.files, rewrites)
    return digest_of(manifest) if manifest is not None and fits else None


def _refuse_elsewhere(session: Session, target: Target, alias: str) -> None:
    """Refuse an alias that stands in another state directory, where nothing is written."""
    dirs = dirs_of(session, target)
    for place in dirs.existing[1:]:
        try:
            with closing(dirs.open(place)) as store:
                held = [record.path for record in read_all(store) if alias in record.aliases]
        except (OSError, RecordError) as error:
            raise UnreadableError(
                f"{place}: its records cannot be read ({error}); nothing was changed"
            ) from error
        if held:
            raise RefusedError(
                f"{alias}: names {held[0]} by a record of {place}, which cannot be taken back here; "
                "nothing was changed",
                "demote it there first, with --state-dir",
            )
