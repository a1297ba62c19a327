"""The local store: what it lists, what it refuses to follow, what it removes."""

from __future__ import annotations

import os
import socket
from contextlib import chdir
from pathlib import Path

import pytest

from ckptctl.reading import TooLargeError, VanishedError
from ckptctl.stores import _local_moving, _walk
from ckptctl.stores.local import LocalStore
from tests.trees import make_tree, read_tree


def test_a_listing_has_sizes_times_inodes_links_and_leaves_out_our_own_state(
    tmp_path: Path,
) -> None:
    make_tree(
        tmp_path,
        {"a.pt": b"12345", "d/e/f.bin": b"x", "l": "-> a.pt", ".ckptctl/lock": b"", "empty/": b""},
    )
    os.link(tmp_path / "a.pt", tmp_path / "d" / "twin")
    os.mkfifo(tmp_path / "pipe")
    folder = LocalStore(str(tmp_path)).listing()
    assert folder.files["a.pt"].size == 5
    assert folder.files["a.pt"].links == 2
    assert folder.files["a.pt"].inode == folder.folders["d"].files["twin"].inode
    assert folder.files["a.pt"].mtime_ns == (tmp_path / "a.pt").stat().st_mtime_ns
    assert dict(folder.links) == {"l": "a.pt"}
    assert folder.others == ("pipe",)
    assert sorted(folder.folders) == ["d", "empty"]
    assert sorted(path for path, _ in folder.walk()) == ["a.pt", "d/e/f.bin", "d/twin"]


@pytest.mark.parametrize("slow", [False, True], ids=["one-thread", "many-threads"])
def test_a_wide_and_deep_tree_is_listed_whole(
    tmp_path: Path, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if slow:
        monkeypatch.setattr(_walk, "_SLOW_SECONDS", 0.0)  # so that a fast disk counts as slow
    expected = {
        f"run{i}/step_{j}/part/{k}.bin": b"x" for i in range(5) for j in range(7) for k in range(40)
    }
    make_tree(tmp_path, expected)
    listed = {path for path, _ in LocalStore(str(tmp_path)).listing().walk()}
    assert listed == expected.keys()


def test_symlink_loops_end_and_names_without_encoding_survive(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    raw = os.fsencode(tmp_path) + b"/bad\xff\n\x1bname.pt"
    with open(raw, "wb") as file:
        file.write(b"x")
    folder = LocalStore(str(tmp_path)).listing()
    assert [os.fsencode(name) for name in folder.files] == [b"bad\xff\n\x1bname.pt"]
    assert LocalStore(str(tmp_path)).read(next(iter(folder.files)), 10) == b"x"


def test_reading_follows_no_link_opens_no_pipe_and_keeps_to_its_limit(tmp_path: Path) -> None:
    make_tree(
        tmp_path, {"big": b"x" * 100, "real/file": b"y", "link": "-> big", "linked": "-> real"}
    )
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server, chdir(tmp_path):  # whose own path may be too long
        server.bind("sock")
    store = LocalStore(str(tmp_path))
    assert store.read("big", 100) == b"x" * 100
    with pytest.raises(TooLargeError):
        store.read("big", 99)
    for path in ("link", "linked/file", "gone", "big/child"):
        with pytest.raises(VanishedError):
            store.read(path, 10)
    for path in ("pipe", "sock", "real", "../x", "/etc/passwd", "real/../big"):
        with pytest.raises(OSError, match=r"no regular file|No such device|no path below"):
            store.read(path, 10)


def test_removing_a_tree_counts_what_the_last_link_frees_and_follows_nothing(
    tmp_path: Path,
) -> None:
    make_tree(
        tmp_path,
        {
            "run/ckpt/a": b"x" * 8192,
            "run/ckpt/sub/b": b"x" * 8192,
            "run/ckpt/out": "-> ../../other",
            "other/precious": b"p",
        },
    )
    os.link(tmp_path / "run/ckpt/a", tmp_path / "run/twin")
    removed = LocalStore(str(tmp_path / "run")).remove_tree("ckpt")
    assert removed.left == ()
    assert removed.freed == 8192
    assert read_tree(tmp_path) == {"run/twin": b"x" * 8192, "other/precious": b"p"}


def test_a_directory_swapped_for_a_link_is_not_followed(tmp_path: Path) -> None:
    make_tree(tmp_path, {"other/precious": b"p", "run/x": b""})
    (tmp_path / "run/ckpt").symlink_to("../other")
    store = LocalStore(str(tmp_path / "run"))
    assert store.remove_tree("ckpt/sub").left == ()
    store.remove_tree("ckpt")
    assert read_tree(tmp_path) == {"other/precious": b"p", "run/x": b""}


def test_a_rename_goes_over_nothing_that_is_there(tmp_path: Path) -> None:
    make_tree(tmp_path, {"run/a": b"1", "state/a": b"2"})
    run, state = LocalStore(str(tmp_path / "run")), LocalStore(str(tmp_path / "state"))
    with pytest.raises(FileExistsError):
        run.rename_to("a", state, "a")
    run.rename_to("a", state, "b")
    assert read_tree(tmp_path) == {"state/a": b"2", "state/b": b"1"}


def test_a_write_is_whole_or_not_at_all_and_create_never_overwrites(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path))
    store.make_folder("records/deep")
    store.replace("records/deep/a.json", b"one")
    store.replace("records/deep/a.json", b"two")
    store.append("journal", b"1\n")
    store.append("journal", b"2\n")
    with pytest.raises(FileExistsError):
        store.create("journal", b"")
    assert read_tree(tmp_path) == {"records/deep/a.json": b"two", "journal": b"1\n2\n"}


def test_a_process_of_another_node_with_the_same_numbers_writes_into_no_file_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, link = LocalStore(str(tmp_path)), os.link

    def late(*names: str, **how: object) -> None:
        """Make the link when a process of the same number, on another node, has just done the same."""
        monkeypatch.setattr(os, "link", link)
        store.create("lock", b"theirs")
        link(*names, **how)  # type: ignore[arg-type] # as it was called

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(FileExistsError):
        store.create("lock", b"ours")
    assert read_tree(tmp_path) == {"lock": b"theirs"}


def test_a_file_under_way_goes_on_only_within_the_boot_that_wrote_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not synced may be zeros after a power cut, of the very size that was written."""
    store = LocalStore(str(tmp_path))
    begun = store.incoming("a", 9)
    begun.write(memoryview(b"12345"))
    begun.leave()
    same = store.incoming("a", 9, begun.token)
    same.leave()
    assert same.offset == 5
    for boot in ("another", ""):
        monkeypatch.setattr(_local_moving, "boot_id", lambda boot=boot: boot)
        for token in (begun.token, f"{begun.token.partition('@')[0]}@"):
            (tmp_path / "a").write_bytes(b"12345")
            later = store.incoming("a", 9, token)
            later.leave()
            assert later.offset == 0
