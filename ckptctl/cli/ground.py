"""What was listed of one tier: the runs below a path, each listed anew where something came."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ckptctl.cli.runtime import Session
from ckptctl.cli.tier_runs import look_on
from ckptctl.errors import UnreadableError
from ckptctl.group import Found, look
from ckptctl.policy import Tier
from ckptctl.stores import told
from ckptctl.survey import Survey


@dataclass(slots=True)
class Ground:
    """A path on one tier and the runs below it, as they were listed last."""

    tier: Tier
    inner: str  # below the tier's url
    view: Survey | None  # None where nothing is there yet
    _found: dict[str, Found] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._take(self.view)

    def _take(self, view: Survey | None) -> None:
        self.view = view
        self._found = {found.folder.path: found for found in view.found} if view else {}

    @property
    def paths(self) -> Iterable[str]:
        """The paths of the runs, below the one that was listed."""
        return self._found

    def there(self, path: str) -> tuple[Survey, Found] | None:
        """Return the run at a path, if it is there."""
        found = self._found.get(path)
        return (self.view, found) if self.view is not None and found is not None else None

    def again(self, session: Session, path: str) -> None:
        """List one run anew, since something was copied there.  Raises UnreadableError."""
        view = self.view
        if view is None:
            looked = look_on(session, self.tier, self.inner)
            if looked.error is not None:
                raise looked.error
            self._take(looked.view)
            return
        try:
            folder = view.store.listing(path)
        except OSError as error:
            said, check = told(self.to(path), error.strerror or str(error), "try again")
            raise UnreadableError(f"{self.to(path)}: cannot be read ({said})", check) from error
        self._found[path] = look(folder, view.store, view.formats, _top_of(view))

    def to(self, path: str) -> str:
        """Return the full location of the run at a path."""
        return "/".join([self.tier.url.rstrip("/"), *(p for p in (self.inner, path) if p)])


def _top_of(view: Survey) -> str:
    """Return the name of the directory that was listed."""
    return view.store.root.rstrip("/").rpartition("/")[2]
