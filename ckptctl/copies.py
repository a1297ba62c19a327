"""What is known of the copies that a run's checkpoints have on other tiers: seen there, each time anew."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from ckptctl.at_risk import going
from ckptctl.copied import CopySide, unlike, unproven
from ckptctl.decision import Context
from ckptctl.errors import CkptctlError
from ckptctl.expiry import SitePurge
from ckptctl.group import Found
from ckptctl.hashing import Stop, Stopped, Wanted, hash_all
from ckptctl.listing import Folder
from ckptctl.looking import links_in
from ckptctl.manifest import ALGORITHM, Manifest, ManifestError
from ckptctl.manifest import FOLDER as MANIFESTS
from ckptctl.manifests import Manifests, manifests_in
from ckptctl.model import NS, Checkpoint, Copy, Lack, Layout, Run, State
from ckptctl.pace import in_order
from ckptctl.recalling import Memory
from ckptctl.scratch import expiry_in
from ckptctl.stores import Access, is_local
from ckptctl.stores.local import LocalStore
from ckptctl.survey import Reading, Survey, read_run, run_store, state_dirs, survey

_DOWN_NS = 60 * NS
"""A server that did not answer is not asked again for that long: others wait for the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where the same run lies on another tier, or would lie."""

    tier: str
    base: str  # the tier's own url
    location: str
    access: Access
    state_dir: str | None = None
    purge: SitePurge | None = None  # what its own site takes there
    memory: Memory = field(default_factory=Memory)


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """A run that was just read, and what else tells its checkpoints from others."""

    run: Run
    folder: Folder
    manifest: Manifests
    links: bool  # whether its store holds symbolic links


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenThere:
    """The run as it was just seen on another tier."""

    site: Site
    view: Survey
    found: Found
    seen_ns: int
    checkpoints: Mapping[str, Checkpoint]
    manifest: Manifests

    def side(self, checkpoint: Checkpoint) -> CopySide:
        """Return a checkpoint there, with what is noted of it.  Raises ManifestError, OSError."""
        return _side(
            checkpoint,
            self.manifest(checkpoint.member),
            self.found.folder if self.view.store.able.links else None,
        )


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The other tiers of a run.  `down` remembers for a while which of them could not be reached."""

    sites: tuple[Site, ...]
    layouts: Sequence[Layout]
    clock: Callable[[], int]
    down: dict[str, tuple[int, Lack]]  # until when

    @property
    def near(self) -> Elsewhere:
        """Return those on disks alone: a person at a terminal does not wait for a server."""
        return replace(self, sites=tuple(s for s in self.sites if is_local(s.location)))

    def told(self, here: Here) -> Run:
        """Return the run with the proven copies of each complete checkpoint, and why there are no more.

        Each tier is listed once; one that cannot be reached is a `Lack`, never an error.
        """
        places = [self._look(site) for site in self.sites]

        def one(checkpoint: Checkpoint) -> Checkpoint:
            if checkpoint.state is not State.COMPLETE or checkpoint.temporary:
                return checkpoint
            found = [p if isinstance(p, Lack) else _judged(here, checkpoint, p) for p in places]
            return replace(
                checkpoint,
                copies=tuple(each for each in found if isinstance(each, Copy)),
                lacks=tuple(each for each in found if isinstance(each, Lack)),
            )

        return replace(here.run, checkpoints=tuple(in_order(one, here.run.checkpoints)))

    def unread(self, checkpoint: Checkpoint, needed: int, jobs: int, stop: Stop) -> str | None:
        """Read copies of a checkpoint whole; return why not enough of them are what was copied.

        None where so many are.  Copies are those that `told` has found.
        """
        wrong: list[str] = []
        sound = 0
        for site in self.sites:
            if sound < needed and any(copy.tier == site.tier for copy in checkpoint.copies):
                place = self._look(site)
                text = (
                    place.text
                    if isinstance(place, Lack)
                    else _misread(place, checkpoint, jobs, stop)
                )
                sound += text is None
                wrong += [f"{site.tier} {text}"] if text else []
        if sound >= needed:
            return None
        return f"{sound} of {needed} copies were read and are sound: {'; '.join(wrong) or 'there are no more'}"

    def _look(self, site: Site) -> SeenThere | Lack:
        now_ns = self.clock()
        until_ns, lack = self.down.get(site.tier, (0, None))
        if lack is not None and now_ns < until_ns:
            return lack
        try:
            return _seen(site, self.layouts, now_ns)
        except (CkptctlError, OSError) as error:
            causes = (error, error.__cause__, error.__context__)
            if any(isinstance(cause, FileNotFoundError) for cause in causes) and _stands(site):
                return Lack(site.tier, "absent", "has none")
            lack = Lack(site.tier, "unreachable", f"cannot be read ({_said(error)})")
            if not is_local(site.location) and not any(
                isinstance(cause, PermissionError) for cause in causes
            ):
                self.down[site.tier] = (self.clock() + _DOWN_NS, lack)
            return lack


