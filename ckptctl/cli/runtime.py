"""Everything impure, made once: clocks, streams, signals, the user; and a command's way through."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import typer

from ckptctl.cli.access import storage_options
from ckptctl.cli.as_user import become
from ckptctl.cli.options import Common, Output
from ckptctl.cli.publish import Publisher
from ckptctl.cli.signals import SIGNALS, Signals
from ckptctl.config import Config
from ckptctl.decision import Context
from ckptctl.discover import Found, find_config, not_for
from ckptctl.errors import CkptctlError, Interrupted, PartialError, UsageError
from ckptctl.locate import usable
from ckptctl.model import Lack, Problem
from ckptctl.report import Report, verdict
from ckptctl.stores import Access
from ckptctl.ui.columns import Look
from ckptctl.ui.data import error_data, report_text
from ckptctl.ui.log import ActionLog
from ckptctl.ui.messages import format_error, say, untold, unwritten
from ckptctl.ui.progress import Progress
from ckptctl.ui.render import render
from ckptctl.ui.streams import RESULT, tell
from ckptctl.units import parse_duration


@dataclass(kw_only=True)
class Session:
    """One call of one command."""

    common: Common
    signals: Signals = field(default_factory=SIGNALS.reading)
    config: Config | None = None
    found: Found | None = None
    log: ActionLog | None = None
    publisher: Publisher | None = None
    warnings: list[str] = field(default_factory=list)
    told: set[str] = field(default_factory=set)
    clock: Callable[[], int] = time.time_ns
    # Tiers that could not be reached.
    down: dict[str, tuple[int, Lack]] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    _reached: dict[str, Access] = field(default_factory=dict, init=False, repr=False)

    def open(self, location: str, prometheus: str | None = None) -> None:
        """Open the files named on the command line, drop root, and read the configuration."""
        for output in (self.common.output, self.common.format):
            if output is not None and output not in list(Output):
                raise UsageError(f"--output: {output!r} is none of {', '.join(Output)}")
        self._refuse_empty(prometheus)
        if self.common.jobs is not None and self.common.jobs < 1:
            raise UsageError("--jobs: must be at least 1")
        storage_options(self.common)
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
            self.warn()  # before an error that comes of it
            self.config = _load(self.found.file) if self.found.file else None

    def _refuse_empty(self, prometheus: str | None) -> None:
        """Refuse a path that is empty: of a variable that is not set, what was meant is not here."""
        common = self.common
        for option, given in (
            ("--config", common.config),
            ("--state-dir", common.state_dir),
            ("--log-file", common.log_file),
            ("--prometheus", prometheus),
            *(("--metrics-from", log) for log in common.metrics_from or ()),
        ):
            if not given and given is not None:
                raise UsageError(f"{option} is empty; nothing was touched")

    def config_of(self, run: str) -> Config | None:
        """Return the configuration as far as it counts for a run: not one of another owner."""
        if self.found is not None and (reason := not_for(self.found, run, os.geteuid())):
            self.warnings.append(f"{self.found.file} does not count for {run}: {reason}")
            return None
        return self.config

    def locate(self, location: str | None) -> str:
        """Return the location meant: `@TIER/run` by the configuration, else as it was written.

        UsageError where there is none, or one that may not be used: see `usable`.
        """
        return usable(self._meant(location), self.common.state_dir)

    def _meant(self, location: str | None) -> str:
        if location is None:
            return "."
        if not location:
            raise UsageError(
                "LOCATION is empty; nothing was touched",
                "if it comes from a variable, that is not set; `.` is the current directory",
            )
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

    def access(self, options: Mapping[str, object]) -> Access:
        """Return how a location is opened with these options; made once in a call, as its clients are."""
        made = Access(options, self.common.max_keys)
        return self._reached.setdefault(repr(sorted(options.items())), made)

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
        """Write a command's own result to stdout.  CkptctlError where that fails."""
        failed = self._put(text)
        if failed is not None and not isinstance(failed, BrokenPipeError):
            raise CkptctlError(unwritten(failed))

    def end(self, report: Report, metric_columns: tuple[str, ...] = ()) -> None:
        """Write a command's result, and leave with its exit code where that is not 0.

        A single run gives its own code; with several one that failed makes the whole partial.
        Where the result cannot be written stderr says so and what was done, and the code is 1
        where it would be 0; a reader that has gone (`| head`) wanted no more, which is no failure.
        A log with lines missing is 5.  A signal that comes meanwhile cuts nothing.
        """
        with self.signals.noted():
            code, error = verdict(report)
            if self.signals.arrived is not None:
                code, error = 128 + self.signals.arrived, Interrupted(self.signals.arrived)
            as_json = self.common.format == "json"
            lost = self.log.lost() if self.log is not None else None
            if lost is not None and as_json:
                problem = Problem("log-unwritten", lost)
                report = replace(report, problems=(*report.problems, problem))
            self.warn()
            text = self._text(report, error, metric_columns)
            failed = RESULT.put(text) if text else None
            if error is None:
                self._tell_of_runs(report)
            elif failed is not None or not as_json:
                self.say_error(error)
            if lost is not None:
                self.say_error(PartialError(lost))
                code = code or PartialError.code
            if failed is not None and not isinstance(failed, BrokenPipeError):
                self.say_error(untold(failed, report))
                code = code or CkptctlError.code
        if self.signals.arrived is not None:
            code = 128 + self.signals.arrived
        if code:
            raise typer.Exit(code)

    def _text(
        self, report: Report, error: CkptctlError | None, metric_columns: tuple[str, ...]
    ) -> str:
        """Return what of a result goes to stdout; `error` is that of the only run there is."""
        if error is None:
            return self._rendered(report, metric_columns)
        if self.common.format == "json":
            return report_text(report, error_data(error))
        # What is known of the run goes to stdout, why no more to stderr.
        known = [run for run in report.runs if run.decisions or run.checkpoints]
        told = replace(report, runs=tuple(replace(run, error=None) for run in known))
        return self._rendered(told, metric_columns) if known else ""

    def say_error(self, error: CkptctlError) -> None:
        """Write an error for people to stderr, --quiet or not."""
        colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        tell(format_error(error, colour=colour), sys.stderr)

    def _tell_of_runs(self, report: Report) -> None:
        """Say on stderr which of several runs were left as they are: stdout may go elsewhere."""
        failed = [run.name for run in report.runs if run.error is not None]
        if failed:
            more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""  # noqa: PLR2004 - a line's worth
            text = f"{len(failed)} of {len(report.runs)} runs were left as they are: {', '.join(failed[:5])}{more}"
            self.say_error(PartialError(text))

    def note(self, problems: Iterable[Problem]) -> None:
        """Remember to warn of state that does not count: what it holds may have been relied on."""
        self.warnings += [
            f"state is passed over: {p.text}" for p in problems if p.code == "state-passed-over"
        ]

    def warn(self) -> None:
        """Write the warnings that came up to stderr, each once."""
        for warning in dict.fromkeys(self.warnings):
            if warning not in self.told:
                self.say(f"warning: {warning}")
        self.told.update(self.warnings)
        self.warnings.clear()

    def look(self) -> Look:
        """Return how a person at this terminal wants to see a text that a command makes itself."""
        return Look(
            width=max(_width(), 40),
            colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ,
            now_ns=self.clock(),
            verbose=self.common.verbose,
        )

    def show(self, report: Report) -> None:
        """Write what a command is about to ask for.  CkptctlError where nobody can have seen it."""
        self.warn()
        failed = self._put(self._rendered(report, ()))
        if failed is not None:
            raise CkptctlError(f"{unwritten(failed)}; nothing was changed")

    def _rendered(self, report: Report, metric_columns: tuple[str, ...]) -> str:
        terminal = sys.stdout.isatty()
        return render(
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

    def _put(self, text: str) -> OSError | None:
        """Write to stdout, uncut; a signal that came meanwhile is raised after it."""
        with self.signals.noted():
            failed = RESULT.put(text)
        if self.signals.arrived is not None and not self.signals.changing:
            raise Interrupted(self.signals.arrived)
        return failed


def _load(file: str) -> Config:
    from ckptctl.configfile import load  # noqa: PLC0415 - see ckptctl/config.py

    return load(file)


def write(text: str) -> None:
    """Write to stdout.  OSError where that fails."""
    if (failed := RESULT.put(text)) is not None:
        raise failed


def interactive() -> bool:
    """Whether a person sits there: stdin and stderr both are a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _width() -> int:
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except OSError:
        return 80 if sys.stdout.isatty() else 200  # room for names that somebody greps for
