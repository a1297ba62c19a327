"""Run `ckptctl` as root with everything imported:  python -m tests.faults.preloaded UID ARGUMENT...

For `--as-user`, where the interpreter may lie in a directory that only root reads.
"""

from __future__ import annotations

import sys

from tests.faults.unprivileged import preload


def main() -> int:
    preload()
    from ckptctl.cli.app import run  # noqa: PLC0415 - after all it needs

    return run(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
