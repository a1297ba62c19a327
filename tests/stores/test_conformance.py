"""Every store does the same: local, memory, a real S3 server with both engines, a GCS server."""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import botocore.exceptions
import pytest

from ckptctl.algorithms import agrees, hasher, quickest
from ckptctl.listing import Entry
from ckptctl.reading import TooLargeError, VanishedError
from ckptctl.stores._base import ChangedError, Store, TooManyKeysError
from ckptctl.stores._objects import ObjectStore
from tests.stores.places import KINDS, OBJECTS, SERVERS, Place, place


@pytest.fixture(params=KINDS)
def anywhere(request: pytest.FixtureRequest) -> Iterator[Place]:
    yield from place(request.param, request)


@pytest.fixture(params=OBJECTS)
def objects(request: pytest.FixtureRequest) -> Iterator[Place]:
    yield from place(request.param, request)


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Place]:
    yield from place(request.param, request)


def filled(at: Place, *paths: str) -> Store:
    for path in paths:
        at.put(path, path.encode())
    return at.open()


def listed(store: Store, path: str = "") -> list[str]:
    return [name for name, _ in store.listing(path).walk()]


def test_a_listing_is_the_whole_tree_with_sizes_and_times(anywhere: Place) -> None:
    store = filled(
        anywhere, "a.pt", "run/checkpoint-5/model.pt", "run/checkpoint-5/deep/er/x", "run/b"
    )
    top = store.listing()
    assert sorted(listed(store)) == ["a.pt", "run/b", "run/checkpoint-5/deep/er/x", "run/checkpoint-5/model.pt"]  # fmt: skip
    inner = top.folders["run"].folders["checkpoint-5"]
    assert (inner.path, inner.files["model.pt"].size) == ("run/checkpoint-5", 25)
    assert inner.files["model.pt"].mtime_ns > 1_700_000_000 * 10**9
    assert list(top.errors()) == []
    assert store.listing("run").path == "run"
    assert sorted(listed(store, "run/checkpoint-5")) == ["deep/er/x", "model.pt"]
    assert (top.find("a.pt") or Entry(0, 0)).etag == (store.stat("a.pt") or Entry(0, 0)).etag


def test_a_shallow_listing_stays_on_its_level(anywhere: Place) -> None:
    store = filled(anywhere, "a.pt", "run/b", "run/c/d", "run/c/e")
    top = store.listing(deep=False)
    assert (list(top.files), list(top.folders)) == (["a.pt"], ["run"])
    run = store.listing("run", deep=False)
    assert (list(run.files), list(run.folders)) == (["b"], ["c"])
    assert not run.folders["c"].files


def test_prefix_twins_never_meet(anywhere: Place) -> None:
    store = filled(
        anywhere, "checkpoint-5/x", "checkpoint-50/x", "checkpoint-5.bak", "checkpoint-5-old/x"
    )
    assert listed(store, "checkpoint-5") == ["x"]
    assert listed(store.below("checkpoint-5")) == ["x"]
    assert store.remove_tree("checkpoint-5").left == ()
    assert sorted(listed(store)) == ["checkpoint-5-old/x", "checkpoint-5.bak", "checkpoint-50/x"]


NAMES = ["sp ace", "ünï→日本", "a+b=c&d", "100%25", "h#a?b*~c", "'\"", "n" * 200, ".hidden"]


def test_names_of_all_kinds_are_listed_read_and_removed(anywhere: Place) -> None:
    store = filled(anywhere, *(f"dir {name}/{name}" for name in NAMES))
    assert sorted(listed(store)) == sorted(f"dir {name}/{name}" for name in NAMES)
    for name in NAMES:
        path = f"dir {name}/{name}"
        assert store.read(path, 1000) == path.encode()
        assert (store.stat(path) or Entry(0, 0)).size == len(path.encode())
    assert store.remove_files({f"dir {name}/{name}": Entry(0, 0) for name in NAMES}).left == ()
    if not store.able.folders:
        with pytest.raises(FileNotFoundError):
            store.listing()


