"""What a rule's value may be, from YAML or from a flag's text; ValueError says what is wrong."""

from __future__ import annotations

from ckptctl.units import parse_duration


def whole(value: object, *, least: int) -> int:
    """Return a whole number of at least `least`; its text will do, a boolean is no number."""
    number = value
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        number = int(value)
    if isinstance(number, bool) or not isinstance(number, int) or number < least:
        raise ValueError(f"must be a whole number of at least {least}, not {value!r}")
    return number


def count(value: object) -> int:
    """Return N: a whole number of at least 1."""
    return whole(value, least=1)


def duration(value: object) -> int:
    """Return nanoseconds of a duration longer than 0."""
    if not isinstance(value, str):
        raise ValueError(f"must be a duration like 90s, 15m, 6h, 7d or 2w, not {value!r}")  # noqa: TRY004 - callers ask only for ValueError
    length = parse_duration(value)
    if length < 1:
        raise ValueError(f"must be a duration longer than 0, not {value!r}")
    return length


def several(value: object, example: str) -> list[object]:
    """Return the members of a list that has at least one."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"must be a list like {example}, not {value!r}")  # noqa: TRY004 - callers ask only for ValueError
    if not value:
        raise ValueError(f"must name at least one, like {example}")
    return list(value)


COUNT_SCHEMA = {"type": "integer", "minimum": 1}
"""JSON Schema of N."""

DURATION_SCHEMA = {
    "type": "string",
    "pattern": r"^\s*\d+(\.\d+)?\s*[smhdw]\s*$",
    "title": "a duration such as 6h or 7d",
}
"""JSON Schema of a duration."""
