"""What a format is: it recognises a framework's layout from names, and proves it from headers.

Recognising works on a listing plus small text files, so that a bucket needs one listing.  Proving
opens heads, tails and indexes; it never reads payloads, and nothing is ever unpickled.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar, NamedTuple

from ckptctl.containers import prove_file
from ckptctl.listing import Folder
from ckptctl.model import Checkpoint, Claim, Metadata
from ckptctl.names import TENSOR_SUFFIXES
from ckptctl.reading import Finding, Reader
from ckptctl.registry import Registry


class Pointer(NamedTuple):
    """A file by which a framework names a checkpoint."""

    file: str  # the tracker's name, relative to the folder
    target: str  # what it names: a checkpoint's name, file or directory; only its last part counts


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


FORMATS: Registry[type[Format]] = Registry("ckptctl.formats")
