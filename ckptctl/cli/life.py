"""One round of a configuration's whole life: of each run copies over all tiers, then deletions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import groupby

from ckptctl.cli.apart import refuse_same_place, refuse_within_runs
from ckptctl.cli.ground import Ground
from ckptctl.cli.life_run import LifeRun
from ckptctl.cli.runtime import Session
from ckptctl.cli.sync_choice import Wish
from ckptctl.cli.tier_runs import Looked, look_on
from ckptctl.config import Config
from ckptctl.errors import Interrupted, NotFoundError, UsageError
from ckptctl.model import Problem
from ckptctl.policy import Draft, Tier
from ckptctl.recalling import Memory
from ckptctl.stores import is_local
from ckptctl.transfer.applied import Applied, LostTier, Part
from ckptctl.transfer.throttle import Throttle
from ckptctl.ui.progress import Progress


def configured(session: Session, where: str) -> Config:
    """Return the configuration that says what is to happen.  UsageError where there is none with tiers."""
    config = session.config
    if config is None or not config.tiers:
        what = "there is no configuration" if config is None else f"{config.file}: names no tiers"
        raise UsageError(
            f"{where}: {what}; nothing was changed",
            "`ckptctl config example` prints one with tiers; name it with --config FILE",
        )
    return config


def inners(config: Config, runs: Sequence[str]) -> list[str]:
    """Return the paths below a tier that are meant; every run for none.

    A run may be named by that path, as `@TIER/run`, or by where it lies on a tier.  UsageError.
    """
    found = []
    for run in runs:
        if not run.strip():
            raise UsageError(
                "RUN is empty; nothing was changed",
                "if it comes from a variable, that is not set; without RUN all runs are meant",
            )
        if run.startswith("@"):
            name, _, rest = run[1:].partition("/")
            config.tier(name)
        elif "://" in run or run.startswith(("/", "./", "../")) or run == ".":
            place = config.place(run if "://" in run else os.path.abspath(run))
            if place is None:
                tiers = ", ".join(tier.url for tier in config.tiers)
                raise UsageError(
                    f"{run}: lies on no tier of {config.file}; nothing was changed",
                    f"name a run by its path below one of {tiers}",
                )
            rest = place[1]
        else:
            rest = run
        parts = rest.strip("/").split("/")
        if ".." in parts:
            raise UsageError(f"{run}: `..` leads out of a tier; nothing was changed")
        found.append("/".join(part for part in parts if part not in {"", "."}))
    return list(dict.fromkeys(found)) or [""]


@dataclass(slots=True)
class Life:
    """Carries out the configuration once; nothing that happens to one run or tier stops the others."""

    session: Session  # that goes down by itself: `recursive`
    config: Config
    flags: Draft
    wish: Wish
    throttle: Throttle
    progress: Progress
    _parts: list[Part] = field(default_factory=list, init=False)
    _lost: dict[str, LostTier] = field(default_factory=dict, init=False)
    _unmatched: list[str] = field(default_factory=list, init=False)
    _problems: list[Problem] = field(default_factory=list, init=False)
    _due_ns: list[int] = field(default_factory=list, init=False)

    def lived(self, runs: Sequence[str]) -> Applied:
        """Do all that is to be done for the runs at or below these paths (see `inners`).

        NotFoundError where every tier was read and none has anything at such a path; UsageError
        where tiers are one place.
        """
        refuse_same_place(self.config)
        missing = []
        done: set[str] = set()
        for inner in runs:
            try:
                if not self._lived(inner, done):
                    missing.append(inner)
            except Interrupted:  # while it only looked; the code says so
                break
            if self.session.signals.stopped():
                break
        if missing and not self._parts and not self._lost:
            raise NotFoundError(
                f"no tier of {self.config.file} has a run {', '.join(missing)}; nothing was changed",
                "`ckptctl list @TIER` shows the runs of a tier",
            )
        self._problems += [
            Problem("no-such-run", f"{inner}: no tier has this run") for inner in missing
        ]
        return Applied(
            parts=tuple(self._parts),
            lost=tuple(self._lost.values()),
            unmatched=tuple(dict.fromkeys(self._unmatched)),
            problems=tuple(dict.fromkeys(self._problems)),
            dry_run=self.wish.dry_run,
            due_ns=min(self._due_ns, default=None),
        )

    def _lived(self, inner: str, done: set[str]) -> bool:
        """Go through the runs at or below a path; return whether anything is there, or may be."""
        self.progress.started("listing")
        grounds = [ground for tier in self.config.tiers for ground in self._ground(tier, inner)]
        refuse_within_runs(self.config, grounds)
        paths = dict.fromkeys(path for ground in grounds for path in ground.paths)
        full = {path: "/".join(part for part in (inner, path) if part) for path in paths}
        runs = [
            LifeRun(
                self.session, self.config, self.flags, self.wish, self.throttle, self.progress,
                grounds, path,
            )
            for path in paths
            if full[path] not in done
        ]  # fmt: skip
        done.update(full.values())
        if len(runs) > 1 and not self.wish.dry_run:
            self._rescue(runs)
            if not all(is_local(ground.tier.url) for ground in grounds):
                self._first(runs, LifeRun.near)
        for number, run in enumerate(runs):
            if number and self.session.signals.stopped() and not run.begun:
                continue
            try:
                run.live()
            finally:  # what was done is told, whatever came then
                self._parts += run.parts
                self._unmatched += run.unmatched
                self._due_ns += run.due_ns
        named = not inner or any(tier.url in self._lost for tier in self.config.tiers)
        return bool(paths) or named

    def _rescue(self, runs: Sequence[LifeRun]) -> None:
        """Copy what sites are about to purge, of all runs the first to go first, before anything else."""
        if all(tier.purge is None for tier in self.config.tiers):
            return
        with suppress(Interrupted):  # while it only looked: what was copied is told all the same
            risks = sorted((risk, at) for at, run in enumerate(runs) for risk in run.risks())
            for (at, tier), some in groupby(risks, lambda one: (one[1], one[0].tier)):
                if self.session.signals.stopped():
                    break
                runs[at].rescue(tier, frozenset(risk.member for risk, _ in some))

    def _first(self, runs: Sequence[LifeRun], what: Callable[[LifeRun], None]) -> None:
        """Do something for all runs before the rest of any of them."""
        with suppress(Interrupted):  # while it only looked: what was copied is told all the same
            for run in runs:
                if self.session.signals.stopped():
                    break
                what(run)

    def _ground(self, tier: Tier, inner: str) -> Iterable[Ground]:
        """Yield what is to be worked on of a tier; one that cannot be read is lost for this round."""
        if tier.per_node:
            text = f"{tier.name} holds parts of several nodes (per_node): only `sync` copies them"
            self._problems.append(Problem("per-node", text))
            return
        if tier.url in self._lost:
            return
        try:
            with self.session.signals.heeded():
                looked = look_on(self.session, tier, inner)
        except UsageError as error:  # no run can be there: the other tiers may have it all the same
            looked = Looked(tier.name, None, error)
        if looked.error is not None:
            self._lost[tier.url] = LostTier(tier.name, tier.url, looked.error)
            return
        view = looked.view
        if view is not None:
            self._problems += view.problems
            view = replace(view, memory=Memory() if view.access else None)
        yield Ground(tier, inner, view)
