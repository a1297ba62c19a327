"""How much memory `ckptctl list` takes for a bucket of many keys that belong to four checkpoints.

    python -m benchmarks.memory [KEYS...]

Serves each listing by `benchmarks.generated` and prints the peak of the resident set (by default of
100,000, 300,000 and a million keys), and what each key more took.
"""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.generated import SHAPES
from benchmarks.measuring import CKPTCTL

MIB = 2**20


def peak(keys: int, shape: str, *more: str) -> int:
    """Return the bytes that a listing took at its peak."""
    serve = [sys.executable, "-m", "benchmarks.generated", str(keys), shape]
    with subprocess.Popen(
        serve, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        if server.stdout is None:
            raise SystemExit("the server says nothing")
        env = {
            "HOME": os.devnull,
            "AWS_ENDPOINT_URL": server.stdout.readline().strip(),
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
        }
        command = [*CKPTCTL, "list", "s3://made/run", "--max-keys", str(keys), *more]
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        server.communicate("")
    if status:
        raise SystemExit(f"{' '.join(command)}: ended with {os.waitstatus_to_exitcode(status)}")
    return used.ru_maxrss * 1024


def main() -> None:
    """Measure and print."""
    counts = sorted(map(int, sys.argv[1:])) or [100_000, 300_000, 1_000_000]
    print("| shape |", *(f"{count:,} |" for count in counts), "bytes for each key more |")
    print("|---|", *("---|" for _ in counts), "---|")
    for shape in SHAPES:
        for more in ((), ("--json",)):
            peaks = [peak(count, shape, *more) for count in counts]
            each = (peaks[-1] - peaks[0]) / max(1, counts[-1] - counts[0])
            cells = (*(f"{size / MIB:.0f} MiB" for size in peaks), f"**{each:.0f}**")
            print("|", " | ".join((" ".join((f"`{shape}`", *more)), *cells)), "|", flush=True)


if __name__ == "__main__":
    main()
