"""Ray Tune, and Ray Train v1: numbered directories in a trial's, with the metrics of `result.json`."""

from __future__ import annotations

import json
import math
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from ckptctl.formats.ray_tune import RayTune
from ckptctl.model import NS, Kind
from ckptctl.reading import Blob, Reader
from tests.claims import Tree, claim_of, claims_of, findings_of, metadata_of, opened, recognised
from tests.program import Ckptctl
from tests.trees import make_tree, set_age

PT = torch_zip()


def results(*rows: object) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def row(index: int, **more: object) -> dict[str, object]:
    """Return a line as Ray writes it for a checkpoint."""
    filled = {"pid": 7, "time_total_s": 3.5, "training_iteration": index + 1, "done": False}
    name = f"checkpoint_{index:06}"
    return {**filled, "config": {"lr": 0.1}, "checkpoint_dir_name": name, **more}


def trial(*indices: int, more: Tree | None = None) -> dict[str, bytes | str]:
    tree: dict[str, bytes | str] = {f"checkpoint_{index:06}/data.pkl": PT for index in indices}
    return {"params.json": b"{}", **tree, **(more or {})}


@pytest.mark.parametrize("index", [0, 5, 99999])
def test_six_digits_in_the_directory_of_a_trial(tmp_path: Path, index: int) -> None:
    claim = claim_of(RayTune, tmp_path, trial(index))
    name = f"checkpoint_{index:06}"
    assert (claim.kind, claim.name, claim.key_file) == (Kind.DIRECTORY, name, f"{name}/data.pkl")
    assert (claim.step, claim.epoch, claim.counts) == (index, None, None)
    assert (claim.family, claim.missing, claim.metrics) == ("checkpoint_#", None, {})


@pytest.mark.parametrize("beside", ["result.json", "params.json", "params.pkl", "progress.csv"])
def test_each_file_of_a_trial_tells(tmp_path: Path, beside: str) -> None:
    assert set(claims_of(RayTune, tmp_path, {"checkpoint_000005/x": b"x", beside: b""})) == {
        "checkpoint_000005"
    }


def test_without_a_trial_it_is_a_folder_like_any(tmp_path: Path) -> None:
    tree = {"checkpoint_000005/model.pt": PT, "checkpoint_000006/notes.txt": b"x"}
    assert claims_of(RayTune, tmp_path, tree) == {}
    assert recognised(tmp_path) == {"checkpoint_000005": "tensor-folder"}


@pytest.mark.parametrize(
    "name",
    ["checkpoint_5", "checkpoint_00005", "checkpoint_0000005", "checkpoint_000005-best", "checkpoint-000005",
     "checkpoint_123456", "my_checkpoint_000005", ".checkpoint_000005"],
)  # fmt: skip
def test_other_names_are_not_claimed(tmp_path: Path, name: str) -> None:
    assert claims_of(RayTune, tmp_path, {f"{name}/model.pt": PT, "params.json": b"{}"}) == {}


@pytest.mark.parametrize("index", [123456, 98765432109876543210])
def test_a_number_that_others_write_too_counts_if_a_result_names_it(
    tmp_path: Path, index: int
) -> None:
    tree = trial(index, more={"result.json": results(row(index, acc=1))})
    assert claim_of(RayTune, tmp_path, tree).step == index


def test_what_a_result_says_of_a_checkpoint(tmp_path: Path) -> None:
    rows = results(
        row(0, loss=3.0, timestamp=1795439368, val={"acc": 0.5, "f1": math.nan}, epoch=1, note="x"),
        {"loss": 9.0, "checkpoint_dir_name": None},
        row(1, loss=2.0, timestamp="x"),
        row(1, loss=1.5),
    )
    found = claims_of(RayTune, tmp_path, trial(0, 1, 2, more={"result.json": rows}))
    first = dict(found["checkpoint_000000"].metrics)
    assert math.isnan(first.pop("val/f1"))
    assert first == {"loss": 3.0, "val/acc": 0.5}
    assert found["checkpoint_000000"].saved_ns == 1795439368 * NS
    assert (found["checkpoint_000001"].metrics, found["checkpoint_000001"].saved_ns) == (
        {"loss": 1.5},
        None,
    )
    assert (found["checkpoint_000002"].metrics, found["checkpoint_000002"].saved_ns) == ({}, None)


def test_lines_that_cannot_be_understood_are_passed_over(tmp_path: Path) -> None:
    deep = b'{"checkpoint_dir_name": "checkpoint_000000", "x": ' + b"[" * 100_000 + b"\n"
    listed = b'["checkpoint_dir_name": "x"]\n["a, checkpoint_dir_name\\": \\""]\n'
    rows = (
        deep
        + listed
        + b"\xff\n\n"
        + results(row(0, loss=1.0, huge=10**400))
        + results(row(0, loss=2))[:-9]
    )
    claim = claim_of(RayTune, tmp_path, trial(0, more={"result.json": rows}))
    assert claim.metrics == {"loss": 1.0}


