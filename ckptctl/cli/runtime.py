"""Everything impure, made once: clocks, streams, signals, the user; and a command's way through."""

from __future__ import annotations

import os
import pwd
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import FrameType

import typer

from ckptctl.cli.options import Common, Output
from ckptctl.cli.publish import Publisher
from ckptctl.config import Config
from ckptctl.discover import Found, find_config, not_for
from ckptctl.errors import CkptctlError, Interrupted, PartialError, UsageError
from ckptctl.model import Context
from ckptctl.report import Report
from ckptctl.ui.columns import Look
from ckptctl.ui.data import error_data, report_text
from ckptctl.ui.log import ActionLog
from ckptctl.ui.messages import format_error, say
from ckptctl.ui.progress import Progress
from ckptctl.ui.render import render
from ckptctl.units import parse_duration


class Signals:
    """SIGINT and SIGTERM: raised at once while only reading, noted while something changes."""

    def __init__(self) -> None:
        self.arrived: int | None = None
        self.changing = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on)

    def _on(self, number: int, _: FrameType | None) -> None:
        first = self.arrived is None
        self.arrived = number
        if not self.changing and first:
            raise Interrupted(number)

    def stopped(self) -> bool:
        """Whether a signal has arrived."""
        return self.arrived is not None


@dataclass(kw_only=True)
class Session:
    """One call of one command."""

    common: Common
    signals: Signals = field(default_factory=Signals)
    config: Config | None = None
    found: Found | None = None
    log: ActionLog | None = None
    publisher: Publisher | None = None
    warnings: list[str] = field(default_factory=list)
    clock: Callable[[], int] = time.time_ns
    began: float = field(default_factory=time.monotonic)

    def open(self, location: str, prometheus: str | None = None) -> None:
        """Open the files named on the command line, drop root, and read the configuration."""
        if self.common.format not in list(Output):
            raise UsageError(f"--output: {self.common.format!r} is none of {', '.join(Output)}")
        if self.common.jobs is not None and self.common.jobs < 1:
            raise UsageError("--jobs: must be at least 1")
        if self.common.storage_option:
            raise UsageError(
                "--storage-option: stores that take options are not supported yet by this version"
            )
        self.duration("--lock-wait", self.common.lock_wait)
        self.duration("--timeout", self.common.timeout)
        named = None if self.common.no_config else self.common.config
        if named is not None:
            self.config = _load(named)
        if self.common.log_file is not None:
            self.log = ActionLog(self.common.log_file, dict(os.environ), time.time_ns)
        if prometheus is not None:
            self.publisher = Publisher(prometheus, apart=self.common.as_user is not None)
        if self.common.as_user is not None:
            become(self.common.as_user)
        if named is None and not self.common.no_config:
            self.found = find_config(location, os.environ, os.geteuid())
            self.warnings += self.found.warnings
            self.config = _load(self.found.file) if self.found.file else None

    def config_of(self, run: str) -> Config | None:
        """Return the configuration as far as it counts for a run: not one of another owner."""
        if self.found is not None and (reason := not_for(self.found, run, os.geteuid())):
            self.warnings.append(f"{self.found.file} does not count for {run}: {reason}")
            return None
        return self.config

    def locate(self, location: str | None) -> str:
        """Return the location meant: `@TIER/run` by the configuration, else as it was written."""
        if location is None:
            return "."
        if not location.startswith("@"):
            return location
        if self.config is None:
            raise UsageError(f"{location}: there is no configuration that could name a tier")
        name, _, rest = location[1:].partition("/")
        url = self.config.tier(name).url
        return f"{url.rstrip('/')}/{rest}" if rest else url

    def duration(self, flag: str, text: str | None) -> int:
        """Return the nanoseconds of a flag's duration, 0 where it is not given."""
        if text is None:
            return 0
        try:
            return parse_duration(text)
        except ValueError as error:
            raise UsageError(f"{flag}: {error}") from None

    def context(self, settle_ns: int, await_metric_ns: int) -> Context:
        """Return the clock as it is now, with what a policy says of settling and waiting."""
        return Context(self.clock(), settle_ns, await_metric_ns)

    def late(self) -> bool:
        """Whether --timeout has passed."""
        limit = self.duration("--timeout", self.common.timeout)
        return self.common.timeout is not None and (time.monotonic() - self.began) * 1e9 >= limit

    def progress(self) -> Progress:
        """Return what shows progress on stderr, or does nothing."""
        wanted = interactive() and not (self.common.quiet or self.common.no_progress)
        return Progress(sys.stderr, enabled=wanted)

    def say(self, text: str) -> None:
        """Write a message for people to stderr, unless --quiet."""
        say(text, stream=sys.stderr, quiet=self.common.quiet)

    def print(self, text: str) -> None:
        """Write a command's own text to stdout."""
        write(text)

    def end(self, report: Report, metric_columns: tuple[str, ...] = ()) -> None:
        """Write a command's result, and leave with its exit code where that is not 0.

        A single run gives its own code; with several one that failed makes the whole partial.
        """
        code, error = verdict(report)
        if self.signals.arrived is not None:
            code, error = 128 + self.signals.arrived, Interrupted(self.signals.arrived)
        if error is None:
            self.show(report, metric_columns)
            self._tell_of_runs(report)
        elif self.common.format == "json":
            write(report_text(report, error_data(error)))
        else:
            # The only run there is: what is known of it goes to stdout, why no more to stderr.
            told = replace(
                report,
                runs=tuple(
                    replace(run, error=None)
                    for run in report.runs
                    if run.decisions or run.checkpoints
                ),
            )
            if told.runs:
                self.show(told, metric_columns)
            self.say_error(error)
        if code:
            raise typer.Exit(code)

    def say_error(self, error: CkptctlError) -> None:
        """Write an error for people to stderr, --quiet or not."""
        colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        sys.stderr.write(format_error(error, colour=colour))

    def _tell_of_runs(self, report: Report) -> None:
        """Say on stderr which of several runs were left as they are: stdout may go elsewhere."""
        failed = [run.name for run in report.runs if run.error is not None]
        if failed:
            more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""  # noqa: PLR2004 - a line's worth
            text = f"{len(failed)} of {len(report.runs)} runs were left as they are: {', '.join(failed[:5])}{more}"
            self.say_error(PartialError(text))

    def warn(self) -> None:
        """Write the warnings that came up to stderr, each once."""
        for warning in self.warnings:
            self.say(f"warning: {warning}")
        self.warnings.clear()

    def look(self) -> Look:
        """Return how a person at this terminal wants to see a text that a command makes itself."""
        return Look(
            width=max(_width(), 40),
            colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ,
            now_ns=self.clock(),
            verbose=self.common.verbose,
        )

    def show(self, report: Report, metric_columns: tuple[str, ...] = ()) -> None:
        """Write a command's result to stdout, and its warnings to stderr."""
        self.warn()
        terminal = sys.stdout.isatty()
        write(
            render(
                report,
                self.common.format,
                width=_width(),
                colour=terminal and "NO_COLOR" not in os.environ,
                now_ns=time.time_ns(),
                verbose=self.common.verbose,
                metric_columns=metric_columns,
                null=self.common.null,
                terminal=terminal,
            )
        )


