"""gcsfs with other retries and timeouts than its own, for which it has no settings."""

from __future__ import annotations

import os
from typing import Any

from ckptctl.stores._fsspec import quiet
from ckptctl.stores._patience import CONNECT_SECONDS, READ_SECONDS, WHOLE_SECONDS

_FIRST_TRIES = 4  # with gcsfs's own backoff some 9 s, and looking for credentials takes 13
_TRIES = 5  # some 17 s


def patience() -> Any:  # noqa: ANN401 - only who needs it imports it
    """Return how long aiohttp is to wait; without that it is five minutes for a whole request."""
    from aiohttp import ClientTimeout  # noqa: PLC0415 - see below

    return ClientTimeout(total=WHOLE_SECONDS, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)


def file_system(tries: int | None) -> Any:  # noqa: ANN401 - gcsfs has no types
    """Return gcsfs's class with other retries, fewer before the first answer: see the 30 s of exit 7."""
    # Else gcsfs asks an API of its own for the kind of each bucket, and waits a minute for it.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    quiet("gcsfs", "fsspec", "google", "google.auth", "asyncio")
    from gcsfs.core import GCSFileSystem  # noqa: PLC0415 - takes most of a second
    from gcsfs.retry import retry_request  # noqa: PLC0415 - the same

    once = GCSFileSystem._request.__wrapped__  # noqa: SLF001 - gcsfs has no setting for its retries
    hasty = retry_request(retries=tries or _FIRST_TRIES)(once)
    patient = retry_request(retries=tries or _TRIES)(once)

    async def request(self: Any, *given: Any, **named: Any) -> Any:  # noqa: ANN401 - the same
        answer = await (patient if self.reached else hasty)(self, *given, **named)
        self.reached = True
        return answer

    own = {"_request": request, "reached": False, "request_once": once}
    return type("GCSFileSystem", (GCSFileSystem,), own)
