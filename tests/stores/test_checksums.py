"""Which of a server's checksums count, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ckptctl.algorithms import ETAG, agrees, hasher, quickest, worth_noting
from ckptctl.stores._checksums import checksums_of_gcs, checksums_of_s3

MD5 = "900150983cd24fb0d6963f7d28e17f72"  # of b"abc"
CRC = {"ChecksumCRC32C": "Nks/tw=="}  # the same
OF_CRC = {"crc32c": "364b3fb7"}


@pytest.mark.parametrize(
    ("answer", "counts"),
    [
        ({"ETag": f'"{MD5}"'}, {ETAG: MD5}),
        ({"ETag": f'"{MD5}"', "ServerSideEncryption": "AES256"}, {ETAG: MD5}),
        ({"ETag": f'"{MD5}"', "ServerSideEncryption": "aws:kms"}, {}),
        ({"ETag": f'"{MD5}"', "ServerSideEncryption": "aws:kms:dsse"}, {}),
        ({"ETag": f'"{MD5}"', "SSECustomerAlgorithm": "AES256"}, {}),
        ({"ETag": f'"{MD5}-2"'}, {}),
        ({"ETag": '"an-opaque-one"'}, {}),
        ({}, {}),
        (CRC, OF_CRC),
        ({**CRC, "ServerSideEncryption": "aws:kms", "ETag": f'"{MD5}"'}, OF_CRC),
        ({**CRC, "ETag": f'"{MD5}-2"', "ChecksumType": "FULL_OBJECT"}, OF_CRC),
        ({**CRC, "ETag": f'"{MD5}-2"', "ChecksumType": "COMPOSITE"}, {}),
        ({**CRC, "ETag": f'"{MD5}-2"'}, {}),  # of which nobody says what it covers
        ({"ChecksumSHA256": "2qXW+F4KwLkYFPGnckLOh/NdC0Xlb0SDCCwI2sDVPqE=-2"}, {}),
        ({**CRC, "ContentEncoding": "gzip"}, {}),
        ({**CRC, "ContentEncoding": "aws-chunked"}, OF_CRC),
    ],
)
def test_of_s3_only_what_covers_the_whole_object_counts(
    answer: Mapping[str, str], counts: Mapping[str, str]
) -> None:
    assert checksums_of_s3(answer) == counts


def test_of_gcs_a_composed_object_has_no_md5_and_what_is_unpacked_on_the_way_nothing() -> None:
    assert checksums_of_gcs({"crc32c": "Nks/tw==", "md5Hash": "kAFQmDzST7DWlj99KOF/cg=="}) == {
        **OF_CRC, "md5": MD5,
    }  # fmt: skip
    assert checksums_of_gcs({"crc32c": "Nks/tw=="}) == OF_CRC
    assert checksums_of_gcs({"crc32c": "Nks/tw==", "contentEncoding": "gzip"}) == {}


@pytest.mark.parametrize(
    ("name", "digest"),
    [("crc32c", "364b3fb7"), ("crc32", "352441c2"), ("md5", MD5)],
)
def test_it_is_computed_block_by_block(name: str, digest: str) -> None:
    made = hasher(name)
    for block in (b"a", b"", b"bc"):
        made.update(memoryview(bytearray(block)))
    assert made.hexdigest() == digest


def test_an_etag_can_prove_and_cannot_refute() -> None:
    assert agrees({ETAG: MD5}, {"md5": MD5}) is True
    assert agrees({ETAG: "0" * 32}, {"md5": MD5}) is None
    assert agrees({"md5": "0" * 32}, {"md5": MD5}) is False
    assert agrees({ETAG: MD5, **OF_CRC}, {"md5": MD5, "crc32c": "0"}) is False
    assert agrees(OF_CRC, {"md5": MD5}) is None
    assert agrees({}, {"md5": MD5}) is None


def test_what_cannot_be_computed_is_noted_as_the_servers_word() -> None:
    held = {"crc64nvme": "0123456789abcdef", ETAG: MD5}
    assert quickest({"crc64nvme": "0123456789abcdef"}) == frozenset()
    assert quickest(held) == {"md5"}
    noted = worth_noting(held, {"md5": MD5})
    assert noted == {"crc64nvme": "0123456789abcdef", "md5": MD5}
    assert agrees(held, noted) is True
    assert agrees({**held, "crc64nvme": "0" * 16}, noted) is False
    assert worth_noting({}, {"sha256": "ab"}) is None
