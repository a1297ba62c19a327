"""`ckptctl verify` where something looks sound and is not, or cannot be judged."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from tests.cli.test_verify import codes, flip, states, statuses
from tests.program import Ckptctl
from tests.saved import save
from tests.trees import make_tree, set_age


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return save(tmp_path / "run", {1: 3.0, 2: 2.0, 3: 1.0})


def test_a_digest_of_its_own_is_made_of_a_hard_link_too(tmp_path: Path, ckptctl: Ckptctl) -> None:
    content = b"not a ZIP, so the digest in the name is of the file itself"
    name = f"epoch_12-{hashlib.sha256(content).hexdigest()[:8]}"
    run = make_tree(tmp_path / "run", {"epoch_11.pth": content})
    os.link(run / "epoch_11.pth", run / f"{name}.pth")
    set_age(run, 7200)
    done = ckptctl("verify", run, "--level", "digest", "--json")
    assert (done.code, statuses(done)) == (0, {"epoch_11": "unrecorded", name: "ok"})


def test_a_copy_without_our_hard_links_is_read_whole(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = make_tree(tmp_path / "run", {"step_1.pt": torch_zip()})
    os.link(run / "step_1.pt", run / "step_2.pt")
    set_age(run, 7200)
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    flip(copy / "step_2.pt", 60)
    done = ckptctl("verify", run, "--against", copy, "--level", "digest", "--json")
    assert (done.code, codes(done)) == (6, {"step_2": ["differs"]})


def test_a_copy_that_is_still_being_saved_is_not_compared(run: Path, ckptctl: Ckptctl) -> None:
    copy = run.parent / "copy"
    shutil.copytree(run, copy)
    content = (run / "step_3.pt").read_bytes()
    (copy / "step_3.pt").write_bytes(content[:-40] + bytes(40))
    done = ckptctl("verify", run, "--against", copy, "--level", "digest", "--json")
    assert (done.code, codes(done)) == (0, {"step_3": ["absent"]})
    assert statuses(done) == {"step_1": "ok", "step_2": "ok", "step_3": "unrecorded"}


def test_damage_is_not_forgotten_with_the_digest_that_showed_it(
    run: Path, ckptctl: Ckptctl
) -> None:
    ckptctl("verify", run, "--record")
    flip(run / "step_3.pt", 60)
    assert ckptctl("verify", run, "--level", "digest").code == 6
    shutil.rmtree(run.parent / ".ckptctl/run/manifests")
    for also in ((), ("--record",), ()):
        done = ckptctl("verify", run, "--level", "digest", *also, "--json")
        assert (done.code, statuses(done)["step_3"]) == (6, "damaged")
        assert states(ckptctl, run)["step_3"] == "damaged"


def test_manifests_that_cannot_be_listed_are_not_passed_over(run: Path, ckptctl: Ckptctl) -> None:
    ckptctl("verify", run, "--record")
    manifests = run.parent / ".ckptctl/run/manifests"
    shutil.rmtree(manifests)
    manifests.write_text("no directory")
    done = ckptctl("verify", run, "--level", "digest", "--json")
    assert (done.code, done.json["results"]) == (7, [])


def test_a_signal_ends_it_before_the_next_run(tmp_path: Path, ckptctl: Ckptctl) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for step in range(1, 5):
            with (tmp_path / name / f"step_{step}.bin").open("wb") as file:
                file.truncate(18 << 20)
    set_age(tmp_path, 7200)
    words = ("SIGTERM", "write:verifying.jsonl:2", "verify", tmp_path, "-r", "--record", "-j", "1")
    done = ckptctl(*words, "--json", module=("tests.faults.signalled",))
    assert done.code == 128 + signal.SIGTERM
    assert [each["name"] for each in done.json["runs"]] == ["a"]
