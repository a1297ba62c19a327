"""The entry point: `ckptctl` and `python -m ckptctl`."""

from __future__ import annotations

import gc
import sys

_RARELY = 100_000
"""Objects between two searches for cycles: a listing makes many objects and no cycles."""


def main() -> None:
    """Run the command line and exit with the code of the contract."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        # Answered before anything is imported: scripts ask this often.
        from ckptctl import __version__  # noqa: PLC0415

        sys.stdout.write(f"ckptctl {__version__}\n")
        return
    gc.set_threshold(_RARELY)
    from ckptctl.cli.app import run  # noqa: PLC0415 - importing typer takes longer than the rest

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
