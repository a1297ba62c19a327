"""A proxy that stands before a real server and breaks on purpose what is asked for; it keeps a record.

Bytes are passed on as they came, the `Host` header too, so that signatures stay valid.  What is to
go wrong are rules, each an `act` on requests that it fits: the first that fits and still has
`times` left is taken.  An act gets the request and a way to forward it, once; so it may fail before
the server heard of anything, or after the server has done it.
"""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

_RESET = struct.pack("ii", 1, 0)  # of SO_LINGER: close by RST rather than by FIN


class ResetError(Exception):
    """The client's connection is to be reset."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came."""

    method: str
    target: str  # path and query, as they were sent
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)  # as it was sent, chunks not joined

    def header(self, name: str) -> str:
        return _header(self.headers, name)

    @property
    def line(self) -> str:
        """Method, path and query, unquoted: what rules look at."""
        return f"{self.method} {unquote(self.target)}"

    def raw(self) -> bytes:
        return _message(f"{self.method} {self.target} HTTP/1.1", self.headers) + self.body


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, its body whole; `declared` is the length that is said to be that of the body."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/xml"),)
    declared: int | None = None

    def header(self, name: str) -> str:
        return _header(self.headers, name)

    def raw(self) -> bytes:
        size = len(self.body) if self.declared is None else self.declared
        kept = [pair for pair in self.headers if pair[0].lower() not in _FRAMING]
        kept.append(("Content-Length", str(size)))
        return _message(f"HTTP/1.1 {self.status} -", kept) + self.body


_FRAMING = ("content-length", "transfer-encoding")

Forward = Callable[[Request], Answer]
Act = Callable[[Request, Forward], Answer]


@dataclass(slots=True, kw_only=True)
class Rule:
    """What happens to requests whose `line` holds a match of `fits`."""

    act: Act
    fits: str = ""
    skip: int = 0  # that many are let through first
    times: int | None = None  # None: for ever
    hit: int = 0  # how often it was taken


def answer(status: int, body: bytes = b"", *headers: tuple[str, str]) -> Act:
    """Answer instead of the server, which hears of nothing."""
    return lambda _request, _forward: Answer(status, body, headers or Answer(0).headers)


def s3_error(status: int, code: str) -> Act:
    """Refuse as S3 does."""
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>-</Message></Error>'
    return answer(status, text.encode())


def gcs_error(status: int, reason: str) -> Act:
    """Refuse as the JSON API of Google Cloud Storage does."""
    text = f'{{"error": {{"code": {status}, "message": "{reason}"}}}}'
    return answer(status, text.encode(), ("Content-Type", "application/json"))


def reset(_request: Request, _forward: Forward) -> Answer:
    """Reset the connection before the server hears of anything."""
    raise ResetError


def lose(request: Request, forward: Forward) -> Answer:
    """Let the server do it, and reset the connection instead of its answer."""
    forward(request)
    raise ResetError


def lost(act: Act) -> Act:
    """Let the server do it, and act as if it had not."""

    def done(request: Request, forward: Forward) -> Answer:
        forward(request)
        return act(request, forward)

    return done


def cut(keep: float, *, honest: bool = False) -> Act:
    """Send a part of the body only, and then close; if `honest`, with the length of that part."""

    def act(request: Request, forward: Forward) -> Answer:
        whole = forward(request)
        part = whole.body[: int(len(whole.body) * keep)]
        return replace(whole, body=part, declared=None if honest else len(whole.body))

    return act


def alter(change: Callable[[bytes], bytes]) -> Act:
    """Send another body than the server's, as if it were that."""

    def act(request: Request, forward: Forward) -> Answer:
        whole = forward(request)
        return replace(whole, body=change(whole.body))

    return act


def flip(body: bytes) -> bytes:
    """Flip a bit in each 64th byte."""
    changed = bytearray(body)
    changed[::64] = bytes(byte ^ 1 for byte in changed[::64])
    return bytes(changed)


def _as_it_is(target: str) -> str:
    return target


