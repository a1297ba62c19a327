"""Ray Train (v2): directories that `checkpoint_manager_snapshot.json` lists."""

from __future__ import annotations

import errno
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import ClassVar

from ckptctl import names
from ckptctl.dates import DATE, moment
from ckptctl.formats._base import FORMATS, Format, Move, Pointer
from ckptctl.formats._folders import key_of
from ckptctl.formats._json_stream import chunks_of, read_object
from ckptctl.formats._numbers import flat_numbers
from ckptctl.formats._ray_content import PLACING, missing_parts, prove_content
from ckptctl.formats._samples import torch_zip
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Kind, Metadata, Problem
from ckptctl.patterns import later
from ckptctl.reading import Finding, Reader, TooLargeError, VanishedError

SNAPSHOT = "checkpoint_manager_snapshot.json"
_PREFIX = "checkpoint_"
_NAME = later(_PREFIX + r"[0-9]{4}-[0-9]{2}-[0-9]{2}_[0-9]{2}-[0-9]{2}-[0-9]{2}\.[0-9]{1,9}")

Listed = Mapping[str, Mapping[str, float]]
"""What the snapshot lists: a directory's name -> its metrics."""


@FORMATS.add("ray-train")
class RayTrain(Format):
    """`checkpoint_DATE_TIME.MICROSECONDS/`, and whatever directory the snapshot lists.

    Ray copies to the final name and then writes the snapshot: what is not in it is not whole, and it
    resumes only if all that is in it is there (CheckpointManagerInitializationError).  The time in
    the name is of the training machine's clock.
    """

    name = "ray-train"
    summary = "Ray Train v2: checkpoint_2026-11-23_13-07-53.123456/ and what its snapshot lists"
    source = (
        "ray 2.55: train/v2/_internal/execution/checkpoint/checkpoint_manager.py, "
        "train/v2/_internal/execution/storage.py make_default_checkpoint_dir_name"
    )
    holds_anything = True
    own_names = _NAME
    example: ClassVar[Mapping[str, bytes]] = {
        SNAPSHOT: json.dumps(
            {
                "ray_version": "2.55.1",
                "checkpoint_results": [
                    {
                        "version": 0,
                        "checkpoint_dir_name": "checkpoint_2026-11-23_13-07-53.123456",
                        "metrics": {"val_loss": 0.5},
                    }
                ],
            }
        ).encode(),
        "checkpoint_2026-11-23_13-07-53.123456/model.pt": torch_zip(),
    }

    def find(self, folder: Folder, reader: Reader) -> Iterator[Claim]:
        """Yield the directories that hold a file; the snapshot is read once for all of them.

        Raises OSError where the snapshot, or a directory that it lists, cannot be read.
        """
        dated = [name for name in folder.folders if _NAME.fullmatch(name)]
        if not dated and SNAPSHOT not in folder.files:
            return
        listed: Listed = {}
        problems: tuple[Problem, ...] = ()
        failed: OSError | None = None
        doubt = f"no {SNAPSHOT}, which lists what is whole"
        if SNAPSHOT in folder.files:
            doubt = f"{SNAPSHOT}, which lists what is whole, does not list it"
        try:
            listed = _read(folder, reader)
        except (ValueError, TooLargeError) as error:
            doubt = f"{SNAPSHOT}, which lists what is whole, cannot be understood: {error}"
            problems = (Problem("metadata-unreadable", doubt),)
        except OSError as error:
            failed = error
        found = dict.fromkeys((*dated, *(name for name in listed if name in folder.folders)))
        closed = [name for name in found if folder.folders[name].error is not None]
        keys = {name: key for name in found if (key := key_of(folder.folders[name]))}
        said = {name: _parse(name) for name in keys}
        families = {name: family for name, (family, _) in said.items()}
        lost = missing_parts(families, folder)
        for name, (family, own) in said.items():
            yield Claim(
                format=RayTrain.name,
                kind=Kind.DIRECTORY,
                name=name,
                members=(name,),
                key_file=f"{name}/{keys[name]}",
                family=family,
                step=own.step,
                epoch=own.epoch,
                counts=own.counts,
                metrics=listed.get(name, {}),
                saved_ns=own.saved_ns,
                committed=name in listed,
                missing=lost.get(name) if name in listed else doubt,
                problems=problems,
            )
        if closed:
            failed = OSError(errno.EACCES, folder.folders[closed[0]].error, closed[0])
        if failed is not None:
            raise failed

    def metadata(self, claim: Claim, folder: Folder, reader: Reader) -> Metadata:
        """Return that the snapshot could not be understood, if so; `find` has read the rest."""
        return Metadata(unread=claim.problems[0].text if claim.problems else None)

    def pointers(self, folder: Folder, reader: Reader) -> Iterable[Pointer]:
        """Yield all that the snapshot lists; one that cannot be understood may list any directory."""
        try:
            listed: Iterable[str] = _read(folder, reader)
        except (ValueError, TooLargeError):
            listed = folder.folders
        return [Pointer(SNAPSHOT, name) for name in listed]

    def repointed(self, content: bytes, there: Collection[str], move: Move) -> bytes | None:
        """Return the snapshot as it is if all that it lists is there, else None.

        Ray resumes only then (checkpoint_manager.py _assert_checkpoints_exist), and without a
        snapshot it begins anew.
        """
        try:
            listed = _listed(iter((content,)))
        except ValueError:
            return None
        return content if all(name in there for name in listed) else None

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterable[Finding]:
        """Yield what is wrong with what the user saved in it."""
        return prove_content(checkpoint, reader)


def _parse(name: str) -> tuple[str, names.Name]:
    """Return the family of a directory, and what its name says: of one that Ray named, the time."""
    if _NAME.fullmatch(name):
        date = DATE.fullmatch(name, len(_PREFIX))
        return f"{_PREFIX}#", names.Name(saved_ns=moment(date) if date else None)
    said = names.parse(name, file=False)
    return names.family(name, "", said.spans), said


def _read(folder: Folder, reader: Reader) -> Listed:
    """Return what the snapshot lists; nothing without one.  ValueError where it cannot be understood."""
    if (entry := folder.files.get(SNAPSHOT)) is None:
        return {}
    try:
        return _listed(chunks_of(reader, SNAPSHOT, entry.size))
    except VanishedError:
        return {}


def _listed(chunks: Iterator[bytes]) -> Listed:
    """Return what a snapshot of this content lists.  ValueError where it cannot be understood."""
    items: list[object] = []
    snapshot = read_object(chunks, {"checkpoint_results": items.append})
    if "checkpoint_results" in snapshot or not (items or "ray_version" in snapshot):
        raise ValueError("it has no list checkpoint_results")
    listed: dict[str, Mapping[str, float]] = {}
    for item in items:
        said = item if isinstance(item, Mapping) else {}
        name, metrics = said.get("checkpoint_dir_name"), said.get("metrics")
        if not isinstance(name, str):
            raise ValueError("an item of checkpoint_results names no directory")  # noqa: TRY004 - callers ask only for ValueError
        listed[name] = dict(flat_numbers(metrics, PLACING)) if isinstance(metrics, Mapping) else {}
    return listed
