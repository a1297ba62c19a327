"""Fixtures that several parts of the suite share."""

from __future__ import annotations

import fcntl
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

PACKED = Path(__file__).parent / "corpus"


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
            with tarfile.open(PACKED / "corpus.tar.xz") as archive:
                archive.extractall(part, filter="tar")
            part.rename(root)
    return root


@pytest.fixture(scope="session")
def truth() -> Mapping[str, list[dict[str, object]]]:
    """What is in each run of the corpus, by the run's directory: see tests/corpus/README.md."""
    content = json.loads((PACKED / "truth.json").read_text())
    return {run["dir"]: run["checkpoints"] for run in content["runs"]}
