"""What was recorded of a run: its manifests, as the commands that decide need them."""

from __future__ import annotations

import os

from ckptctl.cli.runtime import Session
from ckptctl.errors import UnreadableError
from ckptctl.group import Found
from ckptctl.manifest import FOLDER as MANIFESTS
from ckptctl.manifests import Manifests, manifests_in
from ckptctl.stores import told
from ckptctl.survey import Survey, path_of, state_dirs


def noted_of(session: Session, view: Survey, found: Found) -> Manifests:
    """Return what gives the manifests of a run.  Raises UnreadableError."""
    dirs = state_dirs(view, found, session.common.state_dir, os.geteuid())
    try:
        return manifests_in(dirs.holding(MANIFESTS), dirs.open)
    except OSError as error:
        path = path_of(view, found)
        said, check = told(
            path, error.strerror or str(error), "check the permissions of its state directory"
        )
        raise UnreadableError(
            f"{path}: what was recorded cannot be read ({said}); nothing of it was deleted", check
        ) from error
