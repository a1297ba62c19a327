"""Requests of S3 that obstore does not have (parts of uploads, copies), signed and sent by botocore.

Only the lower half of botocore is used: its client takes half a second to load.  What is refused
for the moment, or is lost, is asked again here.
"""

from __future__ import annotations

import math
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from ckptctl.patterns import later
from ckptctl.stores._errors import seen_in, told, translated
from ckptctl.stores._options import Credential, with_bucket
from ckptctl.stores._patience import CONNECT_SECONDS, LOST_SECONDS, READ_SECONDS, UNKNOWN_SECONDS

_CODE = later(rb"<Code>([A-Za-z]{1,60})</Code>")
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_PASSING = frozenset({
    "SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "OperationAborted",
    "RequestTimeoutException", "Throttling", "TooManyRequests",
})  # fmt: skip
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_FINAL_CAUSES = frozenset({"distrust", "no https"})
LONGEST_SECONDS = 4.0
"""What is waited at most before it is asked again."""

_PIECE = 128 * 1024  # what has to leave within the timeout, however thin the line
_CONNECTIONS = 64
_NO_ERROR = 300


class Answer(NamedTuple):
    """What a server said."""

    status: int
    headers: Mapping[str, str]  # by names in lower case
    body: bytes
    code: str = ""  # of an error

    def text(self, name: str) -> str:
        """Return what the first element of a name holds; "" where there is none."""
        return next(iter(texts(self.body, name)), "")


