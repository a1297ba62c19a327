"""The grammar of names: which number is a step, an epoch, a rank, a date, a metric, or none.

Section 3 of the contract, for names outside a framework's own layout.  A format that knows its own
names uses the same functions with the spans of its own numbers, so that families are spelled alike.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ckptctl.dates import DATE, moment
from ckptctl.model import Unit
from ckptctl.patterns import later

Span = tuple[int, int]

TENSOR_SUFFIXES = (
    ".pth.tar", ".weights.h5", ".safetensors", ".distcp", ".pdparams", ".msgpack", ".keras",
    ".hdf5", ".ckpt", ".gguf", ".pth", ".bin", ".tar", ".npz", ".h5", ".pt", ".th",
)  # fmt: skip
"""Endings of files that hold tensors, longest first: they make a directory one that holds some."""

_PARTS = (
    "model", "net", "weights", "state", "optimizer", "optim", "scheduler", "ema", "generator",
    "discriminator",
)  # fmt: skip
_COPIES = frozenset(
    {
        "bak", "backup", "bkp", "copy", "old", "orig", "original", "keep", "kept", "best", "save",
        "saved", "tmp", "temp", "partial", "broken", "bad", "final", "pinned", "trash", "deleted",
        "promoted", "archive",
    }
)  # fmt: skip
_FLAGS = re.IGNORECASE | re.ASCII
_SEP = r"[-_=.+ ]?"
_STEPS = r"(?:global[-_]?step|steps?|iteration|iters?|updates?|ckpt|checkpoint|snapshot)"
_EPOCHS = r"(?:epochs?|ep)"
_RANKS = r"(?:rank|shard|part)[-_=.]?"
_IN_GRID = later(rf"{_RANKS}\d|\d-of-\d", _FLAGS)
# After the number comes no fraction, and no letter (`7B`, `10k`) but that of another such word.
_ENDED = rf"(?:\.0+)?(?!\d|\.\d|(?!(?:{_STEPS}|{_EPOCHS}){_SEP}\d)[A-Za-z])"
_STEP = later(rf"(?<![A-Za-z]){_STEPS}{_SEP}(\d+){_ENDED}", _FLAGS)
_EPOCH = later(rf"(?<![A-Za-z]){_EPOCHS}{_SEP}(\d+){_ENDED}", _FLAGS)
_RANK = later(rf"(?<![A-Za-z]){_RANKS}(\d+)(?![\dA-Za-z]|\.\d)", _FLAGS)
_SHARD = later(r"(?<!\d)(\d+)-of-(\d+)(?!\d)", re.ASCII)
_VERSION = later(r"(?<=.)-v(\d+)\Z", re.ASCII)
_PART = rf"(?:(?:{'|'.join(_PARTS)}|(?-i:[GD]))(?![A-Za-z]))"
_CLOSING = later(rf"(?:[-_. \0]*{_PART})+[-_. \0]*?(?P<number>\d+)[-_. \0]*", _FLAGS)
_LIKELY = later(
    rf"(?<![A-Za-z])(?:(?:{_STEPS}|{_EPOCHS}){_SEP}|{_PART}(?:[-_. ]|{_RANKS}\d++|\d++-of-\d++)*+)\d",
    _FLAGS,
)
_HASH = later(r"(?<![0-9A-Za-z])(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{7,64}(?![0-9A-Za-z])", re.ASCII)
_NUMBER = r"(?:(?:\d+\.\d+|\.\d+)(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)"
# Glued to any word they would be found in words too: `finan`.
_NO_NUMBER = r"(?:(?<=[Ll]oss)|(?<=[Pp]pl)|(?<=[Aa]cc))(?:[Nn]a[Nn]|[Ii]nf)"
_VALUE = later(
    rf"(?:(?:(?<=[A-Za-z])\d*[=_-]|=)(?P<number>[-+]?{_NUMBER}|[-+]?(?:[Nn]a[Nn]|[Ii]nf))"
    rf"|(?<=[A-Za-z])(?P<glued>{_NUMBER}|{_NO_NUMBER})|=(?P<zero>0))(?![0-9A-Za-z]|\.\d)",
    re.ASCII,
)
_KEY = later(r"[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z][A-Za-z0-9]*)*\Z", re.ASCII)
_PAIR = later(
    r"(?:^|(?<=[-_ ]))(?P<key>[A-Za-z][^=\-\0]*?)=(?P<value>[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
    r"|[-+]?inf|nan)(?=[-_ ]|$)"
)
_DASHED = later(r"[-_ ]+((?=[A-Za-z])(?:[A-Za-z0-9_./]+-)+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Name:
    """What a name says.  `spans` are where its numbers stand, for the family."""

    step: int | None = None
    epoch: int | None = None
    ranks: tuple[int, ...] = ()  # one number for each rank word
    rank_words: tuple[str, ...] = ()  # those words: rank, shard or part
    shard: tuple[int, int] | None = None  # (i, n) of `i-of-n`
    grid: tuple[Span, ...] = ()  # where ranks and shard stand
    spans: tuple[Span, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    saved_ns: int | None = None  # where it states a date with a time of day, taken for UTC
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


@functools.lru_cache(maxsize=1 << 14)  # the folders of a run hold the same names
def split_suffix(name: str, suffixes: tuple[str, ...] = TENSOR_SUFFIXES) -> tuple[str, str]:
    """Return (stem, suffix) where the name ends in one of the suffixes, else (name, "")."""
    lowered = name.lower()
    if not lowered.endswith(suffixes):
        return name, ""
    for suffix in suffixes:
        if lowered.endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)], name[-len(suffix) :]
    return name, ""


@functools.lru_cache(maxsize=1 << 14)  # the folders of a run hold the same names
def has_number_word(name: str) -> bool:
    """Tell cheaply whether `parse` could find a step or an epoch in a name."""
    return _LIKELY.search(name) is not None


def has_rank_word(name: str) -> bool:
    """Tell cheaply whether `parse` could find a rank or a shard in a name."""
    return _IN_GRID.search(name) is not None


def parse(stem: str, *, file: bool) -> Name:
    """Read a name without its suffix; `file` also allows a number that ends a name of parts."""
    version = _VERSION.search(stem)
    body = stem[: version.start()] if version else stem
    grid = [found.span() for found in _SHARD.finditer(body)]
    shard = next(((int(f[1]), int(f[2])) for f in _SHARD.finditer(body)), None)
    masked = _mask(body, grid)
    dates = list(DATE.finditer(masked))
    masked = _mask(masked, [found.span() for found in dates])
    ranks = list(_RANK.finditer(masked))
    grid += [found.span(1) for found in ranks]
    masked = _mask(masked, [found.span() for found in ranks])
    steps, epochs = list(_STEP.finditer(masked)), list(_EPOCH.finditer(masked))
    numbers = [found.span(1) for found in (*steps, *epochs)]
    step = int(steps[-1][1]) if steps else None
    epoch = int(epochs[-1][1]) if epochs else None
    end = max((found.end() for found in (*steps, *epochs)), default=0)
    if file and not end and not dates and (closing := _CLOSING.fullmatch(masked)):
        step, end = int(closing["number"]), len(masked)
        numbers.append(closing.span("number"))
    return Name(
        step=step,
        epoch=epoch,
        ranks=tuple(int(found[1]) for found in ranks),
        rank_words=tuple(re.split("[^a-z]", found[0].lower())[0] for found in ranks),
        shard=shard,
        grid=tuple(grid),
        spans=(*grid, *(found.span() for found in dates), *numbers),
        metrics=_metrics(_mask(masked, numbers)),
        saved_ns=next((ns for found in reversed(dates) if (ns := moment(found)) is not None), None),
        copy=bool(end and says_copy(masked[end:])) or body.endswith("~"),
    )


def says_copy(rest: str) -> bool:
    """Whether what follows the numbers of a name makes it a user's copy (`-best`, ` (copy)`)."""
    return any(word in _COPIES for word in re.split(r"[^a-z]+", rest.lower()))


