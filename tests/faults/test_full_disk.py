"""A disk without one byte, or one inode, left; and one that is read-only.  Real file systems."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.program import Done


def in_small_file_system(tmp_path: Path, options: str, script: str) -> Done:
    """Run a shell script in a namespace of its own where $DISK is a tmpfs of these options."""
    disk = tmp_path / "disk"
    disk.mkdir()
    here = Path(__file__).parent.parent.parent
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(here),
        "DISK": str(disk),
    }
    env |= {
        "CKPTCTL": f"{sys.executable} -m ckptctl",
        "MAKE": f"{sys.executable} -m tests.faults.small_run",
    }
    whole = f"set -e; mount -t tmpfs -o {options} none $DISK; {script}"
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", whole],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=env,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


FILL = {
    "bytes": ("size=300k", "head -c 400k /dev/zero > $DISK/ballast 2>/dev/null || true"),
    "inodes": (
        "size=2m,nr_inodes=60",
        "for i in $(seq 100); do touch $DISK/ballast$i 2>/dev/null || break; done",
    ),
}


@pytest.mark.parametrize("what", FILL)
@pytest.mark.parametrize("kind", ["file", "directory", "group"])
def test_a_prune_works_when_nothing_is_left_on_the_disk(
    tmp_path: Path, what: str, kind: str
) -> None:
    options, fill = FILL[what]
    script = f"""
        $MAKE $DISK/run {kind}
        {fill}
        if mkdir $DISK/proof 2>/dev/null; then test {what} = bytes; fi
        $CKPTCTL prune --keep-last 2 $DISK/run
        echo left:; ls -A $DISK/run
        $CKPTCTL prune --keep-last 2 $DISK/run
        echo again:; ls -A $DISK/run
        find $DISK -name 'gone-*'
    """
    done = in_small_file_system(tmp_path, options, script)
    assert done.code == 0, done.stderr + done.stdout
    left = done.stdout.split("left:\n")[1].split("\n")
    kept = {
        "file": ["step_7.pt", "step_8.pt"],
        "directory": ["step_7", "step_8"],
        "group": [f"step_{s}_rank{r}.pt" for s in (7, 8) for r in (0, 1)],
    }
    assert left[: len(kept[kind])] == kept[kind]
    assert done.stdout.split("again:\n")[1].splitlines() == kept[kind]


def test_a_disk_that_was_full_with_our_state_on_it_already(tmp_path: Path) -> None:
    script = """
        $MAKE $DISK/run file
        $CKPTCTL prune --keep-last 7 $DISK/run -q > /dev/null
        test -f $DISK/.ckptctl/run/run.json
        head -c 400k /dev/zero > $DISK/ballast 2>/dev/null || true
        $CKPTCTL prune --keep-last 2 $DISK/run
        echo left:; ls -A $DISK/run
    """
    done = in_small_file_system(tmp_path, "size=300k", script)
    assert done.code == 0, done.stderr + done.stdout
    assert done.stdout.split("left:\n")[1].split() == ["step_7.pt", "step_8.pt"]


def test_list_and_dry_runs_work_read_only_and_a_prune_says_that_it_cannot(tmp_path: Path) -> None:
    script = """
        $MAKE $DISK/run file
        mount -o remount,ro $DISK
        $CKPTCTL list $DISK/run -o paths | wc -l
        $CKPTCTL prune --keep-last 2 --dry-run $DISK/run -o paths | wc -l
        set +e
        $CKPTCTL prune --keep-last 2 $DISK/run
        echo code:$?
        ls $DISK/run | wc -l
    """
    done = in_small_file_system(tmp_path, "size=300k", script)
    assert done.stdout.split()[:2] == ["8", "6"]
    assert "code:7" in done.stdout
    assert done.stdout.split()[-1] == "8"
    assert "Read-only file system" in done.stderr


def test_a_run_that_is_a_mount_point_has_its_state_in_itself(tmp_path: Path) -> None:
    script = """
        mkdir $DISK/run
        mount -t tmpfs -o size=1m none $DISK/run
        $MAKE $DISK/run file
        $CKPTCTL prune --keep-last 2 $DISK/run -q > /dev/null
        ls -A $DISK/run; echo beside:; ls -A $DISK
    """
    done = in_small_file_system(tmp_path, "size=1m", script)
    assert done.code == 0, done.stderr
    inside, beside = done.stdout.split("beside:\n")
    assert inside.split() == [".ckptctl", "step_7.pt", "step_8.pt"]
    assert beside.split() == ["run"]


@pytest.mark.parametrize("what", FILL)
@pytest.mark.parametrize("asked", ["", "--record"])
def test_damage_is_told_where_it_cannot_be_noted(tmp_path: Path, what: str, asked: str) -> None:
    options, fill = FILL[what]
    script = f"""
        $MAKE $DISK/run file
        $CKPTCTL verify --record $DISK/run -q >/dev/null
        {fill}
        touch -r $DISK/run/step_3.pt $HOME/time
        printf x | dd of=$DISK/run/step_3.pt bs=1 seek=99 conv=notrunc 2>/dev/null
        touch -r $HOME/time $DISK/run/step_3.pt
        $CKPTCTL verify --level digest {asked} $DISK/run
    """
    done = in_small_file_system(tmp_path, options, script)
    assert done.code == 6, done.stderr + done.stdout
    assert "step_3.pt its bytes are not those that were recorded" in done.stdout
    assert "7 ok, 1 damaged" in done.stdout
    assert "cannot be written" in done.stdout
