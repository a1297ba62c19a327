"""What lies in an Orbax step: its metadata, its items, and the manifests of its arrays."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace

from ckptctl import names
from ckptctl.formats._json_files import read_json, unread
from ckptctl.formats._numbers import flat_numbers
from ckptctl.listing import Entry, Folder
from ckptctl.model import Checkpoint, Metadata
from ckptctl.patterns import later
from ckptctl.reading import Blob, Finding, Reader

STEP_METADATA = "_CHECKPOINT_METADATA"
COMMITTED = "commit_success.txt"
_MANIFEST = b"\x0c\xdb\x3a\x2a"  # tensorstore, kvstore/ocdbt/format/manifest.cc kManifestMagic
_HEAD = struct.Struct("<4sQ")
_NODE = b"\x0c\xdb\x20\xde"  # the same, kvstore/ocdbt/format/btree.cc kBtreeNodeMagic
_NODE_HEAD = struct.Struct("<4sQBB")  # kind, length, version 0, compression 0 or 1
_DATA = later(rb"d/([0-9a-f]{32})")
_SCAN_LIMIT = 16 * 2**20
_ARRAYS = "array_metadatas"
_OF_TREE = ("_METADATA", "_sharding", "checkpoint", "d", "manifest.ocdbt")
_NUMBER = later(r"(?:.+_)?[0-9]+", re.DOTALL)


def is_step(name: str, inside: Folder) -> bool:
    """Whether a directory whose name ends in a number is a step, by what it holds.

    `step_prefix` may be any word, so `exp_12/` is a step only where a manager saved it: with
    metadata of its own and items below.  A tree saved right into it is one experiment's state.
    One that holds steps is a run, however it is called.
    """
    described = STEP_METADATA in inside.files
    numbered = {n: deep for n, deep in inside.folders.items() if _NUMBER.fullmatch(n)}
    if any(STEP_METADATA in deep.files for deep in numbered.values()):
        return False
    if described and not is_tree(inside):
        return True
    if not name.isdecimal() and not names.parse(name, file=False).numbered:
        return False
    if any(is_tree(deep) for deep in numbered.values()):
        return False
    return is_tree(inside) or any(is_tree(item) for item in inside.folders.values())


def items_of(inside: Folder) -> dict[str, Folder]:
    """Return the items of a step, by folder; "" where a tree was saved right into it."""
    found = {
        folder: item
        for folder, item in inside.folders.items()
        if ".orbax-checkpoint-tmp" not in folder and any(True for _ in item.paths())
    }
    return {"": inside} if is_tree(inside) else found


def parts_of(inside: Folder) -> frozenset[str]:
    """Return what every step of a run should have: its items, and what each writes of a tree.

    Metrics are no such item: they may be given for some steps only.
    """
    items = items_of(inside)
    parts = {
        f"{name}/{part}".lstrip("/")
        for name, item in items.items()
        if name != "metrics"
        for part in _tree_parts(item)
    }
    return frozenset(parts | (set(items) - {"", "metrics"}))


def _tree_parts(item: Folder) -> Iterator[str]:
    """Yield the names of what is written for a tree, whatever arrays it has."""
    yield from (name for name in (*item.files, *item.folders) if name in _OF_TREE)
    for name, deep in item.folders.items():
        if name == _ARRAYS or name.startswith("ocdbt.process_"):
            yield name
            yield from (f"{name}/{file}" for file in deep.files)


def read_step(name: str, inside: Folder, reader: Reader) -> Metadata:
    """Return what `_CHECKPOINT_METADATA` says: it is written first, and again at the end.

    One that cannot be understood does not say that there was an end.
    """
    path = f"{name}/{STEP_METADATA}"
    said = _read(path, inside.find(STEP_METADATA), reader)
    if isinstance(said, Metadata):
        return replace(said, missing=said.unread)
    committed = said.get("commit_timestamp_nsecs", 0)
    missing = None
    if committed is None:
        missing = f"{STEP_METADATA} has no commit_timestamp_nsecs: it was never finalised"
    metrics = said.get("metrics")
    return Metadata(
        saved_ns=committed if type(committed) is int and committed > 0 else None,
        metrics=dict(flat_numbers(metrics)) if isinstance(metrics, Mapping) else {},
        missing=missing,
    )


def read_metrics(name: str, inside: Folder, reader: Reader) -> Metadata:
    """Return the metrics that the manager was given, from the item `metrics`."""
    said = _read(f"{name}/metrics/metrics", inside.find("metrics/metrics"), reader)
    return said if isinstance(said, Metadata) else Metadata(metrics=dict(flat_numbers(said)))


def prove_items(checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
    """Yield each metadata file that is no JSON, and each manifest that is missing or cut off."""
    for path, entry in checkpoint.files.items():
        directory, _, file = path.rpartition("/")
        if path in checkpoint.sidecars:
            continue
        arrays = directory.rpartition("/")[2] == _ARRAYS and file.startswith("process_")
        if arrays or file in {STEP_METADATA, "_METADATA", "_sharding"}:
            said = read_json(reader, path, entry.size, wanted=("use_ocdbt",))
            if isinstance(said, str):
                yield Finding(path, "metadata-unreadable", said)
                continue
            manifest = f"{directory}/manifest.ocdbt"
            if said.get("use_ocdbt") is True and manifest not in checkpoint.files:
                yield Finding(manifest, "manifest-missing", f"is not there, but {path} needs it")
        else:
            yield from _prove_tree(path, checkpoint, reader)


def _prove_tree(path: str, checkpoint: Checkpoint, reader: Reader) -> Iterator[Finding]:
    """Yield what is wrong with a file, if it is one of the tree that holds the arrays."""
    directory, _, file = path.rpartition("/")
    if file == "manifest.ocdbt":
        with reader.open(path) as blob:
            if (wrong := _manifest_fault(blob)) is not None:
                yield Finding(path, "manifest-damaged", wrong)
            elif blob.size <= _SCAN_LIMIT:
                yield from _lost_data(path, blob.read(0, blob.size), checkpoint)
    elif directory.rpartition("/")[2] == "d":
        with reader.open(path) as blob:
            if (wrong := _node_fault(blob)) is not None:
                yield Finding(path, "data-truncated", wrong)


def is_tree(inside: Folder) -> bool:
    """Whether a tree was saved right into a directory; TensorFlow's `checkpoint` is none."""
    if "_METADATA" in inside.files or "manifest.ocdbt" in inside.files:
        return True
    arrays = any(".zarray" in deep.files for deep in inside.folders.values())
    alone = len(inside.files) == 1 and not inside.folders
    return "checkpoint" in inside.files and (arrays or alone)