def _load(file: str) -> Config:
    from ckptctl.configfile import load  # noqa: PLC0415 - see ckptctl/config.py

    return load(file)


def verdict(report: Report) -> tuple[int, CkptctlError | None]:
    """Return the exit code of a report, and the error where it is that of a single run."""
    errors = [run.error for run in report.runs if run.error is not None]
    if errors and len(report.runs) == 1:
        return errors[0].code, errors[0]
    unfinished = any(
        outcome.status not in {"done", "planned"} for run in report.runs for outcome in run.outcomes
    )
    return (PartialError.code if errors or unfinished else 0), None


def write(text: str) -> None:
    """Write to stdout, names with undecodable bytes as those bytes."""
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()


def interactive() -> bool:
    """Whether a person sits there: stdin and stderr both are a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def become(name: str) -> None:
    """Drop root for good: uid, gid and groups of a user.  UsageError for nobody, unknown or root."""
    try:
        user = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except (KeyError, OverflowError):
        raise UsageError(f"--as-user: there is no user {name!r}; nothing was touched") from None
    if user.pw_uid == 0:
        raise UsageError("--as-user: root is whom it must not be; nothing was touched")
    if os.geteuid() == user.pw_uid:
        return
    try:
        os.initgroups(user.pw_name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    except PermissionError:
        raise UsageError(f"--as-user: only root can become {name}; nothing was touched") from None


def _width() -> int:
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except OSError:
        return 80 if sys.stdout.isatty() else 200  # room for names that somebody greps for
