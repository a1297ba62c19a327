"""A bucket of any size that needs no room: an S3 server whose listings are made when asked for.

    python -m benchmarks.generated KEYS [SHAPE]

Prints its endpoint, serves until its stdin ends, and then prints how often it was asked what.  There
is one bucket, `made`, with one run, `run`, of four checkpoints of KEYS objects together; nothing can
be read of it and nothing written.
"""

from __future__ import annotations

import hashlib
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, islice
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

CHECKPOINTS = 4
PAGE = 1000
LAST = datetime(2026, 1, 2, tzinfo=UTC)


def ranks(count: int) -> Iterator[str]:
    """A PyTorch distributed checkpoint: all in one directory."""
    yield ".metadata"
    yield from sorted(f"__{number}_0.distcp" for number in range(count - 1))


def parts(count: int) -> Iterator[str]:
    """Tensor files of no framework, in one directory."""
    yield from (f"layer_{number:07}.pt" for number in range(count))


def arrays(count: int) -> Iterator[str]:
    """Orbax without OCDBT: arrays of some hundred chunks each, in directories of their own."""
    yield "_CHECKPOINT_METADATA"
    yield "commit_success.txt"
    yield "state/_METADATA"
    for array in range((count - 2) // 200):
        folder = f"state/params.layer_{array:05}.kernel"
        yield f"{folder}/.zarray"
        yield from (f"{folder}/{chunk}" for chunk in sorted(map(str, range(199))))


def chunks(count: int) -> Iterator[str]:
    """Arrays of some hundred chunks each, in a directory of their own, in Megatron's zarr layout."""
    yield "common.pt"
    yield "metadata.json"
    for array in range((count - 2) // 200):
        folder = f"model.layer_{array:05}.weight"
        yield f"{folder}/.zarray"
        yield from (f"{folder}/{chunk // 20:02}.{chunk % 20:02}" for chunk in range(199))


SHAPES: dict[str, Callable[[int], Iterator[str]]] = {
    "ranks": ranks,
    "parts": parts,
    "chunks": chunks,
    "arrays": arrays,
}


def keys(count: int, shape: str) -> Iterator[str]:
    """Yield all keys in the order in which S3 lists them."""
    for step in range(CHECKPOINTS):
        name = {"chunks": f"iter_{step + 1:07}", "arrays": str(step + 1)}.get(
            shape, f"step_{step + 1}"
        )
        yield from (f"run/{name}/{path}" for path in SHAPES[shape](count // CHECKPOINTS))


class Bucket:
    """The pages of the listing of all, made one after the other, and what was asked."""

    def __init__(self, count: int, shape: str) -> None:
        self.asked: Counter[str] = Counter()
        self._all = partial(keys, count, shape)
        self._keys = enumerate(self._all())
        self._next = 0
        self._served: list[tuple[int, str]] = []
        self._lock = threading.Lock()

    def page(self, start: int) -> tuple[str, int | None]:
        """Return a page from the object of a number on, and the number where the next one begins."""
        with self._lock:
            if start != self._next:
                self._keys = enumerate(self._all())
                next(islice(self._keys, start, start), None)
            found = list(islice(self._keys, PAGE))
            self._next = start + len(found)
        self._served = found
        full = len(found) == PAGE
        return "".join(
            _object(number, key) for number, key in found
        ), start + PAGE if full else None

    def after(self, last: str) -> int:
        """Return the number of the object that follows a key."""
        if not last:
            return 0
        seen = chain(self._served, enumerate(self._all()))
        return next((number for number, key in seen if key == last), -1) + 1


def _object(number: int, key: str) -> str:
    when = (LAST - timedelta(milliseconds=7 * number)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    etag = hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()
    return (
        f"<Contents><Key>{key}</Key><LastModified>{when}Z</LastModified><ETag>&quot;{etag}&quot;</ETag>"
        f"<Size>{4096 + number % 3}</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket: ClassVar[Bucket]

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, status: int, body: str = "") -> None:
        content = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_HEAD(self) -> None:
        self.bucket.asked[f"HEAD {self.path}"] += 1
        self._answer(404)

    def do_GET(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        prefix = asked.get("prefix", [""])[0]
        if "list-type" not in asked:
            self.bucket.asked[f"GET {urlsplit(self.path).path}"] += 1
            self._answer(404, "<Error><Code>NoSuchKey</Code></Error>")
            return
        pages, following = "", None
        if re.fullmatch("(run/?)?", prefix) and "delimiter" not in asked:
            token, last = (
                asked.get(name, [""])[0] for name in ("continuation-token", "start-after")
            )
            pages, following = self.bucket.page(int(token) if token else self.bucket.after(last))
        self.bucket.asked[f"LIST {prefix}{' /' if 'delimiter' in asked else ''}"] += 1
        more = f"<NextContinuationToken>{following}</NextContinuationToken>" if following else ""
        self._answer(
            200,
            f"<ListBucketResult><Name>made</Name><Prefix>{prefix}</Prefix><MaxKeys>{PAGE}</MaxKeys>"
            f"<IsTruncated>{str(bool(following)).lower()}</IsTruncated>{more}{pages}</ListBucketResult>",
        )


def main() -> None:
    """Serve until stdin ends."""
    shape = sys.argv[2] if len(sys.argv) > 2 else "ranks"  # noqa: PLR2004 - the second argument
    bucket = Bucket(int(sys.argv[1]), shape)
    handler = type("Handler", (_Handler,), {"bucket": bucket})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()
    for what, times in sorted(bucket.asked.items()):
        print(f"{times:6} {what}")


if __name__ == "__main__":
    main()
