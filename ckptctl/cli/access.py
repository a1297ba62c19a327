"""How a location that is not local is opened: by the options of its tier, then of the call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptctl.cli.options import Common
from ckptctl.config import Config
from ckptctl.errors import UsageError
from ckptctl.stores import Access

if TYPE_CHECKING:
    from ckptctl.cli.runtime import Session  # which reads options here


def storage_options(common: Common) -> dict[str, object]:
    """Return what --storage-option says.  UsageError where one is no KEY=VALUE."""
    options: dict[str, object] = {}
    for text in common.storage_option or ():
        key, joint, value = text.partition("=")
        if not (key and joint):  # it is not shown: it may be a secret without its key
            raise UsageError("--storage-option: write KEY=VALUE, as in endpoint_url=https://...")
        options[key] = value
    return options


def access_of(session: Session, config: Config | None, location: str) -> Access:
    """Return how a location is opened; what the call says goes before what the configuration says."""
    tier = config.place(location) if config else None
    said = tier[0].storage_options if tier else {}
    return session.access({**said, **storage_options(session.common)})