def _lost_data(path: str, manifest: bytes, checkpoint: Checkpoint) -> Iterator[Finding]:
    """Yield the data files that a manifest names and that are not there, or are empty.

    Most of a manifest is compressed, but names of random digits stand in a short one as they are.
    They are relative to a folder that may be that of a process.
    """
    directory = path.rpartition("/")[0]
    there = {
        name.rpartition("/")[2]
        for name, entry in checkpoint.files.items()
        if entry.size and name.startswith(f"{directory}/")
    }
    for name in sorted({found.decode() for found in _DATA.findall(manifest)} - there):
        text = f"is named by {path}, but is empty or not there"
        yield Finding(f"{directory}/d/{name}", "data-missing", text)


def _node_fault(blob: Blob) -> str | None:
    """Return that a data file which begins with a node of the tree ends within it; else None."""
    head = blob.read(0, _NODE_HEAD.size)
    if len(head) < _NODE_HEAD.size:
        return "is empty" if not head else None
    kind, length, version, compression = _NODE_HEAD.unpack(head)
    if kind != _NODE or version or compression > 1 or length <= blob.size:
        return None
    return f"was cut at {blob.size:,} bytes, within a node of {length:,}"


def _read(path: str, entry: Entry | None, reader: Reader) -> Mapping[str, object] | Metadata:
    """Return the object in a file of JSON; what to say of it where that cannot be understood."""
    if entry is None:
        return Metadata()
    said = read_json(reader, path, entry.size)
    return unread(f"{path} {said}") if isinstance(said, str) else said


def _manifest_fault(blob: Blob) -> str | None:
    """Return what is wrong with a manifest: it begins with its kind and its own length."""
    head = blob.read(0, _HEAD.size)
    if len(head) < _HEAD.size or not head.startswith(_MANIFEST):
        return "is no OCDBT manifest"
    _, length = _HEAD.unpack(head)
    return None if length == blob.size else f"has {blob.size} bytes, but should have {length}"
