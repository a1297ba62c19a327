"""Whole, torn or unprovable: one file after the other, as real programs write and cut them."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptctl.containers import Check, Verdict, check, prove_file
from ckptctl.formats._samples import safetensors, torch_zip
from ckptctl.listing import Entry
from ckptctl.reading import Blob, VanishedError
from ckptctl.stores.local import LocalStore
from tests.trees import make_tree

LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
BOUND = 300_000  # more than a head, a tail and the directory of any file made here


class Memory:
    """A file in memory that counts what is read of it, and the reader of it."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)
        self.taken = 0

    def read(self, offset: int, length: int) -> bytes:
        assert offset >= 0
        assert length >= 0
        data = self.content[offset : offset + length]
        self.taken += len(data)
        return data

    def readinto(self, offset: int, buffer: memoryview) -> int:
        data = self.read(offset, len(buffer))
        buffer[: len(data)] = data
        return len(data)


class OneFile:
    """A reader that has one file under every name."""

    def __init__(self, blob: Memory) -> None:
        self.blob = blob

    @contextmanager
    def open(self, path: str) -> Iterator[Blob]:
        yield self.blob

    def read(self, path: str, limit: int) -> bytes:
        raise AssertionError(f"{path} was read as a whole")


def look(content: bytes, name: str = "step_1.pt", bound: int = BOUND) -> Check:
    blob = Memory(content)
    found = check(name, Entry(len(content), 0), OneFile(blob))
    assert blob.taken <= bound
    return found


def plain_zip(members: dict[str, bytes], comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.comment = comment
    return buffer.getvalue()


def header_only(header: object, rest: int) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(rest)


def real(corpus: Path, path: str) -> bytes:
    return (corpus / path).read_bytes()


def test_what_frameworks_wrote_is_whole_and_what_was_cut_is_torn(corpus: Path) -> None:
    store = LocalStore(str(corpus))
    torn = set()
    for path, entry in store.listing().walk():
        if path.endswith((".pt", ".pth", ".tar", ".bin", ".ckpt", ".safetensors", ".keras", ".h5")):
            found = check(path, entry, store)
            assert found.verdict is not Verdict.UNPROVABLE, path
            if found.verdict is Verdict.TORN:
                torn.add(path)
        elif path.endswith((".distcp", ".index", ".json")):
            assert check(path, entry, store).verdict is Verdict.UNPROVABLE, path
    assert torn == {
        "hf-trainer-torn-optim/checkpoint-15/optimizer.pt",
        "lightning-torn/checkpoints/epoch=2-step=12-val_loss=4.2155.ckpt",
    }


def test_a_torn_file_is_one_finding_in_words(corpus: Path) -> None:
    run = corpus / "lightning-torn/checkpoints"
    store = LocalStore(str(run))
    name = "epoch=2-step=12-val_loss=4.2155.ckpt"
    (finding,) = prove_file(name, store.listing().files[name], store)
    assert finding == (name, "torn", "has no ZIP end record: it was cut at 5,963,776 bytes")
    whole = "epoch=1-step=8-val_loss=4.2155.ckpt"
    assert not list(prove_file(whole, store.listing().files[whole], store))


@given(st.data())
def test_a_torch_file_cut_anywhere_is_torn(data: st.DataObject) -> None:
    whole = torch_zip({f"data/{at}": bytes(at) for at in range(20)})
    assert look(whole).verdict is Verdict.WHOLE
    kept = data.draw(st.integers(0, len(whole) - 1))
    assert look(whole[:kept]).verdict is Verdict.TORN


@given(st.data())
def test_safetensors_cut_anywhere_are_torn(data: st.DataObject) -> None:
    whole = safetensors("a", "b", "c" * 300)
    assert look(whole, "model.safetensors").verdict is Verdict.WHOLE
    kept = data.draw(st.integers(0, len(whole) - 1))
    assert look(whole[:kept], "model.safetensors").verdict is Verdict.TORN


@given(st.data())
def test_an_archive_that_holds_archives_is_torn_when_it_is_cut(data: st.DataObject) -> None:
    inner = plain_zip({"a": b"1"})
    empty = plain_zip({})
    whole = torch_zip({"data/0": inner, "data/1": empty, "data/2": inner + empty, "data/3": b"7"})
    assert look(whole).verdict is Verdict.WHOLE
    kept = data.draw(st.integers(0, len(whole) - 1))
    assert look(whole[:kept]).verdict is Verdict.TORN


@pytest.mark.parametrize("mark", [b"PK\x05\x06", b"PK\x06\x07"])
def test_every_cut_of_an_archive_that_ends_in_a_mark_is_torn(mark: bytes) -> None:
    whole = torch_zip({"data/0": mark * 9 + bytes(40)})
    for kept in range(len(whole)):
        assert look(whole[:kept]).verdict is Verdict.TORN, kept


@given(
    st.sampled_from(["step_1.pt", "model.safetensors", "best.weights.h5"]),
    st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=12)), max_size=8),
    st.integers(0, 3),
)
def test_any_change_to_a_file_is_survived(
    name: str, changes: list[tuple[int, bytes]], kind: int
) -> None:
    content = bytearray(
        [torch_zip(), safetensors("a", "b"), hdf5(900), plain_zip({"x": b"y"})][kind]
    )
    for place, new in changes:
        at = place % len(content)
        content[at : at + len(new)] = new
    assert look(bytes(content), name).verdict in Verdict  # and nothing is raised


