"""Damage that nothing can see but a digest is found, in what every framework of the corpus wrote."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.program import Ckptctl
from tests.test_corpus import RUNS

WRONG = {"damaged", "incomplete"}
KERAS = r"""
version: 1
formats:
  - {name: weights, match: 'weights\.(?P<epoch>\d+)-(?P<val_loss>[\d.]+)\.weights\.h5', kind: file}
  - {name: models, match: 'model-(?P<epoch>\d+)-(?P<val_loss>[\d.]+)\.keras', kind: file}
"""
"""A Keras template is its user's own, so the user says what its numbers are."""


@dataclass(frozen=True, slots=True)
class Copied:
    """A copy of a run of the corpus, with digests of all that is whole in it."""

    root: Path
    truth: list[dict[str, Any]]
    ckptctl: Ckptctl

    def call(self, *arguments: str) -> Any:
        config = self.root.parent / "ckptctl.yaml"
        done = self.ckptctl(*arguments, "-r", self.root, "-c", config, "--json")
        assert done.code in {0, 6}, done.stderr
        return done.json

    def complete(self) -> Iterator[tuple[str, list[Path]]]:
        """Yield each complete checkpoint that is known: its name, and its files."""
        known = {c["name"] for run in self.call("list")["runs"] for c in run["checkpoints"]}
        for one in self.truth:
            if one["state"] == "complete" and one["name"] in known:
                run = self.root.parent / one["run"]
                yield one["name"], [run / file for file in one["files"]]

    def found(self) -> set[str]:
        """Return what fails at the digest level, but for what its writer left torn."""
        results = self.call("verify", "--level", "digest")["results"]
        torn = {one["name"] for one in self.truth if one["state"] != "complete"}
        return {r["name"] for r in results if r["status"] in WRONG} - torn


@pytest.fixture
def copied(
    request: pytest.FixtureRequest,
    corpus: Path,
    truth: Mapping[str, list[dict[str, Any]]],
    tmp_path: Path,
    ckptctl: Ckptctl,
) -> Copied:
    root = tmp_path / request.param
    shutil.copytree(corpus / request.param, root, symlinks=True)
    (tmp_path / "ckptctl.yaml").write_text(KERAS)
    run = Copied(root, truth[request.param], ckptctl)
    run.call("verify", "--record")
    return run


def write_over(path: Path, content: bytes) -> None:
    """Change what a file holds as a medium does: size, times and inode stay."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("copied", RUNS, indirect=True)
def test_one_flipped_bit(copied: Copied) -> None:
    assert copied.found() == set()
    name, files = next(copied.complete())
    for file in filter(lambda path: path.stat().st_size, files):
        sound = file.read_bytes()
        write_over(file, sound[:-1] + bytes([sound[-1] ^ 1]))
        assert name in copied.found(), file
        write_over(file, sound)
    assert copied.found() == set()


@pytest.mark.parametrize("copied", RUNS, indirect=True)
def test_two_files_of_one_size_that_were_swapped(copied: Copied) -> None:
    for name, files in copied.complete():
        sizes: defaultdict[int, list[Path]] = defaultdict(list)
        for file in files:
            sizes[file.stat().st_size].append(file)
        for one, two in (alike[:2] for alike in sizes.values() if len(alike) > 1):
            if one.read_bytes() != two.read_bytes():
                swap(one, two)
                assert name in copied.found(), (one, two)
                return


def swap(one: Path, two: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    two.rename(one)
    aside.rename(two)
