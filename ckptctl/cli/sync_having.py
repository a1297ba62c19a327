"""What one caller of a divided sync has of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ckptctl.cli.deciding import refuse_unread
from ckptctl.cli.moving_parts import counted_whole
from ckptctl.cli.noted import noted_of
from ckptctl.cli.runtime import Session
from ckptctl.cli.sync_cargo import Loader
from ckptctl.cli.sync_choice import Choice, Wish
from ckptctl.cli.sync_results import Results
from ckptctl.group import Found
from ckptctl.manifests import remembered
from ckptctl.model import Run
from ckptctl.parts.adopting import Begun, with_parts_of
from ckptctl.parts.handing import Offer
from ckptctl.parts.whole import key_of
from ckptctl.reading import Below
from ckptctl.rules._base import Rule
from ckptctl.survey import Reading, Survey, path_of, read_run


class Here(NamedTuple):
    """What this caller has of a run."""

    run: Run
    found: Found
    offers: Sequence[Offer]


@dataclass(frozen=True, slots=True)
class Having:
    """Reads what this caller has; what cannot be copied is told in `results`."""

    session: Session
    view: Survey
    found: Found
    to: str
    results: Results
    wish: Wish
    reading: Reading
    rules: tuple[Rule, ...] | None  # that choose, if any do

    def here(self, begun: Sequence[Begun]) -> Here:
        """Read it: all of it counts, whether it is whole or not.  Raises UnreadableError, OSError."""
        if not self.found.folder.files and not self.found.folder.folders:
            name, path = self.results.run, path_of(self.view, self.found)
            return Here(Run(name=name, location=path, path=""), self.found, ())
        kind = self.view.by_name["tensor-folder"]
        found = with_parts_of(self.found, begun, kind)
        manifests = remembered(noted_of(self.session, self.view, found))
        run = read_run(self.view, found, self.reading, manifests)
        self.session.note(run.problems)
        refuse_unread(run)
        had = {name for c in run.checkpoints for name in (c.name, c.member)}
        wish = replace(self.wish, names=tuple(n for n in self.wish.names if n in had))
        if self.wish.names and not wish.names:
            return Here(run, found, ())
        whole = replace(run, checkpoints=tuple(map(counted_whole, run.checkpoints)))
        reader = Below(self.view.store, found.folder.path)
        choice = Choice(wish, self.rules, self.view.by_name, reader, manifests)
        loader = Loader(self.view, found, self.to)
        cargoes = loader.chosen(whole, choice, self.reading.context, self.results)
        offers = (Offer(key=key_of(cargo.checkpoint), cargo=cargo) for cargo in cargoes)
        return Here(run, found, tuple(offers))
