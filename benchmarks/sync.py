"""How fast `ckptctl sync` copies, as ratios to what only copies, on the same files in the same run.

    python -m benchmarks.sync [--bucket] [ROUNDS [MIB]]

Makes checkpoints in a temporary directory ($TMPDIR says where), and copies them within it or, with
`--bucket`, to a SeaweedFS and back: one file of MIB (1024) with 16 of MIB/64 each, and many small
ones; then it asks for the same again, when there is nothing to do.  Commands take turns, and the
medians are compared: of wall time, and of the CPU time of the client.  `cp` and `rsync` are left out
of what they cannot do, and `rsync` where it is not installed; the others need
`pip install ckptctl[bench]`.  Prints a table in Markdown, as docs/benchmarks.md has it.

`cp` proves nothing and brings nothing to the disk; rclone hashes what it read and what it wrote, by MD5.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.buckets import Took, environment, s5cmd, server, taken
from benchmarks.measuring import CKPTCTL
from benchmarks.verify import MIB, save
from ckptctl.formats._samples import safetensors, torch_zip
from tests.servers import seaweed

ROUNDS = 3
LARGE = 1024
SYNC = [*CKPTCTL, "sync", "--settle", "0s", "--json"]
RCLONE = [str(Path(sys.executable).with_name("rclone")), "copy", "--create-empty-src-dirs"]

Commands = Mapping[str, Sequence[str]]
Targets = Mapping[str, tuple[str, str]]
"""What the ratio to a program must stay below and should reach: of wall time, and of CPU time."""

COPY: Targets = {
    "cp": ("2.8 / 1.9", ""),
    "rsync": ("0.75 / 0.45", ""),
    "rclone": ("0.85 / 0.5", "0.7 / 0.45"),
}
NOTHING: Targets = {"rsync": ("4.8 / 2.5", ""), "rclone": ("1.3 / 0.6", "")}
UP: Targets = {"s5cmd": ("1.3 / 0.9", "1.25 / 0.8"), "rclone": ("1.3 / 0.9", "1.25 / 0.8")}
DOWN: Targets = {"s5cmd": ("1.9 / 1.3", "2.2 / 1.4"), "rclone": ("1.5 / 1.0", "1.5 / 0.9")}
NOTHING_THERE: Targets = {"s5cmd": ("1.0 / 0.5", "")}


class Work(NamedTuple):
    """Something that is done by each program in turn; `{n}` in a command is the number of the round."""

    what: str
    commands: Commands
    targets: Targets
    cleared: Sequence[Path] = ()  # directories that are removed after each call


def large(root: Path, mib: int) -> Path:
    """Make one checkpoint of a large file and 16 of a 64th of it."""
    folder = root / "step_1"
    folder.mkdir(parents=True)
    save(folder / "layer_00.safetensors", mib * MIB)
    for part in range(1, 17):
        save(folder / f"layer_{part:02}.safetensors", mib * MIB // 64)
    return root


def small(root: Path, checkpoints: int, files: int) -> Path:
    """Make checkpoints of so many small files, as Hugging Face's trainer names them."""
    for step in range(1, checkpoints + 1):
        folder = root / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(safetensors())
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
        for rank in range(files - 2):
            (folder / f"rng_state_{rank}.pth").write_bytes(torch_zip())
    return root


def single(root: Path, count: int) -> Path:
    """Make checkpoints that are one file each."""
    root.mkdir()
    for step in range(1, count + 1):
        (root / f"step_{step}.pt").write_bytes(torch_zip())
    return root


def local(source: Path, target: Path) -> dict[str, list[str]]:
    """Return what copies a directory to another one, by program."""
    target.mkdir()
    commands = {
        "ckptctl": [*SYNC, str(source), str(target / "ckptctl/run")],  # its records lie beside it
        "cp": ["cp", "-r", str(source), str(target / "cp")],
        "rsync": ["rsync", "-a", f"{source}/", str(target / "rsync")],
        "rclone": [*RCLONE, str(source), str(target / "rclone")],
    }
    return {name: command for name, command in commands.items() if shutil.which(command[0])}


