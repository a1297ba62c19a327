"""What a Trainer's directory holds, told from its names: is it one, what is not there, can it resume."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from ckptctl.formats._deepspeed_grid import read_grid
from ckptctl.model import Problem
from ckptctl.names import TENSOR_SUFFIXES
from ckptctl.patterns import later

STATE = "trainer_state.json"
"""The commit marker: written after weights, optimizer and the RNG of rank 0."""

NAME = later(r"checkpoint-([0-9]+)")
STAGED = later(r"tmp-checkpoint-(?:([0-9]+)|[a-z0-9_]{8})")
"""What 4.36 to 4.38 called a directory until it was whole."""

INCOMPLETE = "checkpoint-is-incomplete.txt"
"""What transformers 5 leaves while it saves at a signal (trainer_jit_checkpoint.py)."""

Names = Mapping[str, Sequence[str]]
"""Folder within the directory ("" for itself) -> names of its files."""

_FILES = later(
    r"trainer_state\.json|training_args\.bin|optimizer\.(?:pt|bin)|scheduler\.pt|scaler\.pt"
    r"|(?:adapter_|generation_|tokenizer_)?config\.json|checkpoint-is-incomplete\.txt"
    r"|(?:adapter_)?model\.safetensors|(?:pytorch|adapter)_model(?:_fsdp)?\.bin"
    r"|.+-[0-9]{5,}-of-[0-9]{5,}\.(?:safetensors|bin)|.+\.(?:safetensors|bin)\.index\.json"
    r"|rng_state(?:_[0-9]+)?\.pth|rank[0-9]+-of-[0-9]+-optimizer\.pt|zero_to_fp32\.py"
)
_FOLDERS = later(r"global_step[0-9]+|pytorch_model_fsdp_[0-9]+|optimizer_[0-9]+")
PADDLES = later(r".+\.pd(?:params|opt)|\.checkpoint_done|(?:master_weights|peft_model).*")
"""Files of PaddleNLP's Trainer, which has the same names for its directories."""
_TAG = later(r"global_step[0-9]+")
_DCP = later(r"(?:pytorch_model_fsdp|optimizer)_[0-9]+")
_RNG = later(r"rng_state_([0-9]+)\.pth")
_XLA = later(r"rank([0-9]+)-of-([0-9]+)-optimizer\.pt")
_OPTIMIZER = later(r"optimizer\.(?:pt|bin)|optimizer\.pt_.*|rank[0-9]+-of-[0-9]+-optimizer\.pt")
_REST = later(r"scheduler\.(?:pt|bin)|scaler\.pt|rng_state_[0-9]+\.pth")
_SHARD = later(r"(?!shard-)(.+)-([0-9]{5,})-of-([0-9]{5,})(\.safetensors|\.bin)")
_INDEX = later(r"(.+)(\.safetensors|\.bin)\.index\.json")
_ADAPTER = later(r"adapter_model.*\.(?:safetensors|bin)")
_NO_WEIGHTS = later(
    r"training_args\.bin|scheduler\.(?:pt|bin)|scaler\.pt|rng_state.*\.pth|optimizer[._].*|rank.*-optimizer\.pt",
    re.DOTALL,
)
_KEYS = (r"trainer_state\.json", r".*\.index\.json", r"(?:.*/)?(?:adapter_|pytorch_)?model[^/]*")


class Parts(NamedTuple):
    """What the names in a directory tell."""

    trainers: bool  # the Trainer's, and not of those that use the same directory names
    missing: str | None = None  # of the whole grid, in words
    resumable: bool = False  # an optimizer of any kind is there; `save_only_model` leaves it out
    ranked: bool = False  # each rank had to write its RNG state
    key: str = ""  # the key file: the marker, else an index, else weights
    rng: frozenset[str] = frozenset()  # of the ranks, which do not wait for each other to write it
    surplus: tuple[
        str, ...
    ] = ()  # of these, those beyond the ranks that the optimizer's files tell
    problems: tuple[Problem, ...] = ()


def is_trainers(name: str, files: Container[str]) -> bool:
    """Whether a directory is the Trainer's by its name and its marker, so that no other claims it.

    The marker alone is no sign: loops of users write a file of that name too.
    """
    named = NAME.fullmatch(name) or STAGED.fullmatch(name)
    return STATE in files and named is not None


