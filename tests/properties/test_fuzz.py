"""Files of real programs, changed at random: a finding or silence, never an exception, soon, in little memory.

`CKPTCTL_FUZZ=20000 pytest tests/properties/test_fuzz.py` looks for longer.
"""

from __future__ import annotations

import gzip
import io
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptctl.annotate import Beside, annotate
from ckptctl.containers import Verdict, check, crc_errors
from ckptctl.decision import Context
from ckptctl.formats._base import FORMATS
from ckptctl.formats._dcp_index import files_needed
from ckptctl.formats._hf_index import read_shards
from ckptctl.formats._json_stream import read_object
from ckptctl.formats._pickle_scan import TooLongError
from ckptctl.formats._samples import dcp_metadata, safetensors, shard_index, torch_zip
from ckptctl.group import runs_below
from ckptctl.known import known_formats
from ckptctl.listing import Entry, Folder
from ckptctl.prove import prove
from ckptctl.reading import Below, Blob, TooLargeError, VanishedError
from ckptctl.sidecar import parse_sidecar
from ckptctl.stores.local import LocalStore
from ckptctl.yaml_nodes import UnparsableError, parse
from tests.measured import peak
from tests.test_container_kinds import FLAX, LZ4_CHECKED, gguf, npy, tar
from tests.test_containers import Memory, OneFile, hdf5

NOW = 2_000_000_000 * 10**9
TIMES = int(os.environ.get("CKPTCTL_FUZZ", "0"))
MEMORY = 256 * 2**20
SMALL = 200_000  # bytes of a file of the corpus that is changed


def often(times: int) -> settings:
    return settings(
        max_examples=TIMES or times,
        deadline=timedelta(seconds=60),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        database=None,
    )


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    before = peak()
    yield
    assert peak() - before < MEMORY


HURTING = [
    b"\xff" * 4, b"\xff" * 8, b"\0" * 4, b"\0" * 8, b"\xff\xff\xff\x7f", b"\0" * 7 + b"\x80", b"[", b"{", b'"', b"}", b"]",
    b"9" * 400, b"9" * 5000, b"1e999", b"NaN", b"-1", b"null", b"true", b"../", b"/", b"\\", b"\\ud800", b"\xed\xa0\x80",
    b"\xc3", b"PK\x05\x06", b"PK\x06\x07", b"PK\x01\x02", b"!!python/object:os.system ", b"&a ", b"*a", b"? ", b"- ",
    b"\n", b"\x94", b"\x8c\x0drelative_path", b"\x8d" + b"\xff" * 8, b"[" * 3000, b'{"a":' * 3000, b"\x91" * 3000,
]  # fmt: skip

PLACE = st.floats(0, 1)
CHANGE = st.one_of(
    st.tuples(st.just("flip"), PLACE, st.integers(0, 7)),
    st.tuples(st.just("cut"), PLACE, st.just(0)),
    st.tuples(st.just("put"), PLACE, st.sampled_from(HURTING) | st.binary(min_size=1, max_size=9)),
    st.tuples(st.just("over"), PLACE, st.sampled_from(HURTING) | st.binary(min_size=1, max_size=9)),
    st.tuples(st.just("drop"), PLACE, st.integers(1, 600)),
    st.tuples(st.just("swap"), PLACE, PLACE),
    st.tuples(st.just("twice"), PLACE, PLACE),
    st.tuples(st.just("zero"), PLACE, st.integers(1, 5000)),
)
CHANGES = st.lists(CHANGE, min_size=1, max_size=4)


def changed(content: bytes, changes: list[tuple[str, float, object]]) -> bytes:
    data = bytearray(content)
    for kind, place, more in changes:
        at = int(place * len(data))
        if kind == "flip" and at < len(data) and isinstance(more, int):
            data[at] ^= 1 << more
        elif kind == "cut":
            del data[at:]
        elif kind == "put" and isinstance(more, bytes):
            data[at:at] = more
        elif kind == "over" and isinstance(more, bytes):
            data[at : at + len(more)] = more
        elif kind == "drop" and isinstance(more, int):
            del data[at : at + more]
        elif kind == "zero" and isinstance(more, int):
            data[at : at + more] = bytes(len(data[at : at + more]))
        elif isinstance(more, float):
            other = int(more * len(data))
            first, second = data[at : at + 64], data[other : other + 64]
            if kind == "swap":
                data[at : at + 64], data[other : other + 64] = second, first
            else:
                data[other:other] = first
    return bytes(data)


