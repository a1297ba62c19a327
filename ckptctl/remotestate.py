"""Where ckptctl keeps its own records of a run in a bucket."""

from __future__ import annotations

from contextlib import closing, suppress

from ckptctl.statedir import StateDirs
from ckptctl.stores import Access
from ckptctl.stores._base import STATE_NAME


def remote_state(run: str, access: Access, option: str | None, *, noted: bool) -> StateDirs:
    """Return where the state of a run in a bucket lies.  Raises OSError.

    In order: below the URL that `--state-dir` names, beside the run, in it.  `noted` says whether
    some lies in it, which the listing of the run has told already.
    """
    parent, _, name = run.rpartition("/")
    inside = f"{run}/{STATE_NAME}"
    # The run may be a whole bucket, which has nothing beside it.
    beside = f"{parent}/{STATE_NAME}/{name}" if parent.count("/") > 1 else inside
    wanted = f"{option.rstrip('/')}/{name}~{_short(run)}" if option else beside
    existing = []
    folders: set[str] = set()
    for place in dict.fromkeys((wanted, beside, inside) if noted else (wanted, beside)):
        with closing(access.open(place)) as store, suppress(FileNotFoundError):
            folders |= store.listing(deep=False).folders.keys()
            existing.append(place)
    if option and wanted not in existing:  # the lock is where the user wants it
        existing.insert(0, wanted)
    return StateDirs(
        tuple(existing), (beside,), open=access.open, remote=True, folders=frozenset(folders)
    )


def _short(run: str) -> str:
    """Return what tells runs of one name apart in a place that all of them share."""
    import hashlib  # noqa: PLC0415 - as heavy as ten other modules, and few need it

    return hashlib.sha256(run.encode()).hexdigest()[:8]
