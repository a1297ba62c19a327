"""Dates and times of day in names, in the ways in which people and programs write them."""

from __future__ import annotations

import re
from datetime import datetime

from ckptctl.model import NS
from ckptctl.patterns import later

_MONTH, _DAY = r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
DATE = later(
    rf"(?<!\d)(?<!\d\.)(?:(?P<year>(?:19|20)\d\d)(?P<sep>[-_.]?)(?P<month>{_MONTH})(?P=sep)(?P<day>{_DAY})"
    rf"|(?:{_DAY}(?P<dm>[-_.]){_MONTH}(?P=dm)|{_MONTH}(?P<md>[-_.]){_DAY}(?P=md))(?:19|20)\d\d"
    rf"|2\d(?P<ym>[-_.]){_MONTH}(?P=ym){_DAY}|(?:19|20)\d\d-{_MONTH}(?!-of-))"
    r"(?:[T_+ -]?(?P<hour>[01]\d|2[0-3])(?P<colon>[-:.]?)(?P<minute>[0-5]\d)"
    r"(?:(?P=colon)(?P<second>[0-5]\d)(?P<fraction>\.\d+)?)?Z?)?(?!\d)",
    re.ASCII,
)
"""A date, with a time of day or without; a month alone only as `2024-01`."""


def moment(date: re.Match[str]) -> int | None:
    """Return the nanoseconds of a date that has a time of day, taken for UTC; None without one."""
    if date["year"] is None or date["hour"] is None:
        return None
    text = "{year}-{month}-{day}T{hour}:{minute}+00:00".format(**date.groupdict())
    try:
        stated = datetime.fromisoformat(text)
    except ValueError:  # the 31st of February
        return None
    seconds = int(stated.timestamp()) + int(date["second"] or 0)
    return seconds * NS + int((date["fraction"] or ".")[1:10].ljust(9, "0"))
