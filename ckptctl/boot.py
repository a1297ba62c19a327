"""Which boot of this machine it is: what an earlier one had not yet written to a disk may be lost."""

from __future__ import annotations

from functools import cache


@cache
def boot_id() -> str:
    """Return what no other boot of this or another machine is called; "" where nobody tells."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""
