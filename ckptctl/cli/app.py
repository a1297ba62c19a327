"""The app: its commands, and the one place where errors become exit codes."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer
import typer.main

from ckptctl.cli import completing, converting
from ckptctl.cli.commands import add_all, add_one
from ckptctl.cli.signals import SIGNALS, wants_json
from ckptctl.errors import Arrived, CkptctlError, Interrupted, UnreadableError, UsageError
from ckptctl.secrecy import without_secrets, without_values
from ckptctl.ui.streams import RESULT, silence, tell

EPILOG = "Exit codes: 0 done; 2 usage; 3 locked; 4 refused; 5 partial; 6 damaged; 7 unreadable; 8 no match."


def build(arguments: Sequence[str] | None = None) -> typer.Typer:
    """Return the app with all its commands; with arguments, only the one that they ask for is whole."""
    app = typer.Typer(
        name="ckptctl",
        help="Keep the right checkpoints, and delete the others safely.",
        epilog=EPILOG,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(version)
    if arguments is None:
        add_all(app)
    else:
        add_one(app, next((text for text in arguments if not text.startswith("-")), None))
    return app


def version(
    *,
    version: Annotated[
        bool, typer.Option("--version", "-V", help="Print the version.", is_eager=True)
    ] = False,
) -> None:
    """Keep the right checkpoints, and delete the others safely."""
    if version:
        from ckptctl import __version__  # noqa: PLC0415 - __main__ answers the common case

        sys.stdout.write(f"ckptctl {__version__}\n")
        raise typer.Exit


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; every error ends here, without a traceback."""
    arguments = completing.line_typed(os.environ) or arguments or ["--help"]
    as_json = wants_json(arguments)
    RESULT.begun = False
    converting.install()
    try:
        code = typer.main.get_command(build(arguments))(
            args=list(arguments), prog_name="ckptctl", standalone_mode=False
        )
    except (Arrived, Interrupted) as error:
        _tell(Interrupted(error.signal), as_json=as_json)
        return 128 + error.signal
    except CkptctlError as error:
        _tell(error, as_json=as_json)
        return error.code
    except KeyboardInterrupt:
        return 130
    except SystemExit as error:  # typer's own, where what reads its help or examples has gone
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        silence(sys.stdout)
        return 0
    except BrokenPipeError:
        silence(sys.stdout)  # the reader has gone: say no more
        return 0
    except typer.Abort:
        return 130
    except Exception as error:  # noqa: BLE001 - the last resort, where every error becomes words
        return _last_resort(_known(error), as_json=as_json)
    return code if isinstance(code, int) else 0


def _known(error: Exception) -> Exception:
    """Return what is behind an error where that can be told: a directory that has gone."""
    if isinstance(error, FileNotFoundError):
        try:
            os.getcwd()
        except FileNotFoundError:
            return UnreadableError(
                "the current directory does not exist any more", "change to one that does"
            )
    return error


def _last_resort(error: Exception, *, as_json: bool) -> int:
    """Put into words what typer says of a command line, and what nobody expected."""
    if isinstance(error, CkptctlError):
        _tell(error, as_json=as_json)
        return error.code
    message = getattr(error, "format_message", None)
    if message is not None:
        hint = "`ckptctl COMMAND --help` lists what there is"
        _tell(UsageError(without_values(str(message())), hint), as_json=as_json)
        return UsageError.code
    if os.environ.get("CKPTCTL_DEBUG") == "1":
        sys.stderr.write(without_secrets(traceback.format_exc()))
    text = f"unexpected error: {type(error).__name__}: {error}"
    _tell(CkptctlError(text, "please report it, with what CKPTCTL_DEBUG=1 prints"), as_json=as_json)
    return CkptctlError.code


def _tell(error: CkptctlError, *, as_json: bool) -> None:
    """Say what went wrong: as JSON where that was asked for, unless a result is there already."""
    from ckptctl.ui.data import error_data  # noqa: PLC0415 - help and most calls need neither
    from ckptctl.ui.messages import format_error  # noqa: PLC0415 - the same

    with SIGNALS.noted():
        if (
            as_json
            and not RESULT.begun
            and RESULT.put(json.dumps(error_data(error)) + "\n") is None
        ):
            return
        colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        tell(format_error(error, colour=colour), sys.stderr)
