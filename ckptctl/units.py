"""What people write for sizes, durations and times, and what we print for them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from ckptctl.model import NS
from ckptctl.patterns import later

_SIZES = {
    "": 1, "B": 1,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15,
    "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40, "PIB": 2**50,
}  # fmt: skip
_DURATIONS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_NUMBER = r"([0-9]{1,18}(?:\.[0-9]{1,9})?)"  # more digits than any size or age has
_SIZE = later(rf"{_NUMBER}\s*((?:[KMGTP](?:i?B)?|B)?)", re.IGNORECASE)
_DURATION = later(rf"{_NUMBER}\s*([smhdw])")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_SECOND = -62135596800  # 0001-01-01T00:00:00Z
_LAST_SECOND = 253402300799  # 9999-12-31T23:59:59Z, the last that has an RFC 3339 form


def parse_size(text: str) -> int:
    """Return bytes of `500GB`, `1.5TiB` or plain bytes; ValueError for anything else."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is no size: write 500GB, 1.5TiB or plain bytes")
    return int(Decimal(found[1]) * _SIZES[found[2].upper()])


def parse_duration(text: str) -> int:
    """Return nanoseconds of `90s`, `15m`, `6h`, `7d`, `2w` or 0; ValueError for anything else."""
    if text.strip() == "0":
        return 0
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is no duration: write 90s, 15m, 6h, 7d or 2w")
    return int(Decimal(found[1]) * _DURATIONS[found[2]] * NS)


def parse_time(value: object) -> int:
    """Return nanoseconds of an RFC 3339 text or of Unix seconds; a time without offset is UTC.

    ValueError where it is neither, or lies outside the years 1 to 9999.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is no time")  # noqa: TRY004 - callers ask only for ValueError
    if isinstance(value, str):
        text = value.strip()
        found = re.fullmatch(
            r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d)?)(?:[.,](\d+))?\s*([Zz]|[+-]\d\d:?\d\d)?",
            text,
        )
        if not found:
            raise ValueError(f"{value!r} is no RFC 3339 time")
        moment = datetime.fromisoformat(found[1] + (found[3] or "+00:00").upper())
        return round((moment - _EPOCH).total_seconds()) * NS + int(
            (found[2] or "0")[:9].ljust(9, "0")
        )
    if not _FIRST_SECOND <= value <= _LAST_SECOND:  # NaN compares false
        raise ValueError(f"{value!r} is no time in Unix seconds")
    # The digits that were written, not the nearest binary fraction of them.
    return value * NS if isinstance(value, int) else round(Decimal(repr(value)) * NS)


def format_time(ns: int) -> str:
    """Return RFC 3339 in UTC with its fraction of a second, trailing zeros left out."""
    seconds, rest = divmod(ns, NS)
    moment = _EPOCH + timedelta(seconds=min(max(seconds, _FIRST_SECOND), _LAST_SECOND))
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{moment.isoformat()[:19]}{fraction}Z"  # strftime would not fill up the year 1


def format_until(ns: int) -> str:
    """Return a time until which something lasts, as the first whole second that is not before it."""
    return format_time(-(-ns // NS) * NS)


def format_size(size: int) -> str:
    """Return a size for people, in decimal units with three digits: `1.23 GB`."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5:  # noqa: PLR2004 - where three digits end
            digits = 0 if unit == "B" or value >= 99.95 else 1 if value >= 9.995 else 2  # noqa: PLR2004
            return f"{value:.{digits}f} {unit}"
        value /= 1000
    return f"{value:.2f} PB"


def format_duration(ns: int) -> str:
    """Return a duration for people, in its two largest units: `3d 4h`, `12m`, `8s`."""
    seconds = abs(ns) // NS
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count or parts:
            parts.append(f"{count}{unit}" if count else "")
    shown = " ".join(part for part in parts[:2] if part) or "0s"
    return f"-{shown}" if ns < 0 else shown
