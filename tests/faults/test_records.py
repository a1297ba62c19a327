"""A writer of records that dies, or whose disk fails: every record is the old or the new one, whole."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.faults.moments import Moments
from tests.faults.test_full_disk import in_small_file_system
from tests.program import Ckptctl
from tests.saved import save

OLD = {"tags": ["old"], "metrics": {"loss": 1.0}, "pinned": False}
NEW = {"tags": ["old", "new"], "metrics": {"loss": 2.0}, "pinned": True}


def seen(ckptctl: Ckptctl, run: Path) -> dict[str, Any]:
    done = ckptctl("list", run, "--json")
    assert done.code == 0
    (report,) = done.json["runs"]
    assert report["problems"] == []
    first = next(c for c in report["checkpoints"] if c["name"] == "step_1")
    return {key: first[key] for key in (*OLD, "holds")}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["kill", "fail"])
@pytest.mark.parametrize("command", ["annotate", "hold", "release", "first"])
def test_at_every_call(
    tmp_path: Path, ckptctl: Ckptctl, how: str, command: str, moments: Moments
) -> None:
    arguments: dict[str, tuple[str, ...]] = {
        "annotate": ("annotate", "step_1", "loss=2", "--tag", "new", "--pin", "--in"),
        "first": ("annotate", "step_1", "loss=2", "--tag", "old", "--tag", "new", "--pin", "--in"),
        "hold": ("hold", "step_1"),
        "release": ("hold", "--release", "step_1"),
    }

    def prepared(name: str) -> Path:
        run = save(tmp_path / name / "run", {1: None, 2: None})
        if command != "first":
            ckptctl("annotate", "step_1", "loss=1", "--tag", "old", "--in", run)
        if command == "release":
            ckptctl("hold", "step_1", run)
        return run

    dying = ("tests.faults.dying",)
    counted = ckptctl(how, "0", *arguments[command], prepared("counted"), module=dying)
    found = re.search(r"calls=(\d+)", counted.stderr)
    assert found
    assert int(found[1]) > 5
    for nth in moments(int(found[1]) + 1):
        run = prepared(str(nth))
        done = ckptctl(how, str(nth), *arguments[command], run, module=dying)
        assert done.code in ({-9} if how == "kill" else {0, 7}), (nth, done.stderr)
        assert "Traceback" not in done.stderr
        after = seen(ckptctl, run)
        held = after.pop("holds")
        if command in {"annotate", "first"}:
            old = OLD if command == "annotate" else {"tags": [], "metrics": {}, "pinned": False}
            assert after in (old, NEW), nth
            assert done.code != 0 or after == NEW
        else:
            assert after == OLD
            assert len(held) <= 1
        again = ckptctl("annotate", "step_1", "--tag", "again", "--in", run)
        assert again.code == 0, (nth, again.stderr)  # a dead writer's lock is taken over
        assert "again" in seen(ckptctl, run)["tags"]


@pytest.mark.parametrize("command", ["annotate step_1 --pin --in", "hold step_1"])
def test_read_only_and_full_disks_are_7_and_say_so(tmp_path: Path, command: str) -> None:
    script = f"""
        $MAKE $DISK/run file
        head -c 400k /dev/zero > $DISK/ballast 2>/dev/null || true
        for i in $(seq 100); do touch $DISK/ballast$i 2>/dev/null || break; done
        set +e
        $CKPTCTL {command} $DISK/run; echo code:$?
        rm $DISK/ballast*
        mount -o remount,ro $DISK
        $CKPTCTL {command} $DISK/run; echo code:$?
        mount -o remount,rw $DISK
        $CKPTCTL {command} $DISK/run; echo code:$?
        $CKPTCTL prune --keep-last 1 $DISK/run -q > /dev/null; ls $DISK/run
    """
    done = in_small_file_system(tmp_path, "size=300k,nr_inodes=60", script)
    assert re.findall(r"code:(\d)", done.stdout) == ["7", "7", "0"], done.stderr
    assert "no space, inodes or quota left" in done.stderr
    assert "Read-only file system" in done.stderr
    assert done.stdout.split()[-2:] == ["step_1.pt", "step_8.pt"]


def test_no_record_is_ever_half_written(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", {1: None, 2: None})
    ckptctl("annotate", "step_1", "--pin", "--in", run)
    (record,) = (tmp_path / ".ckptctl" / "run" / "records").iterdir()
    assert json.loads(record.read_text())["pinned"] is True
    assert record.stat().st_mode & 0o022 == 0