def test_state_of_ours_is_not_listed_but_can_be_opened(anywhere: Place) -> None:
    store = filled(anywhere, "run/x", ".ckptctl/run/lock", "run/.ckptctl/lock")
    assert listed(store) == ["run/x"]
    top = store.listing()
    assert not top.folders["run"].folders
    if not store.able.folders:
        assert (top.noted, top.folders["run"].noted) == (True, True)
        assert not filled(anywhere, "plain/x").listing("plain").noted
    assert listed(store.below(".ckptctl/run")) == ["lock"]
    assert store.below(".ckptctl").read("run/lock", 100) == b".ckptctl/run/lock"


def test_what_is_missing_is_told(anywhere: Place) -> None:
    store = filled(anywhere, "run/x")
    assert store.stat("gone") is None
    assert store.stat("run") is None
    assert store.identity("gone/x") is None
    for attempt in (lambda: store.read("gone", 10), lambda: store.open("gone").__enter__()):
        with pytest.raises(VanishedError):
            attempt()
    with pytest.raises(FileNotFoundError):
        store.listing("ru")
    with pytest.raises(NotADirectoryError):
        store.listing("run/x")
    assert store.remove_file("gone").left == ()


def test_reading_keeps_to_its_limit_and_to_the_location(anywhere: Place) -> None:
    store = filled(anywhere, "run/12345")
    assert store.read("run/12345", 9) == b"run/12345"
    with pytest.raises(TooLargeError):
        store.read("run/12345", 8)
    for path in ("../x", "run/../run/12345", "run//12345", "./run", "/etc/passwd", ""):
        with pytest.raises(OSError, match="no path below its run"):
            store.read(path, 100)
        with pytest.raises(OSError, match="no path below its run"):
            store.replace(path, b"")


def test_ranges_are_exact(anywhere: Place) -> None:
    content = bytes(itertools.islice(itertools.cycle(range(251)), 300_000))
    anywhere.put("big", content)
    anywhere.put("empty", b"")
    store = anywhere.open()
    with store.open("big") as blob:
        assert blob.size == 300_000
        for offset, length in [(0, 10), (5, 0), (299_990, 50), (300_000, 5), (400_000, 5), (70_000, 66_000), (1, 299_999)]:  # fmt: skip
            assert blob.read(offset, length) == content[offset : offset + length]
            buffer = bytearray(length)
            count = blob.readinto(offset, memoryview(buffer))
            assert buffer[:count] == content[offset : offset + length]
    with store.open("empty") as blob:
        assert (blob.size, blob.read(0, 10)) == (0, b"")
    assert store.read("empty", 0) == b""


def test_create_never_overwrites(anywhere: Place) -> None:
    store = anywhere.open()
    store.create("lock", b"first")
    for again in (store, anywhere.open()):
        with pytest.raises(FileExistsError):
            again.create("lock", b"second")
    assert store.read("lock", 10) == b"first"
    store.create("empty", b"")
    with pytest.raises(FileExistsError):
        anywhere.open().create("empty", b"")


def test_of_writers_at_once_one_creates(anywhere: Place) -> None:
    stores = [anywhere.open() for _ in range(4)]

    def attempt(number: int) -> int | None:
        try:
            stores[number % 4].create(f"lock{number // 8}", b"%d" % number)
        except FileExistsError:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        won = [number for number in pool.map(attempt, range(40)) if number is not None]
    assert len(won) == 5
    for number in won:
        assert stores[0].read(f"lock{number // 8}", 10) == b"%d" % number


def test_replace_is_whole_and_can_be_told_which_version(anywhere: Place) -> None:
    store = anywhere.open()
    store.replace("a", b"one")
    store.replace("a", b"two")
    assert store.read("a", 10) == b"two"
    if not store.able.match:
        with pytest.raises(OSError, match=r"ETags|one version only"):
            store.replace("a", b"three", if_match="x")
        return
    seen = store.stat("a")
    assert seen is not None
    assert seen.etag
    store.replace("a", b"three", if_match=seen.etag)
    for path in ("a", "gone"):
        with pytest.raises(ChangedError):
            store.replace(path, b"four", if_match=seen.etag)
    assert store.read("a", 10) == b"three"
    assert store.stat("gone") is None


