"""Run `ckptctl` as somebody who is not root:  python -m tests.faults.unprivileged UID ARGUMENT...

Everything is imported before the user changes, since the interpreter may lie where only root reads.
"""

from __future__ import annotations

import encodings.raw_unicode_escape
import importlib
import os
import pkgutil
import sys

import ckptctl


def preload() -> None:
    """Import all of the program, and what it imports late."""
    assert encodings.raw_unicode_escape
    for module in pkgutil.walk_packages(ckptctl.__path__, "ckptctl."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def main() -> int:
    preload()
    from ckptctl.cli.app import run  # noqa: PLC0415 - with the others, before the user changes

    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(int(sys.argv[1]))
        os.setuid(int(sys.argv[1]))
    return run(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
