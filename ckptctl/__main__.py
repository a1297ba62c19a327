"""The entry point: `ckptctl` and `python -m ckptctl`."""

from __future__ import annotations

import gc
import signal
import sys

from ckptctl.ui import streams

_RARELY = 1_000_000
"""Objects between two searches for cycles: a listing makes many objects and no cycles."""


def main() -> None:
    """Run the command line and exit with the code of the contract."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until ours is there: no traceback
    streams.mend()
    if sys.argv[1:] in (["--version"], ["-V"]):
        # Answered before anything is imported: scripts ask this often.
        from ckptctl import __version__  # noqa: PLC0415

        failed = streams.RESULT.put(f"ckptctl {__version__}\n")
        if failed is not None and not isinstance(failed, BrokenPipeError):
            streams.tell(f"ckptctl: the version could not be written ({failed})\n", sys.stderr)
            sys.exit(1)
        return
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    """Return the exit code; signals are taken from before the first import to the very end."""
    from ckptctl.cli.signals import SIGNALS, wants_json  # noqa: PLC0415 - see above
    from ckptctl.errors import Arrived, Interrupted  # noqa: PLC0415 - the same

    SIGNALS.loading(as_json=wants_json(arguments))
    gc.set_threshold(_RARELY)
    try:
        from ckptctl.cli.app import run  # noqa: PLC0415 - importing typer takes longer than the rest

        code = run(arguments)
        SIGNALS.changing = True
    except (Arrived, Interrupted) as error:  # when all was said
        code = 128 + error.signal
    streams.flush()
    SIGNALS.over()
    return code


if __name__ == "__main__":
    main()
