"""One empty location on each kind of store, and ways past our own code to fill it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from ckptctl.stores import open_store
from ckptctl.stores._base import Store
from tests.servers import fake_gcs, faulty, seaweed

KINDS = ("local", "memory", "s3-obstore", "s3-fsspec", "gcs")
OBJECTS = KINDS[1:]
SERVERS = KINDS[2:]


@dataclass(frozen=True, slots=True)
class Place:
    """A location that nothing else uses."""

    kind: str
    url: str
    options: dict[str, object]
    put: Callable[[str, bytes], None] = field(repr=False)  # below the location, any key

    def open(self, **more: Any) -> Store:
        return open_store(self.url, self.options, **more)

    @property
    def port(self) -> int:
        """That of its server, on this host."""
        return int(str(self.options["endpoint_url"]).rpartition(":")[2])

    def through(self, proxy: faulty.Proxy, **more: object) -> Place:
        """The same location, reached through a proxy."""
        return replace(self, options={**self.options, "endpoint_url": proxy.endpoint, **more})


def place(kind: str, request: pytest.FixtureRequest) -> Iterator[Place]:
    """A location of one kind; its server starts with the first that is asked for."""
    name = uuid.uuid4().hex[:8]
    if kind == "local":
        folder: Path = request.getfixturevalue("tmp_path")
        yield Place(kind, str(folder), {}, lambda key, content: _write(folder / key, content))
    elif kind == "memory":
        store = open_store(f"memory://{name}")
        yield Place(kind, f"memory://{name}", {}, store.replace)
    elif kind == "gcs":
        server: fake_gcs.FakeGcs = request.getfixturevalue("gcs")
        yield Place(
            kind,
            f"gs://{fake_gcs.BUCKET}/{name}",
            server.options(),
            lambda key, content: server.put(f"{name}/{key}", content),
        )
    else:
        weed: seaweed.Seaweed = request.getfixturevalue("seaweedfs")
        client = weed.client()
        yield Place(
            kind,
            f"s3://{seaweed.BUCKET}/{name}",
            weed.options(engine=kind[3:]),
            lambda key, content: client.put_object(
                Bucket=seaweed.BUCKET, Key=f"{name}/{key}", Body=content
            ),
        )
        client.close()


def public(kind: str, request: pytest.FixtureRequest) -> Iterator[Place]:
    """A location that is read without credentials, so that requests may be rewritten on the way."""
    if kind == "gcs":
        yield from place(kind, request)
        return
    name = uuid.uuid4().hex[:8]
    weed: seaweed.Seaweed = request.getfixturevalue("seaweedfs")
    client = weed.client()
    yield Place(
        kind,
        f"s3://{seaweed.PUBLIC}/{name}",
        {"endpoint_url": weed.endpoint, "anon": True, "engine": kind[3:]},
        lambda key, content: client.put_object(
            Bucket=seaweed.PUBLIC, Key=f"{name}/{key}", Body=content
        ),
    )
    client.close()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