@lru_cache(maxsize=64)
def read_parts(paths: tuple[str, ...]) -> Parts:
    """Return what the paths of all files of a directory tell; most of a run's are the same."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        parent, _, name = path.rpartition("/")
        names[parent].append(name)
    if not _has_content(names):
        return Parts(trainers=False)
    resumable = any(_OPTIMIZER.fullmatch(name) for name in names[""]) or any(
        _TAG.fullmatch(folder) or re.fullmatch(r"optimizer_[0-9]+", folder) for folder in names
    )
    return Parts(
        trainers=True,
        missing=next(_gaps(names), None),
        resumable=resumable,
        ranked=_ranked(names, resumable=resumable),
        key=_key(sorted(paths)),
        rng=frozenset(name for name in names[""] if _RNG.fullmatch(name)),
        surplus=tuple(_surplus(names)),
        problems=tuple(_leftovers(names)),
    )


def _has_content(names: Names) -> bool:
    """Whether it is neither PaddleNLP's nor diffusers', and has HF content."""
    files = names.get("", ())
    if any(PADDLES.fullmatch(name) for name in files):
        return False
    if STATE not in files and any(name.startswith("random_states_") for name in files):
        return False  # diffusers, which saves by accelerate alone
    return any(_FILES.fullmatch(name) for name in files) or any(
        _FOLDERS.fullmatch(folder) for folder in names
    )


def _ranked(names: Names, *, resumable: bool) -> bool:
    """Whether there was more than one process, and `save_only_model` did not leave out its state.

    That leaves out optimizer, scheduler, scaler and RNG, all or none (`_save_checkpoint`).
    """
    if "rng_state.pth" in names[""]:
        return False
    return resumable or any(_REST.fullmatch(name) for name in names[""])


def _gaps(names: Names) -> Iterator[str]:
    """Yield what is not there, the plainest first."""
    if INCOMPLETE in names[""]:
        yield f"{INCOMPLETE} is still there"
    if STATE not in names[""]:
        yield f"no {STATE}, which is written last"
    yield from _weights(names)
    for folder in names:
        yield from _shards(names[folder])
    yield from _deepspeed(names)
    for folder in names:
        if _DCP.fullmatch(folder) and not any(f.endswith(".metadata") for f in names[folder]):
            yield f"no {folder}/.metadata"
    yield from _ranks(names)


def _weights(names: Names) -> Iterator[str]:
    spread = any(_FOLDERS.fullmatch(folder) for folder in names)
    if not any(
        file.lower().endswith(TENSOR_SUFFIXES)
        and not _NO_WEIGHTS.fullmatch(f"{folder}/{file}".lstrip("/"))
        for folder in names
        for file in names[folder]
    ):
        yield "no weights"
    for folder in names:
        if "adapter_config.json" in names[folder] and not (
            spread or any(_ADAPTER.fullmatch(file) for file in names[folder])
        ):
            yield f"no adapter_model beside {folder}/adapter_config.json".replace(" /", " ")


def _shards(files: Sequence[str]) -> Iterator[str]:
    """Yield a shard that is not there, if no set of shards of its kind is whole.

    `shard-...` are those of `save_pretrained(distributed_checkpoint=True)`, which count otherwise.
    """
    sets: defaultdict[tuple[str, str], defaultdict[int, set[int]]]
    sets = defaultdict(lambda: defaultdict(set))
    for name in files:
        if found := _SHARD.fullmatch(name):
            sets[found[1], found[4]][int(found[3])].add(int(found[2]))
    for (base, suffix), counts in sets.items():
        if all(len(seen) < count for count, seen in counts.items()):
            count, seen = max(counts.items())
            first = next(i for i in range(1, count + 1) if i not in seen)
            yield f"no shard {first} of {count} of {base}{suffix}"
    spread = any(name.startswith("shard-") for name in files)
    for name in files:
        found = _INDEX.fullmatch(name)
        if found and not spread and (found[1], found[2]) not in sets:
            yield f"no shard that {name} names"


def _deepspeed(names: Names) -> Iterator[str]:
    tags = [folder for folder in names if _TAG.fullmatch(folder)]
    if tags and "latest" not in names[""]:
        yield f"no latest, which names {tags[0]}"
    gaps = [f"{tag}/: no {text}" for tag in tags if (text := read_grid(names[tag]).missing)]
    if tags and len(gaps) == len(tags):
        yield gaps[0]


def _ranks(names: Names) -> Iterator[str]:
    ranks = _numbers(names, _RNG)
    if ranks and "rng_state.pth" not in names[""]:
        # Only of several processes has each a number of its own (`_save_rng_state`).
        for rank in _hole(ranks, max(2, _world(names) or max(ranks) + 1)):
            yield f"no rng_state_{rank}.pth"
    counts = {int(found[2]) for name in names[""] if (found := _XLA.fullmatch(name))}
    if counts:
        count = max(counts)  # what a smaller one lacks, this one lacks too
        for rank in _hole(_numbers(names, _XLA), count):
            yield f"no rank{rank}-of-{count}-optimizer.pt"


def _surplus(names: Names) -> Iterator[str]:
    world = _world(names)
    for rank in sorted(_numbers(names, _RNG)):
        if world and rank >= world:
            yield f"rng_state_{rank}.pth"


def _leftovers(names: Names) -> Iterator[Problem]:
    """Yield a problem for the rank files of an earlier run, where this one was of one process."""
    if "rng_state.pth" in names[""] and _numbers(names, _RNG):
        text = "rng_state.pth of one process lies beside those of an earlier run of several"
        yield Problem("leftover-rank", text)


def _hole(seen: set[int], count: int) -> Iterator[int]:
    """Yield the first number below `count` that is not there."""
    if sum(number < count for number in seen) < count:
        yield next(number for number in range(count) if number not in seen)


def _numbers(names: Names, pattern: re.Pattern[str]) -> set[int]:
    return {int(found[1]) for name in names[""] if (found := pattern.fullmatch(name))}


def _world(names: Names) -> int:
    """Return the number of ranks where DeepSpeed's files tell it; else 0."""
    grids = [read_grid(names[folder]) for folder in names if _TAG.fullmatch(folder)]
    return grids[0].world if len(grids) == 1 and grids[0].missing is None else 0


def _key(paths: Sequence[str]) -> str:
    """Return the marker, else an index, else the first weights, else the first file of all."""
    for wanted in _KEYS:
        for path in paths:
            if re.fullmatch(wanted, path, re.DOTALL):
                return path
    return paths[0]
