"""A training with `watch` beside it over three tiers, and each part dies once.

By default it goes one round; `--life SECONDS` lets it go on for that long.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.program import Ckptctl
from tests.saved import steps_left
from tests.waiting import until

TIERS = ("nvme", "lustre", "cloud")
POLICY = """version: 1
tiers:
  nvme:   {{url: {root}/nvme}}
  lustre: {{url: {root}/lustre}}
  cloud:  {{url: {root}/cloud}}
runs: [{{match: '**', policy: pretrain}}]
policies:
  pretrain:
    metric: {{name: loss, mode: min}}
    keep: [{{last: 3}}, {{best: 1}}]
    tiers:
      nvme:   {{keep: [{{last: 2}}], copy_to: lustre}}
      lustre: {{copy_to: cloud, copy: [{{every: 50}}]}}
      cloud:  {{keep: [{{every: 50}}]}}
"""


@dataclass(slots=True)
class Beside:
    """A process that is started again after it died."""

    call: list[str]
    log: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def started(cls, log: Path, *call: str) -> Beside:
        return cls([sys.executable, *call], log, _start([sys.executable, *call], log))

    def die(self) -> None:
        """Be killed."""
        self.process.kill()
        self.process.wait()

    def die_and_rise(self) -> None:
        """Be killed, and start anew."""
        self.die()
        self.process = _start(self.call, self.log)

    def end(self) -> int:
        """Be asked to end; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


def _start(call: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as stream:
        return subprocess.Popen(call, stdout=stream, stderr=stream)


@dataclass(frozen=True, slots=True)
class Site:
    """Three tiers, the training on the first, and `watch` beside it."""

    root: Path
    training: Beside
    watch: Beside

    @property
    def saved(self) -> list[int]:
        """The steps whose save was over: what is promised to be there."""
        return [int(line) for line in (self.root / "promised").read_text().split()]

    def run(self, tier: str) -> Path:
        return self.root / tier / "llm"

    def steps(self, tier: str) -> list[int]:
        return steps_left(self.run(tier))

    def trains(self, saves: int) -> None:
        """Let the training save some more."""
        goal = len(self.saved) + saves
        assert until(lambda: len(self.saved) >= goal, 60), "the training goes on"

    def catches_up(self) -> None:
        """Wait until what is the newest now has been copied."""
        newest = self.saved[-1]
        assert until(lambda: max(self.steps("lustre"), default=0) >= newest, 60), (
            f"{newest} is copied up"
        )

    def suffer(self) -> None:
        """Let each part die once, or be away for a while."""
        self.trains(5)
        assert until(lambda: any(self.run("nvme").glob("*.part")), 60), "a save begins"
        self.training.die_and_rise()
        self.trains(1)
        self.catches_up()
        self.watch.die_and_rise()
        self.trains(1)
        self.catches_up()
        told = self.watch.log.read_text().count("lustre cannot be read")
        (self.root / "lustre").rename(self.root / "away")
        assert until(
            lambda: self.watch.log.read_text().count("lustre cannot be read") > told, 60
        ), "told"
        here = set(self.steps("nvme"))
        self.trains(4)
        assert here <= set(self.steps("nvme")), "without a copy nothing goes"
        (self.root / "away").rename(self.root / "lustre")
        self.catches_up()


@contextmanager
def site(root: Path) -> Iterator[Site]:
    for tier in TIERS:
        (root / tier).mkdir()
    config, promised = root / "tiers.yaml", root / "promised"
    config.write_text(POLICY.format(root=root))
    promised.touch()
    loop = str(Path(__file__).parent / "loop.py")
    training = Beside.started(root / "loop.log", loop, str(root / "nvme" / "llm"), str(promised))
    watch = Beside.started(
        root / "watch.log", "-m", "ckptctl", "watch", "-c", str(config), "--interval", "1s"
    )
    made = Site(root, training, watch)
    try:
        yield made
    finally:
        training.die()
        watch.die()


def test_nothing_promised_is_lost_whatever_dies(
    tmp_path: Path, ckptctl: Ckptctl, pytestconfig: pytest.Config
) -> None:
    config = tmp_path / "tiers.yaml"
    with site(tmp_path) as here:
        end = time.monotonic() + float(pytestconfig.getoption("--life"))
        here.suffer()
        while time.monotonic() < end:
            here.suffer()
        assert here.training.end() == 0
        assert here.watch.end() == 143
    said = here.watch.log.read_text()
    assert "Traceback" not in said
    assert "ended by a signal" in said
    last = ckptctl("apply", "-c", config, "--json")
    assert last.code == 0, last.stdout
    again = ckptctl("apply", "-c", config, "--json")
    assert again.code == 0
    assert not any(run["outcomes"] for run in again.json["runs"])
    assert {result["status"] for result in again.json["results"]} == {"equal"}
    _as_promised(here)
    for tier in TIERS:
        found = ckptctl("resolve", "latest", here.run(tier), "--no-config")
        assert found.code == 0, found.stderr
        assert found.stdout.strip() == str(here.run(tier) / f"step_{here.steps(tier)[-1]}.pt")
        assert ckptctl("verify", here.run(tier), "--level", "digest").code == 0
    found = ckptctl("resolve", "latest", "@nvme/llm", "-c", config)
    assert found.stdout.strip() == str(here.run("nvme") / f"step_{here.saved[-1]}.pt")


def _as_promised(here: Site) -> None:
    """Check that each tier holds what its policy says of all that was ever saved, and no more."""
    lines = (here.root / "losses").read_text().splitlines()
    losses = {each["step"]: each["loss"] for each in map(json.loads, lines)}
    best = min(losses, key=lambda step: (losses[step], -step))
    saved = here.saved
    assert here.steps("nvme") == saved[-2:]
    assert set(here.steps("lustre")) == {*saved[-3:], best}
    assert {step for step in saved if step % 50 == 0} <= set(here.steps("cloud"))