def zipped(how: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        for name in ("a.npy", "b.npy"):
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (), }", 8))
        archive.comment = b"made by hand"
    return buffer.getvalue()


TAR = tar({"./model_config.yaml": b"a: 1\n", "./model_weights.ckpt": bytes(2000), "é" * 70: b"x"})
CONTAINERS = {
    "step_1.pt": torch_zip(), "z.npz": zipped(zipfile.ZIP_STORED), "zc.npz": zipped(zipfile.ZIP_DEFLATED),
    "a.safetensors": safetensors("a", "b", "c"), "w.h5": hdf5(900), "w1.h5": hdf5(900, 1), "m.gguf": gguf(),
    "flax.msgpack": FLAX, "checkpoint_3": FLAX, "w.npy": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }", 48),
    "a.nemo": TAR, "b.tar": tar({"a": b"b"}, how=tarfile.GNU_FORMAT), "ep1.tar.gz": gzip.compress(TAR),
    "w.gz": gzip.compress(b"x" * 99), "w.pt.lz4": LZ4_CHECKED, "w.pt.xz": lzma.compress(FLAX),
}  # fmt: skip


@often(800)
@given(st.sampled_from(sorted(CONTAINERS)), CHANGES)
def test_a_container(name: str, changes: list[tuple[str, float, object]]) -> None:
    content = changed(CONTAINERS[name], changes)
    blob = Memory(content)
    assert check(name, Entry(len(content), 0), OneFile(blob)).verdict in Verdict
    assert blob.taken <= 4 * len(content) + 200_000
    for text in crc_errors(Memory(content)):
        assert len(text) < 1000


@cache
def small_files(corpus: Path) -> list[tuple[Path, str]]:
    """Each file of the corpus that is small, as its run and its path in that."""
    found = []
    for run in sorted(corpus.iterdir()):
        kinds: set[str] = set()
        for path in sorted(run.rglob("*")):
            kind = path.name.translate({ord(digit): None for digit in "0123456789"})
            if path.is_file() and 0 < path.stat().st_size <= SMALL and kind not in kinds:
                kinds.add(kind)
                found.append((run, str(path.relative_to(run))))
    return found


class Overlay:
    """A run of which some files have another content."""

    def __init__(self, contents: Mapping[str, bytes], store: LocalStore | None = None) -> None:
        self.contents = contents
        self.store = store

    def read(self, path: str, limit: int) -> bytes:
        if path in self.contents:
            if len(self.contents[path]) > limit:
                raise TooLargeError
            return self.contents[path]
        if self.store is None:
            raise VanishedError(path)
        return self.store.read(path, limit)

    @contextmanager
    def open(self, path: str) -> Iterator[Blob]:
        if path in self.contents:
            yield Memory(self.contents[path])
        elif self.store is None:
            raise VanishedError(path)
        else:
            with self.store.open(path) as blob:
                yield blob


def with_file(folder: Folder, path: str, size: int) -> Folder:
    """The listing as it would be with a file of that size."""
    name, _, rest = path.partition("/")
    if rest:
        below = folder.folders.get(name, Folder(f"{folder.path}/{name}".lstrip("/")))
        return replace(folder, folders={**folder.folders, name: with_file(below, rest, size)})
    entry = folder.files.get(name, Entry(0, NOW - 10**15, 1, 1 + zlib.crc32(path.encode())))
    return replace(folder, files={**folder.files, name: entry._replace(size=size)})


KNOWN = known_formats()
BY_NAME = {name: kind for kind in KNOWN for name in kind.names()}


def survive(folder: Folder, reader: Overlay) -> None:
    """Do all that `list`, `verify` and `prune` do with what was read."""
    for found in runs_below(folder, reader, KNOWN, deep=True, top="run"):
        run = annotate(found, "run", "/run", reader, Beside(), Context(NOW, 0))
        below = Below(reader, found.folder.path)
        for checkpoint in (*run.checkpoints, *run.leftovers):
            for finding in prove(checkpoint, BY_NAME, below, lambda _: None):
                assert len(finding.text) < 2000
            for _ in BY_NAME[checkpoint.format].digests(checkpoint, below):
                pass


