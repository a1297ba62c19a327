"""Checksums of ZIP records, while their bytes pass by."""

from __future__ import annotations

import io
import zipfile
from itertools import cycle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptctl.containers import Checksums, crc_errors
from ckptctl.formats._samples import torch_zip
from tests.test_containers import Memory

CONTENT = {f"data/{at}": bytes([at]) * (400 * at) for at in range(7)}


def errors(content: bytes) -> list[str]:
    return list(crc_errors(Memory(content)))


def test_what_torch_wrote_fits_and_a_flipped_bit_does_not(corpus: Path) -> None:
    whole = bytearray((corpus / "torch-plain/step_1000.pt").read_bytes())
    assert errors(bytes(whole)) == []
    whole[len(whole) // 2] ^= 1
    (found,) = errors(bytes(whole))
    assert found.startswith("its record ")
    assert found.endswith("does not hash to its CRC")


@given(
    st.lists(st.integers(0, 7000), max_size=3),
    st.lists(st.sampled_from([1, 7, 29, 30, 31, 500, 4000]), min_size=1, max_size=20),
)
def test_it_does_not_matter_how_the_bytes_come(flips: list[int], sizes: list[int]) -> None:
    content = bytearray(torch_zip(CONTENT))
    for at in flips:
        content[at] ^= 0x10
    blob = Memory(bytes(content))
    checksums = Checksums(blob)
    found: list[str] = []
    at = 0
    for size in cycle(sizes):
        found += checksums.take(bytes(content[at : at + size]))
        at += size
        if at >= len(content):
            break
    assert found == errors(bytes(content))
    assert not checksums.waiting


def test_a_payload_byte_is_told_by_its_record() -> None:
    content = bytearray(torch_zip(CONTENT))
    content[content.index(bytes([3]) * 1200) + 5] ^= 1
    content[content.index(bytes([5]) * 2000) + 1999] ^= 1
    assert errors(bytes(content)) == [
        "its record 'archive/data/3' does not hash to its CRC",
        "its record 'archive/data/5' does not hash to its CRC",
    ]


def test_what_is_compressed_is_left_out() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", bytes(5_000_000))
        archive.writestr("plain", b"abc", zipfile.ZIP_STORED)
    content = bytearray(buffer.getvalue())
    assert errors(bytes(content)) == []
    content[content.index(b"abc")] ^= 1
    assert len(errors(bytes(content))) == 1


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\3\4", b"\x80\2}.", torch_zip()[:-1]])
def test_of_what_is_no_whole_zip_nothing_is_said(content: bytes) -> None:
    assert errors(content) == []


def test_bytes_that_many_records_name_are_looked_at_once() -> None:
    content = bytearray(torch_zip(CONTENT))
    places = [at for at in range(len(content)) if content.startswith(b"PK\1\2", at)]
    for place in places[1:]:
        content[place + 42 : place + 46] = content[places[0] + 42 : places[0] + 46]
    blob = Memory(bytes(content))
    list(crc_errors(blob))
    assert blob.taken <= 2 * len(content) + 70_000


def test_a_header_that_is_not_at_its_place() -> None:
    content = bytearray(torch_zip(CONTENT))
    place = content.index(bytes([3]) * 1200) - len("archive/data/3") - 30
    content[place] ^= 1
    assert errors(bytes(content)) == ["its record 'archive/data/3' has no header at its place"]
