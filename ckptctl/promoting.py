"""What a record says after a promotion, and after its end: from the old record to the new one, pure.

An alias is held by one checkpoint of a run.  A pin that came with a promotion goes with it, unless
somebody set it by hand, or another promotion needs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ckptctl.manifest import ALGORITHM, Manifest
from ckptctl.records import Promotion, Record


def promoted(record: Record, wanted: Promotion) -> Record:
    """Return the record with a promotion: pinned, tagged, and named by its alias.

    One that would change nothing, and says nothing new, is not noted again.
    """
    added = tuple(tag for tag in dict.fromkeys(wanted.tags) if tag not in record.tags)
    holds = wanted.alias is None or wanted.alias in record.aliases
    again = any(one.alias == wanted.alias for one in _standing(record))
    if record.pinned and holds and again and not added and wanted.note is None:
        return record
    own = replace(wanted, tags=added, pinned=not _pinned_by_hand(record))
    aliases = record.aliases if holds or wanted.alias is None else (*record.aliases, wanted.alias)
    return replace(
        record,
        pinned=True,
        tags=(*record.tags, *added),
        aliases=aliases,
        promotions=(*record.promotions, own),
    )


def handed_over(record: Record, alias: str, now_ns: int) -> Record:
    """Return the record of a former holder without the alias, and without the pin that came with it."""
    if alias not in record.aliases:
        return record
    lost = tuple(
        replace(one, pinned=False, lost_ns=one.lost_ns or now_ns)
        if one.ended_ns is None and one.alias == alias
        else one
        for one in record.promotions
    )
    return replace(
        record,
        aliases=tuple(name for name in record.aliases if name != alias),
        pinned=_still_pinned(record, lost),
        promotions=lost,
    )


def demoted(record: Record, now_ns: int, alias: str | None = None) -> Record:
    """Return the record without what its promotions did, or those of one alias, and no more."""
    ended = [one for one in _standing(record) if alias is None or one.alias == alias]
    rest = tuple(
        replace(one, ended_ns=now_ns) if one in ended else one for one in record.promotions
    )
    standing = [one for one in rest if one.ended_ns is None]
    tags = {tag for one in ended for tag in one.tags} - {t for one in standing for t in one.tags}
    aliases = {one.alias for one in ended} - {one.alias for one in standing}
    return replace(
        record,
        tags=tuple(tag for tag in record.tags if tag not in tags),
        aliases=tuple(name for name in record.aliases if name not in aliases),
        pinned=_still_pinned(record, rest),
        promotions=rest,
    )


def digest_of(manifest: Manifest) -> str | None:
    """Return one digest of a checkpoint: that of its only file, else that of the list of them all.

    The list is what `b3sum` writes of its files by path, sidecars aside.
    """
    lines = [
        f"{noted.digest}  {path}\n"
        for path, noted in sorted(manifest.files.items())
        if noted.digest is not None and not noted.sidecar and not noted.made
    ]
    if not lines:
        return None
    if len(lines) == 1:
        return f"{ALGORITHM}:{lines[0].partition(' ')[0]}"
    import blake3  # noqa: PLC0415 - only who promotes needs it

    return (
        f"{ALGORITHM}:{blake3.blake3(''.join(lines).encode(errors='surrogateescape')).hexdigest()}"
    )


def _standing(record: Record) -> Iterator[Promotion]:
    return (one for one in record.promotions if one.ended_ns is None)


def _pinned_by_hand(record: Record) -> bool:
    return record.pinned and not any(one.pinned for one in _standing(record))


def _still_pinned(record: Record, after: Iterable[Promotion]) -> bool:
    """Whether it stays pinned with the promotions that it has afterwards."""
    standing = any(one.pinned for one in after if one.ended_ns is None)
    return record.pinned and (standing or _pinned_by_hand(record))
