"""The nodes of a job as SLURM's variables name them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ckptctl.errors import UsageError
from ckptctl.patterns import later

_BRACKETS = later(r"([^\[\],]*)\[([0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*)\](.*)")
_PLAIN = later(r"[^\[\],]*")
_MOST = 1_000_000


def nodes_of_all(environ: Mapping[str, str]) -> int:
    """Return how many nodes the job of a step has, with all its components.  UsageError."""
    names = components(environ) or environ.get("SLURM_JOB_NODELIST", "")
    return sum(1 for _ in hosts(names))


def components(environ: Mapping[str, str]) -> str:
    """Return the nodes of all components of a heterogeneous job, as its scripts and steps know them.

    Nothing in any other, which may have been submitted in one and know its variables.
    """
    names: list[str] = []
    jobs = []
    while (each := environ.get(f"SLURM_JOB_NODELIST_HET_GROUP_{len(names)}")) is not None:
        jobs.append(environ.get(f"SLURM_JOB_ID_HET_GROUP_{len(names)}"))
        names.append(each)
    return ",".join(names) if environ.get("SLURM_JOB_ID") in jobs else ""


def hosts(names: str) -> Iterator[str]:
    """Yield the hosts of a list as SLURM writes it, `gpu[01-03,7],login`.  UsageError.

    An epilog is not to call `scontrol` (slurm.schedmd.com, prolog_epilog).
    """
    for text in _split(names):
        yield from _named(text, names)


def _named(text: str, names: str) -> Iterator[str]:
    """Yield the hosts of one name, which may have several brackets: `rack[0-1]n[00-15]`."""
    found = _BRACKETS.fullmatch(text)
    if found is None:
        if _PLAIN.fullmatch(text) is None:
            raise UsageError(f"SLURM's list of nodes is not understood: {names!r}")
        yield text
        return
    before, ranges, after = found.groups()
    for each in ranges.split(","):
        first, _, last = each.partition("-")
        if int(last or first) - int(first) > _MOST:
            raise UsageError(f"SLURM's list of nodes has too many of them: {names!r}")
        for number in range(int(first), int(last or first) + 1):
            for rest in _named(after, names):
                yield f"{before}{number:0{len(first)}d}{rest}"


def _split(names: str) -> Iterator[str]:
    """Yield what stands between commas outside of brackets."""
    depth, begin = 0, 0
    for at, sign in enumerate(names):
        depth += (sign == "[") - (sign == "]")
        if sign == "," and depth == 0:
            yield names[begin:at]
            begin = at + 1
    if names[begin:]:
        yield names[begin:]
