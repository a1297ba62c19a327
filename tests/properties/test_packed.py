"""Files kept in little memory are those that a dict would hold, whatever they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptctl import gathered, packed
from ckptctl.listing import Entry, Folder
from ckptctl.packed import Packed, joined, without
from ckptctl.stores import _keys
from ckptctl.stores._keys import Page, Tree
from ckptctl.stores.any import AnyKeys

LARGE = st.integers(0, 2**64)
ENTRIES = st.builds(Entry, LARGE, LARGE, LARGE, LARGE, LARGE, LARGE, st.text(max_size=40))
NAMES = st.one_of(
    st.integers(0, 40).map("__{}_0.distcp".format),
    st.text(st.characters(exclude_characters="/", codec=None), max_size=8),  # surrogates too
)
FILES = st.dictionaries(NAMES, ENTRIES, max_size=40)


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> object:
    """Blocks of four, so that a few files fill several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "BLOCK", 4)
        yield


def same(one: Mapping[str, Entry], other: Mapping[str, Entry]) -> None:
    """They cannot be told apart by anything that a mapping does, but for the order."""
    assert len(one) == len(other)
    assert sorted(one) == sorted(other)
    assert sorted(one.items()) == sorted(other.items())
    assert sorted(one.values()) == sorted(other.values())
    assert one == other
    assert all(one[name] == entry and name in one for name, entry in other.items())
    for name in ("nowhere", "", "\U0010ffff", "__0_0"):
        assert (name in one, one.get(name)) == (name in other, other.get(name))


@settings(max_examples=40)
@given(FILES)
def test_packed_is_a_dict(files: dict[str, Entry]) -> None:
    whole = packed.packed(sorted(files.items()))
    same(whole, files)
    assert list(whole) == sorted(files)
    assert all(type(entry) is Entry for entry in whole.values())


@settings(max_examples=40)
@given(st.lists(FILES, max_size=4))
def test_parts_in_any_order_and_names_that_come_again(parts: Sequence[dict[str, Entry]]) -> None:
    expected: dict[str, Entry] = {}
    for part in parts:
        expected.update(part)
    whole = joined([packed.packed(sorted(part.items())) for part in parts])
    same(whole, expected)
    assert list(whole) == sorted(expected)


@settings(max_examples=40)
@given(FILES, st.sets(NAMES, max_size=5))
def test_without_some(files: dict[str, Entry], gone: set[str]) -> None:
    left = without(packed.packed(sorted(files.items())), gone)
    assert isinstance(left, Packed)
    same(left, {name: entry for name, entry in files.items() if name not in gone})


PARTS = st.sampled_from(["a", "b", "a-", "é", "", ".", "x" * 30, ".ckptctl", *map(str, range(9))])
KEYS = st.dictionaries(
    st.lists(PARTS, min_size=1, max_size=4).map("/".join), st.integers(0, 2), max_size=60
)


def listed(found: Mapping[str, int], page: int) -> Folder:
    """The folder that is made of a listing in pages."""
    items = [(key, Entry(size, 7, etag=key)) for key, size in found.items()]
    tree = Tree("", "", 10**6)
    tree.fill(
        AnyKeys(None, "", ""), (Page(items[at : at + page]) for at in range(0, len(items), page))
    )
    return tree.folder()


@settings(max_examples=40)
@given(KEYS, st.integers(1, 9), st.booleans())
def test_a_listing_is_the_same_however_it_is_kept(
    found: dict[str, int], page: int, in_order: bool
) -> None:
    found = dict(sorted(found.items())) if in_order else found
    plain = listed(found, page)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("_MANY", 5), ("_LARGE", 3), ("_SMALL", 2)):
            patch.setattr(_keys, name, value)
        kept = listed(found, page)
    assert kept == plain
    assert all(inside.files.keys().isdisjoint(inside.folders) for _, inside in kept.tree())
    assert list(kept.paths()) == [path for path, _ in kept.walk()] == list(plain.paths())


@settings(max_examples=40)
@given(KEYS, st.sets(PARTS, max_size=3), st.sets(PARTS, max_size=3))
def test_what_a_checkpoint_holds(found: dict[str, int], more: set[str], gone: set[str]) -> None:
    top = listed(found, 10)
    members = [*top.folders, *list(top.files)[::2]]
    copied = gathered.gathered(top, members)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathered, "MANY", -1)
        seen = gathered.gathered(top, members)
    assert isinstance(copied, dict)
    assert isinstance(seen, gathered.Gathered)
    beside = {f"beside {name}": Entry(1, 2) for name in more}
    out = {path for path in copied if not gone.isdisjoint(path.split("/"))} | gone
    same(seen, copied)
    same(gathered.plus(seen, beside), gathered.plus(copied, beside))
    same(gathered.less(seen, out), gathered.less(copied, out))
    same(
        gathered.less(gathered.plus(seen, beside), {*out, *beside}),
        gathered.less(gathered.plus(copied, beside), {*out, *beside}),
    )
