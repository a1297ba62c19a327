"""ESPnet2: which files are epochs and which are the trainer's, links, the DeepSpeed trainer."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptctl.annotate import Beside, annotate
from ckptctl.decision import Context
from ckptctl.formats._samples import torch_zip
from ckptctl.formats.espnet import Espnet
from ckptctl.group import look
from ckptctl.known import known_formats
from ckptctl.model import Run, State, Unit
from tests.claims import Tree, claim_of, claims_of, findings_of, opened
from tests.trees import make_tree

PT = torch_zip()


def speed(epoch: int, dp: int = 2) -> dict[str, bytes | str]:
    top = f"checkpoint_{epoch}"
    return {
        f"{top}/latest": str(epoch),
        f"{top}/{epoch}/mp_rank_00_model_states.pt": PT,
        **{
            f"{top}/{epoch}/zero_pp_rank_{d}_mp_rank_00_optim_states.pt": PT for d in range(dp)
        },
    }  # fmt: skip


def run_of(root: Path) -> Run:
    with opened(root) as (folder, store):
        found = look(folder, store, known_formats())
        late = Context(now_ns=4_000_000_000 * 10**9)
        return annotate(found, "run", str(root), store, Beside(), late)


def test_epochs_and_what_the_trainer_makes_of_them(tmp_path: Path) -> None:
    tree = {
        "1epoch.pth": PT, "12epoch.pth": PT, "checkpoint.pth": PT,
        "valid.acc.ave_10best.pth": PT, "valid.acc.ave_10best.till50epoch.pth": PT,
    }  # fmt: skip
    found = claims_of(Espnet, tmp_path, tree)
    assert {name: (c.epoch, c.named, c.resumable) for name, c in found.items()} == {
        "1epoch": (1, False, False),
        "12epoch": (12, False, False),
        "checkpoint": (None, True, True),
        "valid.acc.ave_10best": (None, True, False),
        "valid.acc.ave_10best.till50epoch": (None, True, False),
    }
    one = found["12epoch"]
    assert (one.family, one.counts, one.log_offset) == ("#epoch.pth", Unit.EPOCH, 0)
    assert {claim.missing for claim in found.values()} == {None}


def test_links_guard_what_they_name(tmp_path: Path) -> None:
    links = ("latest.pth", "valid.acc.best.pth", "train.loss.best.pth")
    targets = ("3epoch.pth", "2epoch.pth", "2epoch.pth")
    tree: Tree = {
        **{f"{n}epoch.pth": PT for n in (1, 2, 3)},
        **{link: f"-> {target}" for link, target in zip(links, targets, strict=True)},
    }
    make_tree(tmp_path, tree)
    found = {c.name: c.pointers for c in run_of(tmp_path).checkpoints}
    assert {name: set(pointers) for name, pointers in found.items()} == {
        "1epoch": set(),
        "2epoch": set(links[1:]),
        "3epoch": {"latest.pth"},
    }


def test_links_that_a_copy_made_files_belong_to_the_trainer(tmp_path: Path) -> None:
    tree = {"3epoch.pth": PT, "latest.pth": PT, "valid.acc.best.pth": PT}
    found = claims_of(Espnet, tmp_path, tree)
    assert {name for name, claim in found.items() if claim.named} == {"latest", "valid.acc.best"}


def test_without_an_epoch_the_fixed_names_are_another_trainers(tmp_path: Path) -> None:
    tree = {"checkpoint.pth": PT, "valid.acc.ave_10best.pth": PT, "latest.pth": PT}
    assert claims_of(Espnet, tmp_path, tree) == {}


@pytest.mark.parametrize(
    "file",
    ["epoch.pth", "5epoch.pt", "5epochs.pth", "epoch5.pth", "x5epoch.pth", "5epoch.pth.bak",
     "5epoch_best.pth", "test.acc.best.pth", "valid.best.txt"],
)  # fmt: skip
def test_other_names_are_not_claimed(tmp_path: Path, file: str) -> None:
    assert set(claims_of(Espnet, tmp_path, {"1epoch.pth": PT, file: PT})) == {"1epoch"}


def test_torn_files(tmp_path: Path) -> None:
    assert claim_of(Espnet, tmp_path / "a", {"5epoch.pth": b""}).missing == "5epoch.pth is empty"
    (finding,) = findings_of(Espnet, tmp_path / "b", {"5epoch.pth": PT[:-1]})
    assert (finding.file, finding.code) == ("5epoch.pth", "torn")


def test_the_deepspeed_trainer(tmp_path: Path) -> None:
    make_tree(tmp_path, {**speed(1), **speed(2)})
    found = {c.name: c for c in run_of(tmp_path).checkpoints}
    one = found["checkpoint_2"]
    assert (one.format, one.epoch, one.step, one.state) == ("espnet", 2, None, State.COMPLETE)
    assert one.key_file == "checkpoint_2/2/mp_rank_00_model_states.pt"
    assert (one.family, one.resumable) == ("checkpoint_#", True)
    assert set(found) == {"checkpoint_1", "checkpoint_2"}


@pytest.mark.parametrize(
    "tree",
    [
        {"checkpoint_5/model.safetensors": b"x"},
        {"checkpoint_5/6/mp_rank_00_model_states.pt": PT},
        {"checkpoint_5/5/model.pt": PT},
        {"checkpoint_000005/5/mp_rank_00_model_states.pt": PT},
        {"checkpoint_5-best/5/mp_rank_00_model_states.pt": PT},
    ],
)
def test_other_directories_are_not_claimed(tmp_path: Path, tree: Tree) -> None:
    assert claims_of(Espnet, tmp_path, tree) == {}


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("latest", "no latest, which is written after all ranks"),
        ("2/mp_rank_00_model_states.pt", "no model states"),
        ("2/zero_pp_rank_0_mp_rank_00_optim_states.pt", "no optimizer states of dp rank 0, mp rank 0"),
        ("2/zero_pp_rank_1_mp_rank_00_optim_states.pt",
         "no zero_pp_rank_1_mp_rank_00_optim_states.pt, which the epochs around it have"),
    ],
)  # fmt: skip
def test_what_such_a_directory_must_have(tmp_path: Path, lost: str, words: str) -> None:
    tree = {**speed(1), **speed(2), **speed(3)}
    del tree[f"checkpoint_2/{lost}"]
    found = claims_of(Espnet, tmp_path, tree)
    assert found["checkpoint_2"].missing == words
    assert found["checkpoint_1"].missing is found["checkpoint_3"].missing is None


@pytest.mark.parametrize("path", sorted(path for path in speed(5) if path.endswith(".pt")))
def test_a_rank_that_is_torn(tmp_path: Path, path: str) -> None:
    empty = claim_of(Espnet, tmp_path / "empty", {**speed(5), path: b""})
    assert empty.missing == f"{path.rpartition('/')[2]} is empty"
    (finding,) = findings_of(Espnet, tmp_path / "cut", {**speed(5), path: PT[:-9]})
    assert (finding.file, finding.code) == (path, "torn")
