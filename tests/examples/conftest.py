"""The machine of the examples, made anew for each test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.machine import Machine


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine below a directory that other users reach, unlike those of pytest."""
    root = Path(tempfile.mkdtemp(prefix="ckptctl-examples-"))
    root.chmod(0o755)
    yield Machine.made(root)
    shutil.rmtree(root)
