"""What comes of a request that goes wrong on its way to a real server and back.

Waits between attempts are the libraries' own; here nobody waits for them, they are only noted.
"""

from __future__ import annotations

import asyncio
import importlib
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import gcsfs.retry
import pytest
import s3fs.core

from ckptctl.lock import Lock
from ckptctl.stores import _again, _obstore_listing
from ckptctl.stores._base import Store
from tests.servers import faulty, seaweed
from tests.stores.places import SERVERS, Place, place, public

PAGE = b"<!DOCTYPE html><html><head><title>Log in</title></head><body/></html>"
HTML = ("Content-Type", "text/html")
_S3FS = 0.1
"""Seconds that s3fs always waits before it gives up."""
SECRETS = (*seaweed.GUEST, *seaweed.ADMIN, "Signature=")


def refusal(kind: str, status: int, code: str) -> faulty.Act:
    """A refusal in the words of that kind of server."""
    return (faulty.gcs_error if kind == "gcs" else faulty.s3_error)(status, code)


def passing(kind: str) -> dict[str, faulty.Act]:
    """Faults that nobody should have to notice if they pass."""
    return {
        "503": refusal(kind, 503, "SlowDown"),
        "500": refusal(kind, 500, "InternalError"),
        "429": refusal(kind, 429, "SlowDown"),
        "reset": faulty.reset,
        "lost": faulty.lose,
        "cut": faulty.cut(0.5),
        "short": faulty.cut(0.5, honest=True),
        "empty": faulty.answer(200),
        "login-page": faulty.answer(200, PAGE, HTML),
        "error-in-200": refusal(kind, 200, "InternalError"),
    }


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Place]:
    yield from place(request.param, request)


@pytest.fixture(params=SERVERS)
def open_to_all(request: pytest.FixtureRequest) -> Iterator[Place]:
    yield from public(request.param, request)


@pytest.fixture
def proxy(request: pytest.FixtureRequest) -> Iterator[faulty.Proxy]:
    name = "server" if "server" in request.fixturenames else "open_to_all"
    where: Place = request.getfixturevalue(name)
    with faulty.before(where.port) as running:
        yield running


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that libraries and we would have waited; obstore's cannot be seen."""
    noted: list[float] = []

    async def sleep(seconds: float) -> None:
        if seconds:
            noted.append(seconds)
        await asyncio.sleep(0)

    hasty = SimpleNamespace(**{**vars(asyncio), "sleep": sleep})
    endpoint, retries = (
        importlib.import_module(f"aiobotocore.{name}") for name in ("endpoint", "retries.standard")
    )
    for module in (gcsfs.retry, s3fs.core, endpoint):
        monkeypatch.setattr(module, "asyncio", hasty)
    monkeypatch.setitem(retries.AioRetryHandler.__init__.__kwdefaults__, "sleep", sleep)
    monkeypatch.setattr(_again, "time", SimpleNamespace(sleep=noted.append))
    return noted


def once_more(where: Place, **more: object) -> dict[str, object]:
    """Options by which a request is made twice at most."""
    if where.kind == "gcs":
        return {"retries": 2, **more}
    return {"config_kwargs": {"retries": {"total_max_attempts": 2}, **more}}


def names(store: Store) -> list[str]:
    return [name for name, _ in store.listing().walk()]


def test_what_passes_is_not_noticed(server: Place, proxy: faulty.Proxy, waits: list[float]) -> None:
    store = server.through(proxy).open()
    acts = passing(server.kind)
    content, large = b"content" * 100, b"content" * 10_000
    for fault in acts:
        server.put(f"{fault}/a", content)
        server.put(f"{fault}/b", large)

    def listed(fault: str) -> list[str]:
        # That nothing is there obstore believes where it is told so twice.
        times = 1 if server.kind == "s3-obstore" and fault in {"login-page", "error-in-200"} else 2
        proxy.rule(acts[fault], f"prefix=[^&]*{fault}/(&|$)", times=times)
        return names(store.below(fault))

    def read(fault: str) -> bytes:
        proxy.rule(acts[fault], f"^GET .*{fault}/a", times=2)
        return store.read(f"{fault}/a", 1000)

    def part(fault: str) -> bytes:
        with store.open(f"{fault}/b") as blob:
            proxy.rule(acts[fault], f"^GET .*{fault}/b", times=2)
            buffer = bytearray(blob.size)
            return bytes(buffer[: blob.readinto(0, memoryview(buffer))])

    with ThreadPoolExecutor(len(acts)) as pool:
        assert list(pool.map(listed, acts)) == [["a", "b"]] * len(acts)
        assert list(pool.map(read, acts)) == [content] * len(acts)
        assert list(pool.map(part, acts)) == [large] * len(acts)
    assert all(rule.hit == rule.times for rule in proxy.rules)
    drawn = [seconds for seconds in waits if seconds != _S3FS]
    assert len(set(drawn)) == len(drawn)  # jitter: never two of one length


