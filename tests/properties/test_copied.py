"""Whatever happens to a copy, or to what it was copied from: it counts only while both are the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ckptctl.copied import CopySide, unlike, unproven
from ckptctl.listing import Entry
from ckptctl.manifest import Manifest, Noted
from ckptctl.model import Metadata

Pair = tuple[CopySide, CopySide]


def _manifest(files: Mapping[str, Noted]) -> Manifest:
    return Manifest(
        name="c", path="c", format="f", said=Metadata(), files=files, created_ns=1, created_by=""
    )


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    """A checkpoint and its copy, on a disk or in a bucket, noted here too or not."""
    sizes = draw(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 9), min_size=1))
    bucket, noted_here = draw(st.booleans()), draw(st.booleans())
    here: dict[str, Entry] = {}
    there: dict[str, Entry] = {}
    noted: dict[str, Noted] = {}
    for number, (name, size) in enumerate(sorted(sizes.items())):
        path, mtime = f"c/{name}", 100 + number
        here[path] = Entry(size, mtime, 1, 10 + number)
        etag = f"e{number}" if bucket else ""
        there[path] = Entry(size, 900, etag=etag) if bucket else Entry(size, mtime, 1, 90 + number)
        noted[path] = Noted(size, mtime, f"d{number}", etag=etag or None)
    links = {"c/l": "a"} if draw(st.booleans()) else {}
    noted |= {path: Noted(0, 0, None, link=text) for path, text in links.items()}
    if bucket and draw(st.booleans()):
        there["c/marker"] = Entry(0, 900, etag="m")
        noted["c/marker"] = Noted(0, 0, "m", etag="m", made=True)
    own = {path: n._replace(etag=None) for path, n in noted.items() if not n.made}
    return (
        CopySide(here, _manifest(own) if noted_here else None, links),
        CopySide(there, _manifest(noted), None if bucket else links),
    )


def _entry(side: CopySide, path: str, change: Callable[[Entry], Entry | None]) -> CopySide:
    files = {p: change(e) if p == path else e for p, e in side.files.items()}
    return replace(side, files={p: e for p, e in files.items() if e is not None})


def _noted(side: CopySide, path: str, change: Callable[[Noted], Noted]) -> CopySide:
    assert side.manifest is not None
    files = {p: change(n) if p == path else n for p, n in side.manifest.files.items()}
    return replace(side, manifest=replace(side.manifest, files=files))


def _changed(entry: Entry) -> Entry:
    return entry._replace(mtime_ns=entry.mtime_ns + 1, etag=entry.etag and entry.etag + "x")


CHANGES: Mapping[str, Callable[[Pair, str], Pair]] = {
    "gone there": lambda p, path: (p[0], _entry(p[1], path, lambda _: None)),
    "cut there": lambda p, path: (p[0], _entry(p[1], path, lambda e: e._replace(size=e.size - 1))),
    "written there": lambda p, path: (p[0], _entry(p[1], path, _changed)),
    "without a manifest": lambda p, _: (p[0], replace(p[1], manifest=None)),
    "gone here": lambda p, path: (_entry(p[0], path, lambda _: None), p[1]),
    "more here": lambda p, _: (replace(p[0], files={**p[0].files, "c/z": Entry(1, 1)}), p[1]),
    "longer here": lambda p, path: (_entry(p[0], path, lambda e: e._replace(size=99)), p[1]),
    "saved anew here": lambda p, path: (_entry(p[0], path, _changed), p[1]),
    "another link here": lambda p, _: (replace(p[0], links={"c/l": "b"}), p[1]),
}


def counts(pair: Pair) -> bool:
    here, there = pair
    return unproven(there) is None and unlike(here, there) is None


@given(pair=pairs())
def test_what_was_copied_counts(pair: Pair) -> None:
    assert counts(pair)


@given(pair=pairs(), how=st.sampled_from(sorted(CHANGES)), data=st.data())
def test_nothing_that_changed_counts(pair: Pair, how: str, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(pair[0].files)))
    assert not counts(CHANGES[how](pair, path)), how


@given(pair=pairs(), data=st.data())
def test_other_digests_of_the_same_size_and_time_do_not_count(
    pair: Pair, data: st.DataObject
) -> None:
    here, there = pair
    path = data.draw(st.sampled_from(sorted(here.files)))
    other = _noted(there, path, lambda n: n._replace(digest="other"))
    assert counts((here, other)) is (here.manifest is None)


def test_a_second_name_of_one_inode_has_to_be_in_a_bucket_as_well() -> None:
    here = CopySide({"c/a": Entry(1, 100, 1, 10), "c/b": Entry(1, 100, 1, 10)}, None, {})
    noted = {
        "c/a": Noted(1, 100, "d", etag="e"),
        "c/b": Noted(1, 100, "d", etag="e2", hardlink="c/a"),
    }
    objects = {"c/a": Entry(1, 900, etag="e"), "c/b": Entry(1, 900, etag="e2")}
    there = CopySide(objects, _manifest(noted), None)
    assert counts((here, there))
    assert not counts((here, _entry(there, "c/b", lambda _: None)))
