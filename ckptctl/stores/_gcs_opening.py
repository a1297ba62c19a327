"""How GCS is reached: by which server, and with whose credentials."""

from __future__ import annotations

import os
from typing import Any

from ckptctl.stores._errors import translated
from ckptctl.stores._gcsfs import file_system, patience
from ckptctl.stores._sound import sound_endpoint

_SCOPE = "https://www.googleapis.com/auth/devstorage.full_control"


def opened(options: dict[str, object], endpoint: str | None, where: str) -> Any:  # noqa: ANN401 - gcsfs has no types
    """Return gcsfs, with the credentials that are meant.  Raises OSError where there are none."""
    with translated("finding credentials for", where):
        token = options.get("token")
        if token is None and not endpoint and os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
            options["token"] = _named()
        elif isinstance(token, str) and "/" in token and not os.path.exists(token):
            raise FileNotFoundError(token)  # gcsfs would send the path as a token
        tries = options.pop("retries", None)
        made = file_system(None if tries is None else max(1, int(str(tries))))
        given = {"requests_timeout": patience(), **options}
        return made(skip_instance_cache=True, use_listings_cache=False, **given)


def endpoint_of(said: object) -> str | None:
    """Return the server named by an option or, like gcsfs, by the emulator's variable."""
    if said is not None:
        return sound_endpoint(str(said))
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    return sound_endpoint(emulator, "http") if emulator not in {None, "", "default"} else None


def _named() -> Any:  # noqa: ANN401 - the same
    """Return the credentials of the file that the environment names.

    gcsfs would go on as nobody in particular where that cannot be read.
    """
    import google.auth  # noqa: PLC0415 - only who needs it pays

    return google.auth.default(scopes=[_SCOPE])[0]
