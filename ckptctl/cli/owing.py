"""What a round of the configuration would copy from a run, so that `status` says what `apply` will meet."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ckptctl.cli.ground import Ground
from ckptctl.cli.life_run import LifeRun
from ckptctl.cli.run_by_run import Read, ReadPlace
from ckptctl.cli.runtime import Session
from ckptctl.cli.sync_choice import Wish
from ckptctl.cli.tier_runs import look_on
from ckptctl.config import Config
from ckptctl.errors import UsageError
from ckptctl.flags import PolicyFlags
from ckptctl.policy import Tier
from ckptctl.stores import settled
from ckptctl.survey import Survey
from ckptctl.transfer.outcome import Status, SyncedRun
from ckptctl.transfer.throttle import Throttle
from ckptctl.ui.progress import Progress


@dataclass(frozen=True, slots=True)
class Owing:
    """Asks by a dry run of the copies; of what was listed already (`places`) no tier is listed again."""

    session: Session
    config: Config
    places: Sequence[ReadPlace]
    progress: Progress

    def owed(self, read: Read) -> SyncedRun | None:
        """Return what would become of a run's checkpoints; None where nothing can be said of it."""
        place = self.config.place(read.location)
        if place is None or read.found is None:
            return None
        tier, inner = place
        listed = {settled(each.location): each.view for each in self.places}
        whole = all(settled(each.url) in listed for each in self._tiers())
        common = self.session.common
        run = LifeRun(
            self.session,
            self.config,
            PolicyFlags(settle=common.settle, metrics_from=common.metrics_from or ()).draft(),
            # Headers were not looked at either when it was said how many are complete.
            Wish(dry_run=True, verify=False),
            Throttle(None, time.monotonic, time.sleep),
            self.progress,
            tuple(self._listed(listed) if whole else self._looked(inner)),
            read.found.folder.path if whole else "",
        )
        return run.planned(tier.name)

    def _tiers(self) -> Iterator[Tier]:
        yield from (tier for tier in self.config.tiers if not tier.per_node)

    def _listed(self, listed: dict[str, Survey | None]) -> Iterator[Ground]:
        """Yield the tiers that could be listed as a whole."""
        for tier in self._tiers():
            view = listed.get(settled(tier.url))
            if view is not None:
                yield Ground(tier, "", view)

    def _looked(self, inner: str) -> Iterator[Ground]:
        """Yield the tiers that can be read, with this run alone."""
        for tier in self._tiers():
            try:
                looked = look_on(self.session, tier, inner)
            except UsageError:  # no run can be there
                continue
            if looked.error is None:
                yield Ground(tier, inner, looked.view)


def members(owed: SyncedRun | None, status: Status) -> frozenset[str]:
    """Return the checkpoints of a run that would end so."""
    return frozenset(
        result.member for result in (owed.results if owed else ()) if result.status is status
    )
