"""What gives out credentials, in a thread: STS, an instance's metadata (IMDSv2), a container's.

It also takes requests as a proxy would, and answers that it wants a login.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar
from urllib.parse import parse_qs

from tests.servers.threaded import serving

_UNTIL = "2099-01-01T00:00:00Z"
_IMDS = "/latest/meta-data/iam/security-credentials/"


@dataclass(slots=True)
class Issuer:
    """The key that it gives, and what it was asked."""

    key: tuple[str, str]
    endpoint: str = ""
    refusal: str = ""  # the code of the error with which STS answers, if any
    asked: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: ClassVar[Issuer]

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, body: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def _flat(self, **more: str) -> str:
        key, secret = self.state.key
        return json.dumps(
            {"AccessKeyId": key, "SecretAccessKey": secret, "Token": "", "Expiration": _UNTIL, **more}
        )  # fmt: skip

    def do_PUT(self) -> None:
        self.state.asked.append(self.path)
        self._answer("the-session-of-the-instance" if self.path == "/latest/api/token" else "", 200)

    def do_GET(self) -> None:
        self.state.asked.append(self.path)
        if self.path.startswith("http"):
            self._answer("", 407)
        elif self.path == "/container":
            allowed = self.headers.get("Authorization") == "the-container"
            self._answer(self._flat() if allowed else "{}", 200 if allowed else 401)
        elif self.headers.get("X-aws-ec2-metadata-token") != "the-session-of-the-instance":
            self._answer("", 401)
        elif self.path == _IMDS:
            self._answer("training-node")
        else:
            self._answer(self._flat(Code="Success", Type="AWS-HMAC"))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        action = parse_qs(body)["Action"][0]
        self.state.asked.append(action)
        if self.state.refusal:
            code = f"<Code>{self.state.refusal}</Code><Message>hush-hush</Message>"
            self._answer(f"<ErrorResponse><Error>{code}</Error></ErrorResponse>", 403)
            return
        key, secret = self.state.key
        given = (
            f"<Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>"
            f"<SessionToken></SessionToken><Expiration>{_UNTIL}</Expiration></Credentials>"
        )
        self._answer(
            f"<{action}Response><{action}Result>{given}</{action}Result></{action}Response>"
        )


@contextmanager
def running(key: tuple[str, str]) -> Iterator[Issuer]:
    """Serve until the end of the block."""
    state = Issuer(key)
    with serving(_Handler, state) as state.endpoint:
        yield state
