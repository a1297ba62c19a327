"""What ckptctl itself notes about checkpoints: pins, tags, annotations, holds, verification results.

One small JSON file a checkpoint in `records/` of a state directory, keyed by the checkpoint's path
within its run.  A record notes the sizes and times it was made for: where the files are others by
now (a step saved anew after a rollback), what depends on the bytes is void, but pins, tags and
holds still keep.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ckptctl.listing import Entry
from ckptctl.model import Hold
from ckptctl.pace import in_order
from ckptctl.reading import NOT_UNDERSTOOD, SIDECAR_LIMIT, VanishedError
from ckptctl.stores._base import Store

FOLDER = "records"


class RecordError(ValueError):
    """A record of ours cannot be understood, so what it protects is unknown."""


@dataclass(frozen=True, slots=True)
class Doom:
    """A deletion that is scheduled, on a store where nothing can be moved aside for a grace."""

    until_ns: int  # the first prune after it carries the deletion out
    since_ns: int
    batch: str  # the prune that scheduled it
    name: str  # the checkpoint's
    bytes: int
    files: int | None = None  # how many it had, sidecars aside; None in a record from before


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """Who promoted a checkpoint, when and why, and what of its pin, tags and aliases came with that.

    What a person sets or takes back by hand meanwhile is no longer the promotion's.
    """

    at_ns: int
    by: str
    host: str
    selector: str  # as it was written
    path: str  # where it was promoted: full
    note: str | None = None  # why
    alias: str | None = None
    tags: tuple[str, ...] = ()  # that it added
    pinned: bool = False  # the pin came with it
    metrics: Mapping[str, float] = field(default_factory=dict)  # as they were then
    digest: str | None = None  # as its manifest had it then
    lost_ns: int | None = None  # when the alias went to another
    ended_ns: int | None = None  # when it was undone


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One checkpoint's record; `seen` is path -> (bytes, mtime in ns), empty where not noted."""

    path: str
    seen: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    pinned: bool = False
    aliases: tuple[str, ...] = ()
    holds: tuple[Hold, ...] = ()
    proven: bool = False  # a verification found these very files whole at structure level or above
    damaged: str | None = None  # what a verification found wrong with these very files
    damage_level: str | None = None  # how deep that one looked: a less deep one cannot refute it
    doom: Doom | None = None  # void, like all that depends on the bytes, once it does not fit
    promotions: tuple[
        Promotion, ...
    ] = ()  # the oldest first; those that were undone stay as history

    @property
    def keeps(self) -> bool:
        """Whether it says anything that does not depend on the bytes of these very files."""
        return bool(self.tags or self.pinned or self.aliases or self.holds)

    def fits(self, files: Mapping[str, Entry]) -> bool:
        """Whether the files are those that the record was made for."""
        return all(
            path in files and (files[path].size, files[path].mtime_ns) == seen
            for path, seen in self.seen.items()
        )

    def doom_of(self, files: Mapping[str, Entry]) -> Doom | None:
        """Return the deletion that is scheduled of these files, those of sidecars aside.

        A file that has come since makes it void: whoever saves there may have made it whole.
        """
        if self.doom is None or self.doom.files not in {None, len(files)}:
            return None
        return self.doom if self.fits(files) else None


def file_name(path: str) -> str:
    """Return the name of the record file for a checkpoint's path within its run."""
    import hashlib  # noqa: PLC0415 - takes as long to import as ten other modules; only writing needs it

    return hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()[:32] + ".json"


def dump(record: Record) -> bytes:
    """Return a record as its file holds it."""
    return json.dumps(
        {
            "schema": "ckptctl/record",
            "version": 1,
            "path": record.path,
            "seen": {path: list(seen) for path, seen in record.seen.items()},
            "metrics": dict(record.metrics),
            "tags": list(record.tags),
            "pinned": record.pinned,
            "aliases": list(record.aliases),
            "holds": [asdict(hold) for hold in record.holds],
            "proven": record.proven,
            "damaged": record.damaged,
            "damage_level": record.damage_level,
            "doom": None if record.doom is None else asdict(record.doom),
            "promotions": [asdict(promotion) for promotion in record.promotions],
        }
    ).encode()


def parse(content: bytes) -> Record:
    """Return the record in a file.  RecordError where it cannot be understood."""
    try:
        value = json.loads(content)
        if (value["schema"], value["version"]) != ("ckptctl/record", 1):
            raise RecordError("is of a version that this ckptctl cannot read")  # noqa: TRY301 - one way out
        return Record(
            path=str(value["path"]),
            seen={path: (int(size), int(mtime)) for path, (size, mtime) in value["seen"].items()},
            metrics={str(key): float(number) for key, number in value["metrics"].items()},
            tags=tuple(map(str, value["tags"])),
            pinned=bool(value["pinned"]),
            aliases=tuple(map(str, value["aliases"])),
            holds=tuple(
                Hold(str(h["by"]), str(h["host"]), int(h["until_ns"]), str(h.get("id", "")))
                for h in value["holds"]
            ),
            proven=bool(value["proven"]),
            damaged=_text(value["damaged"]),
            damage_level=_text(value.get("damage_level")),
            doom=_doom(value.get("doom")),
            promotions=tuple(map(_promotion, value.get("promotions") or ())),
        )
    except RecordError:
        raise
    except NOT_UNDERSTOOD as error:
        raise RecordError(f"cannot be understood ({type(error).__name__}: {error})") from error


def _doom(value: object) -> Doom | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise TypeError("doom")
    return Doom(
        int(value["until_ns"]),
        int(value["since_ns"]),
        str(value["batch"]),
        str(value["name"]),
        int(value["bytes"]),
        None if value.get("files") is None else int(value["files"]),
    )


def _promotion(value: Mapping[str, Any]) -> Promotion:
    return Promotion(
        at_ns=int(value["at_ns"]),
        by=str(value["by"]),
        host=str(value["host"]),
        selector=str(value["selector"]),
        path=str(value["path"]),
        note=_text(value.get("note")),
        alias=_text(value.get("alias")),
        tags=tuple(map(str, value["tags"])),
        pinned=bool(value["pinned"]),
        metrics={str(key): float(number) for key, number in value["metrics"].items()},
        digest=_text(value.get("digest")),
        lost_ns=_number(value.get("lost_ns")),
        ended_ns=_number(value.get("ended_ns")),
    )


def _number(value: Any) -> int | None:  # noqa: ANN401 - of JSON
    return None if value is None else int(value)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def read_all(store: Store) -> list[Record]:
    """Return the records in one state directory.

    Raises OSError or RecordError, whose text names the file: what is kept is then unknown.
    """
    try:
        names = store.listing(FOLDER, deep=False).files
    except FileNotFoundError:
        return []

    def one(name: str) -> Record | None:
        try:
            return parse(store.read(f"{FOLDER}/{name}", SIDECAR_LIMIT))
        except VanishedError:
            return None
        except RecordError as error:
            raise RecordError(f"{FOLDER}/{name} {error}") from error

    # A writer that died leaves other names beside the real ones.
    found = in_order(one, [name for name in names if name.endswith(".json")])
    return [record for record in found if record is not None]


def by_path(records: Iterable[Record]) -> dict[str, tuple[Record, ...]]:
    """Return the records of each checkpoint path, the first state directory's first."""
    found: dict[str, tuple[Record, ...]] = {}
    for record in records:
        found[record.path] = (*found.get(record.path, ()), record)
    return found
