"""Credentials and options, from where users have them, in the words of each library.

The names are fsspec's, whatever engine is used, so that one `storage_options` fits all tools.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypedDict
from urllib.parse import urlsplit, urlunsplit

from ckptctl.stores._errors import translated
from ckptctl.stores._fsspec import quiet
from ckptctl.stores._patience import PATIENCE
from ckptctl.stores._sound import refuse_unsendable, sound_endpoint

Options = Mapping[str, object]
Environ = Mapping[str, str]

S3_NAMES = frozenset({
    "engine", "endpoint_url", "key", "username", "secret", "password", "token", "anon", "profile",
    "requester_pays", "use_ssl", "client_kwargs", "config_kwargs", "region", "region_name",
})  # fmt: skip
"""The options that `s3://` knows."""

_WORDS = {"true": True, "false": False, "null": None, "none": None}


class Credential(TypedDict):
    """A key as obstore wants it."""

    access_key_id: str
    secret_access_key: str
    token: str | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Options:
    """How a bucket is reached.  What is secret is not shown by `repr`."""

    endpoint: str | None = None
    region: str | None = None
    key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    anon: bool = False
    profile: str | None = None
    requester_pays: bool = False
    virtual: bool = False  # the bucket is part of the host's name
    verify: bool | str = True  # or the file of those who sign certificates
    client: Mapping[str, object] = field(default_factory=dict, repr=False)  # the rest, for botocore
    config: Mapping[str, object] = field(default_factory=dict)
    attempts: int | None = None  # how often at most a request is made


def typed(options: Options) -> dict[str, object]:
    """Return options with the types that `KEY=VALUE` of a command line cannot show."""
    return {key: _typed(value) for key, value in options.items()}


def _typed(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.lower() in _WORDS:
        return _WORDS[value.lower()]
    if value[:1] in {"{", "["}:
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def s3_options(options: Options, environ: Environ) -> S3Options:
    """Return how to reach a bucket by the options and, where they are silent, the environment.

    What only ~/.aws knows is asked for later: see `from_profile`.  MistakenError, PermissionError
    where something of it can be of no use.
    """
    client = _mapping(options.get("client_kwargs"))
    config = _mapping(options.get("config_kwargs"))
    verify = client.pop("verify", None)
    if verify is None:
        verify = environ.get("AWS_CA_BUNDLE") or environ.get("REQUESTS_CA_BUNDLE") or True
    named = _text(options.get("endpoint_url", client.pop("endpoint_url", None)))
    if named is not None:
        named = sound_endpoint(named, "http" if options.get("use_ssl") is False else "https")
    endpoint = (
        named
        or environ.get("AWS_ENDPOINT_URL_S3")
        or environ.get("AWS_ENDPOINT_URL")
        or environ.get("AWS_ENDPOINT")
    )
    made = S3Options(
        endpoint=sound_endpoint(endpoint) if endpoint else None,
        region=_text(
            options.get("region") or options.get("region_name") or client.pop("region_name", None)
        )
        or environ.get("AWS_REGION")
        or environ.get("AWS_DEFAULT_REGION")
        or None,
        key=_text(
            options.get("key") or options.get("username") or client.pop("aws_access_key_id", None)
        ),
        secret=_text(
            options.get("secret")
            or options.get("password")
            or client.pop("aws_secret_access_key", None)
        ),
        token=_text(options.get("token") or client.pop("aws_session_token", None)),
        anon=bool(options.get("anon")) or environ.get("AWS_SKIP_SIGNATURE", "").lower() == "true",
        profile=_text(options.get("profile")),
        requester_pays=bool(options.get("requester_pays"))
        or environ.get("AWS_REQUEST_PAYER", "").lower() in {"requester", "true"},
        virtual=_mapping(config.get("s3")).get("addressing_style") == "virtual",
        verify=verify if isinstance(verify, bool | str) else True,
        client=client,
        config=config,
        attempts=_attempts(_mapping(config.get("retries")), environ),
    )
    refuse_unsendable(
        key=made.key or environ.get("AWS_ACCESS_KEY_ID"),
        secret=made.secret or environ.get("AWS_SECRET_ACCESS_KEY"),
        token=made.token or environ.get("AWS_SESSION_TOKEN"),
    )
    return made


def _attempts(retries: Mapping[str, object], environ: Environ) -> int | None:
    """Return how often at most a request is made, as botocore's settings say it."""
    total = retries.get("total_max_attempts") or environ.get("AWS_MAX_ATTEMPTS")
    again = retries.get("max_attempts")
    given = total if again is None else f"{again}"
    if given is None or not str(given).isdecimal():
        return None
    return int(str(given)) + (again is not None)


