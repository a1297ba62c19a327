"""Write the pointers of a run at a destination, when all that they name is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

from ckptctl.listing import Folder
from ckptctl.pointernote import FILE, dump_links
from ckptctl.reading import SIDECAR_LIMIT, Reader, TooLargeError, VanishedError
from ckptctl.sides import Fate, Point, Points
from ckptctl.stores._base import Store
from ckptctl.stores.local import LocalStore

_STAGED = "pointer.new"
"""What a tracker is called in the state until it is renamed; whoever writes holds the lock."""


def read_trackers(run: Reader, folder: Folder, paths: Iterable[str]) -> dict[str, bytes]:
    """Return what the files of a run's listing hold that are trackers here or on the other side.

    One that is gone meanwhile, or too large for one, is left out.  Raises OSError where one cannot
    be read.
    """
    found = {}
    for path in dict.fromkeys(paths):
        if folder.find(path) is not None:
            with suppress(VanishedError, FileNotFoundError, TooLargeError):
                found[path] = run.read(path, SIDECAR_LIMIT)
    return found


def write_pointers(
    points: Points,
    run: Store,
    state: Store,
    noted: Mapping[str, str],
    check: Callable[[], None],
) -> tuple[Point, ...]:
    """Write what is planned, in order; return what became of each pointer.

    `run` and `state` are the destination's, whose lock the caller holds: `check` proves before
    each that it still does, and what it raises ends all.  `noted` are the links that the state
    notes now.  What cannot be written is told, and the rest goes on.
    """
    done: list[Point] = []
    fate, text = Fate.DONE, None
    if points.note != noted:
        check()
        try:
            state.replace(FILE, dump_links(points.note))
        except OSError as error:
            fate, text = Fate.FAILED, _words(error)
    for point in points.points:
        if point.fate is not Fate.PLANNED:
            done.append(point)
        elif point.noted:
            done.append(replace(point, fate=fate, text=text or point.text))
        else:
            check()
            done.append(_written(point, run, state))
    return tuple(done)


def _written(point: Point, run: Store, state: Store) -> Point:
    parent = point.path.rpartition("/")[0]
    try:
        if parent:
            run.make_folder(parent)
        if isinstance(run, LocalStore) and isinstance(state, LocalStore):
            if point.content is None:
                run.link_to(point.path, point.link or "", state)
            else:  # staged, so that nothing else is ever seen in the run
                state.replace(_STAGED, point.content)
                state.rename_over(_STAGED, run, point.path)
        elif point.content is not None:
            run.replace(point.path, point.content)
    except OSError as error:
        return replace(point, fate=Fate.FAILED, text=_words(error))
    return replace(point, fate=Fate.DONE)


def _words(error: OSError) -> str:
    return f"cannot be written there: {error.strerror or error}; what it was before is left"
