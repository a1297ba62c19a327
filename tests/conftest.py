"""Fixtures that several parts of the suite share."""

from __future__ import annotations

import fcntl
import json
import os
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path

import hypothesis
import pytest

from tests.faults.moments import Moments, every
from tests.program import Ckptctl, runner
from tests.servers import fake_gcs, seaweed
from tests.servers.sharing import shared
from tests.warm import Warm

PACKED = Path(__file__).parent / "corpus"


hypothesis.settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)  # fmt: skip
hypothesis.settings.load_profile("steady")
"""The same examples each time, however long each takes; `--hypothesis-profile=default` looks for others."""

_STEP = 15
"""Of so many moments at which something may die one is tried, unless all are asked for."""


def pytest_xdist_auto_num_workers() -> int:
    """Two workers more than there are processors: many tests wait for servers, locks and clocks."""
    return (os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count() or 1) + 2


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--every-moment",
        action="store_true",
        help="let what is tested die and fail at every moment, and try every case of what is sampled",
    )
    parser.addoption(
        "--life",
        type=float,
        default=0.0,
        help="seconds for which a training is watched over three tiers: once round by default",
    )
    parser.addoption(
        "--slurm",
        action="store_true",
        help="start a SLURM cluster, as root, and run tests/slurm on it (with -n0)",
    )


_SAMPLE = 4
"""Of so many cases of a test that is marked `sampled` one is tried, unless all are asked for."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out cases that take long and are much alike: CI tries all of them in a step of its own."""
    if config.getoption("--every-moment"):
        return
    seen: Counter[str] = Counter()
    left_out = []
    for item in items:
        if item.get_closest_marker("sampled") is not None:
            test = item.nodeid.partition("[")[0]
            if seen[test] % _SAMPLE:
                left_out.append(item)
            seen[test] += 1
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


@pytest.fixture
def moments(pytestconfig: pytest.Config) -> Moments:
    """When a test that lets something die or fail does so."""
    return every(1 if pytestconfig.getoption("--every-moment") else _STEP)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoints that real frameworks wrote, unpacked once for all workers; never write there."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    root = base / "corpus"
    with (base / "corpus.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            part = base / "corpus.part"
            _unpack(part)
            part.rename(root)
    return root


def _unpack(root: Path) -> None:
    """Unpack with owner and links as `tar -xp --no-same-owner` would, and times to the nanosecond."""
    with tarfile.open(PACKED / "corpus.tar.xz") as archive:
        archive.extractall(root, filter="data")
        for member in reversed(archive.getmembers()):
            when = int(Decimal(member.pax_headers["mtime"]) * 10**9)
            os.utime(root / member.name, ns=(when, when), follow_symlinks=False)


@pytest.fixture(scope="session")
def truth() -> Mapping[str, list[dict[str, object]]]:
    """What is in each run of the corpus, by the run's directory: see tests/corpus/README.md."""
    content = json.loads((PACKED / "truth.json").read_text())
    return {run["dir"]: run["checkpoints"] for run in content["runs"]}


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> seaweed.Seaweed:
    """A real S3 server, one for all workers; keep to prefixes of your own."""
    port = shared(tmp_path_factory, "seaweedfs", 4, seaweed.command, seaweed.ready)
    return seaweed.Seaweed(port)


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> fake_gcs.FakeGcs:
    """A server that speaks GCS, one for all workers; keep to prefixes of your own."""
    return fake_gcs.FakeGcs(shared(tmp_path_factory, "gcs", 1, fake_gcs.command, fake_gcs.ready))


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """A process with ckptctl imported, of which each call of the program is forked."""
    process = Warm(Path(__file__).parent.parent)
    yield process
    process.end()


@pytest.fixture
def ckptctl(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Ckptctl:
    """The program in a process of its own, with a home directory that is empty."""
    return runner(tmp_path_factory.mktemp("home"), warm)
