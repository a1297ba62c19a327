"""The numbers in a tree of JSON, as frameworks keep their metrics."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from ckptctl.sidecar import as_number

_NAME_LIMIT = 1024


def flat_numbers(
    said: Mapping[str, object], without: Collection[str] = ()
) -> Iterator[tuple[str, float]]:
    """Yield the numbers below, by their keys joined with "/"; none below a key of `without`.

    Booleans are none, nor is an integer that no float can hold.
    """
    pending = [("", said)]
    while pending:
        prefix, tree = pending.pop()
        for key, value in tree.items():
            if not prefix and key in without:
                continue
            if isinstance(value, Mapping):
                if len(prefix) > _NAME_LIMIT:  # each level adds to it: of thousands is no metric
                    continue
                pending.append((f"{prefix}{key}/", value))
            elif (number := as_number(value)) is not None:
                yield f"{prefix}{key}", float(number)
