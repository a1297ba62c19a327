"""Large files into every kind of bucket and out of it, with real servers; faults are a proxy's."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import gcsfs.retry
import pytest

from ckptctl.listing import Entry
from ckptctl.reading import VanishedError
from ckptctl.stores import _again, _gcs_moving, _s3_moving, _s3_requests, _upload
from ckptctl.stores._moving import Incoming
from ckptctl.stores._objects import ObjectStore
from tests.servers import faulty, seaweed
from tests.stores.places import OBJECTS, Place, place

MIB = 2**20
LARGE = hashlib.shake_128(b"large").digest(11 * MIB)
SERVED = ("s3-obstore", "gcs")
"""Uploads, and copies by the server, are the same for both engines of S3: `anywhere` has the other."""


@pytest.fixture(params=OBJECTS)
def anywhere(request: pytest.FixtureRequest) -> Iterator[Place]:
    yield from place(request.param, request)


@pytest.fixture(params=SERVED)
def server(request: pytest.FixtureRequest) -> Iterator[Place]:
    yield from place(request.param, request)


@pytest.fixture(params=SERVED[:1])
def s3(request: pytest.FixtureRequest) -> Iterator[Place]:
    yield from place(request.param, request)


@pytest.fixture
def proxy(request: pytest.FixtureRequest) -> Iterator[faulty.Proxy]:
    name = "server" if "server" in request.fixturenames else "s3"
    with faulty.before(request.getfixturevalue(name).port) as running:
        yield running


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts as small as S3 takes them, and nobody who waits."""
    monkeypatch.setattr(_upload, "PART", 5 * MIB)
    monkeypatch.setattr(_gcs_moving, "CHUNK", 4 * MIB)
    for module in (_gcs_moving, _s3_moving):
        monkeypatch.setattr(module, "SMALL", MIB)
    monkeypatch.setattr(_again, "time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setattr(_s3_requests, "LONGEST_SECONDS", 0.01)

    async def sleep(_seconds: float) -> None:
        await asyncio.sleep(0)

    hasty = SimpleNamespace(**{**vars(asyncio), "sleep": sleep})
    monkeypatch.setattr(gcsfs.retry, "asyncio", hasty)


def opened(at: Place) -> ObjectStore:
    store = at.open()
    assert isinstance(store, ObjectStore)
    return store


def fed(incoming: Incoming, content: bytes, end: int | None = None) -> Incoming:
    """Write what follows its offset, in blocks of an odd size, from one buffer that is used again."""
    at = incoming.offset
    buffer = bytearray(700_001)
    while at < (len(content) if end is None else end):
        block = content[at : min(at + len(buffer), len(content) if end is None else end)]
        buffer[: len(block)] = block
        incoming.write(memoryview(buffer)[: len(block)])
        at += len(block)
    return incoming


def sent(store: ObjectStore, path: str, content: bytes) -> tuple[Entry, bool]:
    incoming = fed(store.incoming(path, len(content)), content)
    entry = incoming.finish()
    return entry, incoming.proven


def read(store: ObjectStore, path: str, entry: Entry, offset: int = 0) -> bytes:
    return b"".join(bytes(block) for block in store.blocks(path, entry, offset))


@pytest.mark.parametrize("size", [0, 1000, len(LARGE)])
def test_what_goes_in_comes_out(anywhere: Place, size: int) -> None:
    store = opened(anywhere)
    content = LARGE[:size]
    incoming = fed(store.incoming("run/a b+ü/x", size), content)
    assert store.stat("run/a b+ü/x") is None
    entry = incoming.finish()
    assert entry == store.stat("run/a b+ü/x")
    assert entry == store.listing().find("run/a b+ü/x")
    assert incoming.proven == (anywhere.kind != "memory")
    for offset in {0, size // 3, size}:
        assert read(store, "run/a b+ü/x", entry, offset) == content[offset:]
    assert list(store.unfinished()) == []


def test_fewer_bytes_than_announced_are_no_object(anywhere: Place) -> None:
    store = opened(anywhere)
    for size in (1000, len(LARGE)):
        incoming = fed(store.incoming("a", size), LARGE, size - 1)
        with pytest.raises(OSError, match="bytes rather than"):
            incoming.finish()
        assert store.stat("a") is None
        incoming.abandon()
    assert list(store.unfinished()) == []


def as_google(*faults: faulty.Act) -> faulty.Act:
    """Tell what there is of an upload, as Google's servers do, and take nothing twice.

    The emulator ends an upload that is asked for.  The faults happen one after the other to what is sent.
    """
    waiting = list(faults)
    last: dict[str, str] = {}
    done: dict[str, faulty.Answer] = {}

    def act(request: faulty.Request, forward: faulty.Forward) -> faulty.Answer:
        span, at = request.header("content-range"), request.target
        end = int(last.get(at, "0-").partition("-")[2] or -1)
        if at in done or not span.startswith(f"bytes {end + 1}-"):
            known = (("Range", last[at]),) if at in last else ()
            return done.get(at) or faulty.Answer(308, b"", known)

        def heard(request: faulty.Request) -> faulty.Answer:
            answer = forward(request)
            if answer.status == 200:
                done[at] = answer
            elif answer.status == 308:
                last[at] = answer.header("range")
            return answer

        return waiting.pop(0)(request, heard) if waiting else heard(request)

    return act


def landed(store: ObjectStore, path: str, token: str) -> int:
    """How many bytes of an upload have arrived, as another process finds it."""
    incoming = store.incoming(path, len(LARGE), token)
    incoming.leave()
    return incoming.offset


def test_another_process_goes_on(server: Place, proxy: faulty.Proxy) -> None:
    if server.kind == "gcs":
        proxy.rule(as_google(), "^PUT .*upload_id=")
    store = opened(server.through(proxy))
    for path in ("dropped", "left"):
        first = fed(store.incoming(path, len(LARGE)), LARGE, 10 * MIB + 5)
        if path == "left":
            first.leave()
        ends = time.monotonic() + 60
        while landed(store, path, first.token) < 8 * MIB:
            assert time.monotonic() < ends
        seen = len(proxy.seen)
        again = opened(server.through(proxy)).incoming(path, len(LARGE), first.token)
        assert (again.offset >= 8 * MIB, again.token) == (True, first.token)
        entry = fed(again, LARGE).finish()
        assert sum(len(request.body) for request in proxy.seen[seen:]) < 4 * MIB
        assert read(store, path, entry) == LARGE
        assert again.proven == (server.kind != "gcs")


def test_a_token_that_nobody_knows_begins_anew(server: Place) -> None:
    store = opened(server)
    first = fed(store.incoming("a", len(LARGE)), LARGE, 6 * MIB)
    first.abandon()
    for token in ("nonsense", "http://127.0.0.1:1/upload", *([first.token] if server.kind != "gcs" else [])):  # fmt: skip
        incoming = store.incoming("a", len(LARGE), token)
        assert (incoming.offset, incoming.token != token) == (0, True)
        incoming.abandon()
    other = fed(store.incoming("other", len(LARGE)), LARGE, 6 * MIB)
    other.leave()
    if server.kind != "gcs":
        assert store.incoming("a", len(LARGE), other.token).offset == 0


def flipped(request: faulty.Request, forward: faulty.Forward) -> faulty.Answer:
    """Flip one bit on the way to the server."""
    body = bytearray(request.body)
    body[len(body) * 3 // 4] ^= 1
    return forward(replace(request, body=bytes(body)))


BODY = "partNumber=2|upload_id=|uploadType=multipart|PUT [^?]*/small"


@pytest.mark.parametrize("size", [100_000, len(LARGE)])
def test_a_flipped_bit_is_never_proven(server: Place, proxy: faulty.Proxy, size: int) -> None:
    store = opened(server.through(proxy))
    name = "small" if size < MIB else "large"
    rule = proxy.rule(flipped, BODY, times=1)
    incoming = fed(store.incoming(name, size), LARGE[:size])
    if server.kind == "gcs":
        with pytest.raises(OSError, match="is not what was sent"):
            incoming.finish()
    elif server.kind == "s3-fsspec" and name == "small":
        with pytest.raises(OSError, match="BadDigest"):
            incoming.finish()
    else:
        entry = incoming.finish()
        assert (read(store, name, entry) == LARGE[:size]) == incoming.proven
        assert incoming.proven == (name == "large")  # such a part is sent once more
    assert rule.hit == 1


def test_of_a_server_that_checks_nothing_the_etags_tell(s3: Place, proxy: faulty.Proxy) -> None:
    """Which do without the words for checksums, as the proxy does here."""

    def deaf(request: faulty.Request, forward: faulty.Forward) -> faulty.Answer:
        heard = tuple(pair for pair in request.headers if "checksum" not in pair[0].lower())
        return forward(replace(request, headers=heard))

    signed = proxy.rule(
        faulty.answer(501, b"<Error><Code>NotImplemented</Code></Error>"), "[?]uploads", times=1
    )
    entry, proven = sent(opened(s3.through(proxy)), "a", LARGE)
    assert (proven, signed.hit) == (True, 1)
    assert read(opened(s3), "a", entry) == LARGE
    assert not any(request.header("x-amz-checksum-crc32c") for request in proxy.seen)


def test_a_network_that_comes_back_is_waited_for(server: Place, proxy: faulty.Proxy) -> None:
    store = opened(server.through(proxy))
    incoming = store.incoming("a", len(LARGE))
    if server.kind == "gcs":
        busy = faulty.gcs_error(503, "-")
        proxy.rule(as_google(faulty.reset, busy, faulty.lose, faulty.reset, busy), "^PUT")
    else:
        for act in (faulty.reset, faulty.s3_error(503, "SlowDown"), faulty.lose):
            proxy.rule(act, "^PUT", times=2)
    entry = fed(incoming, LARGE).finish()
    assert incoming.proven
    assert read(store, "a", entry) == LARGE
    assert len(proxy.asked("^PUT")) >= 8


def test_who_may_not_is_told_at_once_and_what_is_there_stays(
    s3: Place, proxy: faulty.Proxy
) -> None:
    store = opened(s3.through(proxy))
    incoming = fed(store.incoming("a", len(LARGE)), LARGE, 6 * MIB)
    rule = proxy.rule(faulty.s3_error(400, "ExpiredToken"), "partNumber=2&|^POST .*uploadId=")
    with pytest.raises(PermissionError, match="the credentials have expired") as caught:
        fed(incoming, LARGE).finish()
    assert not any(secret in str(caught.value) for secret in (*seaweed.GUEST, incoming.token))
    assert rule.hit <= 6
    incoming.leave()
    assert opened(s3).incoming("a", len(LARGE), incoming.token).offset >= 5 * MIB
    wrong = replace(s3, options={**s3.options, "secret": "wrong"})
    with pytest.raises(PermissionError):
        opened(wrong).incoming("a", len(LARGE))


def test_an_end_of_which_the_answer_is_lost_is_settled(server: Place, proxy: faulty.Proxy) -> None:
    store = opened(server.through(proxy))
    if server.kind == "gcs":
        proxy.rule(as_google(faulty.lose, faulty.lose, faulty.lose), "^PUT .*upload_id=")
    for act in (faulty.lose, faulty.lost(faulty.answer(200, b"<html>"))):
        proxy.rule(act, "^POST .*uploadId=", times=1)
        entry, proven = sent(store, "a", LARGE)
        assert proven
        assert entry == store.stat("a")
        assert read(store, "a", entry) == LARGE


def test_an_upload_that_is_gone_makes_nothing(s3: Place) -> None:
    store = opened(s3)
    s3.put("a", b"older")
    incoming = fed(store.incoming("a", len(LARGE)), LARGE)
    for upload in store.unfinished():
        store.drop(upload)
    with pytest.raises(OSError, match="the upload is gone"):
        incoming.finish()
    assert store.read("a", 10) == b"older"


def test_uploads_are_found_and_dropped(s3: Place) -> None:
    store = opened(s3)
    names = ["a", "b c/ü&<x>", "run/x"]
    tokens = {name: store.incoming(name, len(LARGE)).token for name in names}
    found = {upload.path: upload for upload in store.unfinished()}
    assert {path: upload.token for path, upload in found.items()} == tokens
    assert all(upload.began_ns > 1_700_000_000 * 10**9 for upload in found.values())
    assert [upload.path for upload in opened_below(store, "run").unfinished()] == ["x"]
    for upload in found.values():
        store.drop(upload)
        store.drop(upload)
    assert list(store.unfinished()) == []


def opened_below(store: ObjectStore, path: str) -> ObjectStore:
    return store.below(path)


def test_a_download_that_breaks_goes_on_where_it_was(server: Place, proxy: faulty.Proxy) -> None:
    server.put("a", LARGE)
    store = opened(server.through(proxy))
    entry = store.stat("a")
    assert entry is not None
    for keep in (0.3, 0.5, 0.2):
        proxy.rule(faulty.cut(keep), "^GET [^?]*/a", times=1)
    proxy.rule(faulty.reset, "^GET [^?]*/a", times=1)
    assert read(store, "a", entry, 7) == LARGE[7:]
    assert [rule.hit for rule in proxy.rules] == [1, 1, 1, 1]


def test_an_object_that_is_saved_anew_is_not_read_on(anywhere: Place) -> None:
    anywhere.put("a", LARGE)
    anywhere.put("empty", b"")
    store = opened(anywhere)
    entry, empty = store.stat("a"), store.stat("empty")
    assert entry is not None
    assert empty is not None
    blocks = store.blocks("a", entry)
    first = bytes(next(blocks))
    assert LARGE.startswith(first)
    time.sleep(0.002)
    anywhere.put("a", LARGE[::-1])
    anywhere.put("empty", b"1")
    for path, old in (("a", entry), ("empty", empty)):
        with pytest.raises(VanishedError):
            read(store, path, old)
    store.remove_file("a")
    with pytest.raises(VanishedError):
        read(store, "a", entry)


@pytest.mark.parametrize("size", [0, 1000, len(LARGE)])
def test_a_server_copies_by_itself(
    anywhere: Place, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_s3_moving, "COPIED", 5 * MIB)
    anywhere.put("from/a b+ü", LARGE[:size])
    source = opened(anywhere).below("from")
    target = opened(anywhere)
    entry = source.stat("a b+ü")
    assert entry is not None
    made = target.copied("a b+ü", entry, source, "to/a b+ü")
    if anywhere.kind == "memory":
        assert made is None
        return
    assert made is not None
    assert made == target.stat("to/a b+ü")
    assert read(target, "to/a b+ü", made) == LARGE[:size]
    if anywhere.kind != "gcs":  # the emulator copies what is there, whatever version is asked for
        with pytest.raises(VanishedError):
            target.copied("a b+ü", entry._replace(etag="0" * 32), source, "to/other")
        assert target.stat("to/other") is None
    assert list(target.unfinished()) == []


def test_what_a_server_cannot_copy_is_left_to_others(s3: Place, proxy: faulty.Proxy) -> None:
    s3.put("a", b"content")
    store = opened(s3.through(proxy))
    entry = store.stat("a")
    assert entry is not None
    assert store.copied("a", entry, opened(s3), "b") is None  # another address
    proxy.rule(faulty.s3_error(501, "NotImplemented"), "^PUT")
    assert store.copied("a", entry, store, "b") is None
    assert store.stat("b") is None
