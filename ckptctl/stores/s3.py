"""S3 and what speaks like it: through obstore, or with `engine=fsspec` through s3fs."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any

from ckptctl.stores._base import MistakenError, Opening, opener
from ckptctl.stores._errors import host_of, translated
from ckptctl.stores._keys import Keys
from ckptctl.stores._objects import ObjectStore
from ckptctl.stores._obstore import ObstoreKeys
from ckptctl.stores._options import (
    S3_NAMES,
    S3Options,
    explicit,
    from_profile,
    no_credentials,
    region_of,
    s3_options,
    static,
    typed,
    with_bucket,
)
from ckptctl.stores._patience import retries, timeouts
from ckptctl.stores._s3_requests import Reach
from ckptctl.stores._sound import refuse_unknown, sound_bucket, sound_region


@opener("s3", "s3a")
def open_s3(opening: Opening) -> ObjectStore:
    """Open a location of a bucket with `engine=obstore` (the default) or `engine=fsspec`."""
    options = typed(opening.options)
    bucket, prefix = sound_bucket(opening.path, "s3")
    keys = opening.shared.get(bucket)
    if keys is None:
        keys = opening.shared[bucket] = _keys_of(bucket, options)
    return ObjectStore(opening.url, keys, prefix, opening.max_keys)


def _keys_of(bucket: str, options: Mapping[str, object]) -> Keys:
    found = s3_options(options, os.environ)
    from ckptctl.stores._s3fs import S3fsKeys  # noqa: PLC0415 - for the same reason as s3fs itself

    @cache
    def reach() -> Reach:
        return _reach(bucket, found)

    @cache  # it looks for credentials and connects anew
    def spare() -> Keys:
        return S3fsKeys(bucket, found, options, reach)

    if options.get("engine") == "fsspec":
        return spare()
    refuse_unknown(options, S3_NAMES, "; engine=fsspec takes all of s3fs")
    if options.get("engine", "obstore") != "obstore":
        raise MistakenError(errno.EINVAL, "there is no such engine; use obstore or fsspec")
    return _through_obstore(reach, spare)


def _reach(bucket: str, found: S3Options) -> Reach:
    """Return how a bucket is reached.  PermissionError where there are no credentials."""
    where = f"s3://{bucket}"
    ready = explicit(found, os.environ)
    profile = None if ready else from_profile(found, where)
    use = ready or found
    endpoint = use.endpoint or (profile.endpoint if profile else None)
    region = sound_region(use.region or (profile.region if profile else None))
    region = region or ("us-east-1" if endpoint else region_of(bucket))
    if endpoint:
        where += f" at {host_of(endpoint)}"
    provider = static(use) or (profile.credential if profile else None)
    if provider is None and not use.anon:
        raise no_credentials(where)
    return Reach(
        bucket=bucket,
        endpoint=endpoint,
        virtual=use.virtual,
        where=where,
        region=region,
        credential=None if use.anon else provider,
        verify=use.verify,
        payer=use.requester_pays,
        config=use.config,
        attempts=use.attempts,
    )


def _through_obstore(reach: Callable[[], Reach], spare: Callable[[], Keys]) -> ObstoreKeys:
    from obstore.store import S3Store  # noqa: PLC0415 - only who needs a bucket waits for it

    use = reach()
    # What is said here goes before obstore's own reading of the environment.
    config: dict[str, Any] = {
        "region": use.region,
        "skip_signature": use.credential is None,
        "conditional_put": "etag",
    }
    if use.endpoint:
        config["endpoint"] = with_bucket(use.endpoint, use.bucket) if use.virtual else use.endpoint
        if "AWS_ENDPOINT_URL_S3" in os.environ:
            config["aws_endpoint_url_s3"] = config["endpoint"]
    if use.virtual:
        config["virtual_hosted_style_request"] = True
    if use.payer:
        config["request_payer"] = True
    client: dict[str, Any] = {
        **timeouts(use.config),
        "allow_http": bool(use.endpoint and use.endpoint[:5] == "http:"),
    }
    if use.verify is False:
        client["allow_invalid_certificates"] = True
    elif isinstance(use.verify, str):
        with suppress(OSError), open(use.verify, "rb") as file:
            client["root_certificate"] = file.read()
    with translated("opening", use.where):
        made: Any = S3Store
        store = made(
            use.bucket,
            config=config,
            client_options=client,
            retry_config=retries(use.attempts),
            credential_provider=use.credential,
        )
    return ObstoreKeys(store, use.where, spare, reach)