def test_what_passes_while_writing_is_not_noticed(server: Place, proxy: faulty.Proxy) -> None:
    store = server.through(proxy).open()
    for n, fault in enumerate(("503", "lost", "empty", "login-page")):
        rule = proxy.rule(passing(server.kind)[fault], "^PUT|^POST .*upload", times=1)
        store.replace("a", b"%d" % n)
        assert store.read("a", 10) == b"%d" % n
        assert rule.hit == 1


def test_what_stays_is_told(server: Place, proxy: faulty.Proxy) -> None:
    server.put("a", b"content" * 100)
    broken = "the answer is broken, or not that of such a server"
    off = "no connection, or it breaks off"
    busy = "the server fails or asks to slow down"
    expected: dict[str, tuple[faulty.Act, type[OSError], str]] = {
        "503": (refusal(server.kind, 503, "SlowDown"), OSError, busy),
        "500": (refusal(server.kind, 500, "InternalError"), OSError, busy),
        "reset": (faulty.reset, ConnectionError, off),
        "cut": (faulty.cut(0.5), OSError, f"{off}|{broken}"),
        "empty": (faulty.answer(200), OSError, broken),
        "login-page": (faulty.answer(200, PAGE, HTML), OSError, broken),
        "error-in-200": (refusal(server.kind, 200, "InternalError"), OSError, ""),
    }
    operations: dict[str, Callable[[Store], object]] = {
        "listing": lambda store: store.listing(),
        "reading from": lambda store: store.read("a", 1000),
        "writing to": lambda store: store.replace("b", b""),
    }
    store = server.through(proxy, **once_more(server)).open()
    bucket = "gs://checkpoints" if server.kind == "gcs" else "s3://checkpoints"

    for fault, (act, kind, words) in expected.items():
        proxy.rules = [faulty.Rule(act=act)]
        for doing, operation in operations.items():
            if fault == "cut" and doing == "writing to":
                continue  # nobody reads that answer
            with pytest.raises(kind) as caught:
                operation(store)
            text = str(caught.value)
            assert re.search(words, text), fault
            assert bucket in text, fault
            assert f"127.0.0.1:{proxy.port}" in text
            assert not any(secret in text for secret in SECRETS)


def test_a_server_that_says_nothing_is_given_up(server: Place, proxy: faulty.Proxy) -> None:
    soon = {"requests_timeout": 0.1} if server.kind == "gcs" else {"read_timeout": 0.1}
    store = server.through(proxy, **once_more(server, **soon)).open()
    proxy.rule(proxy.stall())
    with pytest.raises(TimeoutError, match="no answer in time"):
        store.read("a", 1000)


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "ExpiredToken", "the credentials have expired"),
        (400, "ExpiredToken", "the credentials have expired"),
        (403, "AccessDenied", "permission is denied"),
        (401, "InvalidAccessKeyId", "the credentials are refused"),
    ],
)
def test_what_is_refused_for_good_is_asked_for_once(
    server: Place, proxy: faulty.Proxy, status: int, code: str, words: str
) -> None:
    if server.kind == "gcs" and code == "ExpiredToken":  # which Google's servers say so
        status, words = 401, "the credentials are refused"
    store = server.through(proxy).open()
    server.put("a", b"1")
    assert names(store) == ["a"]
    before = len(proxy.seen)
    proxy.rule(refusal(server.kind, status, code))
    with pytest.raises(PermissionError, match=words):
        store.listing()
    assert len(proxy.seen) == before + 1


MORE = "continuation-token=|pageToken="
KEYS = [f"step_{n}/{name}" for n in range(3) for name in ("a", "b")]


def without_keys(body: bytes) -> bytes:
    """A page that can be read, and holds none of its keys and no word of more."""
    emptied = re.sub(b"<Contents>.*</Contents>|<NextContinuationToken>.*?</NextContinuationToken>", b"", body)  # fmt: skip
    emptied = emptied.replace(b"<IsTruncated>true", b"<IsTruncated>false")
    return emptied if body[:1] == b"<" else b'{"error": {"code": 500}}'


BAD_PAGES = ("503", "reset", "cut", "short", "empty", "login-page", "error-in-200", "without keys")


def bad_page(kind: str, fault: str) -> faulty.Act:
    return faulty.alter(without_keys) if fault == "without keys" else passing(kind)[fault]


@pytest.fixture
def paged(open_to_all: Place, proxy: faulty.Proxy) -> Store:
    """Six keys that come in pages of two, through a proxy."""
    for key in KEYS:
        open_to_all.put(key, key.encode())
    proxy.rewrite = faulty.small_pages
    return open_to_all.through(proxy, **once_more(open_to_all)).open()


def test_a_listing_is_one_request_a_page(paged: Store, proxy: faulty.Proxy) -> None:
    assert names(paged) == KEYS
    assert len(proxy.asked(MORE)) == 2
    assert len(proxy.seen) <= 4  # obstore's end is asked for once more
    assert len(proxy.asked("^GET .*(list-type|/o[?])")) == len(proxy.seen)


def asking(change: Callable[[str], str]) -> faulty.Act:
    """A server that heeds only a part of what it is asked."""
    return lambda request, forward: forward(replace(request, target=change(request.target)))


