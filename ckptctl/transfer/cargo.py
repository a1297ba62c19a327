"""What there is to copy of one checkpoint, and in which order it must come; pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ckptctl.arriving import Arrival
from ckptctl.listing import Entry, Folder
from ckptctl.looking import links_in
from ckptctl.manifest import Manifest, Noted
from ckptctl.model import Checkpoint


class Piece(NamedTuple):
    """One file of a checkpoint."""

    path: str  # within the run, at the source
    target: str  # within the run, at the destination
    entry: Entry  # as it was listed at the source
    mtime_ns: int  # of the file itself: what an object says is only when it was uploaded
    digest: str | None = None  # that the source's manifest noted of this very file
    twin: str | None = None  # an earlier piece (its target) that is the same inode
    sidecar: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cargo:
    """All that is copied of one checkpoint; paths are relative to the run."""

    checkpoint: Checkpoint
    member: str  # its path at the destination
    pieces: tuple[Piece, ...]  # in the order in which they may appear: the key file last
    links: Mapping[str, str] = field(default_factory=dict)
    link_times: Mapping[str, int] = field(default_factory=dict)  # mtimes in ns, as far as known
    dirs: Mapping[str, int] = field(default_factory=dict)  # with their mtimes in ns
    made: Mapping[str, bytes] = field(
        default_factory=dict
    )  # markers that only the destination needs
    early: tuple[str, ...] = ()  # targets that come before all others
    late: tuple[str, ...] = ()  # and those that come after them, one after the other; `made` too

    @property
    def bytes(self) -> int:
        """How many bytes its files have, each inode counted once."""
        return sum(piece.entry.size for piece in self.pieces if piece.twin is None)

    @property
    def roots(self) -> tuple[str, ...]:
        """The directories of which it consists, at the destination; its member first."""
        old = self.checkpoint.member
        return tuple(self.member if root == old else root for root in self.checkpoint.roots)

    def payload(self) -> Iterator[Piece]:
        """Yield what is the checkpoint itself, without the sidecars beside it."""
        return (piece for piece in self.pieces if not piece.sidecar)

    def beside(self) -> Iterator[Piece]:
        """Yield the sidecars beside it."""
        return (piece for piece in self.pieces if piece.sidecar)

    def called(self, suffix: str) -> Cargo:
        """Return it under another name at the destination, beside what has its own name there."""
        names = {path: _renamed(path, suffix) for path in self._tops()}

        def at(path: str) -> str:
            top = next((t for t in names if path == t or path.startswith(f"{t}/")), None)
            return path if top is None else names[top] + path[len(top) :]

        pieces = tuple(
            p._replace(target=at(p.target), twin=p.twin and at(p.twin)) for p in self.pieces
        )
        return replace(
            self,
            member=at(self.member),
            pieces=pieces,
            links={at(path): text for path, text in self.links.items()},
            link_times={at(path): ns for path, ns in self.link_times.items()},
            dirs={at(path): ns for path, ns in self.dirs.items()},
            made={at(path): content for path, content in self.made.items()},
            early=tuple(map(at, self.early)),
            late=tuple(map(at, self.late)),
        )

    def _tops(self) -> Iterator[str]:
        """Yield the names that it has in its run: of directories, and of files in none of them."""
        yield from self.roots
        yield from (p.target for p in self.pieces if not self.checkpoint.contains(p.path))


def load(
    checkpoint: Checkpoint,
    folder: Folder,
    manifest: Manifest | None,
    arrival: Arrival,
    time_of: Callable[[str], int] | None,
    strange: Collection[str] = (),
) -> Cargo:
    """Return what there is to copy, without files that are `strange` to it: made for its store alone.

    `folder` is the run's at the source, `manifest` the one of the checkpoint there; `time_of` tells
    when a symbolic link was made, and is None for a store that holds none: there the manifest knows
    links and directories, if it is that of these very files.
    """
    noted = manifest.files if manifest else {}
    late = {path: number for number, path in enumerate(arrival.last)}
    paths = [path for path in checkpoint.files if path not in strange]
    pieces = []
    inodes: dict[object, str] = {}
    for path in sorted(paths, key=lambda path: (late.get(path, -1), path)):
        entry, known = checkpoint.files[path], noted.get(path)
        if known is not None and not known.is_same(entry):
            known = None
        same: object = (entry.device, entry.inode) if entry.inode and entry.links > 1 else None
        if known is not None and not entry.inode:
            # An object has no inode: its manifest tells, but for what cannot be one inode.
            same = (known.hardlink or path, entry.size, known.digest)
        twin = None if same is None else inodes.setdefault(same, path)
        pieces.append(
            Piece(
                path,
                path,
                entry,
                known.mtime_ns if known else entry.mtime_ns,
                known.digest if known else None,
                None if twin in {None, path} else twin,
                path in checkpoint.sidecars,
            )
        )
    links = links_in(checkpoint, folder)
    times = {path: time_of(path) for path in links} if time_of else {}
    dirs = _dirs(checkpoint, folder)
    if time_of is None and manifest is not None and manifest.fits(checkpoint.files):
        known_links = dict(_links(checkpoint, manifest))
        links = {path: file.link or "" for path, file in known_links.items()}
        times = {path: file.mtime_ns for path, file in known_links.items()}
        dirs |= {path: ns for path, ns in manifest.dirs.items() if _is_in(checkpoint, path)}
    return Cargo(
        checkpoint=checkpoint,
        member=checkpoint.member,
        pieces=tuple(pieces),
        links=links,
        link_times=times,
        dirs=dirs,
        made=arrival.made,
        early=arrival.first,
        late=arrival.last,
    )


def _links(checkpoint: Checkpoint, manifest: Manifest) -> Iterator[tuple[str, Noted]]:
    """Yield the links of a checkpoint that a manifest notes; what is a file by now is none."""
    for path, noted in manifest.files.items():
        if noted.link is not None and path not in checkpoint.files and _is_in(checkpoint, path):
            yield path, noted


def _is_in(checkpoint: Checkpoint, path: str) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in checkpoint.roots)


def _dirs(checkpoint: Checkpoint, folder: Folder) -> dict[str, int]:
    """Return the directories of a checkpoint; in a bucket they have no times of their own (0)."""
    found: dict[str, int] = {}
    for root in checkpoint.roots:
        if (inside := folder.inside(root)) is not None:
            found |= {path.rstrip("/"): deep.mtime_ns for path, deep in inside.tree(f"{root}/")}
    return found


def _renamed(path: str, suffix: str) -> str:
    """Return a name with something added before its extension."""
    above, slash, name = path.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    known = dot and stem and extension.isalnum() and not extension.isdecimal()
    return f"{above}{slash}{stem}{suffix}.{extension}" if known else f"{path}{suffix}"
