"""From what formats claim to checkpoints: metadata in its order of authority, state, pointers.

Reads small files only, and of each family at most one tensor file's head (see `completeness`).
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ckptctl.completeness import Fact, state_of
from ckptctl.decision import Context
from ckptctl.gathered import gathered
from ckptctl.group import Found, Item, inner_sidecars, sidecars_of
from ckptctl.listing import Folder
from ckptctl.logs import Log
from ckptctl.manifest import Manifest, ManifestError
from ckptctl.merge import Sources, checkpoint_of
from ckptctl.model import Checkpoint, Metadata, Problem, Run, State
from ckptctl.names import split_suffix
from ckptctl.pace import in_order
from ckptctl.partial import Seen, is_partial
from ckptctl.pointing import last_part, links_of, named_by, naming_their_best, targets
from ckptctl.reading import SIDECAR_LIMIT, Below, Reader, TooLargeError, VanishedError
from ckptctl.records import Record, file_name
from ckptctl.sidecar import is_frameworks, parse_sidecar

_NOTHING = Metadata()
HALF_DELETED = Problem(
    "half-deleted", "a prune had begun to delete it and was interrupted: the next one goes on"
)
FETCHED_IN_PART = Problem(
    "partial", "only some of its files were fetched here (`resolve --fetch --files`)"
)
HALF_COME = Problem(
    "parts-missing", "it comes in parts from several nodes, and not all are there: `sync` goes on"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What belongs to a run but does not lie in its listing."""

    records: Mapping[str, tuple[Record, ...]] = field(default_factory=dict)
    manifest: Callable[[str], Manifest | None] = lambda _: None  # by a checkpoint's path
    log: Log = field(default_factory=Log)
    problems: tuple[Problem, ...] = ()
    unread: tuple[str, ...] = ()  # records that could not be read
    halves: frozenset[str] = frozenset()  # members of which a deletion has begun
    coming: frozenset[str] = frozenset()  # members of which parts are still to come
    partial: Mapping[str, Seen] = field(default_factory=dict)  # files that were fetched alone
    fetched: Mapping[str, int] = field(default_factory=dict)  # when, by `file_name` of a checkpoint
    log_unread: str | None = None  # a log that could not be understood
    roots: tuple[str, ...] = ()  # full paths by which the run's directory is known
    real: Callable[[str], str] = posixpath.normpath  # a full path with its links resolved


def annotate(
    found: Found, name: str, location: str, reader: Reader, beside: Beside, context: Context
) -> Run:
    """Return the run of one folder.  `reader` starts at the location that was listed."""
    folder = found.folder
    below = Below(reader, folder.path)
    gathered = in_order(lambda item: _gather(item, folder, below, beside), found.items)
    unread = [
        *found.unread,
        *beside.unread,
        *(text for sources in gathered for text in sources.failed),
    ]
    last = _saved_last(gathered, context)
    pointed, best = _pointed(found, gathered, beside)
    checkpoints: list[Checkpoint] = []
    for sources in gathered:
        claim = sources.item.claim
        try:
            fact = state_of(
                claim,
                sources.covered,
                sources.own.missing,
                changed_ns=sources.changed_ns,
                last=sources.member in last,
                reader=below,
                context=context,
            )
        except OSError as error:
            unread.append(f"{error.filename or claim.key_file}: {error.strerror or error}")
            fact = Fact(State.INCOMPLETE, (Problem("unreadable", unread[-1]),))
        if _only_recent(fact) and sources.known_whole:
            fact = Fact(State.COMPLETE)
        if sources.member in beside.halves:
            fact = Fact(State.INCOMPLETE, (HALF_DELETED,))
        elif sources.member in beside.coming and not sources.known_whole:
            fact = Fact(State.INCOMPLETE, (HALF_COME,))
        elif is_partial(sources.own_files, beside.partial) and not sources.known_whole:
            fact = Fact(State.INCOMPLETE, (FETCHED_IN_PART,))
        pointers = pointed.get(sources.member, ())
        checkpoint = checkpoint_of(sources, fact, pointers, name, location, context)
        if FETCHED_IN_PART in fact.problems:  # what is not here may be all the same elsewhere
            came_ns = beside.fetched.get(file_name(sources.member), 0)  # files keep their times
            changed_ns = max(checkpoint.changed_ns, came_ns)
            checkpoint = replace(checkpoint, resumable=None, changed_ns=changed_ns)
        if sources.member in best:
            checkpoint = replace(checkpoint, best=best[sources.member])
        checkpoints.append(checkpoint)
    checkpoints.sort(
        key=lambda c: (c.step is not None, c.step or 0, c.epoch or 0, c.saved_ns, c.member)
    )
    scanner = next((i.format.name for i in found.items if i.format.scans_everything), None)
    return Run(
        name=name,
        location=location,
        path=folder.path,
        checkpoints=naming_their_best(c for c in checkpoints if not c.temporary),
        leftovers=tuple(c for c in checkpoints if c.temporary),
        problems=(*found.problems, *beside.problems),
        unread=tuple(dict.fromkeys(unread)),
        trackers=tuple(sorted({pointer.file for pointer in found.pointers})),
        forbids_state=scanner,
    )