def test_a_line_across_the_places_where_the_file_is_read(tmp_path: Path) -> None:
    rows = results(*(row(index, loss=index, pad="x" * 300_000) for index in range(20)))
    found = claims_of(RayTune, tmp_path, trial(*range(20), more={"result.json": rows}))
    assert [claim.metrics["loss"] for claim in found.values()] == sorted(range(20))


def test_a_line_too_long_for_any_result_costs_nothing(tmp_path: Path) -> None:
    rows = b"x" * (40 << 20) + b"\n" + results(row(0, loss=1.0))
    claim = claim_of(RayTune, tmp_path, trial(0, more={"result.json": rows}))
    assert claim.metrics == {"loss": 1.0}


def test_results_beyond_the_limit_are_not_read_and_keep_the_checkpoints(tmp_path: Path) -> None:
    make_tree(tmp_path, trial(0, more={"result.json": b"{}"}))
    with (tmp_path / "result.json").open("r+b") as file:
        file.truncate((1 << 30) + 1)
    said = metadata_of(RayTune, tmp_path)
    assert said.unread == "result.json is larger than 1 GiB, so it was not read"
    assert claim_of(RayTune, tmp_path).problems[0].text == said.unread


def test_the_results_are_read_once_for_all(tmp_path: Path) -> None:
    rows = results(*(row(index, loss=index) for index in range(50)))
    make_tree(tmp_path, trial(*range(50), more={"result.json": rows}))
    opens: list[str] = []

    with opened(tmp_path) as (folder, store):

        class Counting:
            """A real store that notes what is opened."""

            read = staticmethod(store.read)

            def open(self, path: str) -> AbstractContextManager[Blob]:
                opens.append(path)
                return store.open(path)

        reader: Reader = Counting()
        claims = list(RayTune().find(folder, reader))
        assert all(RayTune().metadata(claim, folder, reader).unread is None for claim in claims)
    assert len(claims) == 50
    assert opens == ["result.json"]


def test_numbers_in_what_the_user_saved_make_no_run_of_it(tmp_path: Path) -> None:
    inside = ("checkpoint/model.pt", "checkpoint-500/x.pt", "epoch=3-step=1000.ckpt")
    tree = {f"checkpoint_000005/{path}": PT for path in inside}
    assert recognised(tmp_path, {**tree, "params.json": b"{}"}) == {"checkpoint_000005": "ray-tune"}


@pytest.mark.parametrize("path", ["model.pt", "sub/part.pth"])
def test_each_file_that_is_cut_off_is_found(tmp_path: Path, path: str) -> None:
    tree = trial(0, more={"checkpoint_000000/model.pt": PT, "checkpoint_000000/sub/part.pth": PT})
    assert findings_of(RayTune, tmp_path, tree) == []
    (finding,) = findings_of(RayTune, tmp_path, {**tree, f"checkpoint_000000/{path}": PT[:50]})
    assert (finding.file, finding.code) == (f"checkpoint_000000/{path}", "torn")
    empty = claim_of(RayTune, tmp_path, {f"checkpoint_000000/{path}": b""})
    assert empty.missing == f"{path} is empty"


def test_a_rank_that_another_has_is_missing(tmp_path: Path) -> None:
    tree = {
        f"checkpoint_00000{at}/model_rank_{rank}.pt": PT for at in range(2) for rank in range(3)
    }
    del tree["checkpoint_000001/model_rank_2.pt"]
    found = claims_of(RayTune, tmp_path, {**tree, "params.json": b"{}"})
    assert found["checkpoint_000000"].missing is None
    assert "rank 2 is not there" in (found["checkpoint_000001"].missing or "")


def test_the_best_by_a_result_are_kept(tmp_path: Path, ckptctl: Ckptctl) -> None:
    rows = results(*(row(at, val={"loss": abs(at - 2) + 1}) for at in range(6)))
    exp = make_tree(tmp_path / "exp" / "trial_0", trial(*range(6), more={"result.json": rows}))
    set_age(exp, 7200)
    arguments = ("--keep-best", "2", "--metric", "val/loss", "--keep-last", "1")
    done = ckptctl("prune", "-r", *arguments, tmp_path / "exp")
    assert done.code == 0, done.stderr
    left = {path.name for path in exp.glob("checkpoint_*")}
    assert left == {"checkpoint_000002", "checkpoint_000003", "checkpoint_000005"}
