"""`ckptctl hold`: keep prune away while a reader works."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
import typer.core

from ckptctl.cli.naming import Name, Target, near, target_of
from ckptctl.cli.options import Common, Location
from ckptctl.cli.reader import Reader
from ckptctl.cli.recording import host_name, read, read_after, read_standing, recorder_of, user_name
from ckptctl.cli.runtime import Session
from ckptctl.errors import CkptctlError, Interrupted, NotFoundError, UsageError
from ckptctl.model import Checkpoint, Hold
from ckptctl.noting import held, process_id, released, released_by_hand
from ckptctl.recording import Recorder
from ckptctl.records import Record
from ckptctl.ui import printable
from ckptctl.ui.data import VERSION
from ckptctl.units import format_time

_COMMAND = "ckptctl.command"


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldOptions:
    """The options of `hold` alone."""

    ttl: Annotated[
        str | None,
        typer.Option("--ttl", metavar="D", help="Until when, from now (default 24h)."),
    ] = None
    release: Annotated[bool, typer.Option("--release", help="Take your own hold back.")] = False


class HoldCommand(typer.core.TyperCommand):
    """Sets aside what follows `--`, which is a command line of its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer's own class is private
        """Parse what stands before `--`."""
        at = args.index("--") if "--" in args else len(args)
        ctx.meta[_COMMAND] = args[at + 1 :] if at < len(args) else None
        return super().parse_args(ctx, args[:at])

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ANN401 - the same
        """Return the parts of the line that begins the help."""
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND...]"]


def hold(
    common: Common,
    options: HoldOptions,
    ctx: typer.Context,
    name: Name,
    location: Location = None,
) -> None:
    """Keep a checkpoint from prune while a reader works: for a while, or for a command.

    `ckptctl hold NAME -- COMMAND...` runs COMMAND, renews the hold meanwhile, and exits as COMMAND does.
    """
    command: list[str] | None = ctx.meta[_COMMAND]
    session = Session(common=common)
    ttl_ns = session.duration("--ttl", options.ttl or "24h")
    if ttl_ns < 1:
        raise UsageError("--ttl: must be longer than 0")
    if command is not None and (options.release or not command):
        what = "--release takes no command" if options.release else "-- needs a command after it"
        raise UsageError(f"{what}; nothing was changed")
    session.open(near(name, location))
    target = target_of(session, name, location, remote=True)
    checkpoint = (read if options.release else read_standing)(session, target)
    session.warn()
    with recorder_of(session, target) as recorder:
        if options.release:
            _release(session, recorder, target, checkpoint)
            return
        own = Hold(user_name(), host_name(), session.clock() + ttl_ns)
        if command is not None:
            own = Hold(
                f"{own.by}: {os.path.basename(command[0])}", own.host, own.until_ns, process_id()
            )
        holding = _Holding(session, recorder, target, checkpoint, own, ttl_ns)
        if command is None:
            _show(session, checkpoint, holding.begin(), own, "held")
            return
        code = holding.around(command)
    if code:
        raise typer.Exit(code)


@dataclass(frozen=True, slots=True)
class _Holding:
    """One hold of one checkpoint."""

    session: Session
    recorder: Recorder
    target: Target
    checkpoint: Checkpoint
    own: Hold
    ttl_ns: int

    def begin(self) -> Record:
        """Set the hold; NotFoundError where a prune was faster, Interrupted where a signal was."""
        record = self.renew()
        try:
            with self.session.signals.heeded():
                read_after(self.session, self.target, self.recorder)
            self.session.signals.heed()
        except Interrupted:
            self.end()
            raise
        except NotFoundError as error:
            self.end()
            raise NotFoundError(
                f"{self.checkpoint.path}: was deleted this moment, so it is not held",
                "`ckptctl list` shows what is left",
            ) from error
        return record

    def renew(self) -> Record:
        """Set the hold, or set it to a later time."""
        now_ns = self.session.clock()
        later = Hold(self.own.by, self.own.host, now_ns + self.ttl_ns, self.own.id)
        with self.session.signals.noted():
            return self.recorder.change(self.target.member, lambda old: held(old, later, now_ns))

    def end(self) -> Record:
        """Take the hold back."""
        with self.session.signals.noted():
            return self.recorder.change(self.target.member, lambda old: released(old, self.own))

    def around(self, command: Sequence[str]) -> int:
        """Run a command while the hold stands; return its exit code, 128+N where a signal ended it."""
        with self.session.signals.noted():  # so that none falls between the hold and its end
            self.begin()
            self.session.say(
                f"{printable.name(self.checkpoint.name)}: held while {printable.text(command[0])} runs"
            )
            return Reader(command, self._renew_or_say, self.ttl_ns // 3, self._end_or_say).run()

    def _renew_or_say(self) -> None:
        """Renew; a failure is said and tried again, for the command that runs goes on."""
        try:
            self.renew()
        except CkptctlError as error:
            self.session.say_error(error)

    def _end_or_say(self) -> None:
        try:
            self.end()
        except CkptctlError as error:
            self.session.say_error(error)


def _release(session: Session, recorder: Recorder, target: Target, checkpoint: Checkpoint) -> None:
    user = user_name()
    own = Hold(user, host_name(), session.clock())
    with session.signals.noted():
        record = recorder.change(target.member, lambda old: released_by_hand(old, user))
    _show(session, checkpoint, record, own, "released")


def _show(session: Session, checkpoint: Checkpoint, record: Record, own: Hold, status: str) -> None:
    """Write who holds a checkpoint now."""
    now_ns = session.clock()
    holds = [hold for hold in record.holds if hold.until_ns > now_ns]
    if session.common.format == "json":
        result = {
            "run": checkpoint.run,
            "name": checkpoint.name,
            "path": checkpoint.path,
            "status": status,
            "by": own.by,
            "host": own.host,
            "holds": [
                {"by": h.by, "host": h.host, "until": format_time(h.until_ns)} for h in holds
            ],
        }
        data = {"schema": "ckptctl/hold", "version": VERSION, "results": [result]}
        session.print(json.dumps(data) + "\n")
        return
    said = [f"{status} by {own.by}"] if status == "released" else []
    said += [f"held by {h.by} on {h.host} until {format_time(h.until_ns)}" for h in holds]
    session.print(f"{printable.name(checkpoint.name)}: {printable.text('; '.join(said))}\n")