@dataclass(slots=True)
class Proxy:
    """A running proxy."""

    port: int
    rules: list[Rule] = field(default_factory=list)
    seen: list[Request] = field(default_factory=list)  # all, in the order they came
    connections: int = 0  # that were opened
    rewrite: Callable[[str], str] = (
        _as_it_is  # of path and query; where they are signed, it breaks them
    )
    ended: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def rule(self, act: Act, fits: str = "", *, skip: int = 0, times: int | None = None) -> Rule:
        """Add a rule."""
        made = Rule(act=act, fits=fits, skip=skip, times=times)
        self.rules.append(made)
        return made

    def stall(self, seconds: float | None = None) -> Act:
        """Say nothing for that long, or until the proxy ends; then reset."""

        def act(_request: Request, _forward: Forward) -> Answer:
            self.ended.wait(seconds)
            raise ResetError

        return act

    def asked(self, pattern: str) -> list[str]:
        """The requests in whose `line` a pattern is found."""
        return [request.line for request in self.seen if re.search(pattern, request.line)]

    def act_for(self, request: Request) -> Act | None:
        """Note a request, and return what is to happen to it."""
        with self.lock:
            self.seen.append(request)
            for rule in self.rules:
                if not re.search(rule.fits, request.line):
                    continue
                if rule.skip:
                    rule.skip -= 1
                elif rule.times is None or rule.hit < rule.times:
                    rule.hit += 1
                    return rule.act
        return None


class _Stream:
    """One side of a connection, read by messages."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._file = sock.makefile("rb")

    def head(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """The first line and the headers; EOFError at the end."""
        first = self._line().decode("latin-1").rstrip("\r\n")
        if not first:
            raise EOFError
        pairs = []
        while line := self._line().decode("latin-1").rstrip("\r\n"):
            name, _, value = line.partition(":")
            pairs.append((name, value.strip()))
        return first, tuple(pairs)

    def body(self, headers: Sequence[tuple[str, str]], *, joined: bool) -> bytes:
        """What follows the headers; chunks are `joined`, or kept as they are sent.  EOFError before its end."""
        if _header(headers, "transfer-encoding").lower() != "chunked":
            return self._bytes(int(_header(headers, "content-length") or 0))
        raw, content = b"", b""
        while True:
            line = self._line()
            chunk = self._bytes(int(line.split(b";")[0], 16))
            raw += line + chunk
            content += chunk
            raw += self._line()  # a trailer ends as a chunk does
            if not chunk:
                return content if joined else raw

    def _line(self) -> bytes:
        line = self._file.readline()
        if not line.endswith(b"\n"):  # whoever sent it died in the middle
            raise EOFError
        return line

    def _bytes(self, count: int) -> bytes:
        found = self._file.read(count)
        if len(found) < count:
            raise EOFError
        return found

    def close(self) -> None:
        self._file.close()
        self.sock.close()


def _message(first: str, headers: Sequence[tuple[str, str]]) -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _header(headers: Sequence[tuple[str, str]], name: str) -> str:
    return next((value for key, value in headers if key.lower() == name), "")


def _forward(server: _Stream, request: Request) -> Answer:
    server.sock.sendall(request.raw())
    while True:
        first, headers = server.head()
        status = int(first.split(" ")[1])
        if status >= 200:
            break
    if request.method == "HEAD":
        return Answer(status, b"", headers, int(_header(headers, "content-length") or 0))
    bare = status in {204, 304}
    return Answer(status, b"" if bare else server.body(headers, joined=True), headers)


def _serve(proxy: Proxy, client: _Stream, port: int) -> None:
    """Pass on what comes through one connection, until either side ends it."""
    try:
        server = _Stream(socket.create_connection(("127.0.0.1", port)))
    except OSError:
        client.close()
        return
    try:
        while True:
            first, headers = client.head()
            method, target, _ = first.split(" ")
            if _header(headers, "expect").lower() == "100-continue":
                client.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            request = Request(method, target, headers, client.body(headers, joined=False))
            act = proxy.act_for(request)

            def forward(changed: Request) -> Answer:
                return _forward(server, replace(changed, target=proxy.rewrite(changed.target)))

            sent = act(request, forward) if act else forward(request)
            client.sock.sendall(sent.raw())
            if sent.declared not in {None, len(sent.body)} and method != "HEAD":
                return
    except ResetError:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    except (EOFError, OSError):
        pass  # either side has ended it
    finally:
        server.close()
        client.close()


@contextmanager
def before(port: int) -> Iterator[Proxy]:
    """A proxy before the server on a port of this host, until the end of the block."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    proxy = Proxy(listener.getsockname()[1])
    clients: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            clients.append(sock)
            proxy.connections += 1
            thread = threading.Thread(target=_serve, args=(proxy, _Stream(sock), port))
            threads.append(thread)
            thread.start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield proxy
    finally:
        proxy.ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
        listener.close()
        for sock in clients:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


def small_pages(target: str) -> str:
    """Ask for two keys a page; only what is not signed may be rewritten so."""
    if "list-type=2" in target:
        return f"{target}&max-keys=2"
    return target.replace("maxResults=5000", "maxResults=2")