def is_copy(name: str, said: Name) -> bool:
    """Whether a directory of this name is hidden, or a user's copy: a word for one comes first or last.

    `best` before a number and a metric is what a loop calls its own.
    """
    first = next((word for word in re.split(r"[^a-z]+", name.lower()) if word), "")
    return (
        said.copy
        or name.startswith(".")
        or (first in _COPIES and not (first == "best" and said.metrics))
    )


def extends(name: str, own: re.Pattern[str]) -> bool:
    """Whether a name extends a framework's own by what is no part, number or metric: a user's copy.

    `checkpoint-500-best` and `iter_0001000.bak` do; `step_5-ema` and `step_5_loss_0.1` are other
    things of step 5.
    """
    found = own.match(name)
    if found is None or own.fullmatch(name) or name[found.end()].isalnum():
        return False
    rest = name[found.end() :]
    kinds = (_SHARD, _RANK, _STEP, _EPOCH, DATE)
    known = [match.span() for kind in kinds for match in kind.finditer(rest)]
    known += [(at, end) for at, _, end in _keyed(rest)]
    words = [word for word in re.split(r"[^A-Za-z0-9~]+", _mask(rest, known)) if word]
    parts = [word for word in words if re.fullmatch(_PART, word, _FLAGS)]
    return len(parts) < len(words) or not (parts or known)