@given(st.binary(max_size=400), st.sampled_from(["a.bin", "a.pt", "a.safetensors", "a.npz"]))
def test_any_bytes_are_survived(content: bytes, name: str) -> None:
    for start in (b"", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", struct.pack("<Q", len(content))):
        assert look(start + content, name).verdict in Verdict  # and nothing is raised


def test_zip64_as_torch_writes_it_is_followed_and_must_be_there(corpus: Path) -> None:
    whole = real(corpus, "torch-plain/step_1000.pt")
    assert whole[-98:-94] == b"PK\x06\x06"
    assert look(whole).verdict is Verdict.WHOLE
    lost = whole[:-98] + b"XX" + whole[-96:]
    assert look(lost).verdict is Verdict.TORN


def test_zip64_sizes_of_single_records_are_read() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", b"12345")
    content = bytearray(buffer.getvalue())
    entry = content.index(b"PK\x01\x02")
    wide = struct.pack("<HHQ", 1, 8, 5)
    struct.pack_into("<L", content, entry + 20, 0xFFFFFFFF)
    struct.pack_into("<H", content, entry + 30, len(wide))
    content[entry + 47 : entry + 47] = wide
    end = content.index(b"PK\x05\x06")
    struct.pack_into("<L", content, end + 12, 47 + len(wide))
    assert look(bytes(content)).verdict is Verdict.WHOLE
    content[entry + 51 : entry + 59] = struct.pack("<Q", 5_000_000)
    found = look(bytes(content))
    assert found.verdict is Verdict.TORN
    assert "past" in found.text


def test_a_directory_of_many_records_lies_before_the_tail() -> None:
    whole = plain_zip({f"archive/data/{at}": b"x" for at in range(3000)})
    assert look(whole, "big.pt").verdict is Verdict.WHOLE


def test_wrong_checksums_and_comments_and_added_bytes_are_no_tear() -> None:
    content = bytearray(torch_zip({"data/1": b"payload that is changed"}))
    at = content.index(b"payload")
    content[at : at + 7] = b"PAYLOAD"
    assert look(bytes(content)).verdict is Verdict.WHOLE
    assert look(plain_zip({"a": b"b"}, comment=b"PK\x05\x06 made by hand")).verdict is Verdict.WHOLE
    assert look(torch_zip() + b"\0" * 512).verdict is Verdict.WHOLE


def test_a_file_that_is_cut_and_filled_up_with_zeros_is_torn() -> None:
    whole = torch_zip({"data/0": bytes(5000)})
    assert look(whole[:3000] + bytes(len(whole) - 3000)).verdict is Verdict.TORN


def test_records_that_share_bytes_are_no_archive() -> None:
    content = bytearray(torch_zip({f"data/{at}": b"0123456789" for at in range(9)}))
    first, *_, last = [at for at in range(len(content)) if content.startswith(b"PK\1\2", at)]
    assert look(bytes(content)).verdict is Verdict.WHOLE
    content[last + 42 : last + 46] = content[first + 42 : first + 46]
    assert look(bytes(content)).text == "has a ZIP directory that names the same bytes twice"


def test_records_in_any_order_are_whole() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in "abc":
            archive.writestr(name, name * 9)
        archive.filelist.reverse()
    assert look(buffer.getvalue()).verdict is Verdict.WHOLE


def test_a_zip_bomb_costs_nothing() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", bytes(50_000_000))
    assert look(buffer.getvalue(), bound=BOUND).verdict is Verdict.WHOLE


def test_records_past_the_directory_are_a_tear() -> None:
    content = bytearray(torch_zip())
    last = content.rindex(b"PK\x01\x02")
    struct.pack_into("<L", content, last + 42, len(content) - 40)
    assert look(bytes(content)).verdict is Verdict.TORN


@pytest.mark.parametrize(
    ("header", "rest", "verdict"),
    [
        ({}, 0, Verdict.WHOLE),
        ({"__metadata__": {"format": "pt"}}, 0, Verdict.WHOLE),
        ({"b": {"data_offsets": [4, 8]}, "a": {"data_offsets": [0, 4]}}, 8, Verdict.WHOLE),
        ({"a": {"data_offsets": [0, 0]}, "b": {"data_offsets": [0, 4]}}, 4, Verdict.WHOLE),
        (b'{"a":{"data_offsets":[0,4]}}     ', 4, Verdict.WHOLE),
        (b'{ "a" : {"data_offsets":[0,4]} , "b":{"data_offsets":[4,4]} }', 4, Verdict.WHOLE),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, 8, Verdict.WHOLE),
        ({"a": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}, 2, Verdict.WHOLE),
        ({"a": {"dtype": "NEW", "shape": [9], "data_offsets": [0, 8]}}, 8, Verdict.WHOLE),
        ({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, 8, Verdict.TORN),
        ({"a": {"data_offsets": [0, 2**64]}}, 8, Verdict.TORN),
        ({"a": {"data_offsets": [5, 4]}}, 8, Verdict.TORN),
        (b'{"a":{"data_offsets":[0,4]},"a":{"data_offsets":[0,4]}}', 4, Verdict.TORN),  # twice
        (b'{"a":{"data_offsets":[0,4]},}', 4, Verdict.TORN),
        (b'{"a":{"data_offsets":[0,4]}}x', 4, Verdict.TORN),
        (b'{"a":{"data_offsets":[0,4]}', 4, Verdict.TORN),
        (b'{"a":{"data_offsets":[0,' + b"9" * 5000 + b"]}}", 4, Verdict.TORN),
        ({"__metadata__": {"step": 5}}, 0, Verdict.TORN),
        ({"__metadata__": ["a"]}, 0, Verdict.TORN),
        ({"a": {"data_offsets": [0, 4]}}, 5, Verdict.TORN),  # longer than it says
        ({"a": {"data_offsets": [4, 8]}}, 8, Verdict.TORN),  # a hole
        (
            {"a": {"data_offsets": [0, 8]}, "b": {"data_offsets": [4, 8]}},
            8,
            Verdict.TORN,
        ),  # overlap
        ({"a": {"data_offsets": [0, True]}}, 1, Verdict.TORN),
        ({"a": {"data_offsets": [-4, 0]}}, 0, Verdict.TORN),
        ({"a": {"shape": []}}, 0, Verdict.TORN),
        ({"a": 5}, 0, Verdict.TORN),
        (b"[]", 0, Verdict.TORN),
        (b"{" * 200_000, 0, Verdict.TORN),
        (b'{"a":' + b"[" * 100_000, 0, Verdict.TORN),
        (b'{"\xff": 1}', 0, Verdict.TORN),
        (b"", 10, Verdict.TORN),  # a header of zero bytes: a page that was never written
    ],
)
def test_safetensors_headers(header: object, rest: int, verdict: Verdict) -> None:
    assert look(header_only(header, rest), "a.safetensors").verdict is verdict


def test_a_header_too_large_to_read_is_not_read() -> None:
    large = struct.pack("<Q", 50_000_000) + b"{" + bytes(49_999_999)
    assert look(large, "a.safetensors").verdict is Verdict.UNPROVABLE
    zeros = struct.pack("<Q", 50_000_000) + bytes(50_000_000)
    assert look(zeros, "a.safetensors").verdict is Verdict.TORN
    beyond = struct.pack("<Q", 100_000_001) + bytes(50)
    assert look(beyond, "a.safetensors").verdict is Verdict.TORN


def test_a_header_of_millions_of_items_is_no_tree_in_memory() -> None:
    text = b'{"a":[' + b"[]," * 1_200_000 + b"[]]}"
    content = struct.pack("<Q", len(text)) + text
    found = look(content, "a.safetensors", 5_000_000)
    assert found.verdict is Verdict.TORN
    assert "not sound" in found.text


SUPERBLOCK = bytes.fromhex(
    "894844460d0a1a0a030808000000000000000000ffffffffffffffffc04c000000000000300000000000000024dec6ea"
)
"""Of a file of 19,648 bytes that HDF5 1.14 wrote (libver v110)."""

WRITING = bytes.fromhex(
    "894844460d0a1a0a030808050000000000000000ffffffffffffffff40270000000000003000000000000000ffdeb26f"
)
"""Of one of 10,048 bytes that it was writing (SWMR)."""


def test_the_checksum_of_an_hdf5_superblock_is_computed_as_hdf5_does() -> None:
    assert look(SUPERBLOCK.ljust(19_648, b"\0"), "w.h5").verdict is Verdict.WHOLE
    assert look(SUPERBLOCK.ljust(19_647, b"\0"), "w.h5").verdict is Verdict.TORN
    assert look(WRITING.ljust(10_048, b"\0"), "w.h5").text.startswith("was not closed")
    for at in range(9, 48):
        wrong = bytearray(SUPERBLOCK.ljust(19_648, b"\0"))
        wrong[at] ^= 4
        assert look(bytes(wrong), "w.h5").verdict is Verdict.TORN, at


@pytest.mark.parametrize(
    "start", [b"\xff" * 88, b"\x00" * 88, b"\x00" * 5 + b"\x03\x08" + bytes(81)]
)
def test_an_hdf5_superblock_of_garbage_is_torn(start: bytes) -> None:
    assert look(b"\x89HDF\r\n\x1a\n" + start, "w.h5").verdict is Verdict.TORN


def hdf5(end: int, version: int = 0, size: int | None = None) -> bytes:
    head = b"\x89HDF\r\n\x1a\n" + bytes([version, 0, 0, 0, 0, 8, 8, 0]) + bytes(8 + 4 * version)
    head += struct.pack("<4Q", 0, 2**64 - 1, end, 2**64 - 1)
    return head.ljust(end if size is None else size, b"\0")


@pytest.mark.parametrize("version", [0, 1])
def test_hdf5_ends_where_its_superblock_says(version: int) -> None:
    assert look(hdf5(900, version), "w.weights.h5").verdict is Verdict.WHOLE
    assert look(hdf5(900, version, 899), "w.weights.h5").verdict is Verdict.TORN
    assert look(hdf5(900, version)[:30], "w.weights.h5").verdict is Verdict.TORN
    assert look(hdf5(900, version, 901), "w.weights.h5").verdict is Verdict.UNPROVABLE


def test_what_nothing_is_known_of_is_never_torn() -> None:
    for name, content in {
        "legacy.pt": LEGACY + b"half",
        "raw.bin": b"\x01\x02\x03",
        "zeros.bin": bytes(5000),
        "zeros.pt": bytes(5000),  # nothing says that they are not on the medium
        "a.gguf": b"GGML" + bytes(50),
    }.items():
        assert look(content, name).verdict is Verdict.UNPROVABLE, name


def test_an_empty_file_is_torn_but_for_a_rank_without_tensors() -> None:
    assert look(b"").text == "is empty"
    assert look(b"", "__1_0.distcp").verdict is Verdict.UNPROVABLE


def test_a_hole_where_the_head_should_be_is_a_crash(tmp_path: Path) -> None:
    with (tmp_path / "step_1.pt").open("wb") as file:
        os.truncate(file.fileno(), 1_000_000)
    (tmp_path / "step_2.pt").write_bytes(bytes(1_000_000))
    with (tmp_path / "raw.bin").open("wb") as file:
        os.truncate(file.fileno(), 1_000_000)
    store = LocalStore(str(tmp_path))
    files = store.listing().files
    hole = files["step_1.pt"]._replace(allocated=0)
    found = check("step_1.pt", hole, store)
    assert found.verdict is Verdict.TORN
    assert "1,000,000 bytes only 0" in found.text
    assert check("step_2.pt", files["step_2.pt"]._replace(allocated=1_003_520), store).text == ""
    assert check("raw.bin", files["raw.bin"], store).verdict is Verdict.UNPROVABLE
    assert check("step_1.pt", hole._replace(inode=0), store).verdict is Verdict.UNPROVABLE


def test_a_file_that_shrank_or_went_since_the_listing(tmp_path: Path) -> None:
    make_tree(tmp_path, {"step_1.pt": torch_zip()})
    store = LocalStore(str(tmp_path))
    entry = store.listing().files["step_1.pt"]
    (tmp_path / "step_1.pt").write_bytes(torch_zip()[:100])
    assert check("step_1.pt", entry, store).text == (
        f"shrank from {entry.size} to 100 bytes since it was listed"
    )
    (tmp_path / "step_1.pt").unlink()
    with pytest.raises(VanishedError):
        check("step_1.pt", entry, store)
    (tmp_path / "step_1.pt").symlink_to("/etc/passwd")
    with pytest.raises(VanishedError):
        check("step_1.pt", entry, store)
    (tmp_path / "step_2.pt").mkdir()
    with pytest.raises(OSError, match="no regular file"):
        check("step_2.pt", entry, store)