def _gather(item: Item, folder: Folder, reader: Reader, around: Beside) -> Sources:
    """Read what lies beside and in one checkpoint, and find what is said of it elsewhere."""
    claim = item.claim
    own_files = gathered(folder, claim.members)
    folders = [
        f"{part}/{path}".rstrip("/")
        for part in claim.members
        if (inside := folder.inside(part)) is not None
        for path, _ in inside.tree()
    ]
    beside = sidecars_of(claim, folder)
    inner = inner_sidecars(claim, folder)
    failed: list[str] = []
    read = _read_sidecars(beside, inner, reader, failed)
    own = _NOTHING
    try:
        own = item.format.metadata(claim, folder, reader)
    except VanishedError:
        pass  # deleted meanwhile: the next listing will not show it
    except OSError as error:
        failed.append(f"{error.filename or claim.name}: {error.strerror or error}")
    member = item.path
    manifest, manifest_unread = None, None
    try:
        manifest = around.manifest(member)
    except ManifestError as error:
        manifest_unread = str(error)
    except OSError as error:
        failed.append(f"{error.filename or member}: {error.strerror or error}")
    changed_ns = max(
        (entry.mtime_ns for path, entry in own_files.items() if path not in inner), default=None
    )
    if changed_ns is None:
        parts = map(folder.inside, claim.members)
        changed_ns = max((inside.mtime_ns for inside in parts if inside), default=0)
    return Sources(
        item=item,
        member=member,
        own_files=own_files,
        sidecar_files={path: folder.files[path] for path in beside},
        inner=tuple(inner),
        folders=tuple(sorted(folders, key=lambda path: -path.count("/"))),
        changed_ns=changed_ns,
        sidecars=tuple(read),
        own=own,
        failed=tuple(failed),
        records=around.records.get(member, ()),
        manifest=manifest,
        manifest_fits=manifest is not None and manifest.fits(own_files, item.format.rewrites),
        known_whole=manifest is not None
        and own_files.keys() <= manifest.files.keys()
        and manifest.fits(own_files),
        manifest_unread=manifest_unread,
        log=_logged(item, around.log),
        log_unread=around.log_unread,
    )


def _read_sidecars(
    beside: Sequence[str], inner: list[str], reader: Reader, failed: list[str]
) -> list[Metadata]:
    """Return what sidecars say.

    One in the checkpoint that is its framework's own is taken out of `inner`; what cannot be read
    is added to `failed`.
    """
    read: list[Metadata] = []
    for path in (*beside, *inner):
        try:
            content = reader.read(path, SIDECAR_LIMIT)
            if path in inner and is_frameworks(path, content):
                inner.remove(path)
            else:
                read.append(parse_sidecar(path, content))
        except VanishedError:
            continue
        except TooLargeError:
            text = f"{path} is larger than 16 MiB, so it was not read"
            read.append(Metadata(unread=text, problems=(Problem("sidecar-unreadable", text),)))
        except OSError as error:
            failed.append(f"{path}: {error.strerror or error}")
    return read


def _only_recent(fact: Fact) -> bool:
    """Whether nothing but its age says that a checkpoint is still being saved."""
    codes = {problem.code for problem in fact.problems}
    return fact.state is State.SAVING and codes <= {"settling", "marker-older"}


def _saved_last(gathered: Sequence[Sources], context: Context) -> frozenset[str]:
    """Return the members that were saved last in each family: what is still being saved is there.

    Those are the one written last and the one whose stated time is the last; a time ahead of the
    clock is no reference, so that the last real one is looked at besides it.
    """
    newest: dict[tuple[str, int], tuple[int, int, str]] = {}
    for sources in gathered:
        claim = sources.item.claim
        times = [sources.changed_ns, sources.saved_ns]
        times += [time if time <= context.now_ns else 0 for time in times]
        for which, time in enumerate(times):
            rank = (time, claim.step or 0, sources.member)
            newest[claim.family, which] = max(newest.get((claim.family, which), rank), rank)
    return frozenset(member for _, _, member in newest.values())


def _logged(item: Item, log: Log) -> Mapping[str, float]:
    """Return what a log says of a checkpoint, by the number in its name."""
    claim = item.claim
    number = claim.epoch if claim.counts == "epoch" else claim.step
    if claim.counts is None or number is None or claim.named:
        return {}
    # YOLOv5 saves under Ultralytics' names, and its log counts from 0.
    offset = 0 if claim.log_offset > 0 and log.at(claim.counts, 0) else claim.log_offset
    row = int(number) + offset
    return log.at_epoch(row) if claim.log_epochs else log.at(claim.counts, row)


def _pointed(
    found: Found, gathered: Sequence[Sources], beside: Beside
) -> tuple[dict[str, list[str]], dict[str, str | None]]:
    """Return, for each checkpoint's path, the links and trackers that name it, and its best."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    by_member: dict[str, str] = {}
    for item in found.items:
        members = item.claim.members
        by_member.update((member, item.path) for member in members)
        stems = (split_suffix(member)[0] for member in members)
        for text in {item.name, item.claim.name, *stems}:  # of two with one name, either is meant
            names[text].append(item.path)
    names.update((member, [path]) for member, path in by_member.items())
    pointed: defaultdict[str, list[str]] = defaultdict(list, named_by(found.pointers, names))
    for link, target in targets(links_of(found.folder), beside.roots, beside.real).items():
        member = _holding(target, by_member)
        if member is not None and member != _holding(link, by_member):
            pointed[member].append(link)
    best = {
        sources.member: next(iter(names.get(last_part(sources.own.points_to), ())), None)
        for sources in gathered
        if sources.own.points_to is not None
    }
    return pointed, best


def _holding(path: str, by_member: Mapping[str, str]) -> str | None:
    """Return the checkpoint that a path within the run is, or lies in."""
    parts = path.split("/")
    tops = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
    return next((by_member[top] for top in tops if top in by_member), None)
