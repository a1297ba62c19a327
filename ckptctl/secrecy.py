"""Keys, tokens and signatures that stand in an address or on a command line: never to be shown."""

from __future__ import annotations

from ckptctl.patterns import later

# A port is no password, nor is an access point's ARN; a secret key of AWS may hold "/".
_LOGIN = later(
    r"(?i)\b(s3[an]?|gs|gcs)://(?!arn:)[^/@\s]*:\S*@"
    r"|([a-z][a-z0-9+.-]*)://(?![^/@\s]*:[0-9]+(?:/|\s|$))(?!arn:)[^/@\s]*:\S*@"
)
_SIGNED = later(
    r"(?i)([?&;](?:[a-z0-9_-]*(?:signature|credential|token|secret|password)|sig|key)=)[^&;#\s'\"]+"
)
_NAMED = later(r"(?i)\b((?:[a-z_]*(?:secret|password|token)|key|sig)=)[^\s'\")]+")


def holds_secret(location: str) -> bool:
    """Whether a URL holds a password, a key or a signature."""
    return "://" in location and any(rule.search(location) for rule in (_LOGIN, _SIGNED))


def without_secrets(text: str) -> str:
    """Return a text with what is secret in its URLs replaced by `...`."""
    if "://" not in text:
        return text
    shown = _LOGIN.sub(lambda found: f"{found[1] or found[2]}://...@", text)
    return _SIGNED.sub(r"\1...", shown)


def without_values(text: str) -> str:
    """Return a text also without the values of `secret=...`, `key=...` and their like.

    For what repeats a command line: elsewhere such a word may be part of a checkpoint's name.
    """
    return _NAMED.sub(r"\1...", without_secrets(text))
