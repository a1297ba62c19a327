"""What each library's own exceptions are told as."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp
import botocore.exceptions as boto
import google.auth.exceptions
import pytest
import requests.exceptions
from fsspec.exceptions import FSTimeoutError
from gcsfs.retry import HttpError
from obstore.exceptions import GenericError

from ckptctl.reading import VanishedError
from ckptctl.stores._errors import told

SECRET = "AKIASECRET"
refreshing: Callable[[str], Exception] = google.auth.exceptions.RefreshError
finding: Callable[[str], Exception] = google.auth.exceptions.DefaultCredentialsError


LOCKED = "Access Denied because object protected by object lock."


def forbidden(why: str) -> OSError:
    """What gcsfs raises for 403, with a message of GCS."""
    return OSError(f"Forbidden: https://h/b/{SECRET}/o/x\nObject '{SECRET}/x' {why}")


def client(status: int, code: str, message: str = SECRET) -> boto.ClientError:
    return boto.ClientError(
        {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status},
        },
        "GetObject",
    )


def through_obstore(status: int, code: str, message: str = SECRET) -> GenericError:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return GenericError(f"Server returned non-2xx status code: {status} Some: {body}")


def caused(error: Exception) -> OSError:
    outer = OSError("outer")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (client(403, "AccessDenied"), PermissionError, "permission is denied (AccessDenied)"),
        (through_obstore(403, "AccessDenied"), PermissionError, "permission is denied"),
        (OSError(f"Forbidden: b/{SECRET}"), PermissionError, "permission is denied (403)"),
        (client(400, "ExpiredToken"), PermissionError, "expired (ExpiredToken); renew"),
        (through_obstore(400, "ExpiredToken"), PermissionError, "aws sso login"),
        (boto.UnauthorizedSSOTokenError(), PermissionError, "have expired"),
        (boto.SSOTokenLoadError(error_msg=SECRET), PermissionError, "aws sso login"),
        (boto.NoCredentialsError(), PermissionError, "credentials are refused"),
        (refreshing(SECRET), PermissionError, "gcloud auth"),
        (finding(SECRET), PermissionError, "credentials"),
        (HttpError({"code": 401, "message": SECRET}), PermissionError, "credentials are refused"),
        (
            client(403, "AccessDenied", LOCKED),
            PermissionError,
            "Object Lock protects the object (AccessDenied)",
        ),
        (through_obstore(403, "AccessDenied", LOCKED), PermissionError, "Object Lock protects"),
        (
            through_obstore(409, "ObjectLockedByBucketPolicy"),
            PermissionError,
            "a bucket lock protects",
        ),
        (
            client(409, "ObjectLockedByBucketPolicy"),
            PermissionError,
            "(ObjectLockedByBucketPolicy); it can be deleted once",
        ),
        (
            forbidden(
                "is under active Temporary hold and cannot be deleted, overwritten or archived until hold is removed."
            ),
            PermissionError,
            "a temporary hold protects the object (objectUnderActiveHold)",
        ),
        (
            forbidden(
                "is under active Event-Based hold and cannot be deleted, overwritten or archived until hold is removed."
            ),
            PermissionError,
            "an event-based hold protects",
        ),
        (
            forbidden(
                "is subject to bucket's retention policy or object retention and cannot be deleted or overwritten until 2026-12-01T00:00:00.1-07:00"
            ),
            PermissionError,
            "a retention policy protects the object (retentionPolicyNotMet)",
        ),
        (client(403, "RequestTimeTooSkewed"), PermissionError, "clock of this host"),
        (through_obstore(404, "NoSuchBucket"), FileNotFoundError, "no such bucket (NoSuchBucket)"),
        (caused(client(404, "NoSuchBucket")), FileNotFoundError, "no such bucket"),
        (through_obstore(301, "PermanentRedirect"), OSError, "another region"),
        (through_obstore(503, "SlowDown"), OSError, "slow down (SlowDown)"),
        (HttpError({"code": "429", "message": SECRET}), OSError, "slow down (429)"),
        (FSTimeoutError(), TimeoutError, "no answer in time"),
        (boto.ReadTimeoutError(endpoint_url=SECRET), TimeoutError, "no answer in time"),
        (boto.EndpointConnectionError(endpoint_url=SECRET), ConnectionError, "no connection"),
        (requests.exceptions.ProxyError(SECRET), OSError, "proxy"),
        (aiohttp.ServerDisconnectedError(SECRET), ConnectionError, "no connection"),
        (ValueError(SECRET), OSError, "it failed (ValueError)"),
    ],
    ids=str,
)
def test_it_is_told_what_to_check_and_no_secret(
    error: Exception, kind: type[OSError], words: str
) -> None:
    found = told(error, "listing", "s3://b at host")
    assert isinstance(found, kind)
    assert words in str(found)
    assert "listing s3://b at host: " in str(found)
    assert SECRET not in str(found)


def test_a_missing_key_is_gone_and_a_missing_bucket_is_missing() -> None:
    assert isinstance(told(client(404, "404"), "reading", "s3://b", "key"), VanishedError)
    assert isinstance(told(client(404, "NoSuchKey"), "reading", "s3://b", "key"), VanishedError)
    missing = told(through_obstore(404, "NoSuchBucket"), "reading", "s3://b", "key")
    assert isinstance(missing, FileNotFoundError)
    assert isinstance(told(FileNotFoundError("b/x"), "reading", "gs://b", "key"), VanishedError)
