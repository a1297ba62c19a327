"""What a format is: it recognises a framework's layout from names, and proves it from headers.

Recognising works on a listing plus small text files, so that a bucket needs one listing.  Proving
opens heads, tails and indexes; it never reads payloads, and nothing is ever unpickled.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from typing import ClassVar, NamedTuple

from ckptctl.containers import prove_file
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Metadata
from ckptctl.names import TENSOR_SUFFIXES
from ckptctl.reading import Finding, Reader
from ckptctl.registry import Registry

_INDEXES = (".index", ".index.json", ".metadata")
"""How names end of files that say which others belong to a checkpoint."""


class Pointer(NamedTuple):
    """A file by which a framework names a checkpoint."""

    file: str  # the tracker's name, relative to the folder
    target: str  # what it names: a checkpoint's name, file or directory; only its last part counts


class Move(NamedTuple):
    """From where to where a run is copied."""

    roots: tuple[str, ...]  # full paths by which it is known at the source
    to: str  # its path or URL at the destination

    def below(self, path: str) -> str | None:
        """Return where in the run a full path of the source is; None where it is not in it."""
        for root in self.roots:
            if path.startswith(root.rstrip("/") + "/"):
                return path[len(root.rstrip("/")) :].strip("/")
        return None


class Digest(NamedTuple):
    """What a framework itself says that the bytes of a file hash to."""

    path: str  # relative to the run
    algorithm: str  # of hashlib
    hexdigest: str  # lower case; of a name that carries only its beginning, that
    said_by: str  # the file or name that says so
    sure: bool = True
    """False: it may be of something else than these bytes, so that one that does not agree proves
    damage only together with a check of the file's own (a ZIP's CRC)."""


class Format(ABC):
    """One framework's layout.

    Each `find` must be exact: no name is claimed by two frameworks.  `generic` formats (plain
    tensor files and folders) are asked last, about names that no framework claims or owns.
    """

    name: ClassVar[str]
    summary: ClassVar[str]  # one line, for `list --formats` and docs/formats.md
    source: ClassVar[str]  # project and files that the facts come from
    example: ClassVar[Mapping[str, bytes]]  # path -> content: a run with one complete checkpoint
    generic: ClassVar[bool] = False
    vague: ClassVar[bool] = False  # its files may lie in others' directories: those are asked first
    scans_everything: ClassVar[bool] = False  # its trainer breaks on a strange name beside it
    own_names: ClassVar[re.Pattern[str] | None] = None
    """Its directory names; one that extends such a name (`checkpoint-500-best`) is a user's copy."""
    parts: ClassVar[re.Pattern[str] | None] = None
    """Names below its directories that may carry another number (`global_step500` in `checkpoint-500/`)."""

    holds_anything: ClassVar[bool] = False
    """Whether its directories are filled by the user: numbers in what lies there say nothing."""

    roots: ClassVar[tuple[str, ...]] = ()
    """Names of directories beside each other that each hold a part of one checkpoint, or all of it.

    They begin with "_"."""

    rewrites: ClassVar[frozenset[str]] = frozenset()
    """Names of files in a checkpoint that its trainer, or its user, rightly rewrites after the save."""

    def names(self) -> tuple[str, ...]:
        """Return the names that its claims carry as their format."""
        return (self.name,)

    @abstractmethod
    def find(self, folder: Folder, reader: Reader) -> Iterable[Claim]:
        """Yield what the folder directly holds of this format; the reader's paths start there.

        Raises OSError where a small file that decides about recognition cannot be read.
        """

    def metadata(self, claim: Claim, folder: Folder, reader: Reader) -> Metadata:
        """Return what the framework itself writes into the checkpoint as JSON or YAML.

        Content that cannot be understood is `unread` in the result; OSError means that it could
        not be read at all (VanishedError: it is gone, which is no error of the run).
        """
        return Metadata()

    def pointers(self, folder: Folder, reader: Reader) -> Iterable[Pointer]:
        """Yield what the framework's tracker files in the folder name.  Raises OSError."""
        return ()

    def prove(self, checkpoint: Checkpoint, reader: Reader) -> Iterable[Finding]:
        """Yield what is wrong at structure level; nothing where all that is knowable is whole.

        The reader's paths start at the run.  Raises OSError where a file cannot be read.
        """
        for path, entry in checkpoint.files.items():
            if path not in checkpoint.sidecars and path.lower().endswith(TENSOR_SUFFIXES):
                yield from prove_file(path, entry, reader)

    def digests(self, checkpoint: Checkpoint, reader: Reader) -> Iterable[Digest]:
        """Yield the digests that the framework itself recorded; the reader's paths start at the run.

        Raises OSError where what holds them cannot be read; what cannot be understood yields none.
        """
        return ()

    def markers(self, checkpoint: Checkpoint, scheme: str) -> Mapping[str, bytes]:
        """Return the files that a copy needs on stores of a scheme and that the checkpoint has not.

        By path in the run, in the order in which they may appear.  "file" is a disk.
        """
        return {}

    def first(self, checkpoint: Checkpoint) -> tuple[str, ...]:
        """Return the files of a copy that come before all others.

        Without them what is there already would be taken for a plain folder of tensors.
        """
        return ()

    def last(self, checkpoint: Checkpoint, made: Collection[str] = ()) -> tuple[str, ...]:
        """Return the files of a copy that come after all others, one after the other.

        While the very last one is missing, neither ckptctl nor, where that looks at all, its
        framework takes the copy for whole.  `made` are the markers that the copy gets.
        """
        indexes = sorted(path for path in checkpoint.files if path.endswith(_INDEXES))
        return ending(checkpoint, (*indexes, checkpoint.key_file, *made), made)

    def repointed(self, content: bytes, there: Collection[str], move: Move) -> bytes | None:
        """Return what a tracker file says at a destination; None: there it must not be.

        `there` are the names by which all that is whole there can be called.  One line that is a
        full path of the source becomes that of the destination; any other text stays as it is.
        """
        text = content.decode("utf-8", "surrogateescape")
        inside = move.below(text.strip())
        if inside is None or len(text.strip().splitlines()) > 1:
            return content
        moved = text.replace(text.strip(), f"{move.to.rstrip('/')}/{inside}")
        return moved.encode("utf-8", "surrogateescape")

    def link_in_bucket(self, link: str, key: str) -> tuple[str, bytes] | None:
        """Return the object, its path and content, that stands for a symlink in a bucket.

        `key` is that of what the link leads to.  None where the framework knows no such thing.
        """
        return None

    def link_on_disk(self, tracker: str) -> str | None:
        """Return the path of the symlink for which an object in a bucket stands; None if for none."""
        return None


def ending(
    checkpoint: Checkpoint, paths: Iterable[str], made: Collection[str] = ()
) -> tuple[str, ...]:
    """Return those of some paths that a copy will have; of one that is there twice the last counts."""
    known = [path for path in paths if path in checkpoint.files or path in made]
    return tuple(dict.fromkeys(reversed(known)))[::-1]


FORMATS: Registry[type[Format]] = Registry("ckptctl.formats")
