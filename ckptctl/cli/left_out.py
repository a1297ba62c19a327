"""A step on fewer nodes than its job has: what lies on the disks of the others is left out."""

from __future__ import annotations

from collections.abc import Mapping

from ckptctl.cli.hosts import nodes_of_all
from ckptctl.cli.runtime import Session
from ckptctl.errors import UsageError
from ckptctl.stores import is_local


def heed_left_out(session: Session, source: str, environ: Mapping[str, str]) -> None:
    """Refuse to copy parts from a tier of each node without some of them; elsewhere only warn.

    A shared file system has all that the other nodes wrote, and may be named by any path.
    UsageError.
    """
    own, every = _number(environ, "SLURM_STEP_NUM_NODES"), nodes_of_all(environ)
    if not 0 < own < every or not is_local(source):
        return
    text = f"this step runs on {own:,} of the job's {every:,} nodes"
    place = session.config.place(source) if session.config else None
    if place is not None and place[0].per_node:
        raise UsageError(
            f"{source}: lies on {place[0].name}, of which each node has its own (per_node), and "
            f"{text}: what is on the others would be left out; nothing was copied",
            "run it on all of them: srun --ntasks-per-node=1 ...; --part K/N says that these are all",
        )
    session.say(f"warning: {text}: what is only on the disks of the others is left out")


def _number(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else 0
