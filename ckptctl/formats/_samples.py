"""Tiny valid files for the `example` of each format: built in memory, the same bytes every time.

Every command imports them with the formats, so they are put together by hand: `zipfile` alone takes
as long to import as all formats.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Mapping

_DAY = 0x21  # 1980-01-01 as MS-DOS writes it
_EMPTY_DICT = b"\x80\x02}."  # what a pickle of {} looks like; nothing here ever reads one


def torch_zip(records: Mapping[str, bytes] | None = None) -> bytes:
    """Return a file as `torch.save` writes it: an uncompressed ZIP with one top folder."""
    content = {"data.pkl": _EMPTY_DICT, "data/0": bytes(8), "version": b"3\n", **(records or {})}
    body, directory = b"", b""
    for name, data in content.items():
        path = f"archive/{name}".encode()
        said = struct.pack(
            "<5H3L2H", 20, 0, 0, 0, _DAY, zlib.crc32(data), len(data), len(data), len(path), 0
        )
        directory += b"PK\1\2\x14\0" + said + struct.pack("<3H2L", 0, 0, 0, 0, len(body)) + path
        body += b"PK\3\4" + said + path + data
    count = len(content)
    return (
        body
        + directory
        + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), len(body), 0)
    )


def safetensors(*tensors: str) -> bytes:
    """Return a safetensors file that holds one float32 for each name (`weight` by default)."""
    header = {
        name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * at, 4 * at + 4]}
        for at, name in enumerate(tensors or ("weight",))
    }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(4 * len(header))


def shard_index(shards: Mapping[str, Iterable[str]]) -> bytes:
    """Return a Hugging Face index (`*.index.json`) of shard file -> names of its tensors."""
    weights = {tensor: file for file, tensors in shards.items() for tensor in tensors}
    return json.dumps(
        {"metadata": {"total_size": 4 * len(weights)}, "weight_map": weights}
    ).encode()


def dcp_metadata(sizes: Mapping[str, int]) -> bytes:
    """Return what says, like the pickle `.metadata` of torch, which bytes of which files belong to it."""
    entries = b"".join(
        b"}(" + _text("relative_path") + _text(name) + _text("offset") + _number(0)
        + _text("length") + _number(size) + b"u"
        for name, size in sizes.items()
    )  # fmt: skip
    return b"\x80\x04](" + entries + b"e."


def ocdbt_manifest() -> bytes:
    """Return a manifest of tensorstore's OCDBT as far as it can be told from outside: kind, length."""
    return b"\x0c\xdb\x3a\x2a" + struct.pack("<Q", 16) + bytes(4)


def _text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def _number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def tensor_bundle(*sizes: int) -> bytes:
    """Return an index of TensorFlow for data files of these sizes, with one tensor in each."""

    def entry(value: bytes, key: bytes) -> bytes:
        return bytes([0, len(key), len(value)]) + key + value

    def block(*entries: bytes) -> bytes:
        return b"".join(entries) + struct.pack("<2L", 0, 1) + bytes(5)

    tensors = [
        entry(bytes([8, 1, 24, number, 40, size]), b"%05d" % number)
        for number, size in enumerate(sizes)
    ]
    data = block(entry(bytes([8, len(sizes)]), b""), *tensors)
    empty = block()
    top = block(entry(_varint(0) + _varint(len(data) - 5), b"z"))
    handles = (
        _varint(len(data)) + _varint(len(empty) - 5)
        + _varint(len(data) + len(empty)) + _varint(len(top) - 5)
    )  # fmt: skip
    magic = bytes.fromhex("57fb808b247547db")
    return data + empty + top + handles.ljust(40, b"\0") + magic


def _varint(number: int) -> bytes:
    low = bytes([number & 0x7F | (0x80 if number > 0x7F else 0)])  # noqa: PLR2004 - seven bits each
    return low + (_varint(number >> 7) if number > 0x7F else b"")  # noqa: PLR2004


def hdf5() -> bytes:
    """Return a file of HDF5 that holds nothing: a superblock that says how long it is."""
    head = b"\x89HDF\r\n\x1a\n" + struct.pack("<8B2HL", 0, 0, 0, 0, 0, 8, 8, 0, 4, 16, 0)
    undefined = 2**64 - 1
    return head + struct.pack("<4Q", 0, undefined, 96, undefined) + bytes(40)
