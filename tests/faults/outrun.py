"""Run `ckptctl` while another call makes whole what this one hands in:  python -m tests.faults.outrun ARGUMENT...

OTHER has the arguments of that call, as a JSON list.  It comes when this one is about to write the
note of its part, into a directory that is gone then.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from ckptctl.cli.app import run as program
from ckptctl.stores.local import LocalStore


def main() -> int:
    replace = LocalStore.replace
    other = [[sys.executable, "-m", "ckptctl", *json.loads(os.environ["OTHER"])]]

    def outrun(store: LocalStore, path: str, *rest: Any, **more: Any) -> Any:
        if ".parts/" in path and other:
            subprocess.run(other.pop(), check=True, stdout=subprocess.DEVNULL)
        return replace(store, path, *rest, **more)

    setattr(LocalStore, "replace", outrun)  # noqa: B010 - a plain assignment is none for mypy
    return program(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
