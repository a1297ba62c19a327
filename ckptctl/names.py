"""The grammar of names: which number is a step, an epoch, a rank, a date, a metric, or none.

Section 3 of the contract, for names outside a framework's own layout.  A format that knows its own
names uses the same functions with the spans of its own numbers, so that families are spelled alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ckptctl.model import Unit

Span = tuple[int, int]

TENSOR_SUFFIXES = (
    ".pth.tar", ".weights.h5", ".safetensors", ".distcp", ".pdparams", ".msgpack", ".keras",
    ".hdf5", ".ckpt", ".gguf", ".pth", ".bin", ".tar", ".npz", ".h5", ".pt", ".th",
)  # fmt: skip
"""Endings of files that hold tensors, longest first: they make a directory one that holds some."""

_SEP = r"[-_=.+ ]?"
_STEP = re.compile(
    rf"(?<![A-Za-z])(?:global[-_]?step|steps?|iteration|iters?|updates?|ckpt|checkpoint|snapshot){_SEP}"
    r"(\d+)(?:\.0+)?(?![\dA-Za-z]|\.\d|[eE][-+]?\d)",
    re.IGNORECASE,
)
_EPOCH = re.compile(
    rf"(?<![A-Za-z])(?:epochs?|ep){_SEP}(\d+)(?:\.0+)?(?![\dA-Za-z]|\.\d)", re.IGNORECASE
)
_RANK = re.compile(r"(?<![A-Za-z])(?:rank|shard|part)[-_=.]?(\d+)(?![\dA-Za-z])", re.IGNORECASE)
_SHARD = re.compile(r"(?<!\d)(\d+)-of-(\d+)(?!\d)")
_VERSION = re.compile(r"(?<=.)-v(\d+)$")
_DAY = r"(?:19|20)\d\d([-_.]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])"
_DATE = re.compile(
    rf"(?<!\d)(?:{_DAY}|(?:0[1-9]|[12]\d|3[01])[-.](?:0[1-9]|1[0-2])[-.](?:19|20)\d\d)"
    r"(?:[T_+ -]?(?:[01]\d|2[0-3])([-:.]?)[0-5]\d(?:\2[0-5]\d(?:\.\d+)?)?Z?)?(?!\d)"
)
_HASH = re.compile(r"(?<![0-9A-Za-z])(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{7,64}(?![0-9A-Za-z])")
_VALUE = re.compile(
    r"(?<=[A-Za-z])(?:[=_-]?(?P<number>(?<=[=_])[-+](?:\d+\.\d+|\.\d+|\d+[eE][-+]?\d+)(?:[eE][-+]?\d+)?"
    r"|(?:\d+\.\d+|\.\d+)(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)"
    r"|[=_-](?P<special>[-+]?(?:nan|inf))|=(?P<zero>0))(?![0-9A-Za-z]|\.\d)"
)
_PAIR = re.compile(
    r"(?:^|(?<=[-_ ]))(?P<key>[A-Za-z][^=\-]*?)=(?P<value>[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
    r"|[-+]?inf|nan)(?=[-_ ]|$)"
)
_PARTS = frozenset(
    [
        "model",
        "net",
        "weights",
        "state",
        "optim",
        "optimizer",
        "scheduler",
        "ema",
        "generator",
        "discriminator",
    ]
)
_COPIES = frozenset(
    [
        "bak",
        "backup",
        "bkp",
        "copy",
        "old",
        "orig",
        "original",
        "keep",
        "kept",
        "best",
        "save",
        "saved",
        "tmp",
        "temp",
        "partial",
        "broken",
        "bad",
        "final",
        "pinned",
        "trash",
        "deleted",
        "promoted",
        "archive",
    ]
)
_NUMBER_WORDS = ("step", "iter", "update", "ckpt", "checkpoint", "snapshot", "ep")


@dataclass(frozen=True, slots=True)
class Name:
    """What a name says.  `spans` are where its numbers stand, for the family."""

    step: int | None = None
    epoch: int | None = None
    ranks: tuple[int, ...] = ()  # of a rank file, one number for each rank word
    shard: tuple[int, int] | None = None  # (i, n) of `i-of-n`
    spans: tuple[Span, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    copy: bool = False  # a user's copy of something: no checkpoint

    @property
    def numbered(self) -> bool:
        """Whether it carries a step or an epoch."""
        return self.step is not None or self.epoch is not None

    @property
    def counts(self) -> Unit | None:
        """Return the unit of the number by which logs are joined."""
        if self.step is not None:
            return Unit.STEP
        return Unit.EPOCH if self.epoch is not None else None


def split_suffix(name: str, suffixes: Iterable[str] = TENSOR_SUFFIXES) -> tuple[str, str]:
    """Return (stem, suffix) where the name ends in one of the suffixes, else (name, "")."""
    lowered = name.lower()
    for suffix in suffixes:
        if lowered.endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)], name[-len(suffix) :]
    return name, ""


def has_number_word(name: str) -> bool:
    """Tell cheaply whether `parse` could find a step or an epoch after a word in the name."""
    lowered = name.lower()
    return any(word in lowered for word in _NUMBER_WORDS)


def parse(stem: str, *, file: bool) -> Name:
    """Read a name without its suffix; `file` also allows a number that ends a name of parts."""
    version = _VERSION.search(stem)
    body = stem[: version.start()] if version else stem
    spans: list[Span] = []
    dates = [found.span() for found in _DATE.finditer(body)]
    spans += dates
    masked = _mask(body, dates)
    shard: tuple[int, int] | None = None
    for found in _SHARD.finditer(masked):
        shard = (int(found[1]), int(found[2]))
        spans.append(found.span())
    masked = _mask(masked, spans)
    ranks = []
    for found in _RANK.finditer(masked):
        ranks.append(int(found[1]))
        spans.append(found.span(1))
        masked = _mask(masked, [found.span()])
    step = epoch = None
    end = 0
    for found in _STEP.finditer(masked):
        step = int(found[1])
        spans.append(found.span(1))
        end = max(end, found.end())
    for found in _EPOCH.finditer(masked):
        epoch = int(found[1])
        spans.append(found.span(1))
        end = max(end, found.end())
    if step is None and epoch is None and file and (last := _closing_number(masked)):
        step = int(masked[last[0] : last[1]])
        spans.append(last)
        end = last[1]
    spans += value_spans(body)
    return Name(
        step=step,
        epoch=epoch,
        ranks=tuple(ranks),
        shard=shard,
        spans=tuple(spans),
        metrics=pairs(body),
        copy=bool(end and says_copy(masked[end:])) or body.endswith("~"),
    )


def says_copy(rest: str) -> bool:
    """Whether what follows the numbers of a name makes it a user's copy (`-best`, ` (copy)`)."""
    return any(word in _COPIES for word in re.split(r"[^a-z]+", rest.lower()))


