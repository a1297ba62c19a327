from __future__ import annotations

from pathlib import Path

import pytest

from ckptctl.formats.own import OwnLayouts
from ckptctl.group import look
from ckptctl.known import known_formats
from ckptctl.model import Claim, Kind, Layout, Unit
from ckptctl.stores.local import LocalStore
from tests.claims import Tree
from tests.trees import make_tree

MINE = Layout(name="mine", match=r"net-(?P<step>\d+)-(?P<val_loss>[\d.]+)\.bin")


def claims(root: Path, layouts: tuple[Layout, ...], tree: Tree) -> list[Claim]:
    store = LocalStore(str(make_tree(root, tree)))
    return list(OwnLayouts(layouts).find(store.listing(), store))


def test_the_layout_of_the_contract(tmp_path: Path) -> None:
    (claim,) = claims(tmp_path, (MINE,), {"net-1000-0.25.bin": b"x", "net-1000.bin": b"x"})
    assert (claim.format, claim.kind, claim.name) == ("mine", Kind.FILE, "net-1000-0.25")
    assert (claim.step, claim.epoch, claim.counts) == (1000, None, Unit.STEP)
    assert claim.metrics == {"val_loss": 0.25}
    assert claim.family == "net-#-#.bin"
    assert claim.key_file == "net-1000-0.25.bin"


def test_the_whole_name_must_match(tmp_path: Path) -> None:
    layout = Layout(name="n", match=r"(?P<step>\d+)\.pt")
    tree: Tree = {"5.pt": b"x", "5.pt.tmp": b"x", "a5.pt": b"x", "6.pt": "-> 5.pt", "7.pt/x": b"x"}
    assert [claim.name for claim in claims(tmp_path, (layout,), tree)] == ["5"]


@pytest.mark.parametrize(
    ("name", "stem"),
    [("s5.pt", "s5"), ("s5.dat", "s5"), ("s5", "s5"), ("s5.25", "s5.25"), ("s5.pth.tar", "s5")],
)
def test_the_name_is_without_a_suffix(tmp_path: Path, name: str, stem: str) -> None:
    layout = Layout(name="n", match=r"s(?P<step>\d+).*")
    assert [claim.name for claim in claims(tmp_path, (layout,), {name: b"x"})] == [stem]


def test_a_suffix_that_is_a_value_stays(tmp_path: Path) -> None:
    layout = Layout(name="n", match=r"s(?P<step>\d+)\.(?P<loss>.*)")
    (claim,) = claims(tmp_path, (layout,), {"s5.nan": b"x"})
    assert (claim.name, claim.family) == ("s5.nan", "s#.#")


def test_directories(tmp_path: Path) -> None:
    layout = Layout(name="dirs", match=r"(?P<epoch>\d+)(?P<half>\.5)?ep", directory=True)
    tree = {"3ep/b/weights.dat": b"x", "3ep/model.pt": b"x", "4ep": b"x", "5ep/": b""}
    (claim,) = claims(tmp_path, (layout,), tree)
    assert (claim.kind, claim.name, claim.members) == (Kind.DIRECTORY, "3ep", ("3ep",))
    assert (claim.epoch, claim.counts, claim.metrics) == (3, Unit.EPOCH, {})
    assert claim.key_file == "3ep/model.pt"
    assert claim.family == "#ep"


def test_what_is_no_number_is_a_problem_and_not_used(tmp_path: Path) -> None:
    layout = Layout(name="n", match=r"(?P<step>\w+)-(?P<epoch>\w+)-(?P<loss>[\w.]+)\.pt")
    (claim,) = claims(tmp_path, (layout,), {"inf-nan-1.2.3.pt": b"x"})
    assert (claim.step, claim.epoch, claim.metrics) == (None, None, {})
    assert [problem.code for problem in claim.problems] == ["name-unreadable"] * 3


def test_steps_and_epochs_are_exact(tmp_path: Path) -> None:
    layout = Layout(name="n", match=r"(?P<step>[\d.]+)-(?P<epoch>[\d.]+)\.pt")
    (claim,) = claims(tmp_path, (layout,), {"100000000000000000001-1.5.pt": b"x"})
    assert (claim.step, claim.epoch) == (100000000000000000001, 1.5)


def test_own_layouts_come_before_all_others(tmp_path: Path) -> None:
    layouts = (
        Layout(name="first", match=r"step_(?P<step>\d+)\.pt"),
        Layout(name="second", match=r".*_(?P<epoch>\d+)\.pt"),
    )
    make_tree(tmp_path, {"step_5.pt": b"x", "x_5.pt": b"x", "step_6.pth": b"x"})
    store = LocalStore(str(tmp_path))
    found = look(store.listing(), store, known_formats(layouts))
    assert {item.claim.key_file: item.claim.format for item in found.items} == {
        "step_5.pt": "first",
        "x_5.pt": "second",
        "step_6.pth": "torch-file",
    }
    assert OwnLayouts(layouts).names() == ("first", "second")


DIRS = Layout(name="exp", match=r"exp_(?P<epoch>\d+)", directory=True)
FILES = Layout(name="net", match=r"net-(?P<step>\d+)\.dat")


@pytest.mark.parametrize("below", ["exp_10/m.pt", "a/b/exp_10/m.pt", "net-7.dat", "a/net-7.dat"])
def test_a_directory_below_which_a_layout_says_another_number_is_a_run(
    tmp_path: Path, below: str
) -> None:
    tree = {"exp_1/m.pt": b"x", "exp_2/m.pt": b"x", f"exp_2/{below}": b"x"}
    assert [claim.name for claim in claims(tmp_path, (FILES, DIRS), tree)] == ["exp_1"]


@pytest.mark.parametrize(
    "below", ["exp_2/m.pt", "exp_002/m.pt", "exp_10", "net-7.dat/x", "net-x.dat"]
)
def test_what_says_the_same_number_or_is_of_another_kind_is_part_of_it(
    tmp_path: Path, below: str
) -> None:
    found = claims(tmp_path, (FILES, DIRS), {f"exp_2/{below}": b"x"})
    assert [claim.name for claim in found] == ["exp_2"]


def test_a_directory_without_a_number_has_no_other_one(tmp_path: Path) -> None:
    layout = Layout(name="runs", match=r"keep-(?P<loss>[\d.]+)", directory=True)
    found = claims(tmp_path, (layout, DIRS), {"keep-0.5/keep-0.25/m.pt": b"x"})
    assert [claim.name for claim in found] == ["keep-0.5"]