def texts(body: bytes, name: str) -> list[str]:
    """Return what the elements of a name hold, as text."""
    import html  # noqa: PLC0415 - only who uploads needs it

    found = re.findall(rb"<%b>(.*?)</%b>" % (name.encode(), name.encode()), body, re.DOTALL)
    return [html.unescape(one.decode()) for one in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How a bucket is reached, once all that may say so was asked."""

    bucket: str
    endpoint: str | None  # None: that of AWS
    virtual: bool  # the bucket is part of the host's name
    where: str  # for messages
    region: str
    credential: Callable[[], Credential] | None = field(repr=False)  # None: unsigned
    verify: bool | str = True
    payer: bool = False
    config: Mapping[str, object] = field(default_factory=dict, repr=False)
    attempts: int | None = None

    @property
    def server(self) -> str:
        """The address to which all buckets belong that can be copied from."""
        return (self.endpoint or f"https://s3.{self.region}.amazonaws.com").rstrip("/")

    @property
    def url(self) -> str:
        """The address of the bucket."""
        if self.virtual:
            return with_bucket(self.server, self.bucket).rstrip("/")
        return f"{self.server}/{self.bucket}"


class _Pieces:
    """A body that is sent in small pieces, each within the timeout."""

    def __init__(self, body: memoryview) -> None:
        self._body = body

    def __iter__(self) -> Iterator[memoryview]:
        for at in range(0, len(self._body), _PIECE):
            yield self._body[at : at + _PIECE]


class S3Requests:
    """Sends requests to one bucket; may be used by many threads."""

    def __init__(self, reach: Reach) -> None:
        self.reach = reach
        self.where = reach.where
        self._reached = False

    @cached_property
    def _session(self) -> Any:  # noqa: ANN401 - botocore has no types
        from botocore.httpsession import URLLib3Session  # noqa: PLC0415 - only who uploads pays
        from botocore.utils import get_environ_proxies  # noqa: PLC0415 - the same

        config = self.reach.config
        return URLLib3Session(
            verify=self.reach.verify,
            proxies=config.get("proxies") or get_environ_proxies(self.reach.url),
            timeout=(
                config.get("connect_timeout", CONNECT_SECONDS),
                config.get("read_timeout", READ_SECONDS),
            ),
            max_pool_connections=_CONNECTIONS,
        )

    def ask(
        self,
        doing: str,
        method: str,
        key: str = "",
        query: Mapping[str, object] | None = None,
        body: bytes | memoryview = b"",
        headers: Mapping[str, str] | None = None,
        *,
        accept: frozenset[str] = frozenset(),
        until: threading.Event | None = None,
    ) -> Answer:
        """Return the answer; that of an error only where its code is one of those to `accept`.

        What passes is asked again: for a minute and a half where the server has answered before,
        else for some seconds.  `until` ends the waiting.  Raises OSError.
        """
        began = time.monotonic()
        tried = 0
        ended = until or threading.Event()
        while True:
            found = self._attempt(doing, method, key, query or {}, body, headers or {})
            if isinstance(found, Answer):
                if not found.code or found.code in accept:
                    return found
                error: Exception = self._error(found, doing)
                passing = found.status in _BUSY or found.code in _PASSING
                passing |= found.code in _EXPIRED and not tried  # renewed at that very moment
            else:
                error = found
                passing = seen_in(error).cause not in _FINAL_CAUSES
            patience = LOST_SECONDS if self._reached else UNKNOWN_SECONDS
            passing &= tried + 1 < (self.reach.attempts or math.inf)
            if not passing or time.monotonic() - began > patience:
                raise told(error, doing, self.where, key) from None
            pause = min(0.2 * 2 ** min(tried, 8), LONGEST_SECONDS) * random.uniform(1, 1.5)  # noqa: S311 - no secret
            if ended.wait(pause):
                raise told(error, doing, self.where, key) from None
            tried += 1

    def _error(self, found: Answer, doing: str) -> Exception:
        from botocore.exceptions import ClientError  # noqa: PLC0415 - see above

        said = {"Error": {"Code": found.code}, "ResponseMetadata": {"HTTPStatusCode": found.status}}
        made: Exception = ClientError(said, doing)
        return made

    def _attempt(
        self,
        doing: str,
        method: str,
        key: str,
        query: Mapping[str, object],
        body: bytes | memoryview,
        headers: Mapping[str, str],
    ) -> Answer | Exception:
        """Return the answer, or why there is none.  OSError where no credentials can be had."""
        from botocore.awsrequest import AWSPreparedRequest  # noqa: PLC0415 - see above

        signed, url = self._signed(method, key, query, body, headers)
        prepared = AWSPreparedRequest(
            method, url, signed, _Pieces(memoryview(body)) if body else None, stream_output=False
        )
        try:
            got = self._session.send(prepared)
            content = bytes(got.content)
        except Exception as error:  # noqa: BLE001 - libraries raise what they like
            return error
        self._reached = True
        code = ""
        if got.status_code >= _NO_ERROR or b"<Error>" in content[:1000]:  # S3 says so in a 200, too
            said = _CODE.search(content[:4000])
            code = said[1].decode() if said else str(got.status_code)
        lowered = {name.lower(): value for name, value in got.headers.items()}
        return Answer(got.status_code, lowered, content, code)

    def _signed(
        self,
        method: str,
        key: str,
        query: Mapping[str, object],
        body: bytes | memoryview,
        headers: Mapping[str, str],
    ) -> tuple[Any, str]:
        """Return headers with a signature, and the URL."""
        from botocore.awsrequest import AWSRequest, HeadersDict  # noqa: PLC0415 - see above

        url = self.reach.url + (f"/{quote(key, safe='/~')}" if key else "")
        pairs = (f"{name}={quote(str(value), safe='~')}" for name, value in sorted(query.items()))
        request = AWSRequest(method, "?".join((url, "&".join(pairs))) if query else url)
        more = {"x-amz-request-payer": "requester"} if self.reach.payer else {}
        for name, value in {**headers, **more}.items():
            request.headers[name] = value
        if self.reach.credential is not None:
            with translated("finding credentials for", self.where):
                found = self.reach.credential()
            # TLS keeps the bytes as they are: then the checksum is enough, and a hash less.
            free = len(body) > _PIECE and urlsplit(url).scheme == "https"
            _sign(request, found, self.reach.region, None if free else body)
        if body:
            request.headers["Content-Length"] = str(len(body))
        elif method in {"PUT", "POST"}:
            request.headers["Content-Length"] = "0"
        return HeadersDict(request.headers.items()), request.url


def _sign(request: Any, found: Credential, region: str, body: bytes | memoryview | None) -> None:  # noqa: ANN401 - botocore has no types
    import hashlib  # noqa: PLC0415 - only who uploads needs it

    from botocore.auth import S3SigV4Auth  # noqa: PLC0415 - see above
    from botocore.credentials import Credentials  # noqa: PLC0415 - the same

    payload = "UNSIGNED-PAYLOAD" if body is None else hashlib.sha256(body).hexdigest()
    credentials = Credentials(found["access_key_id"], found["secret_access_key"], found["token"])
    signer = S3SigV4Auth(credentials, "s3", region)
    signer.payload = lambda _: payload
    signer.add_auth(request)