def test_a_listing_that_turns_in_a_circle_ends(
    paged: Store, proxy: faulty.Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_obstore_listing, "BATCH", 4)
    proxy.rule(asking(lambda target: re.sub(f"({MORE})[^&]*", "x=", target)), MORE)
    with pytest.raises(OSError, match="the answer is broken"):
        paged.listing()


@pytest.mark.parametrize("size", [b"", b"-1"])
def test_a_page_that_makes_no_sense_is_none(
    open_to_all: Place, proxy: faulty.Proxy, size: bytes
) -> None:
    open_to_all.put("a", b"1")
    said = (b"<Size>%s</Size>" % size, b'"size":"%s",' % size) if size else (b"", b"")

    def change(body: bytes) -> bytes:
        body = re.sub(rb"<Size>[0-9]+</Size>", said[0], body)
        return re.sub(rb'"size":\s*"[0-9]+",', said[1], body)

    proxy.rule(faulty.alter(change))
    with pytest.raises(OSError, match="the answer is broken"):
        open_to_all.through(proxy, **once_more(open_to_all)).open().listing()


def test_what_lies_elsewhere_is_not_taken_for_ours(open_to_all: Place, proxy: faulty.Proxy) -> None:
    open_to_all.put("a", b"1")
    proxy.rule(asking(lambda target: re.sub("([?&]prefix=)[^&]*", r"\1", target)))
    with pytest.raises(OSError, match="the answer is broken"):
        open_to_all.through(proxy, **once_more(open_to_all)).open().listing()


def test_a_page_that_fails_once_is_no_end(
    paged: Store, proxy: faulty.Proxy, open_to_all: Place
) -> None:
    for fault in BAD_PAGES:
        rule = proxy.rule(bad_page(open_to_all.kind, fault), MORE, times=1)
        assert names(paged) == KEYS, fault
        assert rule.hit == 1


def test_a_page_that_always_fails_is_no_end(
    paged: Store, proxy: faulty.Proxy, open_to_all: Place
) -> None:
    for fault in BAD_PAGES:
        proxy.rules = [faulty.Rule(act=bad_page(open_to_all.kind, fault), skip=1)]
        with pytest.raises(OSError, match=str(proxy.port)) as caught:
            paged.listing()
        assert not isinstance(caught.value, FileNotFoundError)


def test_a_removal_by_a_listing_that_fails_removes_nothing(
    paged: Store, proxy: faulty.Proxy, open_to_all: Place
) -> None:
    for fault in BAD_PAGES:
        proxy.rules = [faulty.Rule(act=bad_page(open_to_all.kind, fault), skip=1)]
        assert paged.remove_tree("").left
    assert proxy.asked("^(DELETE|POST|PUT)") == []


def test_a_lock_whose_answer_was_lost_is_ours(server: Place, proxy: faulty.Proxy) -> None:
    store = server.through(proxy).open()
    lost = proxy.rule(faulty.lose, "^PUT|^POST .*upload", times=1)
    lock = Lock(store, lambda: 0)
    lock.acquire()
    lock.check()
    lock.release()
    assert lost.hit == 1
    assert store.stat("lock") is None


def test_a_deletion_whose_answer_was_lost_is_done(server: Place, proxy: faulty.Proxy) -> None:
    store = server.through(proxy).open()
    for name in ("a", "b"):
        server.put(name, b"12")
    lost = proxy.rule(faulty.lose, "^DELETE|^POST .*[?]delete", times=1)
    removed = store.remove_files(store.listing().files)
    assert (removed.freed, removed.left) == (4, ())
    assert lost.hit == 1


def test_of_a_deletion_that_nobody_confirms_nothing_is_said_to_be_gone(
    server: Place, proxy: faulty.Proxy
) -> None:
    store = server.through(proxy, **once_more(server)).open()
    for name in ("a", "b"):
        server.put(name, b"12")
    files = store.listing().files
    # No content is how Google's servers confirm a deletion.
    for fault in ("login-page", "error-in-200", "503", *["empty"][server.kind == "gcs" :]):
        proxy.rules = [
            faulty.Rule(act=passing(server.kind)[fault], fits="^DELETE|^POST .*[?]delete")
        ]
        removed = store.remove_files(files)
        assert (removed.freed, len(removed.left)) == (0, 2), fault
    assert names(server.open()) == ["a", "b"]


def test_on_gcs_only_the_version_that_was_seen_is_removed(request: pytest.FixtureRequest) -> None:
    """The emulator heeds no condition on a deletion: so the proxy says what Google's servers say."""
    for at in place("gcs", request):
        for name in "ab":
            at.put(name, name.encode())
        with faulty.before(at.port) as proxy:
            store = at.through(proxy).open()
            seen = dict(store.listing().files)
            proxy.rule(faulty.gcs_error(412, "conditionNotMet"), "^DELETE [^?]*/a[?]")
            removed = store.remove_files(seen)
            assert proxy.asked(f"^DELETE .*ifGenerationMatch={seen['b'].etag}")
        assert (removed.freed, len(removed.left)) == (1, 1)
        assert "saved anew meanwhile" in removed.left[0]
        assert list(at.open().listing().files) == ["a"]
