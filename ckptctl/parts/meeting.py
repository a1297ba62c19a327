"""Where the callers meet: the destination's state, without anybody who waits for another.

Of one checkpoint `staging/NAME.parts/K.json` says what a caller has handed in, and `staging/NAME.parts/K.files/`
holds what may not have its name yet.  `staging/parts/` holds what is of a whole call: a lock, so that
no two callers are the same one, and a roll; of the directory of several runs it says who has which.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from ckptctl.coming import FOLDER as STAGING
from ckptctl.coming import PARTS, parts_name
from ckptctl.lock import Lock
from ckptctl.manifest import LIMIT
from ckptctl.parts.note import NoteError
from ckptctl.parts.opened import Opened, dump_opened, parse_opened
from ckptctl.parts.part import Caller, Part, dump, parse
from ckptctl.parts.roll import Roll, dump_roll, parse_roll
from ckptctl.parts.tree import Tree, dump_tree, parse_tree
from ckptctl.reading import TooLargeError, VanishedError
from ckptctl.stores._base import Store
from ckptctl.transfer.notes import CALLS

_T = TypeVar("_T")

_MANY, _NEARLY = 1000, 10
"""From how many callers on it is listed first who has come, and which share of them is little."""

_ABSENT = (FileNotFoundError, VanishedError, NoteError, TooLargeError)
"""Of what cannot be understood nothing is known: the part has to be handed in again."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """The state of one run at the destination."""

    state: Store
    clock: Callable[[], int]

    def parts(self, key: str, count: int) -> dict[int, Part]:
        """Return the parts of one checkpoint, by the numbers of their callers.  Raises OSError."""
        found = {}
        for number in self._numbers(folder_of(key), ".json", count):
            part = self.part(key, Caller(number, count))
            if part is not None:
                found[number] = part
        return found

    def part(self, key: str, caller: Caller) -> Part | None:
        """Return what one caller has handed in of a checkpoint, if it has.  Raises OSError."""
        part = self._read(f"{folder_of(key)}/{caller.number}.json", parse)
        return part if part and (part.key, part.caller) == (key, caller) else None

    def keys(self, count: int) -> Iterator[Part]:
        """Yield of each checkpoint of which a part is there one that so many callers divide."""
        try:
            there = self.state.listing(STAGING)
        except FileNotFoundError:
            return
        for name, folder in there.folders.items():
            if not name.endswith(PARTS):
                continue
            for note in sorted(folder.files):
                part = self._read(f"{STAGING}/{name}/{note}", parse)
                if part is None:
                    continue
                if part.caller.of == count and folder_of(part.key) == f"{STAGING}/{name}":
                    yield part
                    break

    def called(self, count: int) -> Collection[int]:
        """Return whose rolls have to be asked for.  Raises OSError."""
        return self._numbers(f"{STAGING}/{CALLS}", f"-of-{count}.json", count)

    def announced(self, count: int) -> Collection[int]:
        """Return whose trees have to be asked for.  Raises OSError."""
        return self._numbers(f"{STAGING}/{CALLS}", f"-of-{count}.runs.json", count)

    def _numbers(self, folder: str, ending: str, count: int) -> Collection[int]:
        """Return whose notes have to be asked for: each by its name, not by a listing.

        What was written a moment ago may be missing in a cached one.  Of very many callers one
        tells enough as long as nearly all are still to come.
        """
        if count <= _MANY:
            return range(count)
        try:
            names = self.state.listing(folder, deep=False).files
        except FileNotFoundError:
            return ()
        stems = (name.removesuffix(ending) for name in names if name.endswith(ending))
        there = {int(stem) for stem in stems if stem.isascii() and stem.isdigit()}
        return sorted(there) if len(there) * _NEARLY < count else range(count)

    def note(self, part: Part) -> None:
        """Write down what a caller has handed in.  Raises OSError."""
        folder = folder_of(part.key)
        self.state.make_folder(folder)
        self.state.replace(f"{folder}/{part.caller.number}.json", dump(part))

    def call(self, roll: Roll) -> None:
        """Write down what a caller saw.  Raises OSError."""
        self.state.make_folder(f"{STAGING}/{CALLS}")
        self.state.replace(_roll_name(roll.caller), dump_roll(roll))

    def roll(self, caller: Caller) -> Roll | None:
        """Return what a caller saw when it last called, if it did.  Raises OSError."""
        return self._read(_roll_name(caller), parse_roll)

    def announce(self, tree: Tree) -> None:
        """Write down which runs a caller has.  Raises OSError."""
        self.state.make_folder(f"{STAGING}/{CALLS}")
        self.state.replace(_tree_name(tree.caller), dump_tree(tree))

    def tree(self, caller: Caller) -> Tree | None:
        """Return which runs a caller had when it last called, if it did.  Raises OSError."""
        return self._read(_tree_name(caller), parse_tree)

    def leave_open(self, opened: Opened) -> None:
        """Write down for whom a checkpoint that is published now is open; for nobody: forget it."""
        name = _open_name(opened.key)
        if opened.missing:
            self.state.make_folder(f"{STAGING}/{CALLS}")
            self.state.replace(name, dump_opened(opened))
        elif self.state.stat(name) is not None:
            self.state.remove_file(name)

    def opened(self, key: str, caller: Caller) -> Opened | None:
        """Return what says that a published checkpoint is open for a caller.  Raises OSError."""
        opened = self._read(_open_name(key), parse_opened)
        if opened is None or (opened.key, opened.of) != (key, caller.of):
            return None
        return opened if caller.number in opened.missing else None

    def alive(self, caller: Caller) -> bool:
        """Whether a caller is at it now.  Raises OSError."""
        return self._lock(caller).lives()

    @contextmanager
    def being(self, caller: Caller) -> Iterator[None]:
        """Be this caller, and nobody else at the same time.  LockedError, OSError."""
        self.state.make_folder(f"{STAGING}/{CALLS}")
        lock = self._lock(caller)
        lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _read(self, name: str, parse: Callable[[bytes], _T]) -> _T | None:
        """Return what a note says; None where there is none that can be understood.  Raises OSError."""
        try:
            return parse(self.state.read(name, LIMIT))
        except _ABSENT:
            return None

    def _lock(self, caller: Caller) -> Lock:
        file = f"{STAGING}/{CALLS}/{caller.number}-of-{caller.of}.lock"
        return Lock(self.state, self.clock, file=file)

    def forget(self, key: str) -> None:
        """Remove all that was handed in of a checkpoint that is whole now.  Raises OSError."""
        self.state.remove_tree(folder_of(key))


def _roll_name(caller: Caller) -> str:
    return f"{STAGING}/{CALLS}/{caller.number}-of-{caller.of}.json"


def _open_name(key: str) -> str:
    return f"{STAGING}/{CALLS}/{parts_name(key).removesuffix(PARTS)}.open.json"


def _tree_name(caller: Caller) -> str:
    return f"{STAGING}/{CALLS}/{caller.number}-of-{caller.of}.runs.json"


def folder_of(key: str) -> str:
    """Return the directory of the parts of one checkpoint, within the state."""
    return f"{STAGING}/{parts_name(key)}"


def staged_at(key: str, number: int, path: str) -> str:
    """Return where a file of a part lies that has no name in the run yet, within the state."""
    return f"{staged_below(key, number)}/{path}"


def whole_stage(key: str) -> str:
    """Return the directory of a disk's state in which the files of all parts come together."""
    return f"{folder_of(key)}/whole"


def staged_below(key: str, number: int) -> str:
    """Return the directory of these, within the state.

    Not `K/`: where `K.json` is beside it, SeaweedFS lists what lies in it before that, S3 after it, and a
    listing that begins after `K.json` lacks it.
    """
    return f"{folder_of(key)}/{number}.files"