def test_an_identity_changes_with_a_save_and_with_nothing_else(server: Place) -> None:
    store = filled(server, "a", "dir/b")
    before = store.identity("a")
    assert before == server.open().identity("a") is not None
    store.replace("a", b"other")
    assert store.identity("a") != before
    assert store.identity("dir") == server.open().identity("dir") is not None
    assert store.identity("di") is None


def test_an_object_that_is_saved_anew_is_not_read_as_a_mixture(server: Place) -> None:
    server.put("big", b"1" * 200_000)
    store = server.open()
    with store.open("big") as blob:
        assert blob.read(0, 1) == b"1"
        store.replace("big", b"2" * 200_000)
        with pytest.raises(VanishedError):
            blob.read(150_000, 1)


def test_objects_neither_grow_nor_move(objects: Place) -> None:
    store = filled(objects, "a")
    able = store.able
    assert (able.rename, able.append, able.links, able.folders) == (False,) * 4
    with pytest.raises(OSError, match="cannot append"):
        store.append("a", b"x")
    with pytest.raises(OSError, match="cannot rename"):
        store.rename_to("a", store, "b")
    store.make_folder("dir")
    assert listed(store) == ["a"]


def test_more_than_a_thousand_are_listed_and_removed(anywhere: Place) -> None:
    wanted = [f"run/step_{n % 7}/f{n:04}" for n in range(1230)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda path: anywhere.put(path, b"12"), wanted))
    anywhere.put("run/stay", b"x")
    store = anywhere.open()
    assert sorted(listed(store)) == sorted([*wanted, "run/stay"])
    if store.able.folders:
        assert store.remove_files(dict.fromkeys(wanted, Entry(2, 0))).left == ()
    else:
        with pytest.raises(TooManyKeysError, match=r"--max-keys"):
            anywhere.open(max_keys=1230).listing()
        assert len(listed(anywhere.open(max_keys=1231))) == 1231
        removed = store.remove_files(dict.fromkeys(wanted[:1100], Entry(2, 0)))
        assert removed == (2200, ())
        stopped = store.remove_files({"run/stay": Entry(1, 0)}, lambda: True)
        assert stopped == (0, ("run/stay: left for later",))
        for step in range(7):
            assert store.remove_tree(f"run/step_{step}").left == ()
    assert listed(store) == ["run/stay"]


def test_removing_counts_what_went(objects: Place) -> None:
    store = filled(objects, "run/a", "run/b/c")
    assert store.remove_file("run/a") == (5, ())
    assert store.remove_tree("run") == (7, ())
    assert store.remove_tree("run") == (0, ())


def test_markers_of_folders_are_no_files_and_empty_files_are(server: Place) -> None:
    for key in ("dir/", "dir/sub/", "dir/x", "alone/", "empty", "done/commit", "done/zero"):
        server.put(key, b"" if key not in {"dir/x", "done/commit"} else b"1")
    store = server.open()
    assert sorted(listed(store)) == ["dir/x", "done/commit", "done/zero", "empty"]
    assert list(store.listing().errors()) == []
    assert store.remove_tree("dir").left == ()
    assert store.remove_tree("done").left == ()
    assert sorted(listed(store)) == ["empty"]


def accepted(at: Place, key: str) -> bool:
    """Whether a server takes a key: SeaweedFS refuses some odd ones."""
    try:
        at.put(key, b"odd")
    except botocore.exceptions.ClientError:
        return False
    return True


