"""examples/slurm/epilog.sh without a cluster: which directory of a node's disk it copies, and where to."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from tests.slurm.cluster import example
from tests.waiting import until

USER = pwd.getpwuid(os.geteuid()).pw_name


@pytest.mark.parametrize(
    ("work", "name"),
    [
        (f"/scratch/{USER}/expA/run", "expA/run"),
        (f"/scratch/{USER}/expB/run/", "expB/run"),
        (f"/scratch/{USER}/{USER}/run", f"{USER}/run"),
        (f"/home/x{USER}/run", f"home/x{USER}/run"),
        (f"/scratch/{USER}", f"scratch/{USER}"),
        ("/proj/l lm/run", "proj/l lm/run"),
        (f"/scratch/{USER}/../other/run", None),
        (f"/scratch/{USER}/expA/..", None),
        (f"/scratch/{USER}//run", None),
    ],
)
def test_runs_of_one_name_stay_apart(work: str, name: str | None, tmp_path: Path) -> None:
    program, called, nvme = tmp_path / "ckptctl", tmp_path / "called", tmp_path / "nvme"
    program.write_text(
        f'#!/bin/sh\n[ $1 = sync ] || exit 0\nprintf "%s\\n" "$4" "$5" >{called}.new\n'
        f"mv {called}.new {called}\n"
    )
    program.chmod(0o755)
    (nvme / USER).mkdir(parents=True)
    settings: dict[str, str | Path] = {
        "ckptctl": program, "logs": tmp_path, "nvme": nvme, "to": "@cloud",
    }  # fmt: skip
    slurm = {"SLURM_JOB_WORK_DIR": work, "SLURM_JOB_USER": USER, "SLURM_JOB_ID": "7"}
    script = example("epilog.sh", settings)
    done = subprocess.run(
        ["sh", "-c", script], env=slurm, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    log = (tmp_path / "epilog.log").read_text()
    if name is None:
        assert "nothing was copied" in log
        assert not called.exists()
        return
    assert until(called.exists), log
    assert called.read_text().splitlines() == [f"{nvme}/{USER}/{name}", f"@cloud/{USER}/{name}"]
    # Of a node that has nothing of the run: what is above it is there, or its disk would be missing.
    assert os.geteuid() != 0 or (nvme / USER / name).parent.is_dir()
