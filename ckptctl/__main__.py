"""The entry point: `ckptctl` and `python -m ckptctl`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with the code of the contract."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        # Answered before anything is imported: scripts ask this often.
        from ckptctl import __version__  # noqa: PLC0415

        sys.stdout.write(f"ckptctl {__version__}\n")
        return
    from ckptctl.cli.app import run  # noqa: PLC0415 - importing typer takes longer than the rest

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
