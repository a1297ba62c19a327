"""What is loaded for a copy: a manifest is believed only as far as it fits what is there now."""

from __future__ import annotations

from dataclasses import replace

from ckptctl.arriving import Arrival
from ckptctl.listing import Entry
from ckptctl.manifest import Manifest, Noted
from ckptctl.model import Checkpoint, Kind, Metadata
from ckptctl.transfer.cargo import Cargo, load
from tests.checkpoints import checkpoint
from tests.memory import folder_of

_PATHS = ("step_1/model.pt", "step_1/same.pt")


def in_a_bucket(*paths: str) -> Checkpoint:
    """Return the directory `step_1` as a bucket holds it."""
    return replace(
        checkpoint(step=1),
        member="step_1",
        kind=Kind.DIRECTORY,
        folders=("step_1",),
        files={path: Entry(size=4, mtime_ns=9, etag=f"tag of {path}") for path in paths},
    )


def manifest(files: dict[str, Noted], dirs: dict[str, int] | None = None) -> Manifest:
    return Manifest(
        name="step_1",
        path="step_1",
        format="torch-file",
        said=Metadata(),
        files=files,
        dirs=dirs or {},
        created_ns=1,
        created_by="me",
    )


def noted(path: str, digest: str = "aa", hardlink: str | None = None) -> Noted:
    return Noted(4, 7, digest, etag=f"tag of {path}", hardlink=hardlink)


def loaded(one: Checkpoint, said: Manifest) -> Cargo:
    files = dict.fromkeys(one.files, b"1234")
    nothing = Arrival(first=(), last=())
    return load(one, folder_of(files, bucket=True), said, nothing, None)


def link(text: str) -> Noted:
    return Noted(0, 5, None, link=text)


def test_links_and_directories_come_back_from_a_manifest_that_fits() -> None:
    said = manifest(
        {**{p: noted(p) for p in _PATHS}, "step_1/last": link("model.pt"), "other": link("x")},
        {"step_1": 3, "step_1/hollow": 4, "other": 5},
    )
    cargo = loaded(in_a_bucket(*_PATHS), said)
    assert cargo.links == {"step_1/last": "model.pt"}  # of this checkpoint alone
    assert cargo.link_times == {"step_1/last": 5}
    assert cargo.dirs == {"step_1": 3, "step_1/hollow": 4}


def test_a_link_never_takes_the_place_of_a_file_that_is_there_by_now() -> None:
    said = manifest({"step_1/model.pt": noted("step_1/model.pt"), "step_1/same.pt": link("../x")})
    assert loaded(in_a_bucket(*_PATHS), said).links == {}


def test_nothing_is_taken_from_a_manifest_of_another_save() -> None:
    said = manifest(
        {"step_1/model.pt": Noted(4, 7, "aa", etag="an older one"), "step_1/old": link("model.pt")},
        {"step_1": 3, "step_1/old_folder": 4},
    )
    cargo = loaded(in_a_bucket(*_PATHS), said)
    assert cargo.links == {}
    assert set(cargo.dirs) == {"step_1"}


def test_two_objects_are_one_inode_only_where_their_bytes_are_the_same() -> None:
    first, second = _PATHS
    for digest, twin in (("aa", first), ("bb", None)):
        said = manifest({first: noted(first), second: noted(second, digest, hardlink=first)})
        pieces = {piece.target: piece for piece in loaded(in_a_bucket(*_PATHS), said).pieces}
        assert pieces[second].twin == twin
