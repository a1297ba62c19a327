"""What one format says of a directory: for the tests of formats, on real files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ckptctl.formats import DIRECTORIES
from ckptctl.formats._base import Format, Pointer
from ckptctl.group import look
from ckptctl.known import known_formats
from ckptctl.listing import Entry, Folder
from ckptctl.model import Checkpoint, Claim, Metadata, State
from ckptctl.reading import Finding
from ckptctl.stores.local import LocalStore
from tests.trees import make_tree

Tree = Mapping[str, bytes | str]


@contextmanager
def opened(root: Path) -> Iterator[tuple[Folder, LocalStore]]:
    store = LocalStore(str(root))
    try:
        yield store.listing(), store
    finally:
        store.close()


def claims_of(kind: type[Format], root: Path, tree: Tree | None = None) -> dict[str, Claim]:
    make_tree(root, tree or {})
    with opened(root) as (folder, store):
        found = {claim.name: claim for claim in kind().find(folder, store)}
        if kind.__module__.rpartition(".")[2] in DIRECTORIES and not folder.folders:
            assert not found, "a format of directories alone is not asked where there is none"
        return found


def claim_of(kind: type[Format], root: Path, tree: Tree | None = None) -> Claim:
    (claim,) = claims_of(kind, root, tree).values()
    return claim


def metadata_of(kind: type[Format], root: Path, tree: Tree | None = None) -> Metadata:
    claim = claim_of(kind, root, tree)
    with opened(root) as (folder, store):
        return kind().metadata(claim, folder, store)


def pointers_of(kind: type[Format], root: Path, tree: Tree | None = None) -> list[Pointer]:
    make_tree(root, tree or {})
    with opened(root) as (folder, store):
        return list(kind().pointers(folder, store))


def findings_of(kind: type[Format], root: Path, tree: Tree | None = None) -> list[Finding]:
    claim = claim_of(kind, root, tree)
    with opened(root) as (folder, store):
        return list(kind().prove(checkpoint_of(claim, folder), store))


def recognised(root: Path, tree: Tree | None = None) -> dict[str, str]:
    """Return which format has each checkpoint of a directory, all of them being asked."""
    make_tree(root, tree or {})
    with opened(root) as (folder, store):
        found = look(folder, store, known_formats())
    return {item.name: item.claim.format for item in found.items}


def files_of(claim: Claim, folder: Folder) -> dict[str, Entry]:
    return {
        path: entry for path, entry in folder.walk() if path.split("/")[0] in set(claim.members)
    }


def checkpoint_of(claim: Claim, folder: Folder) -> Checkpoint:
    files = files_of(claim, folder)
    return Checkpoint(
        run="run",
        name=claim.name,
        path=claim.name,
        member=claim.members[0],
        format=claim.format,
        kind=claim.kind,
        family=claim.family,
        step=claim.step,
        epoch=claim.epoch,
        saved_ns=0,
        changed_ns=max(entry.mtime_ns for entry in files.values()),
        stated=False,
        bytes=sum(entry.size for entry in files.values()),
        files=files,
        folders=(),
        key_file=claim.key_file,
        sidecars=(),
        state=State.COMPLETE,
    )


def agrees(kind: type[Format], root: Path, known: list[dict[str, Any]]) -> None:
    """Compare what a format finds in a run of the corpus with what is known to be there."""
    found = claims_of(kind, root)
    assert set(found) == {one["name"] for one in known}
    with opened(root) as (folder, store):
        for one in known:
            claim = found[one["name"]]
            said = kind().metadata(claim, folder, store)
            for key in ("kind", "step", "epoch", "family"):
                assert getattr(claim, key) == one[key], (one["name"], key)
            assert set(files_of(claim, folder)) == set(one["files"])
            whole = claim.missing is None and said.missing is None
            assert whole is (one["state"] == "complete"), (one["name"], claim.missing)
            assert whole or one["state"] == "incomplete"
            assert set(said.metrics) == set(one["metrics"])
            for metric, told in one["metrics"].items():
                assert said.metrics[metric] == pytest.approx(told["value"], abs=told["tolerance"])
            if whole:
                assert list(kind().prove(checkpoint_of(claim, folder), store)) == []