def disk(base: Path, mib: int) -> Iterator[Work]:
    """Make files and yield what is measured from disk to disk."""
    runs: dict[str, Callable[[Path], Path]] = {
        f"{mib} MiB and 16 x {mib // 64} MiB": partial(large, mib=mib),
        "5,000 files in 20 checkpoints": partial(small, checkpoints=20, files=250),
        "20,000 files in 100 checkpoints": partial(small, checkpoints=100, files=200),
        "2,000 single files": partial(single, count=2_000),
    }
    for what, make in runs.items():
        source, target = make(base / "source"), base / "target"
        commands = local(source, target)
        if "20,000" not in what:
            cleared = [target / name for name in commands]
            yield Work(what, commands, COPY, cleared)
        commands.pop("cp")
        if "MiB" not in what:
            for command in commands.values():
                taken(command, dict(os.environ))
            yield Work(f"nothing to do, {what}", commands, NOTHING)
        shutil.rmtree(source)
        shutil.rmtree(target)


def bucket(base: Path, mib: int) -> Iterator[Work]:
    """Make files and yield what is measured to a bucket and back; `{n}` is the round."""
    source, down = large(base / "source", mib), base / "down"
    url, other = f"s3://{seaweed.BUCKET}/up", f"server:{seaweed.BUCKET}/up"
    up = {
        "ckptctl": [*SYNC, str(source), f"{url}-ckptctl-{{n}}"],
        "s5cmd": [s5cmd(), "cp", f"{source}/", f"{url}-s5cmd-{{n}}/"],
        "rclone": [*RCLONE, str(source), f"{other}-rclone-{{n}}"],
    }
    what = f"{mib} MiB and 16 x {mib // 64} MiB"
    yield Work(f"up, {what}", up, UP)
    back = {
        "ckptctl": [*SYNC, f"{url}-ckptctl-0", f"{down}/ckptctl"],
        "s5cmd": [s5cmd(), "cp", f"{url}-s5cmd-0/*", f"{down}/s5cmd/"],
        "rclone": [*RCLONE, f"{other}-rclone-0", f"{down}/rclone"],
    }
    yield Work(f"down, {what}", back, DOWN, [down / name for name in back])
    shutil.rmtree(source)
    many = small(base / "many", 20, 100)
    first = {
        "ckptctl": [*SYNC, str(many), f"{url}-many-ckptctl-{{n}}"],
        "s5cmd": [s5cmd(), "sync", f"{many}/", f"{url}-many-s5cmd-{{n}}/"],
        "rclone": [*RCLONE, str(many), f"{other}-many-rclone-{{n}}"],
    }
    yield Work("up, 2,000 files in 20 checkpoints", first, UP)
    again = {
        name: [part.replace("{n}", "0") for part in command] for name, command in first.items()
    }
    yield Work("nothing to do, 2,000 files in a bucket", again, NOTHING_THERE)


def rows(work: Work, rounds: int, env: Mapping[str, str]) -> Iterator[str]:
    """Measure one piece of work and yield its lines of the table."""
    took: dict[str, list[Took]] = {name: [] for name in work.commands}
    for number in range(rounds):
        for name, command in work.commands.items():
            called = [part.replace("{n}", str(number)) for part in command]
            took[name].append(taken(called, dict(env)))
            for folder in work.cleared:
                shutil.rmtree(folder, ignore_errors=True)
    ours, *theirs = (
        (name, Took(*map(statistics.median, zip(*each, strict=True))))
        for name, each in took.items()
    )
    for name, peer in theirs:
        for column, mine, other, target in zip(
            Took._fields, ours[1], peer, work.targets.get(name, ("", "")), strict=True
        ):
            cells = [
                work.what, f"{name}, {column}", f"{mine:.2f} s", f"{other:.2f} s",
                f"**{mine / other:.2f}**", target,
            ]  # fmt: skip
            yield f"| {' | '.join(cells)} |"


def main(say: Callable[[str], None]) -> None:
    """Measure and print."""
    given = [int(text) for text in sys.argv[1:] if text != "--bucket"]
    rounds, mib = (*given, *(ROUNDS, LARGE)[len(given) :])
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # nobody installs without compiled files
    os.environ.update(HOME=os.devnull, XDG_CONFIG_HOME=os.devnull, RCLONE_CONFIG="")
    say("| work | peer | ckptctl | peer | ratio | must stay below / worth reaching |")
    say("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="ckptctl-bench-") as folder:
        base = Path(folder)
        if "--bucket" not in sys.argv:
            for work in disk(base, mib):
                for line in rows(work, rounds, os.environ):
                    say(line)
            return
        with server(base) as running:
            env = environment(running)
            for work in bucket(base, mib):
                for line in rows(work, rounds, env):
                    say(line)


if __name__ == "__main__":
    main(lambda line: print(line, flush=True))
