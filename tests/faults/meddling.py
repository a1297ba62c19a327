"""Run `ckptctl` while somebody else is at work in the run:  python -m tests.faults.meddling RUN ARGUMENT...

The other's changes come at a known moment: just after the first name has left the run.  With
MEDDLE=lock it only looks whether RUN could be locked then, and writes that to `RUN.locked`; with
MEDDLE=pin it pins the second step there, as soon as the first copy has come; with MEDDLE=save the
second step at RUN is saved anew then, with MEDDLE=gone the first one is deleted then, with
MEDDLE=moved RUN is moved away then, and made anew.  With MEDDLE=hold the second step is held then,
and one look at the run does for all deletions where nothing tells of a change.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from pathlib import Path
from typing import Any

from ckptctl import sight
from ckptctl.formats._samples import torch_zip
from ckptctl.model import Hold
from ckptctl.noting import held
from ckptctl.recording import Recorder
from ckptctl.statedir import find_state


def meddle(run: Path) -> None:
    if os.environ.get("MEDDLE") == "lock":
        run.with_suffix(".locked").write_text("yes" if _is_locked(run) else "no")
        return
    if os.environ.get("MEDDLE") == "pin":
        (run / "step_2.json").write_text('{"pinned": true}')
        return
    if os.environ.get("MEDDLE") == "save":
        (run / "step_2.pt").write_bytes(torch_zip())
        return
    if os.environ.get("MEDDLE") == "newest":
        max(run.glob("step_*.pt"), key=lambda path: path.stat().st_mtime).unlink()
        return
    if os.environ.get("MEDDLE") == "gone":
        (run / "step_1.pt").unlink()
        return
    if os.environ.get("MEDDLE") == "hold":
        _hold(run, "step_2.pt")
        return
    if os.environ.get("MEDDLE") == "moved":
        run.rename(run.with_suffix(".old"))
        run.mkdir()
        return
    if os.environ.get("MEDDLE") == "tracker":
        (run / "latest").write_text("")
        return
    (run / "step_2.pt").write_bytes(torch_zip() + b"")  # saved anew
    (run / "step_3.json").write_text('{"pinned": true}')
    (run / "latest").write_text("step_4")
    (run / "step_5.pt").unlink()


def _hold(run: Path, member: str) -> None:
    dirs = find_state(str(run), option=None, uid=os.geteuid(), forbids=None)
    recorder = Recorder.open(str(run), dirs, time.time_ns, time.monotonic, time.sleep)
    hold = Hold("eval", "node7", time.time_ns() + 10**12)
    recorder.change(member, lambda old: held(old, hold, time.time_ns()))
    recorder.state.close()


def _is_locked(run: Path) -> bool:
    fd = os.open(run, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def main() -> int:
    run = Path(sys.argv[1])
    rename = os.rename
    done = False
    when = os.environ.get("MEDDLE")

    def renaming(source: Any, target: Any, **places: int) -> None:
        nonlocal done
        rename(source, target, **places)
        comes = str(target).startswith("step_")  # of a copy
        if (
            str(source).startswith("step_")
            and comes is (when in {"pin", "save", "gone", "moved"})
            and not done
        ):
            done = True
            meddle(run)

    if when == "hold":
        setattr(sight, "_CHEAP_SECONDS", 0)  # noqa: B010 - mypy would have it exported
        setattr(sight, "_PATIENCE", 10**9)  # noqa: B010 - the same
    setattr(os, "rename", renaming)  # noqa: B010 - a plain assignment would have to have every overload
    from ckptctl.cli.app import run as program  # noqa: PLC0415 - the rename must be wrapped first

    return program(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