@pytest.mark.parametrize("key", ["run/a//b", "run/./c", "run/../d", "run/x\ny", "run/.."])
def test_odd_keys_are_told_and_hide_nothing(server: Place, key: str) -> None:
    server.put("run/model.pt", b"12")
    server.put("other/model.pt", b"12")
    if not accepted(server, key):
        return  # SeaweedFS refuses . and ..
    store = server.open()
    top = store.listing()
    names = set(listed(store))
    assert {"run/model.pt", "other/model.pt"} <= names
    for name in names - {"run/model.pt", "other/model.pt"}:
        assert store.read(name, 10) == b"odd"  # SeaweedFS makes a/b of a//b: then it is a file
    told = [other for _, folder in top.tree() for other in folder.others]
    assert len(told) + len(names) == 3
    assert store.remove_tree("run").left == ()
    assert listed(store) == ["other/model.pt"]


def test_a_key_with_an_empty_part_is_never_the_file_of_the_same_name(server: Place) -> None:
    for key, content in (("run/-a.pt", b"12"), ("run//-a.pt", b"1"), ("run//b.pt", b"1")):
        server.put(key, content)
    store = server.open()
    if store.stat("run/b.pt") is not None:
        return  # SeaweedFS makes a/b of a//b
    for root, path in ((store, "run"), (store.below("run"), "")):
        folder = root.listing(path)
        assert {name: entry.size for name, entry in folder.files.items()} == {"-a.pt": 2}
        assert folder.others == ("/-a.pt", "/b.pt")


def test_a_key_that_is_an_object_and_a_prefix_is_an_error(server: Place) -> None:
    server.put("run/both/in", b"1")
    if not accepted(server, "run/both"):
        return
    folder = server.open().listing().folders["run"]
    assert [path for path, _ in folder.errors()] == ["both"]
    assert (folder.others, dict(folder.files)) == (("both",), {})


def test_a_location_that_is_a_file_or_spells_no_path_is_refused(server: Place) -> None:
    filled(server, "file")
    wrong: list[tuple[str, type[OSError]]] = [
        (f"{server.url}/file", NotADirectoryError),
        (f"{server.url}/gone", FileNotFoundError),
        (server.url.replace("checkpoints/", "checkpoints//"), OSError),
        (server.url.partition("://")[0] + "://", OSError),
        (server.url.replace("checkpoints/", "check points/"), OSError),
    ]
    for url, kind in wrong:
        with pytest.raises(kind):
            Place(server.kind, url, server.options, server.put).open().listing()


def test_a_bucket_root_is_a_location(server: Place) -> None:
    filled(server, "x")
    root, _, name = server.url.rpartition("/")
    for url in (root, f"{root}/"):
        store = Place(server.kind, url, server.options, server.put).open()
        assert listed(store, name) == ["x"]
        assert name in store.listing(deep=False).folders


def test_stores_can_be_used_by_many_threads(server: Place) -> None:
    store = filled(server, *(f"run/{n}" for n in range(40)))
    read: Callable[[int], bytes] = lambda n: store.read(f"run/{n}", 100)  # noqa: E731 - typed
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(read, range(40))) == [b"run/%d" % n for n in range(40)]


def test_a_server_says_what_a_version_hashes_to(anywhere: Place) -> None:
    content = b"whole and sound"
    for path in ("run/a", "run/b", "run/c"):
        anywhere.put(path, content)
    store = anywhere.open()
    entries = dict(store.listing("run").files)
    anywhere.put("run/b", b"quite another one")  # since it was listed
    store.remove_file("run/c")
    told = store.below("run").checksums(entries)
    assert set(told) == ({"a"} if store.able.checksum else set())
    for held in told.values():
        (quick,) = quickest(held)
        sums = {}
        for name in {quick, "md5"}:
            made = hasher(name)
            made.update(memoryview(content))
            sums[name] = made.hexdigest()
        assert agrees(held, sums)
        assert agrees(held, {quick: "00"}) is False
    assert store.checksums({}) == {}


def test_what_nobody_holds_any_more_is_gone_at_once(anywhere: Place) -> None:
    """Python looks for cycles rarely here, and until then a client keeps its connections."""
    store = filled(anywhere, "run/a")
    store.listing()
    assert store.incoming("run/b", 1).offset == 0
    held = weakref.ref(store.keys if isinstance(store, ObjectStore) else store)
    gc.disable()
    try:
        del store
        assert held() is None
    finally:
        gc.enable()
