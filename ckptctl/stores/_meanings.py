"""What a failure of a server means: its kind, and words that end with what to check.

"!" is where the code goes, "@" where credentials are looked for, "%" how an endpoint is named, "^" what
else gives credentials, "#" what protects an object.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass

_WRONG_KEY = {
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidSecurity",
    "NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError",
    "UnauthenticatedError",
}  # fmt: skip
_EXPIRED = {
    "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired",
    "UnauthorizedSSOTokenError", "SSOTokenLoadError", "TokenRetrievalError", "RefreshError",
    "PendingAuthorizationExpiredError",
}  # fmt: skip
CHAIN = {
    "ProfileNotFound", "CredentialRetrievalError", "ConfigParseError", "InvalidConfigError",
    "InfiniteLoopConfigError", "UnknownCredentialError", "MetadataRetrievalError",
    "NoRegionError",
}  # fmt: skip
KNOWN = _WRONG_KEY | _EXPIRED | CHAIN
CAUSES = {
    "no https": ("WRONG_VERSION_NUMBER", "InvalidContentType", "RECORD_LAYER_FAILURE"),
    "distrust": ("CERTIFICATE_VERIFY_FAILED", "InvalidCertificate"),
    "no host": ("dns error", "gaierror", "Name or service not known"),
}
PROTECTED = {
    # Messages of GCS, since gcsfs does not pass on the reason that is named here.
    "' is under active Temporary hold": ("objectUnderActiveHold", "a temporary hold"),
    "' is under active Event-Based hold": ("objectUnderActiveHold", "an event-based hold"),
    "' is subject to bucket's retention policy": ("retentionPolicyNotMet", "a retention policy"),
    "object protected by object lock": ("AccessDenied", "Object Lock"),  # the message of S3
    "ObjectLockedByBucketPolicy": ("ObjectLockedByBucketPolicy", "a bucket lock"),  # R2's code
}
"""What protects an object from deletion, by what servers say of it: its code, and words."""
_REGION = {
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
}
_PROXY = 407
UNAUTHORIZED, FORBIDDEN, NOT_FOUND, PRECONDITION = 401, 403, 404, 412
_BUSY = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a failure."""

    status: int = 0
    code: str = ""
    cause: str = ""  # of having no connection, where that is known: one of CAUSES
    slow: bool = False  # no answer in time
    cut: bool = False  # no connection, or one that broke
    protected: str = ""  # by what: a hold, a lock, a retention policy
    garbled: bool = False  # an answer that broke off, or that nobody can read


Meaning = tuple[Callable[[Seen], bool], int, str]


MEANINGS: tuple[Meaning, ...] = (
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
        "there is no such bucket!; check its name, the region and the endpoint%",
    ),
    (
        lambda seen: seen.status == PRECONDITION,
        errno.ESTALE,
        "it was saved anew meanwhile!; look at it again",
    ),
    (
        lambda seen: seen.status in _BUSY,
        errno.EBUSY,
        "the server fails or asks to slow down!; try again later, with fewer --jobs",
    ),
    (
        lambda seen: seen.status == _PROXY,
        errno.EACCES,
        "the proxy wants a login!; check HTTPS_PROXY, HTTP_PROXY and NO_PROXY",
    ),
    (
        lambda seen: seen.cause == "no https",
        errno.ECONNREFUSED,
        "the server does not speak https there; check the endpoint: http:// or another port%",
    ),
    (
        lambda seen: seen.cause == "distrust",
        errno.ECONNREFUSED,
        "the server's certificate is not trusted; check the endpoint%, and the file of those who sign (AWS_CA_BUNDLE, SSL_CERT_FILE)",
    ),
    (
        lambda seen: seen.cause == "no host",
        errno.ECONNREFUSED,
        "no connection, for its name is not known; check the endpoint%, the network and the proxy",
    ),
    (
        lambda seen: seen.slow,
        errno.ETIMEDOUT,
        "no answer in time; check the network, the proxy and the endpoint%",
    ),
    (
        lambda seen: seen.cut,
        errno.ECONNREFUSED,
        "no connection, or it breaks off; check the network, the proxy and the endpoint%",
    ),
    (
        lambda seen: bool(seen.status or seen.code),
        errno.EPROTO,
        "the server refuses!; check the bucket and the endpoint%",
    ),
    (
        lambda _: True,
        errno.EPROTO,  # not EIO, which says that a medium lost it
        "it failed!; check the bucket, the options, the credentials and the endpoint%",
    ),
)

LOOKING: tuple[Meaning, ...] = (
    MEANINGS[1],
    (
        lambda seen: seen.code == "ProfileNotFound",
        errno.EACCES,
        "there is no such profile!; check AWS_PROFILE and ~/.aws/config",
    ),
    (
        lambda seen: seen.code == "NoRegionError",
        errno.EACCES,
        "nobody says in which region to assume the role!; set AWS_REGION, or region in ~/.aws/config",
    ),
    (
        lambda seen: seen.code == "CredentialRetrievalError",
        errno.EACCES,
        "what is to give them failed!; check AWS_PROFILE, and run credential_process of ~/.aws/config by hand",
    ),
    (
        lambda seen: seen.code in CHAIN,
        errno.EACCES,
        "the profile makes no sense!; check AWS_PROFILE and ~/.aws/config",
    ),
    (
        lambda seen: seen.slow or seen.cut,
        errno.EACCES,
        "the service that is to give them does not answer!; check the network, the proxy, AWS_ENDPOINT_URL_STS and ~/.aws/config",
    ),
    (
        lambda seen: seen.code in _WRONG_KEY or bool(seen.status),
        errno.EACCES,
        "they are refused!; check @^",
    ),
    (
        lambda _: True,
        errno.EACCES,
        "they cannot be had!; check @",
    ),
)
