"""What went wrong with a server, in words that say what to check - and never the library's own.

A library's text may hold a key id, a signature or a signed URL; so of it only the status and the
error's code get through, which are looked for here.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from ckptctl.reading import TooLargeError, VanishedError
from ckptctl.stores._base import ChangedError

_STATUS = re.compile(r"status code: ([0-9]{3})")
_CODE = re.compile(r"(?:<Code>|\(code: )([A-Za-z]{1,60})(?:</Code>|\))")
_WORD = re.compile(r"[A-Za-z]{1,60}")
_WRONG_KEY = {
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidSecurity",
    "NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError",
    "UnauthenticatedError",
}  # fmt: skip
_EXPIRED = {
    "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired",
    "UnauthorizedSSOTokenError", "SSOTokenLoadError", "TokenRetrievalError", "RefreshError",
    "CredentialRetrievalError",
}  # fmt: skip
_PROFILE = {"ProfileNotFound"}
_REGION = {
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
}
UNAUTHORIZED, FORBIDDEN, NOT_FOUND, PRECONDITION = 401, 403, 404, 412
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_PROTECTED = {
    # Messages of GCS, since gcsfs does not pass on the reason that is named here.
    "' is under active Temporary hold": ("objectUnderActiveHold", "a temporary hold"),
    "' is under active Event-Based hold": ("objectUnderActiveHold", "an event-based hold"),
    "' is subject to bucket's retention policy": ("retentionPolicyNotMet", "a retention policy"),
    "object protected by object lock": ("AccessDenied", "Object Lock"),  # the message of S3
    "ObjectLockedByBucketPolicy": ("ObjectLockedByBucketPolicy", "a bucket lock"),  # R2's code
}
"""What protects an object from deletion, by what servers say of it: its code, and words."""

_OURS = (VanishedError, TooLargeError, ChangedError)
_MISTAKES = (TypeError, AttributeError, NameError, AssertionError)  # ours, not a server's
_PLACES = {
    "s3": "AWS_PROFILE, AWS_ACCESS_KEY_ID, ~/.aws, or --storage-option key=... secret=...",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, gcloud auth application-default login, or --storage-option token=...",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a failure."""

    status: int = 0
    code: str = ""
    slow: bool = False  # no answer in time
    cut: bool = False  # no connection, or one that broke
    protected: str = ""  # by what: a hold, a lock, a retention policy


def host_of(endpoint: str) -> str:
    """Return the host and port of an address, without what else it may hold."""
    parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.hostname or ''}{port}"


def seen_in(error: BaseException) -> Seen:
    """Return what an exception of any of the libraries tells."""
    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in chain:
        chain.append(at)
        at = at.__cause__ or at.__context__
    status, code = 0, ""
    for link in chain:
        found_status, found_code = _one(link)
        status, code = status or found_status, code or found_code
    names = " ".join(kind.__name__ for link in chain for kind in type(link).__mro__)
    text = " ".join(str(link) for link in chain)
    protecting, protected = _protection(text)
    if not status:
        status = next((s for kind, s in _KINDS if isinstance(error, kind)), 0)
    return Seen(
        status,
        protecting
        or code
        or next((n for n in names.split() if n in _WRONG_KEY | _EXPIRED | _PROFILE), ""),
        slow=not status and ("Timeout" in names or "kind: Timeout" in text),
        cut=not status
        and ("Connect" in names or "ClientOSError" in names or "HttpError {" in text),
        protected=protected,
    )


def _protection(text: str) -> tuple[str, str]:
    """Return the code and the name of what protects an object; "" where nothing does."""
    return next((found for said, found in _PROTECTED.items() if said in text), ("", ""))


_KINDS = (
    (FileNotFoundError, NOT_FOUND),
    (PermissionError, FORBIDDEN),
    (FileExistsError, PRECONDITION),
)


def _one(error: BaseException) -> tuple[int, str]:
    """Return status and code of one exception: botocore's, gcsfs's, obstore's."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        code = str(response.get("Error", {}).get("Code", ""))
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return int(status), code if _WORD.fullmatch(code) else ""
    number = getattr(error, "code", None)
    if isinstance(number, int | str) and str(number).isdecimal():
        return int(number), ""
    text = str(error)
    if text.startswith("Forbidden: "):
        return FORBIDDEN, ""
    found, code_found = _STATUS.search(text), _CODE.search(text)
    return int(found[1]) if found else 0, code_found[1] if code_found else ""


def told(error: BaseException, doing: str, where: str, key: str = "") -> OSError:
    """Return the OSError that says what happened; `where` names bucket and server."""
    seen = seen_in(error)
    if seen.status == NOT_FOUND and key and seen.code != "NoSuchBucket":
        return VanishedError(errno.ENOENT, "it is gone", key)
    number, text = _words(seen, type(error).__name__, where)
    return OSError(number, f"{doing} {where}: {text}", key or None)


def refusal(code: str, message: str, where: str) -> str:
    """Return what a server's reason for leaving one key of many means."""
    protecting, protected = _protection(f"{code} {message}")
    plain = code if _WORD.fullmatch(code) else ""
    seen = Seen(code=protecting or plain, protected=protected)
    return f"deleting from {where}: {_words(seen, 'no code', where)[1]}"


