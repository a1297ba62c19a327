"""What went wrong with a server, in words that say what to check - and never the library's own.

A library's text may hold a key id, a signature or a signed URL; so of it only the status and the
error's code get through, which are looked for here.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from ckptctl.reading import TooLargeError, VanishedError
from ckptctl.stores._again import GarbledError, garbled
from ckptctl.stores._base import ChangedError, MistakenError
from ckptctl.stores._meanings import (
    CAUSES,
    CHAIN,
    FORBIDDEN,
    KNOWN,
    LOOKING,
    MEANINGS,
    NOT_FOUND,
    PRECONDITION,
    PROTECTED,
    Meaning,
    Seen,
)

_CREDENTIALS = "credentials for"
"""What `doing` ends with where credentials are looked for: then no bucket was asked for anything."""
_STATUS = re.compile(r"status code: ([0-9]{3})")
_CODE = re.compile(r"(?:<Code>|\(code: )([A-Za-z]{1,60})(?:</Code>|\))")
_WORD = re.compile(r"[A-Za-z]{1,60}")
_OURS = (VanishedError, TooLargeError, ChangedError, GarbledError, MistakenError)
_GARBLED = {"ResponseParserError", "JSONDecodeError"}
_BROKEN = re.compile(
    r"Got invalid \w+ response|Error getting list response body|Unable to extract metadata"
    r"|non-partial response|Requested range .* got"
)
_CUT = re.compile("Connect|ClientOSError|ClientPayloadError")
_MISTAKES = (TypeError, AttributeError, NameError, AssertionError)  # ours, not a server's
_PLACES = {
    "s3": "AWS_PROFILE, AWS_ACCESS_KEY_ID, ~/.aws, or --storage-option key=... secret=...",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, gcloud auth application-default login, or --storage-option token=...",
}
_ROLES = {
    "s3": ", and role_arn, source_profile, web identity or SSO account of the profile, and the role's policy"
}
_ENDPOINTS = {
    "s3": " (AWS_ENDPOINT_URL, endpoint_url)",
    "gs": " (STORAGE_EMULATOR_HOST, endpoint_url)",
}


def host_of(endpoint: str) -> str:
    """Return the host and port of an address, without what else it may hold."""
    parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    return parts.netloc.rpartition("@")[2]


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
    text = " ".join((names, *map(str, chain)))
    protecting, protected = _protection(text)
    if not status:
        status = next((s for kind, s in _KINDS if isinstance(error, kind)), 0)
    return Seen(
        status,
        protecting or code or next((n for n in names.split() if n in KNOWN), ""),
        cause=next((cause for cause, words in CAUSES.items() if any(w in text for w in words)), ""),
        slow=not status and ("Timeout" in names or "kind: Timeout" in text),
        protected=protected,
        cut=not status and (_CUT.search(names) is not None or "HttpError {" in text),
        garbled=any(kind.__name__ in _GARBLED for kind in type(error).__mro__)
        or (not status and _BROKEN.search(text) is not None),
    )


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
    # aiohttp says that it is 400 where a body broke off.
    number = None if type(error).__module__.startswith("aiohttp") else getattr(error, "code", None)
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
    if seen.garbled and not doing.endswith(_CREDENTIALS):
        return garbled(doing, where, key)
    meanings = LOOKING if doing.endswith(_CREDENTIALS) or seen.code in CHAIN else MEANINGS
    number, text = _words(seen, meanings, type(error).__name__, where)
    return OSError(number, f"{doing} {where}: {text}", key or None)


def refusal(code: str, message: str, where: str) -> str:
    """Return what a server's reason for leaving one key of many means."""
    protecting, protected = _protection(f"{code} {message}")
    plain = code if _WORD.fullmatch(code) else ""
    seen = Seen(code=protecting or plain, protected=protected)
    return f"deleting from {where}: {_words(seen, MEANINGS, 'no code', where)[1]}"


def _words(seen: Seen, meanings: tuple[Meaning, ...], name: str, where: str) -> tuple[int, str]:
    """Return the error number and the words, with code and places filled in."""
    number, text = _meaning(seen, meanings)
    text = text.replace("!", f" ({seen.code or seen.status or name})", 1)
    scheme = where.partition(":")[0]
    text = text.replace("@", _PLACES.get(scheme, "--storage-option"))
    text = text.replace("%", _ENDPOINTS.get(scheme, "")).replace("^", _ROLES.get(scheme, ""))
    return number, text.replace("#", seen.protected)


def _protection(text: str) -> tuple[str, str]:
    """Return the code and the words of what protects an object; "" where nothing is said to."""
    return next((found for begin, found in PROTECTED.items() if begin in text), ("", ""))


def _meaning(seen: Seen, meanings: tuple[Meaning, ...]) -> tuple[int, str]:
    """Return the error number and words of the first meaning that fits."""
    return next((number, text) for fits, number, text in meanings if fits(seen))


@contextmanager
def translated(
    doing: str, where: str, key: str = "", passing: type[Exception] = ChangedError
) -> Iterator[None]:
    """Raise whatever a library raises as an OSError of the right kind, see `told`; but not `passing`."""
    try:
        yield
    except (*_OURS, *_MISTAKES, passing):
        raise
    except Exception as error:  # noqa: BLE001 - libraries raise what they like
        raise told(error, doing, where, key) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # obstore's, whose module cannot be imported
            raise
        text = "no request can be made; check bucket, endpoint and credentials for spaces and line breaks"
        raise OSError(errno.EPROTO, f"{doing} {where}: {text}", key or None) from None


def refused(error: Exception, where: str, key: str, *, new: bool, if_match: str) -> OSError:
    """Return what a failed write means: an unmet condition is the answer, not a failure."""
    status = seen_in(error).status
    if status == PRECONDITION and new:
        return FileExistsError(errno.EEXIST, "already there", key)
    if if_match and status in {PRECONDITION, NOT_FOUND}:
        return ChangedError(errno.ESTALE, "it is not what it was; nothing was written", key)
    return told(error, "writing to", where)
