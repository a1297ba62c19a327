"""The options of what goes on until a signal comes: `watch`, and `sync --watch`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from ckptctl.cli.runtime import Session
from ckptctl.errors import UsageError
from ckptctl.model import NS


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopOptions:
    """How often is looked, and how it ends."""

    interval: Annotated[
        str,
        typer.Option(
            "--interval",
            metavar="D",
            help="Look that often where no events tell: NFS, Lustre, buckets.",
        ),
    ] = "60s"
    finish: Annotated[
        str,
        typer.Option(
            "--finish",
            metavar="D",
            help="After SIGTERM go on that long with the checkpoint in hand; SLURM kills after 30s.",
        ),
    ] = "20s"

    def seconds(self, session: Session) -> tuple[float, float]:
        """Return both in seconds.  UsageError."""
        interval = session.duration("--interval", self.interval) / NS
        if interval <= 0:
            raise UsageError("--interval: must be more than 0")
        return interval, session.duration("--finish", self.finish) / NS
