"""tar, GGUF, msgpack, NumPy and compressed streams: whole, torn or unprovable."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile

import pytest

from ckptctl.containers import Check, Verdict, check
from ckptctl.listing import Entry
from tests.test_containers import Memory, OneFile

FLAX = bytes.fromhex(
    "83a47374657003a6706172616d7381a462696173c71901939103a7666c6f61743332c40c0000000000000000000000"
    "00a96f70745f737461746581a13083a26d75c0a166cb3ff8000000000000a16ed1fe70"
)
"""{"step", "params": {"bias": an array}, "opt_state"} as msgpack 1.2 packs what Flax gives it."""

LZ4 = bytes.fromhex("04224d18684009000000000000006d0900008061626361626361626300000000")
LZ4_CHECKED = bytes.fromhex(
    "04224d186c400900000000000000ad0900008061626361626361626300000000c154aca6"
)
"""Frames that lz4 4.4 wrote, without and with a checksum of the content."""


def look(content: bytes, name: str, bound: int = 200_000) -> Check:
    blob = Memory(content)
    found = check(name, Entry(len(content), 0), OneFile(blob))
    assert blob.taken <= bound
    return found


def verdicts_of_cuts(content: bytes, name: str) -> set[Verdict]:
    return {look(content[:kept], name).verdict for kept in range(len(content))}


def tar(members: dict[str, bytes], *, how: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=how) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.pax_headers = {"mtime": "1.5"}
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "target"
        archive.addfile(link)
    return buffer.getvalue()


NEMO = {"./model_config.yaml": b"a: 1\n", "./model_weights.ckpt": bytes(2000), "é" * 70: b"x"}


@pytest.mark.parametrize("how", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_tar_is_whole_up_to_its_end_mark(how: int) -> None:
    whole = tar(NEMO, how=how)
    assert look(whole, "model.nemo").verdict is Verdict.WHOLE
    data = len(whole.rstrip(b"\0"))
    end = data + -data % 512 + 1024
    assert look(whole[:end], "model.nemo").verdict is Verdict.WHOLE
    assert {look(whole[:at], "a.tar").verdict for at in range(512, end, 64)} == {Verdict.TORN}


def test_a_tar_of_more_than_it_says_or_with_a_wrong_header() -> None:
    whole = tar(NEMO)
    assert look(whole + bytes(2_000_000), "a.tar").verdict is Verdict.UNPROVABLE
    lying = bytearray(whole)
    at = whole.index(b"ustar", 512) - 257
    lying[at + 124 : at + 136] = b"77777777777\0"
    assert "add up" in look(bytes(lying), "a.tar").text
    for at in (0, 130, 150, 160):
        wrong = bytearray(whole)
        wrong[at] ^= 1
        assert look(bytes(wrong), "a.tar").verdict is Verdict.TORN, at


def test_a_payload_of_a_tar_is_skipped() -> None:
    assert look(tar({"w": bytes(5_000_000)}), "a.tar", bound=20_000).verdict is Verdict.WHOLE


def test_a_size_that_only_the_extended_header_holds() -> None:
    member = tarfile.TarInfo("weights")
    member.size = 9 * 2**30
    head = member.tobuf(format=tarfile.PAX_FORMAT)
    assert b"size=9663676416" in head
    found = look(head + bytes(4096), "model.nemo")
    assert (found.verdict, "cut" in found.text) == (Verdict.TORN, True)
    big = member.tobuf(format=tarfile.GNU_FORMAT)
    assert look(big + bytes(4096), "model.nemo").verdict is Verdict.TORN


def test_a_gzipped_tar_ends_in_the_size_of_whole_blocks() -> None:
    content = tar({"w": os.urandom(3000)})
    whole = gzip.compress(content)
    assert look(whole, "ep1.tar.gz").verdict is Verdict.UNPROVABLE
    cuts = [look(whole[:at], "ep1.tar.gz").verdict for at in range(1, len(whole))]
    assert cuts.count(Verdict.TORN) > 0.97 * len(cuts)
    assert look(gzip.compress(b"no tar"), "weights.gz").verdict is Verdict.UNPROVABLE
    assert look(whole[:10] + b"\xff" * 90, "ep1.tgz").verdict is Verdict.TORN


def test_lz4_and_xz_end_in_their_marks() -> None:
    for whole, name in (
        (LZ4, "a.pt.lz4"),
        (LZ4_CHECKED, "a.pt.lz4"),
        (lzma.compress(FLAX), "a.xz"),
    ):
        assert look(whole, name).verdict is Verdict.UNPROVABLE
        assert verdicts_of_cuts(whole, name) == {Verdict.TORN}


def test_msgpack_ends_exactly_with_the_file() -> None:
    assert look(FLAX, "flax_model.msgpack").verdict is Verdict.WHOLE
    assert look(FLAX, "checkpoint_3").verdict is Verdict.WHOLE
    assert verdicts_of_cuts(FLAX, "flax_model.msgpack") == {Verdict.TORN}
    assert look(FLAX + b"\0", "flax_model.msgpack").verdict is Verdict.TORN
    assert look(b"\xc1", "a.msgpack").verdict is Verdict.TORN


@pytest.mark.parametrize(
    "content",
    [
        b"\x91" * 100_000 + b"\xc0",  # nested: depth costs nothing
        b"\x81\xa1a\xc6" + struct.pack(">I", 3_000_000) + bytes(3_000_000),
        b"\x81\xa1a\xc9" + struct.pack(">I", 3_000_000) + b"\1" + bytes(3_000_000),
        b"\xde\0\2\xa1a\1\xa1b\xd8" + bytes(17),
        b"\xdd" + struct.pack(">I", 3) + b"\xe0\x7f\xc3",
    ],
)
def test_msgpack_of_every_shape(content: bytes) -> None:
    assert look(content, "a.msgpack").verdict is Verdict.WHOLE
    assert look(content[:-1], "a.msgpack").verdict is Verdict.TORN


def test_counts_of_msgpack_that_nothing_can_hold() -> None:
    for content in (
        b"\xdf\xff\xff\xff\xff" * 200,
        b"\xdd\x7f\xff\xff\xff\xc0",
        b"\xc6\xff\xff\xff\xff",
    ):
        assert look(content, "a.msgpack").verdict is Verdict.TORN
    assert look(b"\xdd" + struct.pack(">I", 1_500_000) + bytes(1_500_000), "a.msgpack",
                2_000_000).verdict is Verdict.UNPROVABLE  # fmt: skip


def test_a_pickle_or_a_text_without_suffix_is_no_msgpack() -> None:
    for content in (b"\x80\x02}q\0.", b"\x80\x04\x95", b"model_checkpoint_path", b"\x83\x01\x02"):
        assert look(content, "checkpoint_5").verdict is Verdict.UNPROVABLE


def npy(described: str, payload: int, version: int = 1) -> bytes:
    width = 2 if version == 1 else 4
    text = (described.ljust(117) + "\n").encode()
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + len(text).to_bytes(width, "little")
        + text
        + bytes(payload)
    )


@pytest.mark.parametrize(
    ("described", "payload"),
    [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }", 48),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (), }", 8),
        ("{'descr': '<U3', 'fortran_order': False, 'shape': (2,), }", 24),
        ("{'descr': '<M8[s]', 'fortran_order': True, 'shape': (1,), }", 8),
        ("{'descr': '|V2', 'fortran_order': False, 'shape': (3,), }", 6),
    ],
)
@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_array_is_as_long_as_its_header_says(described: str, payload: int, version: int) -> None:
    whole = npy(described, payload, version)
    assert look(whole, "w.npy").verdict is Verdict.WHOLE
    assert verdicts_of_cuts(whole, "w.npy") == {Verdict.TORN}
    assert look(whole + b"\0", "w.npy").verdict is Verdict.UNPROVABLE


@pytest.mark.parametrize(
    "described",
    [
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': [('a', '<f4'), ('b', '<i8')], 'fortran_order': False, 'shape': (3,), }",
        "{" * 60,
    ],
)
def test_of_objects_and_records_nothing_is_said(described: str) -> None:
    assert look(npy(described, 3), "w.npy").verdict is Verdict.UNPROVABLE


def test_garbage_for_a_numpy_header_is_torn() -> None:
    assert look(npy("\0" * 60, 3), "w.npy").verdict is Verdict.TORN


def test_an_npz_is_a_zip() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (), }", 8))
    assert look(buffer.getvalue(), "w.npz").verdict is Verdict.WHOLE
    assert verdicts_of_cuts(buffer.getvalue(), "w.npz") == {Verdict.TORN}


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def gguf(
    *, tensors: int = 2, kind: int = 8, items: int = 64, extra: bytes = b"", pairs: int = 0
) -> bytes:
    keys = text(b"general.architecture") + struct.pack("<L", 8) + text(b"llama")
    keys += text(b"tokens") + struct.pack("<LLQ", 9, 8, 2) + text(b"a") + text(b"")
    keys += text(b"scores") + struct.pack("<LLQ", 9, 6, 2) + bytes(8)
    keys += text(b"general.alignment") + struct.pack("<LL", 4, 64) + extra
    size = -(-items // 32) * 34
    step = size + -size % 64
    infos = b"".join(
        text(b"t") + struct.pack("<LQLQ", 1, items, kind, step * at) for at in range(tensors)
    )
    head = b"GGUF" + struct.pack("<LQQ", 3, tensors, 4 + pairs) + keys + infos
    return head + bytes(-len(head) % 64) + bytes(step * (tensors - 1) + size)


def test_the_tensors_of_a_gguf_lie_within_it() -> None:
    whole = gguf()
    assert look(whole, "m.gguf").verdict is Verdict.WHOLE
    assert look(whole + bytes(-len(whole) % 64), "m.gguf").verdict is Verdict.WHOLE  # padded
    assert look(whole + bytes(500), "m.gguf").verdict is Verdict.UNPROVABLE
    assert verdicts_of_cuts(whole, "m.gguf") == {Verdict.TORN}
    assert look(gguf(kind=99), "m.gguf").verdict is Verdict.UNPROVABLE


@pytest.mark.parametrize(
    "extra",
    [
        text(b"k") + struct.pack("<L", 77),
        text(b"k") + struct.pack("<LLQ", 9, 0, 2**63),
        text(b"k") + struct.pack("<LLQ", 9, 8, 2**40),
        text(b"k") + struct.pack("<LQ", 8, 2**62),
        struct.pack("<Q", 2**62) + b"k",
        text(b"general.alignment") + struct.pack("<LL", 4, 0),
    ],
)
def test_a_gguf_that_says_what_cannot_be(extra: bytes) -> None:
    found = look(gguf(extra=extra, pairs=1), "m.gguf")
    assert found.verdict is not Verdict.WHOLE


def test_a_gguf_of_more_tensors_than_bytes_or_of_another_age() -> None:
    head = b"GGUF" + struct.pack("<LQQ", 3, 2**60, 2)
    assert look(head + bytes(100), "m.gguf").verdict is Verdict.TORN
    assert (
        look(b"GGUF" + struct.pack("<LLL", 1, 1, 1) + bytes(40), "m.gguf").verdict
        is Verdict.UNPROVABLE
    )
    assert (
        look(b"GGUF" + struct.pack(">LQQ", 3, 1, 1) + bytes(40), "m.gguf").verdict
        is Verdict.UNPROVABLE
    )


def test_the_first_bytes_of_a_container_are_a_cut_one() -> None:
    for begin in (b"PK", b"\x89HDF", b"GGU", b"\x93NU", b"\x1f", b"\x04\x22\x4d"):
        assert look(begin, "step_1.bin").text.startswith("was cut after")
    assert look(b"us", "step_1.bin").verdict is Verdict.UNPROVABLE
