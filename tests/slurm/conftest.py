"""The cluster that all tests here share, and when there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.slurm.cluster import Cluster, started, why_not


@pytest.fixture(scope="session", autouse=True)
def _asked(pytestconfig: pytest.Config) -> None:
    """Jobs take seconds each and useradd takes root: CI has a step of its own for them."""
    if not pytestconfig.getoption("--slurm"):
        pytest.skip("a SLURM cluster is only started with --slurm")


@pytest.fixture(scope="session")
def _nodes(_asked: None) -> Iterator[Cluster]:
    if lacking := why_not():
        pytest.skip(lacking)
    with started() as cluster:
        yield cluster


@pytest.fixture
def cluster(_nodes: Cluster) -> Iterator[Cluster]:
    """Three idle nodes at whose ends of jobs nothing runs yet."""
    yield _nodes
    _nodes.settle()
    _nodes.resume()
    _nodes.no_scripts()
