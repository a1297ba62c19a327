"""TensorFlow's bundles: what an index says of its data files, and protocol buffers as far as that.

Source: tensorflow, core/util/tensor_bundle/tensor_bundle.cc and core/protobuf/tensor_bundle.proto:
the index is a table as LevelDB has it (core/lib/io/{format,table_builder}.cc), whose first entry is
the header of the bundle, and each other one says where the bytes of a tensor lie.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ckptctl.reading import Blob

INDEX_LIMIT = 16 * 2**20
"""Bytes of the largest index that is read: more than a hundred thousand tensors."""

FOOTER_SIZE = 48
MAGIC = bytes.fromhex("57fb808b247547db")
_MANY = 100_000  # fields of one message that are looked at


class Bundle(NamedTuple):
    """What an index says: how many data files there are, and how long those with tensors are."""

    files: int
    sizes: dict[int, int]  # number of the data file -> the bytes that it must at least have


class CompressedError(Exception):
    """A block of the index is compressed, so that nothing can be said of it."""


def read_bundle(index: bytes) -> Bundle:
    """Return what an index says.

    ValueError where it is cut off or none; CompressedError where it cannot be understood here.
    """
    if not index.endswith(MAGIC) or len(index) < FOOTER_SIZE:
        raise ValueError("it does not end as an index of TensorFlow does")
    try:
        return _bundle(index)
    except IndexError:
        raise ValueError("an entry ends outside its block") from None


def _bundle(index: bytes) -> Bundle:
    footer = len(index) - FOOTER_SIZE
    _, at = _handle(index, footer)
    top, _ = _handle(index, at)
    header: dict[int, int] | None = None
    sizes: dict[int, int] = {}
    end = 0
    for place in _values(_block(index, top)):
        handle, _ = _handle(place, 0)
        if handle[0] < end:  # else a crafted index could name one block again and again
            raise ValueError("its blocks overlap")
        end = sum(handle)
        for value in _values(_block(index, handle)):
            said = dict(_numbers(value))
            if header is None:
                header = said
            elif 7 not in said:  # noqa: PLR2004 - slices, which have entries of their own
                shard, need = said.get(3, 0), said.get(4, 0) + said.get(5, 0)
                sizes[shard] = max(sizes.get(shard, 0), need)
    if header is None:
        raise ValueError("it has no header")
    count = header.get(1, 0)
    if count < 1 or max(sizes, default=0) >= count:
        raise ValueError(f"it names data file {max(sizes, default=0)} of {count}")
    return Bundle(count, sizes)


def message_fault(blob: Blob) -> str | None:
    """Return what is wrong with a file that is one protocol buffer: its fields must fill it."""
    at = 0
    for _ in range(_MANY):
        if at == blob.size:
            return None
        try:
            head = blob.read(at, 20)
            kind, used = _varint(head, 0)
            if kind & 7 == 2:  # noqa: PLR2004 - text, bytes, or a message
                length, used = _varint(head, used)
            elif kind & 7 == 0:
                length, used = 0, _varint(head, used)[1]
            else:
                length = {1: 8, 5: 4}[kind & 7]
        except (IndexError, KeyError, ValueError):
            return f"is no protocol buffer from {at:,} on"
        at += used + length
        if at > blob.size:
            return f"was cut at {blob.size:,} bytes, within a field that ends at {at:,}"
    return None


def _block(index: bytes, handle: tuple[int, int]) -> bytes:
    """Return a block; behind it stand one byte for its compression, and a checksum."""
    end = sum(handle)
    if end + 5 > len(index) - FOOTER_SIZE:
        raise ValueError("it names a block outside itself")
    if index[end]:
        raise CompressedError
    return index[handle[0] : end]


def _values(block: bytes) -> Iterator[bytes]:
    """Yield the values of a block's entries, whose keys are of no use here."""
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (restarts + 1)
    if end < 0:
        raise ValueError("a block is too short")
    at = 0
    while at < end:
        _, at = _varint(block, at)
        key, at = _varint(block, at)
        length, at = _varint(block, at)
        at += key + length
        if at > end:
            raise ValueError("an entry ends outside its block")
        yield block[at - length : at]


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return (offset, size), at


def _numbers(message: bytes) -> Iterator[tuple[int, int]]:
    """Yield the number of each field of a message with its value; with its length where it is text."""
    at = 0
    while at < len(message):
        kind, at = _varint(message, at)
        if kind & 7 in {1, 5}:
            at += 8 if kind & 7 == 1 else 4
            continue
        if kind & 7 not in {0, 2}:
            raise ValueError("a field is of no known kind")
        value, at = _varint(message, at)
        yield kind >> 3, value
        if kind & 7 == 2:  # noqa: PLR2004 - text, bytes, or a message
            at += value
    if at > len(message):
        raise ValueError("a field ends outside its entry")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of up to ten bytes and the place after it; IndexError where it is cut off."""
    number = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the last one
            return number, at
    raise ValueError("a number is too long")