EXAMPLES = sorted(kind.name for kind in FORMATS if kind.example)


@often(400)
@given(st.data(), CHANGES)
def test_a_file_of_an_example(
    data: st.DataObject, changes: list[tuple[str, float, object]]
) -> None:
    tree = dict(FORMATS[data.draw(st.sampled_from(EXAMPLES))].example)
    path = data.draw(st.sampled_from(sorted(tree)))
    tree[path] = changed(tree[path], changes)
    folder = Folder("")
    for name, content in tree.items():
        folder = with_file(folder, name, len(content))
    survive(folder, Overlay(tree))


@cache
def listed(run: Path) -> tuple[LocalStore, Folder]:
    store = LocalStore(str(run))
    return store, store.listing()


@often(150)
@given(st.data(), CHANGES)
def test_a_small_file_of_a_real_run(
    corpus: Path, data: st.DataObject, changes: list[tuple[str, float, object]]
) -> None:
    run, path = data.draw(st.sampled_from(small_files(corpus)))
    store, folder = listed(run)
    content = changed((run / path).read_bytes(), changes)
    survive(with_file(folder, path, len(content)), Overlay({path: content}, store))


SIDECAR = (
    b'{"step": 5, "epoch": 1.5, "saved_at": "2026-01-02T03:04:05Z", "metrics": {"val": 1e-5, "a": -2},'
    b' "tags": ["x"], "pinned": true, "resumable": false, "lr": 0.1, "big": 12345678901234567890}'
)
LOG = b'{"log_history": [{"step": 5, "loss": 0.5}, {"step": 6}], "global_step": 5, "more": {"a": ["b\\"", 1]}}'


@often(400)
@given(CHANGES)
def test_a_sidecar(changes: list[tuple[str, float, object]]) -> None:
    parse_sidecar("step_5.json", changed(SIDECAR, changes))


@often(400)
@given(st.sampled_from([SIDECAR, LOG]), CHANGES, st.integers(1, 50), st.booleans())
def test_json_in_pieces(
    content: bytes, changes: list[tuple[str, float, object]], size: int, skips: bool
) -> None:
    content = changed(content, changes)
    pieces = (content[at : at + size] for at in range(0, len(content), size))
    try:
        read_object(pieces, {"log_history": lambda _: None}, wanted=("step",) if skips else None)
    except ValueError:
        pass  # what it then ends in


@often(300)
@given(CHANGES, st.integers(1, 50))
def test_a_shard_index(changes: list[tuple[str, float, object]], size: int) -> None:
    content = changed(
        shard_index({"m-1.safetensors": ["a", "b"], "m-2.safetensors": ["c"]}), changes
    )
    try:
        read_shards(content[at : at + size] for at in range(0, len(content), size))
    except ValueError:
        pass  # what it then ends in


@often(400)
@given(st.booleans(), CHANGES)
def test_an_index_of_dcp(
    corpus: Path, real: bool, changes: list[tuple[str, float, object]]
) -> None:
    path = corpus / "torch-dcp/step-500/.metadata"
    content = path.read_bytes() if real else dcp_metadata({"__0_0.distcp": 5, "__1_0.distcp": 6})
    try:
        files_needed(changed(content, changes))
    except (ValueError, TooLongError):
        pass  # what it then ends in


YAML = b"""# a comment
%YAML 1.1
---
version: 1
tiers: {a: {url: /x}, b: &b {url: "s3://y\\u1234"}}
runs: [{match: '**', policy: *b}]
text: |
  two
  lines
"step": 5.5e3
? complex
: [1, 2, {x: ~}]
"""


@often(500)
@given(CHANGES)
def test_yaml(changes: list[tuple[str, float, object]]) -> None:
    try:
        parse(changed(YAML, changes))
    except UnparsableError:
        pass  # what it then ends in


def test_what_is_not_changed_is_sound() -> None:
    for name, content in CONTAINERS.items():
        assert (
            check(name, Entry(len(content), 0), OneFile(Memory(content))).verdict
            is not Verdict.TORN
        )
    assert parse(YAML)[1] == []
    assert parse_sidecar("step_5.json", SIDECAR).problems == ()
