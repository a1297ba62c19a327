"""A life over several tiers: a configuration, a run on the first tier, copies made by hand."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.program import Ckptctl, Done
from tests.saved import save, steps_left

CLOSED = "http://127.0.0.1:9"
"""An endpoint where nobody listens."""


@dataclass(frozen=True, slots=True)
class Life:
    """Tiers below one directory; the run `llm` is on the first, `fast`."""

    root: Path
    ckptctl: Ckptctl

    @property
    def run(self) -> Path:
        return self.root / "fast" / "llm"

    def at(self, tier: str) -> Path:
        return self.root / tier / "llm"

    def __call__(self, command: str, *more: str | Path, config: bool = True) -> Done:
        """Call a command with this configuration."""
        file = ("-c", self.root / "ckptctl.yaml") if config else ()
        return self.ckptctl(command, *more, *file)

    def prune(self, *more: str) -> Done:
        return self("prune", self.run, *more)

    def copy(self, steps: Iterable[int], tier: str = "slow", record: bool = True) -> None:
        """Copy checkpoints by hand, times and all, and let a manifest be made there."""
        self.at(tier).mkdir(parents=True, exist_ok=True)
        for step in steps:
            for file in self.run.glob(f"step_{step}.*"):
                shutil.copy2(file, self.at(tier) / file.name)
        if record:
            done = self("verify", self.at(tier), "--record")
            assert done.code == 0, done.stderr

    @property
    def left(self) -> list[int]:
        return steps_left(self.run)

    def why(self, done: Done) -> dict[int, str]:
        """What the guard says of each step that it keeps."""
        return {
            decision["checkpoint"]["step"]: reason["text"]
            for decision in done.json["runs"][0]["decisions"]
            for reason in decision["reasons"]
            if reason["rule"] == "copies"
        }


def life(
    root: Path,
    ckptctl: Ckptctl,
    *,
    steps: int = 5,
    fast: str = "copy_to: slow",
    more: str = "",
    urls: Mapping[str, str] | None = None,
) -> Life:
    """Make a run of some steps on a tier that keeps the last, and is copied from."""
    tiers = {"fast": f"{root}/fast", "slow": f"{root}/slow", **(urls or {})}
    lines = "".join(
        f"  {name}: {url if url.startswith('{') else '{url: ' + url + '}'}\n"
        for name, url in tiers.items()
    )
    (root / "ckptctl.yaml").write_text(
        f"version: 1\ntiers:\n{lines}runs: [{{match: '**', policy: p}}]\n"
        f"policies:\n  p:\n    keep: [{{last: 1}}]\n{more}    tiers:\n      fast: {{{fast}}}\n"
    )
    save(root / "fast" / "llm", dict.fromkeys(range(1, steps + 1)))
    (root / "slow").mkdir(exist_ok=True)
    return Life(root, ckptctl)
