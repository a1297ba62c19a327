"""Locations in buckets, for what the program does there."""

from __future__ import annotations

from collections.abc import Iterator

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
