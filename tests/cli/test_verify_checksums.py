"""What the word of a server is good for at the digest level, on real servers."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from ckptctl.formats._samples import safetensors, torch_zip
from tests.cli.test_buckets import call, options
from tests.program import Ckptctl, Done
from tests.saved import save
from tests.servers import seaweed
from tests.stores.places import Place

DIGEST = ("--level", "digest", "--json")
PART = 5 * 2**20
SERVERS = pytest.mark.parametrize("bucket", ["s3-obstore", "gcs"], indirect=True)


def told(done: Done) -> tuple[int, list[str], int]:
    """The exit code, each status, and how many bytes were read."""
    results = done.json["results"]
    return done.code, [r["status"] for r in results], sum(r["bytes_read"] for r in results)


def verify(ckptctl: Ckptctl, where: Place, *more: str) -> tuple[int, list[str], int]:
    return told(call(ckptctl, "verify", where, *more, *DIGEST, below="run"))


@SERVERS
def test_what_was_recorded_there_is_proven_without_reading(bucket: Place, ckptctl: Ckptctl) -> None:
    one, two = torch_zip(), safetensors("a")
    bucket.put("run/step_1.pt", one)
    bucket.put("run/step_2/model.safetensors", two)
    whole = len(one) + len(two)
    # Nothing is recorded yet: the server's own checksum is what the bytes are compared with.
    assert verify(ckptctl, bucket) == (0, ["ok", "ok"], whole)
    assert call(ckptctl, "verify", bucket, "--record", below="run").code == 0
    assert verify(ckptctl, bucket) == (0, ["ok", "ok"], 0)
    assert verify(ckptctl, bucket, "--reread") == (0, ["ok", "ok"], whole)
    assert verify(ckptctl, bucket, "--sample", "100%") == (0, ["ok", "ok"], whole)


@SERVERS
def test_an_object_that_was_replaced_is_read_and_damaged(bucket: Place, ckptctl: Ckptctl) -> None:
    for name in "abc":
        bucket.put(f"run/step_1/{name}.safetensors", safetensors(name))
    assert call(ckptctl, "verify", bucket, "--record", below="run").code == 0
    bucket.put("run/step_1/b.safetensors", safetensors("x"))
    assert verify(ckptctl, bucket) == (6, ["damaged"], 2 * len(safetensors("x")))
    # The same bytes again: the time and the version differ, what they hash to does not.
    bucket.put("run/step_1/b.safetensors", safetensors("b"))
    assert verify(ckptctl, bucket) == (0, ["ok"], 0)


@pytest.mark.parametrize(
    ("kind", "spared"),
    [
        ({}, False),
        ({"ChecksumAlgorithm": "SHA256", "ChecksumType": "COMPOSITE"}, False),
        ({"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"}, True),
    ],
    ids=["an ETag of parts", "a checksum of parts", "a checksum of the whole"],
)
def test_of_what_came_in_parts_only_a_checksum_of_the_whole_counts(
    kind: dict[str, str], spared: bool, s3: Place, seaweedfs: seaweed.Seaweed, ckptctl: Ckptctl
) -> None:
    content = torch_zip({"data/1": bytes(PART)})
    multipart(seaweedfs, f"{s3.url.rpartition('/')[2]}/run/step_1.pt", content, kind)
    unrecorded = verify(ckptctl, s3)
    assert unrecorded == (0, ["ok" if spared else "unrecorded"], len(content))
    assert call(ckptctl, "verify", s3, "--record", below="run").code == 0
    assert verify(ckptctl, s3) == (0, ["ok"], 0 if spared else len(content))


def multipart(server: seaweed.Seaweed, key: str, content: bytes, kind: dict[str, str]) -> None:
    client = server.client()
    at: dict[str, Any] = {"Bucket": seaweed.BUCKET, "Key": key}
    at["UploadId"] = client.create_multipart_upload(**at, **kind)["UploadId"]
    algorithm = {k: v for k, v in kind.items() if k == "ChecksumAlgorithm"}
    parts = []
    for number, first in enumerate(range(0, len(content), PART), start=1):
        body = content[first : first + PART]
        done = client.upload_part(**at, PartNumber=number, Body=body, **algorithm)
        sums = {k: v for k, v in done.items() if k.startswith("Checksum") and k != "ChecksumType"}
        parts.append({"PartNumber": number, "ETag": done["ETag"], **sums})
    assert len(parts) > 1
    client.complete_multipart_upload(**at, MultipartUpload={"Parts": parts})
    client.close()


@SERVERS
def test_a_disk_is_compared_with_what_the_server_says(
    tmp_path: Path, bucket: Place, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", {1: None, 2: None})
    size = 0
    for step in (1, 2):
        content = (run / f"step_{step}.pt").read_bytes()
        size += len(content)
        bucket.put(f"run/step_{step}.pt", content)
    url = f"{bucket.url}/run"
    more = [*options(bucket), "--settle", "0s", *DIGEST]
    # The bytes of the disk are read, of the bucket none, whichever of both is asked about.
    assert told(ckptctl("verify", run, "--against", url, *more)) == (0, ["ok", "ok"], size)
    assert told(ckptctl("verify", url, "--against", run, *more)) == (0, ["ok", "ok"], size)
    flipped = bytearray((run / "step_2.pt").read_bytes())
    flipped[60] ^= 1
    (run / "step_2.pt").write_bytes(bytes(flipped))
    for one, other in ((run, url), (url, run)):
        done = told(ckptctl("verify", one, "--against", other, *more))
        assert done == (6, ["ok", "damaged"], size + 2 * len(flipped))  # read, to be sure


def test_a_digest_of_the_framework_may_be_the_servers_own(
    s3: Place, seaweedfs: seaweed.Seaweed, ckptctl: Ckptctl
) -> None:
    content = b"not a ZIP, so the digest in the name is of the file itself"
    name = f"epoch_12-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    s3.put("run/epoch_11.pth", torch_zip())
    s3.put("run/last_checkpoint", b"epoch_11.pth")
    client = seaweedfs.client()
    at = {"Bucket": seaweed.BUCKET, "Key": f"{s3.url.rpartition('/')[2]}/run/{name}"}
    client.put_object(**at, Body=content, ChecksumAlgorithm="SHA256")
    assert verify(ckptctl, s3) == (0, ["ok", "ok"], len(torch_zip()))
    client.put_object(**at, Body=content[::-1], ChecksumAlgorithm="SHA256")
    done = call(ckptctl, "verify", s3, *DIGEST, below="run")
    assert told(done)[::2] == (6, len(torch_zip()) + 2 * len(content))
    client.close()
