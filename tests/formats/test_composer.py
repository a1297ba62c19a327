"""MosaicML Composer: files of ranks, compressed or not, sharded directories, texts for links."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import pytest

from ckptctl.formats._base import Pointer
from ckptctl.formats._samples import dcp_metadata, torch_zip
from ckptctl.formats.composer import Composer
from ckptctl.formats.torch_dcp import TorchDcp
from ckptctl.model import Kind, Unit
from tests.claims import Tree, claim_of, claims_of, findings_of, pointers_of


def sharded(name: str) -> dict[str, bytes | str]:
    data = {f"__{rank}_0.distcp": torch_zip() for rank in (0, 1)}
    index = dcp_metadata({file: len(content) for file, content in data.items()})
    return {f"{name}/{file}": content for file, content in {**data, ".metadata": index}.items()}


def test_a_file_of_rank_0(tmp_path: Path) -> None:
    claim = claim_of(Composer, tmp_path, {"ep3-ba1200-rank0.pt": torch_zip()})
    assert (claim.kind, claim.name) == (Kind.FILE, "ep3-ba1200-rank0")
    assert (claim.step, claim.epoch, claim.counts) == (1200, 3, Unit.STEP)
    assert (claim.family, claim.missing) == ("ep#-ba#-rank#.pt", None)


@pytest.mark.parametrize(
    "suffix", ["", ".pt.gz", ".pt.lz4", ".pt.zst", ".tar", ".tar.gz", ".tgz", ".tar.bz2"]
)
def test_suffixes(tmp_path: Path, suffix: str) -> None:
    claim = claim_of(Composer, tmp_path, {f"ep0-ba0-rank0{suffix}": b"x"})
    assert (claim.name, claim.step, claim.epoch) == ("ep0-ba0-rank0", 0, 0)
    assert claim.family == f"ep#-ba#-rank#{suffix}"


@pytest.mark.parametrize(
    "name",
    [
        "ep1-ba2-rank0.pt.bak", "ep1-ba2-rank0.pt.symlink", "my-ep1-ba2-rank0.pt", "ep1-ba2",
        "ep1-ba2-rank0-best.pt", "ep1.pt", "ep1-ba2-rank.pt", "latest-rank0.pt", "ep1-ba2-rank0.zip",
    ],
)  # fmt: skip
def test_other_names_are_not_claimed(tmp_path: Path, name: str) -> None:
    assert claims_of(Composer, tmp_path, {name: torch_zip()}) == {}


def test_the_files_of_all_ranks_are_one(tmp_path: Path) -> None:
    tree = {f"ep1-ba{batch}-rank{rank}.tar": b"x" for batch in (5, 10) for rank in (0, 1, 10)}
    tree |= {f"ep1-ba5-rank{rank}.tar": b"x" for rank in range(11)}
    found = claims_of(Composer, tmp_path, tree)
    whole, torn = found["ep1-ba5-rank0"], found["ep1-ba10-rank0"]
    assert (whole.kind, len(whole.members), whole.missing) == (Kind.GROUP, 11, None)
    assert whole.key_file == "ep1-ba5-rank0.tar"
    assert torn.missing == "no file of rank 2: its family has 0 to 10"


def test_without_a_rank_in_the_template(tmp_path: Path) -> None:
    tree = {"ep1-ba5.pt": torch_zip(), "ep1-ba5-rank1.pt": torch_zip()}
    found = claims_of(Composer, tmp_path, tree)
    assert (found["ep1-ba5"].missing, found["ep1-ba5"].family) == (None, "ep#-ba#.pt")
    assert found["ep1-ba5-rank1"].missing is not None


def test_an_empty_file(tmp_path: Path) -> None:
    assert claim_of(Composer, tmp_path, {"ep1-ba5-rank0.pt": b""}).missing is not None


def test_a_sharded_checkpoint(tmp_path: Path) -> None:
    claim = claim_of(Composer, tmp_path, sharded("ep1-ba100"))
    assert (claim.kind, claim.step, claim.epoch) == (Kind.DIRECTORY, 100, 1)
    assert (claim.family, claim.missing) == ("ep#-ba#", None)
    assert claim.marker == claim.key_file == "ep1-ba100/.metadata"
    assert findings_of(Composer, tmp_path) == []
    assert claims_of(TorchDcp, tmp_path) == {}


def test_a_sharded_checkpoint_without_its_index(tmp_path: Path) -> None:
    tree = sharded("ep1-ba100")
    del tree["ep1-ba100/.metadata"]
    claim = claim_of(Composer, tmp_path, tree)
    assert (claim.marker, claim.expects_marker) == (None, True)
    assert claim.missing is not None


@pytest.mark.parametrize(
    "tree", [{"ep1-ba100/notes.txt": b""}, {"ep1-ba100/model.pt": torch_zip()}, {"ep1-ba100/": b""}]
)
def test_other_directories_are_not_claimed(tmp_path: Path, tree: Tree) -> None:
    assert claims_of(Composer, tmp_path, tree) == {}


def test_texts_for_links(tmp_path: Path) -> None:
    tree: Tree = {
        "latest-rank0.pt.symlink": "run/checkpoints/ep1-ba100-rank0.pt",
        "latest.symlink": "run/checkpoints/ep1-ba100\n",
        "empty.symlink": b"",
        "latest-rank0.pt": "-> ep1-ba100-rank0.pt",  # a real link: seen in the listing
    }
    assert set(pointers_of(Composer, tmp_path, tree)) == {
        Pointer("latest-rank0.pt.symlink", "run/checkpoints/ep1-ba100-rank0.pt"),
        Pointer("latest.symlink", "run/checkpoints/ep1-ba100"),
    }


@pytest.mark.parametrize(
    ("file", "content", "torn"),
    [
        ("ep1-ba1-rank0.pt", torch_zip(), False),
        ("ep1-ba1-rank0.pt", torch_zip()[:-9], True),
        ("ep1-ba1-rank0", torch_zip()[:-9], True),
        ("ep1-ba1-rank0.pt.gz", gzip.compress(torch_zip()), False),
        ("ep1-ba1-rank0.pt.gz", bytes(100), True),
        ("ep1-ba1-rank0.pt.xz", lzma.compress(torch_zip()), False),
        ("ep1-ba1-rank0.pt.xz", lzma.compress(torch_zip())[:-1], True),
    ],
)
def test_what_structure_shows(tmp_path: Path, file: str, content: bytes, torn: bool) -> None:
    assert bool(findings_of(Composer, tmp_path, {file: content})) is torn
