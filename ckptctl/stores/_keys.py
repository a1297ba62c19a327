"""What an object store's library must offer, and the tree that is made of a flat listing."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ckptctl.listing import Entry, Folder
from ckptctl.packed import Packed, joined, packed, without
from ckptctl.stores._again import again, garbled
from ckptctl.stores._base import DEEPEST, STATE_NAME, Capabilities, TooManyKeysError
from ckptctl.stores._past import Past

if TYPE_CHECKING:
    from ckptctl.stores._object_moving import KeysMoving  # which knows what keys are

ODD = frozenset({"", ".", ".."})
"""Parts of keys that no path can have."""

BATCH = 1000
"""Keys that one request of S3 deletes."""

_MANY = 50_000
"""Keys of a listing after which small folders are packed as well: up to then speed counts."""

_LARGE, _SMALL = 2_048, 64
"""Files of a folder that are worth packing, in a small listing and in a large one."""


class Page(NamedTuple):
    """Some of what a listing found; keys are full."""

    objects: Sequence[tuple[str, Entry]] = ()
    prefixes: Sequence[str] = ()  # of a shallow listing, without the "/" at their end
    unsure: Sequence[tuple[str, Entry]] = ()  # empty, with or without a "/" that was cut off
    others: Sequence[str] = ()  # links and the like, of stores that have them
    afresh: bool = False  # the listing begins anew: what came before is to be forgotten


def paged(fetch: Callable[[str], tuple[Page, str]], where: str) -> Iterator[Page]:
    """Yield the pages of a listing, of which `fetch` returns one and the token of the next.

    It gets "" for the first.  GarbledError where tokens turn in a circle: it would go on for ever.
    """
    token = ""
    known: set[str] = set()
    while True:
        page, token = again(partial(fetch, token))
        yield page
        if not token:
            return
        if token in known:
            raise garbled("listing", where)
        known.add(token)


class Keys(Protocol):
    """A bucket seen through one library.  All raise OSError with words for a person."""

    where: str  # "s3://bucket", for messages
    able: Capabilities

    def pages(self, prefix: str, *, deep: bool) -> Iterator[Page]:
        """Yield all below a prefix ("" or one that ends in "/") from one listing, in pages."""

    def real(self, keys: Collection[str]) -> set[str]:
        """Return those of the `unsure` keys that are objects by this very key."""

    def head(self, key: str) -> Entry | None:
        """Return what is said of an object; None where there is none."""

    def checksums(self, entries: Mapping[str, Entry]) -> dict[str, dict[str, str]]:
        """Return, by key, what the server says that whole objects of these very versions hash to."""

    def whole(self, key: str, limit: int) -> bytes:
        """Return an object.  Raises VanishedError, TooLargeError where it is above the limit."""

    def start(self, key: str, length: int) -> tuple[Entry, bytes]:
        """Return what is said of an object and perhaps up to `length` bytes of its start.

        Raises VanishedError where there is none.
        """

    def part(self, key: str, offset: int, length: int, etag: str) -> bytes:
        """Return bytes that the object has, all of them.  VanishedError where it is another now."""

    def put(self, key: str, content: bytes, *, new: bool = False, if_match: str = "") -> None:
        """Write an object whole.  FileExistsError if `new` and it is there; ChangedError."""

    def delete(self, keys: Mapping[str, str]) -> dict[str, str]:
        """Delete up to `BATCH` objects; return why those that are still there are.

        With each comes the etag of the version that is meant, "" for any; where the server heeds
        that, another one stays.  One that is gone already is none of those that are returned.
        Raises OSError where nothing can be deleted.
        """

    def delete_markers(self, markers: Sequence[str]) -> None:
        """Delete the markers of empty directories ("a/b/" before "a/"), as far as that can be done."""

    def stream(self, key: str, offset: int, entry: Entry) -> Iterator[memoryview]:
        """Yield the bytes of this version from an offset on, some MiB each.

        VanishedError where it is another now; OSError, too, where what comes breaks off.
        """

    @property
    def moving(self) -> KeysMoving:
        """How large files come in."""

    def past(self) -> Past:
        """Return who can be asked what the bucket keeps of what is deleted."""


@dataclass(slots=True)
class _Node:
    """A prefix while its keys come in."""

    files: dict[str, Entry] = field(default_factory=dict)
    packed: list[Packed] = field(default_factory=list)  # files that came before those
    children: dict[str, None] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    error: str | None = None
    unlisted: bool = False  # what lies below was not asked for

    @property
    def bare(self) -> bool:
        """Whether nothing but a marker says that it is a folder."""
        return not (self.files or self.packed or self.children or self.others or self.unlisted)

    def pack(self) -> None:
        """Keep the files that are there by now in little memory."""
        self.packed.append(packed(sorted(self.files.items())))
        self.files = {}

    def all_files(self) -> Mapping[str, Entry]:
        """Return the files in the order of their names."""
        if not self.packed:
            return dict(sorted(self.files.items()))
        self.pack()
        return joined(self.packed)


class Tree:
    """Makes folders of keys.  What a path cannot spell is no file: it is told among `others`."""

    def __init__(self, path: str, base: str, limit: int) -> None:
        """`path` is what the top folder is called, `base` what all keys begin with."""
        self._path = path
        self._skip = len(base)
        self._limit = limit
        self._begin()

    def _begin(self) -> None:
        self._count = 0
        self._nodes = {"": _Node()}
        self._at = self._nodes[""]  # where the last file went
        self._noted: set[str] = set()  # paths of those that hold ckptctl's own records

    def fill(self, keys: Keys, pages: Iterable[Page]) -> None:
        """Take in a listing.  Raises TooManyKeysError, or OSError where a page fails."""
        unsure: dict[str, tuple[str, Entry]] = {}
        for page in pages:
            if page.afresh:
                self._begin()
                unsure.clear()
            self._count += len(page.objects) + len(page.unsure)
            if self._count > self._limit:
                raise TooManyKeysError(
                    errno.E2BIG,
                    f"there are more than {self._limit} objects below it; name a run rather than what holds them all, or allow more with --max-keys",
                    keys.where,
                )
            for key, entry in page.objects:
                self._add(key[self._skip :], entry)
            for key in page.prefixes:
                name = key[self._skip :]
                if self._is_ours(name.split("/")):
                    continue
                if name in ODD:
                    self._nodes[""].others.append(f"{name}/")
                else:
                    self._node(name).unlisted = True
            for key in page.others:
                parent, _, name = key[self._skip :].rpartition("/")
                self._node(parent).others.append(name)
            unsure |= {key[self._skip :]: (key, entry) for key, entry in page.unsure}
        self._resolve(keys, unsure)

    def _resolve(self, keys: Keys, unsure: dict[str, tuple[str, Entry]]) -> None:
        """Tell empty objects from the markers of folders, which some libraries show like those."""
        alone = {key for path, (key, _) in unsure.items() if path and path not in self._nodes}
        real = keys.real(alone) if alone else set()
        for path, (key, entry) in unsure.items():
            self._add(path if key in real else f"{path}/", entry)

    def empty(self) -> bool:
        """Whether nothing was there, not even a marker."""
        return not self._count and len(self._nodes) == 1 and not self._nodes[""].others

    def _add(self, path: str, entry: Entry) -> None:
        parent, slash, name = path.rpartition("/")
        # The parent of "/x" is a part without a name, and not the top, which is called "" as well.
        node = None if slash and name and not parent else self._nodes.get(parent)
        if node is None:
            parts = parent.split("/")
            if self._is_ours(parts):
                return
            sane = next((i for i, part in enumerate(parts) if part in ODD), None)
            if sane is not None:
                rest = "/".join((*parts[sane:], name))
                self._node("/".join(parts[:sane])).others.append(rest)
                return
            node = self._node(parent)
        if name in ODD or name == STATE_NAME:
            if name in {".", ".."} or (not name and path and entry.size):
                node.others.append(name or "/")
            return
        node.files[name] = entry
        if node is not self._at:
            if self._count > _MANY and len(self._at.files) >= _SMALL:
                self._at.pack()
            self._at = node
        elif len(node.files) >= _LARGE:
            node.pack()

    def _is_ours(self, parts: Sequence[str]) -> bool:
        """Whether a path is that of records of ours, or lies below; remember where they lie."""
        if STATE_NAME not in parts:
            return False
        self._noted.add("/".join(parts[: parts.index(STATE_NAME)]))
        return True

    def _node(self, path: str) -> _Node:
        """Return the node of a sane path, made with its parents; or the deepest that is allowed."""
        node = self._nodes.get(path)
        if node is None:
            above, _, name = path.rpartition("/")
            if path.count("/") >= DEEPEST:
                node = self._node(above)
                node.error = f"lies {DEEPEST} directories deep, and deeper none is looked into"
                return node
            parent = self._node(above)
            parent.children[name] = None
            node = self._nodes[path] = _Node()
        return node

    def folder(self, path: str = "") -> Folder:
        """Freeze, once all pages are in."""
        node = self._nodes[path]
        files = node.all_files()
        folders, lost = {}, set()
        for name in sorted(node.children):
            below = f"{path}/{name}" if path else name
            inside = self._nodes[below]
            # One of which only the marker is left is none, and so is an empty object no file.
            if name in files:
                if inside.bare:
                    continue
                lost.add(name)
                if files[name].size:
                    node.others.append(name)
                    inside.error = (
                        "is an object and a prefix at once, so nobody can tell what it is"
                    )
            folders[name] = self.folder(below)
        return Folder(
            "/".join(part for part in (self._path, path) if part),
            without(files, lost) if lost else files,
            folders,
            others=tuple(sorted(node.others)),
            error=node.error,
            noted=path in self._noted,
        )