def _words(seen: Seen, name: str, where: str) -> tuple[int, str]:
    """Return the error number and the words, with code and places filled in."""
    number, text = _meaning(seen, name)
    code = f" ({seen.code or seen.status})" if seen.code or seen.status else ""
    place = _PLACES.get(where.partition(":")[0], "--storage-option")
    return number, text.replace("!", code, 1).replace("@", place).replace("#", seen.protected)


def _meaning(seen: Seen, name: str) -> tuple[int, str]:
    """Return the error number and words; "!" is for the code, "@" for where credentials are, "#" for what protects."""
    for fits, number, text in _MEANINGS:
        if fits(seen):
            return number, text
    return errno.EIO, f"it failed ({name})"


_MEANINGS: tuple[tuple[Callable[[Seen], bool], int, str], ...] = (
    (
        lambda seen: bool(seen.protected),
        errno.EPERM,
        "# protects the object!; it can be deleted once that is released or its time is over",
    ),
    (
        lambda seen: seen.code in _EXPIRED,
        errno.EACCES,
        "the credentials have expired!; renew them (aws sso login, gcloud auth), or check @",
    ),
    (
        lambda seen: seen.code in _WRONG_KEY or seen.status == UNAUTHORIZED,
        errno.EACCES,
        "the credentials are refused!; check @",
    ),
    (
        lambda seen: seen.code == "ProfileNotFound",
        errno.EACCES,
        "there is no such profile!; check AWS_PROFILE and ~/.aws/config",
    ),
    (
        lambda seen: seen.code == "RequestTimeTooSkewed",
        errno.EACCES,
        "the clock of this host is wrong!; set it",
    ),
    (
        lambda seen: seen.code in _REGION or seen.status in {301, 307},
        errno.EINVAL,
        "the bucket is in another region!; set AWS_REGION, or endpoint_url",
    ),
    (
        lambda seen: seen.status == FORBIDDEN or seen.code == "AccessDenied",
        errno.EACCES,
        "permission is denied!; check the bucket's name and policy, and check @",
    ),
    (
        lambda seen: seen.status == NOT_FOUND,
        errno.ENOENT,
        "there is no such bucket!; check its name, the region and the endpoint",
    ),
    (
        lambda seen: seen.status in _BUSY,
        errno.EBUSY,
        "the server fails or asks to slow down!; try again later, with fewer --jobs",
    ),
    (
        lambda seen: seen.slow,
        errno.ETIMEDOUT,
        "no answer in time; check the network, the proxy and the endpoint",
    ),
    (
        lambda seen: seen.cut,
        errno.ECONNREFUSED,
        "no connection; check the network, the proxy and the endpoint (AWS_ENDPOINT_URL, STORAGE_EMULATOR_HOST, endpoint_url)",
    ),
    (
        lambda seen: bool(seen.status or seen.code),
        errno.EIO,
        "the server refuses!; check bucket and endpoint",
    ),
)


@contextmanager
def translated(doing: str, where: str, key: str = "") -> Iterator[None]:
    """Raise whatever a library raises as an OSError of the right kind; see `told`."""
    try:
        yield
    except (*_OURS, *_MISTAKES):
        raise
    except Exception as error:  # noqa: BLE001 - libraries raise what they like
        raise told(error, doing, where, key) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # obstore's, whose module cannot be imported
            raise
        text = "no request can be made; check bucket, endpoint and credentials for spaces and line breaks"
        raise OSError(errno.EINVAL, f"{doing} {where}: {text}", key or None) from None


def refused(error: Exception, where: str, key: str, *, new: bool, if_match: str) -> OSError:
    """Return what a failed write means: an unmet condition is the answer, not a failure."""
    status = seen_in(error).status
    if status == PRECONDITION and new:
        return FileExistsError(errno.EEXIST, "already there", key)
    if if_match and status in {PRECONDITION, NOT_FOUND}:
        return ChangedError(errno.ESTALE, "it is not what it was; nothing was written", key)
    return told(error, "writing to", where)
