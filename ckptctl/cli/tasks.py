"""Which of several callers this one is: by `--part`, or by what SLURM says of a step or a node."""

from __future__ import annotations

from collections.abc import Mapping

from ckptctl.cli.hosts import components, hosts
from ckptctl.errors import UsageError
from ckptctl.parts.part import Caller
from ckptctl.patterns import later

_PART = later(r"([0-9]{1,7})/([0-9]{1,7})")
_NUMBER = later(r"[0-9]{1,7}")
_MOST = 1_000_000
"""More tasks or nodes than any cluster has."""

_NODE = "node"
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
    if of > _MOST:
        raise UsageError(f"--part: {option} is of more than {_MOST:,} parts; nothing was changed")
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
    number, of = environ.get("SLURM_PROCID", ""), _tasks(environ)
    if of <= 1:
        return None
    if not _NUMBER.fullmatch(number) or int(number) >= of:  # else all would be taken for here
        raise UsageError(
            f"SLURM says that this is a step of {of:,} tasks, and not which one this is"
            f" (SLURM_PROCID={number!r}); nothing was changed",
            "outside of the step unset SLURM_STEP_ID; sync and verify can be told: --part 0/4",
        )
    return Caller(int(number), of)


def _tasks(environ: Mapping[str, str]) -> int:
    name = "SLURM_STEP_NUM_TASKS" if environ.get("SLURM_STEP_NUM_TASKS") else "SLURM_NTASKS"
    said = environ.get(name, "")
    if said and not (_NUMBER.fullmatch(said) and 1 <= int(said) <= _MOST):
        raise UsageError(
            f"SLURM says that this is a step of {said!r} tasks ({name}), which cannot be; nothing was changed",
            "outside of the step unset SLURM_STEP_ID; sync and verify can be told: --part 0/4",
        )
    return int(said or 1)


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
    job = "SLURM_JOB_ID_HET_GROUP_0" if components(environ) else "SLURM_JOB_ID"
    names = ("SLURM_CLUSTER_NAME", job, "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
    asked = hashlib.sha256(what.encode(errors="surrogateescape")).hexdigest()[:8]
    said = [urllib.parse.quote(environ.get(name, "") or "0", safe="") for name in names]
    return "-".join((*said, asked))


def _node(environ: Mapping[str, str]) -> Caller:
    names = environ.get("SLURM_JOB_NODELIST") or environ.get("SLURM_NODELIST") or ""
    if together := components(environ):
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
