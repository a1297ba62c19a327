"""A machine of the examples' own: the places that they name lie below one directory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.program import Done
from tests.saved import save, steps_left

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PROGRAM = "/opt/ckptctl/bin/ckptctl"
PLACES = {
    "/etc/ckptctl": "etc",
    "/local/nvme/ckpt": "nvme",
    "/lustre/proj/ckpt": "lustre",
    "/scratch": "scratch",
    "/data/tmp": "spare",
    "/var/log/ckptctl": "log",
    "/var/lib/node_exporter": "metrics",
}
_CONFIG = """version: 1
tiers: {{nvme: {{url: {root}/nvme}}, lustre: {{url: {root}/lustre, purge_after: 21d}}}}
runs: [{{match: '**', policy: p}}]
policies: {{p: {{keep: [{{last: 3}}], tiers: {{nvme: {{keep: [{{last: 2}}], copy_to: lustre}}}}}}}}
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """Two tiers, a run of five steps on the first, and the same configuration for each user."""

    root: Path
    program: Path

    @classmethod
    def made(cls, root: Path) -> Machine:
        """Make its directories, and a program that needs nothing of its caller's environment."""
        for place in (*PLACES.values(), "bin", "home"):
            (root / place).mkdir()
        config = _CONFIG.format(root=root)
        for file in ("home/ckptctl.yaml", "etc/me.yaml", "etc/config.yaml"):
            (root / file).write_text(config)
        program = root / "bin" / "ckptctl"
        call = f'PYTHONPATH={ROOT} exec "{sys.executable}" -m ckptctl "$@"'
        program.write_text(f"#!/bin/sh\n{call}\n")
        program.chmod(0o755)
        save(root / "nvme" / "modèle", dict.fromkeys(range(1, 6)), newest_hours_ago=1)
        return cls(root, program)

    def text(self, example: str) -> str:
        """Return a file of examples/ with the places of this machine."""
        text = (EXAMPLES / example).read_text()
        for place, here in {PROGRAM: "bin/ckptctl", **PLACES}.items():
            text = text.replace(place, str(self.root / here))
        return text

    def left(self, tier: str) -> list[int]:
        """Return the steps that are on a tier."""
        return steps_left(self.root / tier / "modèle")

    @property
    def lived(self) -> bool:
        """Whether all was done that the configuration says."""
        return (self.left("nvme"), self.left("lustre")) == ([4, 5], [3, 4, 5])

    @property
    def home(self) -> Path:
        return self.root / "home"


def run(arguments: list[str], env: Mapping[str, str], cwd: Path) -> Done:
    """Run something with this environment alone, as cron or systemd does."""
    done = subprocess.run(
        arguments, env=env, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False, timeout=100,
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


IS_ROOT = os.geteuid() == 0
