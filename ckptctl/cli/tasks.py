"""Which of several callers this one is: by `--part`, or by what SLURM says of a step or a node."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from ckptctl.cli.prune_run import refuse_by_place
from ckptctl.cli.runtime import Session
from ckptctl.errors import UsageError
from ckptctl.group import Found, look
from ckptctl.known import known_formats
from ckptctl.listing import Folder
from ckptctl.locate import list_location, local_path
from ckptctl.parts.part import Caller
from ckptctl.patterns import later
from ckptctl.stores import is_local
from ckptctl.stores.local import LocalStore
from ckptctl.survey import Survey

_PART = later(r"([0-9]{1,7})/([0-9]{1,7})")
_NODE = "node"
_BRACKETS = later(r"([^\[,]*)\[([0-9,-]+)\]([^\[,]*)")
_MOST = 1_000_000
_PID = later(r"[0-9]{1,10}")
_TITLE = 4096


def caller_of(
    option: str | None, environ: Mapping[str, str], processes: str = "/proc"
) -> Caller | None:
    """Return which part this call is, None where it is all there is.  UsageError.

    Without an option it is a task of a SLURM step of several: a batch script has `SLURM_PROCID`
    too, and no `SLURM_STEP_ID` but that of the step in which it was submitted.  With `node` it is
    one of the nodes of the job: an epilog runs once on each, in no step.
    """
    if option is None:
        caller = None if _in_batch(environ, processes) else _task(environ)
    elif option == _NODE:
        caller = _node(environ)
    else:
        caller = _said(option)
    return caller if caller is not None and caller.of > 1 else None


def _said(option: str) -> Caller:
    found = _PART.fullmatch(option)
    if found is None:
        raise UsageError(f"--part: {option!r} is no K/N, such as 0/4, nor {_NODE!r}")
    number, of = int(found[1]), int(found[2])
    if number >= of:
        raise UsageError(
            f"--part: there is no part {option}: they are counted 0/{of} to {of - 1}/{of}"
            if of
            else "--part: there are no 0 parts"
        )
    return Caller(number, of)


def _task(environ: Mapping[str, str]) -> Caller | None:
    if not environ.get("SLURM_STEP_ID"):
        return None
    try:
        number = int(environ["SLURM_PROCID"])
        of = int(environ.get("SLURM_STEP_NUM_TASKS") or environ["SLURM_NTASKS"])
    except (KeyError, ValueError):
        return None
    return Caller(number, of) if 0 <= number < of else None


def _in_batch(environ: Mapping[str, str], processes: str) -> bool:
    """Whether this is a batch script, whatever its variables say: `sbatch` hands on all that it has.

    SLURM_TASK_PID is the script or the task itself; above it is `slurmstepd: [JOB.batch]` or
    `slurmstepd: [JOB.STEP]` (SLURM 22.05).  Where that cannot be seen the variables count.
    """
    pid = environ.get("SLURM_TASK_PID", "")
    if not _PID.fullmatch(pid):
        return False
    try:
        with open(f"{processes}/{pid}/stat", "rb") as file:
            above = file.read().rpartition(b")")[2].split()[1].decode()
        with open(f"{processes}/{above}/cmdline", "rb") as file:
            title = file.read(_TITLE)
    except (OSError, IndexError):
        return False
    return title.startswith(b"slurmstepd:") and b".batch]" in title


def step_name(environ: Mapping[str, str], what: str) -> str | None:
    """Return what names a SLURM step of this job and this start of it, and `what` it asks for.

    None outside of a step.  A job that was requeued keeps its number, and so do its steps.
    """
    import hashlib  # noqa: PLC0415 - only who fetches in a step needs it
    import urllib.parse  # noqa: PLC0415 - the same

    if not environ.get("SLURM_STEP_ID") or not environ.get("SLURM_JOB_ID"):
        return None
    if _in_batch(environ, "/proc"):
        return None
    # Components of a heterogeneous job are jobs of their own, and may have one step together.
    job = "SLURM_JOB_ID_HET_GROUP_0" if _lists(environ) else "SLURM_JOB_ID"
    names = ("SLURM_CLUSTER_NAME", job, "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
    asked = hashlib.sha256(what.encode(errors="surrogateescape")).hexdigest()[:8]
    said = [urllib.parse.quote(environ.get(name, "") or "0", safe="") for name in names]
    return "-".join((*said, asked))


def _node(environ: Mapping[str, str]) -> Caller:
    names = environ.get("SLURM_JOB_NODELIST") or environ.get("SLURM_NODELIST") or ""
    if together := _lists(environ):
        names = together
    elif environ.get("SLURM_HET_JOB_ID"):
        raise UsageError(
            "--part node: this job is one of several in a heterogeneous one, and SLURM tells an"
            " epilog nothing of the nodes of the others",
            "let a step do it: srun --het-group=0,1 --ntasks-per-node=1 ckptctl sync ...",
        )
    own = environ.get("SLURMD_NODENAME", "")
    nodes = list(hosts(names))
    if not own or own not in nodes:
        raise UsageError(
            "--part node: SLURM says neither on which nodes the job runs nor which this one is",
            "outside of a job's step or epilog, name the part: --part 0/4",
        )
    return Caller(nodes.index(own), len(nodes))


def _lists(environ: Mapping[str, str]) -> str:
    """Return the nodes of all components of a heterogeneous job, as its scripts and steps know them.

    Nothing in any other, which may have been submitted in one and know its variables.
    """
    names: list[str] = []
    jobs = []
    while (each := environ.get(f"SLURM_JOB_NODELIST_HET_GROUP_{len(names)}")) is not None:
        jobs.append(environ.get(f"SLURM_JOB_ID_HET_GROUP_{len(names)}"))
        names.append(each)
    return ",".join(names) if environ.get("SLURM_JOB_ID") in jobs else ""


def nodes_of_all(environ: Mapping[str, str]) -> int:
    """Return how many nodes the job of a step has, with all its components.  UsageError."""
    names = _lists(environ) or environ.get("SLURM_JOB_NODELIST", "")
    return sum(1 for _ in hosts(names))


def hosts(names: str) -> Iterator[str]:
    """Yield the hosts of a list as SLURM writes it, `gpu[01-03,7],login`.  UsageError.

    An epilog is not to call `scontrol` (slurm.schedmd.com, prolog_epilog).
    """
    for text in _split(names):
        found = _BRACKETS.fullmatch(text)
        if found is None:
            yield text
            continue
        before, ranges, after = found.groups()
        for each in ranges.split(","):
            first, _, last = each.partition("-")
            if int(last or first) - int(first) > _MOST:
                raise UsageError(f"--part node: {names!r} are too many nodes")
            for number in range(int(first), int(last or first) + 1):
                yield f"{before}{number:0{len(first)}d}{after}"


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


def viewed_in_part(
    session: Session, location: str, viewed: Callable[[Session, str], Survey]
) -> Survey:
    """List what this caller has, which may be nothing.  UnreadableError, UsageError.

    A rank that saves nothing may not even have the run's directory: the one above it must be
    there, since a mount that is missing holds what nobody sees.
    """
    path = os.path.abspath(local_path(location)) if is_local(location) else ""
    if path and not os.path.lexists(path) and os.path.isdir(os.path.dirname(path)):
        above, name = os.path.split(path)
        layouts = session.config.formats if session.config else ()
        nothing = Found(Folder(name), ())
        return Survey(location, LocalStore(above), known_formats(layouts), (nothing,))
    view = viewed(session, location)
    if view.only is not None or view.itself or session.common.recursive:
        return view
    refuse_by_place(view, recursive=False)
    top = list_location(view.store)
    found = look(top, view.store, view.formats, os.path.basename(view.store.root))
    return replace(view, found=(found,))
