"""A location in a bucket as a store: what is the same whatever library speaks to the server."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from ckptctl.listing import Entry, Folder
from ckptctl.reading import Blob
from ckptctl.stores._again import again, garbled
from ckptctl.stores._base import (
    STATE_NAME,
    Capabilities,
    IgnoredConditionError,
    NothingBelowError,
    Removed,
    Stop,
    Store,
    never,
)
from ckptctl.stores._blob import ObjectBlob
from ckptctl.stores._keeping import Keeping
from ckptctl.stores._keys import BATCH, Keys, Page, Tree
from ckptctl.stores._object_moving import ObjectMoving
from ckptctl.stores._past import asked
from ckptctl.stores._sound import sound_path

_AT_ONCE = 16  # batches that are deleted: a server takes up to a second for each


class ObjectStore(ObjectMoving):
    """All keys that begin with a prefix and "/".  Nothing is cached; closing costs nothing."""

    def __init__(self, root: str, keys: Keys, prefix: str, max_keys: int) -> None:
        """`root` is the URL that a user would write, `prefix` its part within the bucket.

        Raises OSError where that is no path that all commands could spell.
        """
        self.root = root.rstrip("/")
        self.keys = keys
        self.prefix = sound_path(prefix.rstrip("/"))
        self.max_keys = max_keys
        self._obeys = False  # whether the server was seen to obey a condition

    @property
    def able(self) -> Capabilities:
        """What the server can do."""
        return self.keys.able

    def below(self, path: str) -> ObjectStore:
        """Return what lies below a path; nothing is asked of the server."""
        return ObjectStore(f"{self.root}/{path}", self.keys, self._key(path), self.max_keys)

    def close(self) -> None:
        """Do nothing: connections are the library's."""

    def listing(self, path: str = "", *, deep: bool = True) -> Folder:
        """Return all below a path from one listing; ckptctl's own records are left out.

        FileNotFoundError where no key begins with it, NotADirectoryError where it is an object.
        """
        base = self._prefix(path)
        tree = Tree(path, base, self.max_keys)
        tree.fill(self.keys, self._pages(base, deep=deep))
        if tree.empty():  # which a login page would seem to be as well, were this not asked
            found = self._head(base[:-1] or STATE_NAME)
            if not base:
                return tree.folder()
            if found is not None:
                raise OSError(
                    errno.ENOTDIR, "is an object, no prefix; name what lies above it", path
                )
            raise NothingBelowError(
                errno.ENOENT,
                f"there is nothing below it in {self.keys.where}; check the path",
                path,
            )
        return tree.folder()

    def _pages(self, base: str, *, deep: bool) -> Iterator[Page]:
        """Yield a listing in pages.  GarbledError where it holds what was not asked for.

        A server that does not heed the prefix would have all else of its bucket taken for ours.
        """
        for page in self.keys.pages(base, deep=deep):
            found = (*(key for key, _ in (*page.objects, *page.unsure)), *page.prefixes)
            # Of a marker "a/" some libraries say "a".
            if not all(f"{key}/".startswith(base) for key in (*found, *page.others)):
                raise garbled("listing", self.keys.where)
            yield page

    def read(self, path: str, limit: int) -> bytes:
        """Return a whole small file by one request."""
        return again(lambda: self.keys.whole(self._key(path), limit))

    @contextmanager
    def open(self, path: str) -> Iterator[Blob]:
        """Open an object for ranged reads; all come from the version that is there now."""
        yield ObjectBlob(self.keys, self._key(path))

    def stat(self, path: str) -> Entry | None:
        """Return the entry of an object as it is now; None where there is none."""
        return self._head(self._key(path))

    def _head(self, key: str) -> Entry | None:
        return again(lambda: self.keys.head(key))

    def checksums(self, files: Mapping[str, Entry]) -> Mapping[str, Mapping[str, str]]:
        """Return what the server says that whole objects hash to, asked of many at once."""
        if not self.able.checksum or not files:
            return {}
        found = self.keys.checksums({self._key(path): entry for path, entry in files.items()})
        return {path: found[key] for path in files if (key := self._key(path)) in found}

    def identity(self, path: str) -> tuple[int, int] | None:
        """Return a pair that is another one after each save of an object; None where nothing is.

        That of a prefix only tells that there is one.
        """
        key = self._key(path)
        found = self._head(key)
        if found is not None:
            return 1, _number(f"{found.etag} {found.size} {found.mtime_ns}")
        below = any(
            page.objects or page.unsure or page.others
            for page in self.keys.pages(f"{key}/", deep=True)
        )
        return (2, _number(key)) if below else None

    def create(self, path: str, content: bytes) -> None:
        """Write an object that must not exist yet, and see that the server obeys that."""
        key = self._key(path)
        if not self._obeys and self._head(key) is not None:
            raise FileExistsError(errno.EEXIST, "already there", path)
        self.keys.put(key, content, new=True)
        if self._obeys:
            return
        try:
            self.keys.put(key, content, new=True)
        except FileExistsError:
            self._obeys = True
            return
        self.keys.delete({key: ""})
        raise IgnoredConditionError(
            errno.ENOTSUP,
            f"{self.keys.where} writes over an object that is there although it was told not to (If-None-Match), so it can hold no lock",
            path,
        )

    def replace(self, path: str, content: bytes, *, if_match: str = "") -> None:
        """Write an object whole, over another of its name."""
        key = self._key(path)
        if if_match:
            self.keys.put(key, content, if_match=if_match)
        else:
            again(lambda: self.keys.put(key, content))

    def append(self, path: str, content: bytes, *, durable: bool = True) -> None:
        """Refuse: objects do not grow."""
        raise OSError(errno.ENOTSUP, f"{self.keys.where} cannot append to an object", path)

    def make_folder(self, path: str) -> None:
        """Do nothing: a prefix is there once a key begins with it."""

    def rename_to(self, path: str, other: Store, target: str) -> None:
        """Refuse: objects keep their names."""
        raise OSError(errno.ENOTSUP, f"{self.keys.where} cannot rename an object", path)

    def remove_file(self, path: str) -> Removed:
        """Remove one object; nothing where it is gone already."""
        found = self.stat(path)
        return Removed() if found is None else self.remove_files({path: found})

    def remove_files(self, files: Mapping[str, Entry], stop: Stop = never) -> Removed:
        """Remove objects in batches; each that is still there is told with its reason."""
        left = self.remove_each(files, stop)
        freed = sum(entry.size for path, entry in files.items() if path not in left)
        return Removed(freed, tuple(f"{path}: {why}" for path, why in left.items()))

    def remove_each(self, files: Mapping[str, Entry], stop: Stop = never) -> dict[str, str]:
        """Remove objects in batches; return why those that are still there are."""
        paths = {self._key(path): path for path in files}
        return self._remove(paths, {key: files[path].etag for key, path in paths.items()}, stop)

    def remove_markers(self, folders: Iterable[str]) -> None:
        """Remove what still shows directories in which nothing is left.  Raises OSError.

        One listing is made of all that lies below the location.
        """
        tops = {f"{self._key(folder)}/" for folder in folders}
        kept: set[str] = set()
        marks: list[tuple[str, str]] = []
        for page in self._pages(self._prefix(""), deep=True):
            if page.afresh:
                kept, marks = set(), []
            kept.update(_tops(page.others, tops))
            for key, entry in page.objects:
                for top in _tops((key,), tops):
                    if entry.size or not key.endswith("/"):
                        kept.add(top)
                    else:
                        marks.append((top, key))
            marks += [(top, f"{p}/") for p in page.prefixes for top in _tops((f"{p}/",), tops)]
            marks += [(top, key) for key, _ in page.unsure for top in _tops((f"{key}/",), tops)]
        unsure = {key for top, key in marks if top not in kept and not key.endswith("/")}
        real = self.keys.real(unsure) if unsure else set()
        kept.update(top for top, key in marks if key in real)
        bare = {key if key.endswith("/") else f"{key}/" for top, key in marks if top not in kept}
        self.keys.delete_markers(sorted(bare, reverse=True))

    def remove_tree(self, path: str, stop: Stop = never) -> Removed:
        """Remove all objects below a path, markers and odd keys too, as one listing finds them."""
        base = self._prefix(path)
        found: dict[str, int] = {}
        unsure: list[str] = []
        try:
            for page in self._pages(base, deep=True):
                if page.afresh:
                    found, unsure = {}, []
                found |= {key: entry.size for key, entry in page.objects}
                unsure += [key for key, _ in page.unsure]
            real = self.keys.real(unsure) if unsure else set()
        except OSError as error:
            return Removed(0, (f"{path}: {error.strerror or error}",))
        found |= {key if key in real else f"{key}/": 0 for key in unsure}
        skip = len(self.prefix) + 1 if self.prefix else 0
        left = self._remove({key: key[skip:] for key in found}, {}, stop)
        freed = sum(size for key, size in found.items() if key[skip:] not in left)
        return Removed(freed, tuple(f"{path}: {why}" for path, why in left.items()))

    def keeping(self, deleted: Mapping[str, Entry] | None = None) -> Keeping:
        """Ask the bucket, in no more requests than are few; see `_past.py`."""
        base = self._prefix("")
        keys = {f"{base}{path}": entry.etag for path, entry in (deleted or {}).items()}
        return asked(self.keys.past, self.keys.where, keys, base)

    def _remove(
        self, paths: Mapping[str, str], etags: Mapping[str, str], stop: Stop
    ) -> dict[str, str]:
        """Delete keys in batches, a few of them at once; none is begun after one that was refused.

        `paths` says how each key is called; returned is why some are left.
        """
        refused: list[str] = []

        def one(batch: Sequence[str]) -> dict[str, str]:
            if refused or stop():
                return dict.fromkeys(batch, refused[0] if refused else "left for later")
            try:
                return self.keys.delete({key: etags.get(key, "") for key in batch})
            except OSError as error:
                refused.append(error.strerror or str(error))
                return dict.fromkeys(batch, refused[0])

        keys = list(paths)
        batches = [keys[first : first + BATCH] for first in range(0, len(keys), BATCH)]
        if len(batches) < 2:  # noqa: PLR2004 - one needs no thread
            answers = list(map(one, batches))
        else:
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - most calls need no thread

            with ThreadPoolExecutor(_AT_ONCE) as pool:
                answers = list(pool.map(one, batches))
        return {paths[key]: why for answer in answers for key, why in answer.items()}


def _tops(keys: Iterable[str], tops: Collection[str]) -> Iterator[str]:
    """Yield those of the prefixes below which keys lie."""
    for key in keys:
        at = key.find("/")
        while at >= 0:
            if key[: at + 1] in tops:
                yield key[: at + 1]
                break
            at = key.find("/", at + 1)


def _number(text: str) -> int:
    import hashlib  # noqa: PLC0415 - takes as long to import as ten other modules; a listing needs none

    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest())