def parse_number(text: str) -> float:
    """Return the float of a metric as names spell it (`-1.5e-05`, `nan`, `-inf`)."""
    return float(text)


def pairs(stem: str) -> dict[str, float]:
    """Return the metrics that a name states as `key=value`; steps and epochs are none."""
    return {
        found["key"]: parse_number(found["value"])
        for found in _PAIR.finditer(stem)
        if not _is_counter(found["key"])
    }


def value_spans(stem: str) -> list[Span]:
    """Return where metric values stand in a name, as the contract tells them from other digits."""
    spans = []
    for found in _VALUE.finditer(stem):
        group = next(name for name in ("number", "special", "zero") if found[name] is not None)
        spans.append(found.span(group))
    return spans


def family(stem: str, suffix: str, spans: Iterable[Span]) -> str:
    """Return the family of a name: its numbers replaced by `#`, and `-vN` left out.

    `spans` are those that the caller knows to be a step, epoch, time, rank, shard or value; dates,
    hashes and values are found here too.  All other digits stay.
    """
    version = _VERSION.search(stem)
    body = stem[: version.start()] if version else stem
    every = [*spans, *(found.span() for found in _DATE.finditer(body)), *value_spans(body)]
    every += [found.span() for found in _HASH.finditer(_mask(body, every))]
    parts: list[str] = []
    at = 0
    for start, end in _merge(every):
        parts += [body[at:start], "#"]
        at = end
    return "".join(parts) + body[at:] + suffix


def version_of(stem: str) -> int | None:
    """Return N where a name ends in `-vN`."""
    found = _VERSION.search(stem)
    return int(found[1]) if found else None


def _is_counter(key: str) -> bool:
    return bool(_STEP.fullmatch(f"{key}=0") or _EPOCH.fullmatch(f"{key}=0"))


def _closing_number(masked: str) -> Span | None:
    """Return the span of a number that ends a name which otherwise holds only words for parts."""
    found = re.fullmatch(r"(?P<words>.*?[A-Za-z].*?)(?P<number>\d+)[-_. \0]*", masked)
    if not found or not found["words"].replace("\0", "").strip("-_. "):
        return None
    for word in re.split(r"[-_. \0]+", found["words"]):
        if word and word.lower() not in _PARTS and word not in {"G", "D"}:
            return None
    return found.span("number")


def _mask(text: str, spans: Iterable[Span]) -> str:
    """Blank out spans, so that no later pattern reads them; lengths and places stay."""
    for start, end in spans:
        text = text[:start] + "\0" * (end - start) + text[end:]
    return text


def _merge(spans: Iterable[Span]) -> list[Span]:
    """Return the spans in order, those that touch or overlap made one."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
