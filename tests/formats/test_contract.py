"""What every format must keep to: tried on its own example, written to a real directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptctl import formats
from ckptctl.formats._base import FORMATS, Format
from ckptctl.model import Kind
from tests.claims import (
    claims_of,
    files_of,
    findings_of,
    metadata_of,
    opened,
    pointers_of,
    recognised,
)
from tests.trees import make_tree

MODULES = {kind.__module__.rpartition(".")[2] for kind in FORMATS}
FRAMEWORKS = [kind for kind in FORMATS if not kind.generic]
EVERY = pytest.mark.parametrize("kind", list(FORMATS), ids=lambda kind: kind.name)


def test_each_is_registered_by_its_name() -> None:
    assert FORMATS.names() == [kind.name for kind in FORMATS]


@EVERY
def test_it_says_what_it_is_and_how_we_know(kind: type[Format]) -> None:
    for words in (kind.summary, kind.source):
        assert words.strip()
        assert "\n" not in words


@EVERY
def test_its_example_is_one_checkpoint_of_it(kind: type[Format], tmp_path: Path) -> None:
    (claim,) = claims_of(kind, tmp_path, kind.example).values()
    assert claim.format == kind.name
    assert not claim.temporary
    with opened(tmp_path) as (folder, _):
        files = files_of(claim, folder)
    assert claim.key_file in files
    assert set(claim.members) == {path.split("/")[0] for path in files}
    assert set(claim.uncovered) <= set(files)


@EVERY
def test_it_is_asked_where_there_are_directories_or_knows_files(
    kind: type[Format], tmp_path: Path
) -> None:
    (claim,) = claims_of(kind, tmp_path, kind.example).values()
    if kind.__module__.rpartition(".")[2] in formats.DIRECTORIES:
        assert claim.kind is Kind.DIRECTORY
        make_tree(
            tmp_path / "flat", {path.replace("/", "-"): b for path, b in kind.example.items()}
        )
        assert claims_of(kind, tmp_path / "flat") == {}
    assert formats.DIRECTORIES <= MODULES
    assert all(root.startswith("_") for root in kind.roots)


@EVERY
def test_its_example_is_complete(kind: type[Format], tmp_path: Path) -> None:
    (claim,) = claims_of(kind, tmp_path, kind.example).values()
    assert claim.missing is None
    if claim.expects_marker:
        assert claim.marker in kind.example
    said = metadata_of(kind, tmp_path)
    assert (said.missing, said.unread, said.problems) == (None, None, ())
    assert findings_of(kind, tmp_path) == []


@EVERY
def test_its_trackers_name_its_example(kind: type[Format], tmp_path: Path) -> None:
    (claim,) = claims_of(kind, tmp_path, kind.example).values()
    for pointer in pointers_of(kind, tmp_path):
        assert pointer.file in kind.example
        assert pointer.target.rstrip("/").rpartition("/")[2] in {claim.name, *claim.members}


@pytest.mark.parametrize("other", FRAMEWORKS, ids=lambda kind: kind.name)
@EVERY
def test_no_framework_claims_what_is_anothers(
    kind: type[Format], other: type[Format], tmp_path: Path
) -> None:
    if other is not kind:
        assert claims_of(other, tmp_path, kind.example) == {}


@EVERY
def test_it_takes_numbers_of_any_length(kind: type[Format], tmp_path: Path) -> None:
    """No name that a listing may hold stops it: neither its own with a long number, nor a strange one."""
    long = "98765432109876543210"
    make_tree(tmp_path, {f"{name}{long}/{file}": b"" for name, file in STRANGE})
    with opened(tmp_path) as (folder, store):
        for claim in kind().find(folder, store):
            assert claim.missing is not None or claim.step == int(long), claim
        list(kind().pointers(folder, store))


STRANGE = [
    ("step-", f"__{'9' * 20}_0.distcp"),
    ("step_", f"__{'9' * 20}.metadata"),
    ("global_step", f"zero_pp_rank_{'9' * 20}_mp_rank_{'9' * 20}_optim_states.pt"),
    ("iter_", f"mp_rank_{'9' * 20}_{'9' * 20}/model_optim_rng.pt"),
    ("", "_CHECKPOINT_METADATA"),
    ("checkpoint-", f"rng_state_{'9' * 20}.pth"),
    ("epoch=", "meta.pt"),
    ("\x1b[31m", "\n"),
]


GENERIC = {kind.name for kind in FORMATS if kind.generic}
A_USERS = ("metadata.json", "metrics.json", "notes.txt", "trainer_state.json", "rng_state/notes")
DIRECTORIES = [kind for kind in FRAMEWORKS if all("/" in path for path in list(kind.example)[-1:])]


@pytest.mark.parametrize("kind", DIRECTORIES, ids=lambda kind: kind.name)
def test_what_a_user_puts_into_a_torn_one_hands_it_to_no_generic_format(
    kind: type[Format], tmp_path: Path
) -> None:
    """To a format that knows no marker what lacks its marker is whole."""
    top = next(path for path in kind.example if "/" in path).split("/")[0]
    for number, lost in enumerate(("", *kind.example)):
        left = {path: content for path, content in kind.example.items() if path != lost}
        known = set(recognised(tmp_path / f"{number}", left).values())
        if not known or known & GENERIC:
            continue  # that it is whole can be told by nobody, or nothing is left
        for file in A_USERS:
            if f"{top}/{file}" not in left:
                more = {**left, f"{top}/{file}": b"{}"}
                found = recognised(tmp_path / f"{number}-{file.replace('/', '-')}", more)
                assert not GENERIC & set(found.values()), (lost, file)
