"""Places for what the program does there: in buckets, and where other users come."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores.places import Place, place


@pytest.fixture
def bucket(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A location of the kind that the test is parametrized with."""
    yield from place(request.param, request)


@pytest.fixture
def s3(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A location on the real S3 server."""
    yield from place("s3-obstore", request)


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A directory that other users reach, unlike that of pytest."""
    base = Path(tempfile.mkdtemp(prefix="ckptctl-user-"))
    base.chmod(0o755)
    yield base
    shutil.rmtree(base)
