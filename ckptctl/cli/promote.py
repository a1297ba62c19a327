"""`ckptctl promote`: pin, tag and name a checkpoint that is whole, and note who did so and why."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from ckptctl.cli.access import access_of
from ckptctl.cli.naming import Target, apart, near
from ckptctl.cli.noted import noted_of
from ckptctl.cli.options import Common, Location
from ckptctl.cli.recording import dirs_of, host_name, read_after, recorder_of, user_name
from ckptctl.cli.resolve import MetricName, SelectorText
from ckptctl.cli.resolving import policy_metric, wrong_with
from ckptctl.cli.run_by_run import reading_of
from ckptctl.cli.runtime import Session
from ckptctl.cli.tier_runs import RunThere, refuse_parts, run_at
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
from ckptctl.transfer.destination import look_there
from ckptctl.transfer.outcome import Shipped
from ckptctl.ui import printable
from ckptctl.ui.progress import Progress
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
        str | None,
        typer.Option(
            "--to",
            metavar="LOCATION",
            help="Copy it to this directory or bucket, too, as sync does.",
        ),
    ] = None
    note: Annotated[str | None, typer.Option("--note", metavar="TEXT", help="Why.")] = None
    metric: MetricName = None
    demote: Annotated[
        bool, typer.Option("--demote", help="Undo what promote did, or with --as one alias of it.")
    ] = False

    def check(self) -> None:
        """Refuse what makes no sense.  Raises UsageError."""
        if self.to == "":
            raise UsageError("--to is empty; nothing was changed")
        named = () if self.alias is None else (self.alias,)
        if any(not text.strip() for text in (*(self.tag or ()), *named)):
            raise UsageError("--as, --tag: need at least one character; nothing was changed")
        if self.demote and (self.tag or self.note is not None or self.to is not None):
            raise UsageError("--demote goes with --as only; nothing was changed")


def promote(
    common: Common, options: PromoteOptions, selector: SelectorText, location: Location = None
) -> None:
    """Pin a checkpoint that is whole, tag it, let an alias name it, and note who did so and why.

    An alias is a record that `resolve alias:NAME` reads. When it moves, the checkpoint that had it
    loses it, and the pin that came with it. Exit 6 where what is meant is damaged or incomplete:
    nothing is recorded then. With --to it is copied first, and recorded there as well; exit 5 where
    that fails, and nothing is recorded. `--demote` undoes what promote did, no more.
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
        if not options.demote:
            refuse_parts(session, place)
        metric = policy_metric(session, (place,)) if wanted.word is Word.BEST else None
        found, notes = select(wanted, [place.seen], metric, own=False)
        meant = found[0].checkpoint
        if not options.demote:
            meant, passed = _whole(session, place, wanted, found, common.settle)
            notes = [*notes, *passed]
        copy = _copied(session, place, meant, options, progress)
    for note in notes:
        session.say(f"warning: {printable.text(note)}")
    if options.demote:
        _demote(session, _target(place, meant), meant, options.alias)
    else:
        _promote(session, place, meant, wanted, options, copy)


def _target(place: RunThere, meant: Checkpoint) -> Target:
    return Target(place.view, place.found, meant.member, meant.name)


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
    meant: Checkpoint,
    selector: Selector,
    options: PromoteOptions,
    copy: Copied | None,
) -> None:
    """Record the promotion, and take the alias from whoever had it, in one turn; at its copy first."""
    alias = options.alias
    target = _target(place, meant)
    own = Promotion(
        at_ns=session.clock(),
        by=user_name(),
        host=host_name(),
        selector=selector.text,
        path=meant.path,
        note=options.note,
        alias=alias,
        tags=tuple(options.tag or ()),
        metrics=meant.metrics,
        digest=_digest(session, place, meant) or (copy.digest if copy else None),
    )
    if alias is not None:
        for each in (copy.target, target) if copy else (target,):
            _refuse_elsewhere(session, each, alias)
    if copy:
        _recorded(session, copy.target, own)
    after, changed = _recorded(session, target, own)
    record = changed.pop(target.member)
    if meant.named:
        session.say(f"warning: {meant.name} is the trainer's own copy, which it may replace")
    if own.digest is not None:
        more = f"ckptctl verify --level digest --name {meant.name}"
        session.say(f"verified at structure level; `{more}` reads every byte")
    former, shipped = tuple(changed), copy.shipped if copy else None
    data = promotion_data("promote", after, record, former, shipped)
    text = promotion_text("promote", after, alias, former, shipped)
    _show(session, data, text)


def _recorded(
    session: Session, target: Target, own: Promotion
) -> tuple[Checkpoint, dict[str, Record]]:
    """Record a promotion at one place; return the checkpoint as it is then, and what was changed."""

    def other(record: Record) -> Record:
        return record if own.alias is None else handed_over(record, own.alias, own.at_ns)

    with recorder_of(session, target) as recorder, session.signals.noted():
        changed = recorder.change_among(target.member, lambda old: promoted(old, own), other)
        return read_after(session, target, recorder), changed


@dataclass(frozen=True, slots=True)
class Copied:
    """The copy of --to: what became of it, where its records are, and what it hashes to."""

    shipped: Shipped
    target: Target
    digest: str | None


def _copied(
    session: Session,
    place: RunThere,
    meant: Checkpoint,
    options: PromoteOptions,
    progress: Progress,
) -> Copied | None:
    """Copy what is promoted, before anything is recorded; None without --to."""
    if options.to is None:
        return None
    from ckptctl.cli.fetching import copied  # noqa: PLC0415 - most promotions copy nothing

    to = session.locate(options.to)
    shipped = copied(session, place, meant, to, progress)
    access = access_of(session, session.config, to)
    there = look_there(to, access, place.view.formats, reading_of(session, Policy()))
    if there is None:
        raise UnreadableError(f"{to}: was removed again; nothing was recorded")
    manifest = there.manifest(meant.member)
    target = Target(there.view, there.found, meant.member, meant.name)
    return Copied(shipped, target, digest_of(manifest) if manifest else None)


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
    _show(session, promotion_data("demote", after, record), promotion_text("demote", after))


def _show(session: Session, data: Mapping[str, object], text: str) -> None:
    """Write what was done, in the form that was asked for."""
    session.warn()
    session.print(f"{json.dumps(data) if session.common.format == 'json' else text}\n")


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