def _seen(site: Site, layouts: Sequence[Layout], now_ns: int) -> SeenThere | Lack:
    """Return the run as it is on a tier.  Raises CkptctlError, OSError."""
    view = survey(site.location, layouts, access=site.access)
    found = next((found for found in view.found if not found.folder.path), None)
    if found is None or view.only is not None:
        return Lack(site.tier, "absent", "has none")
    view = replace(view, memory=site.memory if view.access else None)
    # Nobody trains there: what is not whole now is no copy, whatever its age.
    reading = Reading(
        context=Context(now_ns, settle_ns=0), state_dir=site.state_dir, uid=os.geteuid()
    )
    run = read_run(view, found, reading)
    if run.unread:
        return Lack(site.tier, "unreachable", f"cannot be read ({run.unread[0]})")
    dirs = state_dirs(view, found, site.state_dir, reading.uid)
    return SeenThere(
        site=site,
        view=view,
        found=found,
        seen_ns=now_ns,
        checkpoints={c.member: c for c in run.checkpoints},
        manifest=manifests_in(dirs.holding(MANIFESTS), dirs.open),
    )


def _stands(site: Site) -> bool:
    """Whether the tier itself is there: a file system that is not mounted holds copies all the same."""
    return not is_local(site.base) or os.path.isdir(site.base.removeprefix("file://"))


def _said(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) else None
    return (text or str(error)).removesuffix("; nothing was changed")


def _judged(here: Here, checkpoint: Checkpoint, there: SeenThere) -> Copy | Lack:
    """Return the copy of a checkpoint that a tier holds, or why it holds none."""
    tier, copy = there.site.tier, there.checkpoints.get(checkpoint.member)
    if copy is None:
        return Lack(tier, "absent", "has none")
    if (text := _unfit(checkpoint, copy)) is not None:
        return Lack(tier, "unproven", text)
    try:
        theirs = there.side(copy)
    except ManifestError as error:
        return Lack(tier, "unproven", f"has it with a manifest that {error}")
    except OSError as error:
        return Lack(tier, "unreachable", f"cannot be read ({_said(error)})")
    if (text := unproven(theirs)) is not None:
        return Lack(tier, "unproven", text)
    try:
        manifest = here.manifest(checkpoint.member)
    except (ManifestError, OSError):
        manifest = None  # then sizes and times have to tell
    own = _side(checkpoint, manifest, here.folder if here.links else None)
    if (text := unlike(own, theirs)) is not None:
        return Lack(tier, "differs", text)
    if (text := _going(there, copy, theirs)) is not None:
        return Lack(tier, "expiring", text)
    return Copy(tier, copy.path, there.seen_ns)


def _going(there: SeenThere, copy: Checkpoint, side: CopySide) -> str | None:
    """Return why a copy will soon be none: the site takes files of it."""
    purge, store = there.site.purge, there.view.store
    if purge is None or not isinstance(store, LocalStore):
        return None
    try:
        expiry = expiry_in(store, copy.files, side.links or (), purge, there.seen_ns)
    except OSError as error:
        return f"has it, and its times cannot be read ({_said(error)})"
    return going(expiry, purge) if expiry is not None and expiry.at_risk else None


def _unfit(checkpoint: Checkpoint, copy: Checkpoint) -> str | None:
    """Return why what has the name of a checkpoint there is no copy, whatever its manifest says."""
    if copy.doomed_ns is not None:
        return "has it scheduled for deletion"
    if copy.state is not State.COMPLETE or any(p.code == "half-deleted" for p in copy.problems):
        return f"has it {copy.state}"
    if _is_same_file(checkpoint, copy):
        return "has the very same file, which is no copy"
    return None


def _side(checkpoint: Checkpoint, manifest: Manifest | None, folder: Folder | None) -> CopySide:
    return CopySide(
        checkpoint.files,
        manifest,
        None if folder is None else links_in(checkpoint, folder),
        frozenset(checkpoint.sidecars),
    )


def _is_same_file(one: Checkpoint, other: Checkpoint) -> bool:
    """Whether a file has both names: by a link, or because two tiers are one directory."""
    inodes = {(e.device, e.inode) for e in one.files.values() if e.inode}
    return any((e.device, e.inode) in inodes for e in other.files.values())


def _misread(there: SeenThere, checkpoint: Checkpoint, jobs: int, stop: Stop) -> str | None:
    """Return what is wrong with the bytes of a copy; None where they are those that were noted."""
    copy = there.checkpoints.get(checkpoint.member)
    try:
        noted = there.side(copy).manifest if copy else None
        if copy is None or noted is None:
            return "has it no more"
        wanted = [
            Wanted(path, copy.files[path])
            for path, seen in noted.files.items()
            if seen.digest is not None and not seen.sidecar and path in copy.files
        ]
        with closing(run_store(there.view, there.found)) as store:
            for file in hash_all(wanted, store, jobs=jobs, advanced=lambda _: None, stop=stop):
                if file.error is not None:
                    return f"cannot be read ({_said(file.error)})"
                if file.entry is None or file.digests[ALGORITHM] != noted.files[file.path].digest:
                    return f"has another {file.path} than was copied"
    except Stopped:
        return "was not read to the end"
    except (ManifestError, CkptctlError, OSError) as error:
        return f"cannot be read ({_said(error)})"
    return None
