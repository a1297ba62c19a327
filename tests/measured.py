"""Run `ckptctl` and write the most memory that it took, in bytes:  python -m tests.measured FILE ARGUMENT...

The kernel's own mark of this process is read: what `getrusage` says of a child includes the one that
started it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from ckptctl.__main__ import main


def peak() -> int:
    """Return the most memory that this process has had, in bytes."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


if __name__ == "__main__":
    target = Path(sys.argv.pop(1))
    try:
        main()
    finally:
        target.write_text(str(peak()))
