"""What of an address or a command line is a secret, and what only looks like one."""

from __future__ import annotations

import pytest

from ckptctl.errors import UsageError
from ckptctl.secrecy import holds_secret, without_secrets, without_values

SECRET = (
    "s3://AKIA:hush@bucket/run",
    "s3://AKIA:12/hush+hush@bucket/run",
    "S3://AKIA:hu/sh@bucket",
    "simplecache::s3://AKIA:hush@bucket/run",
    "ftp://me:hush@127.0.0.1:9/run",
    "https://b.s3.amazonaws.com/run?X-Amz-Credential=a&X-Amz-Signature=hush",
    "https://storage.googleapis.com/b/run?X-Goog-Signature=hush",
    "https://account.blob.core.windows.net/run?sv=1&sig=hush",
    "s3://b/run?x-amz-security-token=hush&b=c",
    "abfs://c@account/run?secret=hush",
)
HARMLESS = (
    "s3://bucket/run/step=5",
    "s3://arn:aws:s3:us-west-2:123456789012:accesspoint/train/run@5",
    "sftp://me@host:22/run@5",
    "sftp://host:22/run@5",
    "abfs://container@account/run",
    "gs://bucket/run?generation=5",
    "s3://bucket/a:b@c",
    "/scratch/a:b@c?token=1",
)


@pytest.mark.parametrize("url", SECRET)
def test_a_secret_is_found_and_left_out(url: str) -> None:
    assert holds_secret(url)
    for text in (url, f"got {url} and ({url}), too", f"{url}\nnext"):
        shown = without_secrets(text)
        assert "hush" not in shown
        assert shown.count("...") >= text.count(url)
    error = UsageError(f"{url}: no", f"try {url}", [f"  {url}"])
    assert "hush" not in f"{error} {error.message} {error.hint} {error.parts}"


@pytest.mark.parametrize("url", HARMLESS)
def test_what_is_no_secret_stays(url: str) -> None:
    assert not holds_secret(url)
    assert without_secrets(f"{url}: is gone") == f"{url}: is gone"


def test_of_a_command_line_the_values_go_too() -> None:
    said = "Got unexpected extra arguments (secret=hush key=AKIAHUSH a=1 client_secret=hush)"
    assert without_values(said) == (
        "Got unexpected extra arguments (secret=... key=... a=1 client_secret=...)"
    )
