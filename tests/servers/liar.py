"""An S3 server that misbehaves on purpose, in a thread: no real one can be asked to.

It writes over everything whatever the condition says, cannot delete what is called `stuck`, and
says of what is called `locked` that Object Lock is why.  It knows no GET.  Asked as GCS would be,
it holds whatever is to be deleted.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar

from tests.servers.threaded import serving

_WHY = {"stuck": "no", "locked": "Access Denied because object protected by object lock."}
_DATE = "Tue, 24 Nov 2026 22:43:17 GMT"


@dataclass(slots=True)
class Liar:
    """What the server holds and what it was asked."""

    endpoint: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)  # by "/bucket/key"
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def options(self, **more: object) -> dict[str, object]:
        """Storage options, under fsspec's names."""
        return {
            "endpoint_url": self.endpoint,
            "key": "AKIALIAR",
            "secret": "told-to-nobody",
            **more,
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: ClassVar[Liar]

    def log_message(self, *_: Any) -> None:
        pass

    def _take(self) -> bytes:
        self.state.asked.append((self.command, self.path, dict(self.headers.items())))
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, body: bytes = b"", size: int | None = None) -> None:
        self.send_response(status)
        self.send_header("ETag", '"1"')
        self.send_header("x-amz-bucket-region", "eu-west-3")
        self.send_header("Last-Modified", _DATE)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body) if size is None else size))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        self.state.objects[self.path] = self._take()
        self._answer(200)

    def do_HEAD(self) -> None:
        self._take()
        found = self.state.objects.get(self.path)
        self._answer(404 if found is None else 200, size=len(found or b""))

    def do_DELETE(self) -> None:
        """GCS's refusal."""
        self._take()
        name = urllib.parse.unquote(self.path.rpartition("/")[2])
        text = f"Object 'b/{name}' is under active Temporary hold and cannot be deleted, overwritten or archived until hold is removed."
        why = {"message": text, "domain": "global", "reason": "objectUnderActiveHold"}
        error = {"code": 403, "message": text, "errors": [why]}
        self._answer(403, json.dumps({"error": error}).encode())

    def do_GET(self) -> None:
        self._take()
        self._answer(501, b"<Error><Code>NotImplemented</Code><Message>no</Message></Error>")

    def do_POST(self) -> None:
        """DeleteObjects: what has gone stays gone, what is stuck is told."""
        bucket = self.path.partition("?")[0].rstrip("/")
        answer = "<DeleteResult>"
        for key in re.findall("<Key>(.*?)</Key>", self._take().decode()):
            why = next((text for word, text in _WHY.items() if word in key), "")
            if why:
                answer += (
                    f"<Error><Key>{key}</Key><Code>AccessDenied</Code>"
                    f"<Message>{why}</Message></Error>"
                )
            else:
                self.state.objects.pop(f"{bucket}/{key}", None)
                answer += f"<Deleted><Key>{key}</Key></Deleted>"
        self._answer(200, f"{answer}</DeleteResult>".encode())


@contextmanager
def running() -> Iterator[Liar]:
    """Serve until the end of the block."""
    state = Liar()
    with serving(_Handler, state) as state.endpoint:
        yield state