def _mapping(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def with_bucket(endpoint: str, bucket: str) -> str:
    """Return an endpoint with the bucket in the host's name, as obstore wants it."""
    parts = urlsplit(endpoint)
    return urlunsplit(parts._replace(netloc=f"{bucket}.{parts.netloc}"))


@dataclass(frozen=True, slots=True)
class Profile:
    """What botocore finds in the environment, ~/.aws, SSO, a role, a container or an instance."""

    endpoint: str | None
    region: str | None
    credential: Callable[[], Credential] | None  # None: there are none at all


def explicit(found: S3Options, environ: Environ) -> S3Options | None:
    """Return the options with a key that needs no search; None where ~/.aws may have a say."""
    if found.anon or (found.key and found.secret):
        complete = found
    elif environ.get("AWS_ACCESS_KEY_ID") and environ.get("AWS_SECRET_ACCESS_KEY"):
        complete = S3Options(
            **{
                **{name: getattr(found, name) for name in S3Options.__dataclass_fields__},
                "key": environ["AWS_ACCESS_KEY_ID"],
                "secret": environ["AWS_SECRET_ACCESS_KEY"],
                "token": environ.get("AWS_SESSION_TOKEN") or None,
            }
        )
    else:
        return None
    asked = found.profile or environ.get("AWS_PROFILE") or environ.get("AWS_CONFIG_FILE")
    return None if asked or not (found.endpoint or found.region) else complete


def from_profile(found: S3Options, where: str) -> Profile:
    """Ask botocore's whole chain.  PermissionError where a profile, role or login does not work."""
    import botocore.config  # noqa: PLC0415 - takes 0.1 s, and only who needs it pays
    import botocore.session  # noqa: PLC0415 - the same

    quiet("botocore", "urllib3")  # it shows what STS says, with a traceback
    with translated("finding credentials for", where):
        session = botocore.session.Session(profile=found.profile)
        if found.region:  # botocore does not read AWS_REGION, and STS has to be somewhere
            session.set_config_variable("region", found.region)
        session.set_default_client_config(botocore.config.Config(**PATIENCE))  # of STS and SSO
        scoped = session.get_scoped_config()
        credentials = None if found.anon or found.key else session.get_credentials()
        region = session.get_config_variable("region")
        services = session.full_config.get("services", {}).get(scoped.get("services"), {})
        endpoint = _mapping(services.get("s3")).get("endpoint_url") or scoped.get("endpoint_url")
        if session.get_config_variable("ignore_configured_endpoint_urls"):
            endpoint = None
        provider = _provider(credentials, where) if credentials else None
    if provider is not None:
        provider()  # what is wrong with them is known here and now
    if endpoint:
        endpoint = sound_endpoint(endpoint)
    return Profile(endpoint, region, provider)


def _provider(credentials: Any, where: str) -> Callable[[], Credential]:  # noqa: ANN401 - botocore has no types
    # obstore asks again in the last minutes before the time that botocore's own renewal goes by.
    def provide() -> Credential:
        with translated("finding credentials for", where):
            frozen = credentials.get_frozen_credentials()
            when = getattr(credentials, "_expiry_time", None)
        refuse_unsendable(key=frozen.access_key, secret=frozen.secret_key, token=frozen.token)
        return Credential(
            access_key_id=frozen.access_key,
            secret_access_key=frozen.secret_key,
            token=frozen.token,
            expires_at=when and when.astimezone(UTC),  # obstore takes no other zone
        )

    return provide


def static(found: S3Options) -> Callable[[], Credential] | None:
    """Return what gives a key that was named; None where none was."""
    if not found.key or not found.secret:
        return None
    credential = Credential(
        access_key_id=found.key,
        secret_access_key=found.secret,
        token=found.token,
        expires_at=None,
    )
    return lambda: credential


def region_of(bucket: str, server: str = "https://s3.amazonaws.com") -> str:
    """Return where a bucket of AWS lies, by the header that it shows to anybody.

    As botocore's redirector does; obstore follows no redirect to another region.
    """
    from urllib.error import HTTPError, URLError  # noqa: PLC0415 - only who named no region pays
    from urllib.request import Request, urlopen  # noqa: PLC0415 - the same

    request = Request(f"{server}/{bucket}", method="HEAD")  # noqa: S310 - the scheme is ours
    try:
        with urlopen(request, timeout=5) as answer:  # noqa: S310 - the same
            headers = answer.headers
    except HTTPError as error:
        headers = error.headers
        error.close()
    except (URLError, OSError):
        return "us-east-1"
    return str(headers.get("x-amz-bucket-region") or "us-east-1")


def no_credentials(where: str) -> OSError:
    """Return the error of one who has none."""
    return OSError(
        errno.EACCES,
        f"no credentials for {where} were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, log in (aws sso login), or give --storage-option anon=true",
    )