def parse_number(text: str) -> float:
    """Return the float of a metric as names spell it (`-1.5e-05`, `nan`, `-inf`)."""
    return float(text)


def pairs(stem: str) -> dict[str, float]:
    """Return the metrics that a name states as `key=value`; steps and epochs are none.

    Words with dashes between one value and the next are all of the key (`val-loss`); before the
    first pair they may just as well be a model's name, so that only the last one counts.
    """
    metrics = {}
    end: int | None = None
    for found in _PAIR.finditer(stem):
        key = found["key"]
        if not _is_counter(key):
            words = None if end is None else _DASHED.fullmatch(stem, end, found.start("key"))
            metrics[(words[1] if words else "") + key] = parse_number(found["value"])
        end = found.end()
    return metrics


def value_spans(stem: str) -> list[Span]:
    """Return where metric values stand in a name, as the contract tells them from other digits."""
    return [found.span(found.lastgroup or 0) for found in _VALUE.finditer(stem)]


def blank(text: str, spans: Iterable[Span]) -> str:
    """Return a text with each span, or run of spans that touch, replaced by `#`."""
    parts: list[str] = []
    at = 0
    for start, end in _merge(spans):
        parts += [text[at:start], "#"]
        at = end
    return "".join(parts) + text[at:]


def family(stem: str, suffix: str, spans: Iterable[Span]) -> str:
    """Return the family of a name: its numbers replaced by `#`, and `-vN` left out.

    `spans` are those that the caller knows to be a step, epoch, time, rank, shard or value; dates,
    hashes and values are found here too.  All other digits stay.
    """
    version = _VERSION.search(stem)
    body = stem[: version.start()] if version else stem
    every = [*spans, *(found.span() for found in DATE.finditer(body))]
    starts = {start for start, _ in every}
    # `.400` is no value in `model.400`, where 400 is the step.
    every += [span for span in value_spans(body) if starts.isdisjoint(range(span[0] + 1, span[1]))]
    every += [found.span() for found in _HASH.finditer(_mask(body, every))]
    return blank(body, every) + suffix


def version_of(stem: str) -> int | None:
    """Return N where a name ends in `-vN`."""
    found = _VERSION.search(stem)
    return int(found[1]) if found else None


def _is_counter(key: str) -> bool:
    return bool(_STEP.fullmatch(f"{key}=0") or _EPOCH.fullmatch(f"{key}=0"))


def _keyed(text: str) -> Iterator[tuple[int, int, int]]:
    """Yield where the key begins, and where the value begins and ends, of each metric value."""
    for start, end in value_spans(text):
        found = _KEY.search(text[:start].rstrip("=_-"))
        if found:
            yield found.start(), start, end


def _metrics(text: str) -> dict[str, float]:
    """Return the metric values of a name whose other numbers are masked, by the words before them.

    Words for parts that come first are left out: `model_val_loss_0.5` says `val_loss`.
    """
    metrics = {}
    for at, start, end in _keyed(text):
        words = text[at:start].rstrip("=_-").split("_")
        while len(words) > 1 and words[0].lower() in _PARTS:
            del words[0]
        metrics["_".join(words)] = parse_number(text[start:end])
    return metrics


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
