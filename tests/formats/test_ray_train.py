"""Ray Train v2: what its snapshot lists is whole and needed by a resume; the rest is neither."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from ckptctl.formats._base import Pointer
from ckptctl.formats._samples import dcp_metadata, safetensors, torch_zip
from ckptctl.formats.ray_train import SNAPSHOT, RayTrain
from ckptctl.listing import Folder
from ckptctl.model import Kind
from ckptctl.reading import Reader
from ckptctl.units import parse_time
from tests.claims import (
    Tree,
    claim_of,
    claims_of,
    findings_of,
    metadata_of,
    opened,
    pointers_of,
    recognised,
)
from tests.program import Ckptctl
from tests.trees import make_tree, set_age

PT = torch_zip()
ONE, TWO, THREE = (f"checkpoint_2026-11-23_13-07-5{n}.123456" for n in (1, 2, 3))


def snapshot(*names: str, metrics: object = None, **more: object) -> bytes:
    results = [
        {"version": 0, "checkpoint_dir_name": name, "metrics": metrics or {}} for name in names
    ]
    said = {"ray_version": "2.55.1", "checkpoint_results": results, "current_report_index": 3}
    return json.dumps({**said, **more}).encode()


def files(*names: str) -> dict[str, bytes | str]:
    return {f"{name}/model.pt": PT for name in names}


def test_what_the_snapshot_lists(tmp_path: Path) -> None:
    tree = {
        **files(ONE),
        SNAPSHOT: snapshot(ONE, metrics={"val": {"loss": 0.5}, "epoch": 3, "x": "y"}),
    }
    claim = claim_of(RayTrain, tmp_path, tree)
    assert (claim.kind, claim.name, claim.key_file) == (Kind.DIRECTORY, ONE, f"{ONE}/model.pt")
    assert (claim.step, claim.epoch, claim.counts) == (None, None, None)
    assert (claim.family, claim.saved_ns) == (
        "checkpoint_#",
        parse_time("2026-11-23T13:07:51.123456Z"),
    )
    assert (claim.missing, claim.committed, claim.metrics) == (None, True, {"val/loss": 0.5})


def test_a_time_that_there_is_not_is_none(tmp_path: Path) -> None:
    claim = claim_of(RayTrain, tmp_path, files("checkpoint_2026-13-01_25-00-00.1"))
    assert (claim.family, claim.step, claim.saved_ns) == ("checkpoint_#", None, None)


def test_numbers_that_are_none(tmp_path: Path) -> None:
    metrics = {"loss": math.nan, "acc": -math.inf, "huge": 10**400, "ok": True}
    tree = {**files(ONE), SNAPSHOT: snapshot(ONE, metrics=metrics)}
    found = claim_of(RayTrain, tmp_path, tree).metrics
    assert set(found) == {"loss", "acc"}
    assert math.isnan(found["loss"])


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({SNAPSHOT: snapshot(TWO)}, f"{SNAPSHOT}, which lists what is whole, does not list it"),
        ({SNAPSHOT: snapshot()}, f"{SNAPSHOT}, which lists what is whole, does not list it"),
        ({}, f"no {SNAPSHOT}, which lists what is whole"),
    ],
)
def test_what_it_does_not_list_is_not_whole(tmp_path: Path, tree: Tree, words: str) -> None:
    claim = claim_of(RayTrain, tmp_path, {**files(ONE), **tree})
    assert (claim.missing, claim.committed, claim.temporary) == (words, False, False)


@pytest.mark.parametrize(
    "name",
    [
        "checkpoint_2026-11-23_13-07-53", "checkpoint_2026-11-23", "checkpoint_000005", "checkpoint-5",
        f"{ONE}-best", f"old_{ONE}", f".{ONE}", "checkpoint_2026-11-23_13-07-53.",
    ],
)  # fmt: skip
def test_other_names_are_not_claimed(tmp_path: Path, name: str) -> None:
    assert claims_of(RayTrain, tmp_path, files(name)) == {}


def test_a_directory_that_a_user_named_is_one_as_long_as_it_is_listed(tmp_path: Path) -> None:
    tree = {
        **files("final", "step_5", "other"),
        SNAPSHOT: snapshot("final", "step_5", "gone", "../x", "a/b"),
    }
    claims = claims_of(RayTrain, tmp_path, tree)
    assert {name: claim.step for name, claim in claims.items()} == {"final": None, "step_5": 5}
    assert recognised(tmp_path) == {"final": "ray-train", "step_5": "ray-train"}
    (tmp_path / SNAPSHOT).write_bytes(snapshot())
    assert recognised(tmp_path) == {"step_5": "tensor-folder"}


def test_numbers_in_what_the_user_saved_make_no_run_of_it(tmp_path: Path) -> None:
    inside = ("checkpoint-500/model.pt", "epoch=3-step=1000.ckpt", "step_7/x.pt")
    tree = {f"{name}/{path}": PT for name in (ONE, "final") for path in inside}
    assert recognised(tmp_path, {**tree, SNAPSHOT: snapshot(ONE, "final")}) == {
        ONE: "ray-train",
        "final": "ray-train",
    }


def test_an_empty_directory_is_none(tmp_path: Path) -> None:
    assert claims_of(RayTrain, tmp_path, {f"{ONE}/": b"", SNAPSHOT: snapshot(ONE)}) == {}


def test_each_that_is_listed_is_pointed_at_even_one_that_is_gone(tmp_path: Path) -> None:
    tree = {**files(ONE, TWO), SNAPSHOT: snapshot(ONE, THREE)}
    assert pointers_of(RayTrain, tmp_path, tree) == [
        Pointer(SNAPSHOT, ONE),
        Pointer(SNAPSHOT, THREE),
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", snapshot(ONE)[:-20], b"[]", b"{}", b'{"checkpoint_results": {}}', b"\xff",
        b'{"ray_version": "2", "checkpoint_results": [{"metrics": {}}]}',
        b'{"ray_version": "2", "checkpoint_results": ["x"]}',
        b'{"ray_version": "2", "checkpoint_results": [{"checkpoint_dir_name": 5}]}',
        b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_snapshot_that_cannot_be_understood_may_list_anything(
    tmp_path: Path, content: bytes
) -> None:
    make_tree(tmp_path, {**files(ONE, "step_5"), SNAPSHOT: content})
    claim = claim_of(RayTrain, tmp_path)
    assert (claim.missing or "").startswith(
        f"{SNAPSHOT}, which lists what is whole, cannot be understood"
    )
    assert metadata_of(RayTrain, tmp_path).unread == claim.missing
    assert set(pointers_of(RayTrain, tmp_path)) == {
        Pointer(SNAPSHOT, ONE),
        Pointer(SNAPSHOT, "step_5"),
    }


def test_the_snapshot_is_read_once_for_all(tmp_path: Path) -> None:
    names = [f"checkpoint_2026-11-23_13-07-53.{n:06}" for n in range(50)]
    make_tree(tmp_path, {**files(*names), SNAPSHOT: snapshot(*names, metrics={"loss": 1})})
    reads: list[str] = []

    with opened(tmp_path) as (folder, store):

        class Counting:
            """A real store that notes what is read."""

            def read(self, path: str, limit: int) -> bytes:
                reads.append(path)
                return store.read(path, limit)

            open = staticmethod(store.open)

        reader: Reader = Counting()
        claims = list(RayTrain().find(folder, reader))
        assert all(RayTrain().metadata(claim, folder, reader).unread is None for claim in claims)
    assert [claim.metrics for claim in claims] == [{"loss": 1}] * 50
    assert reads == [SNAPSHOT]


def test_a_listed_directory_that_cannot_be_read(tmp_path: Path) -> None:
    make_tree(tmp_path, {**files(ONE), "final/": b"", SNAPSHOT: snapshot(ONE, "final")})
    with opened(tmp_path) as (folder, store):
        closed = Folder(path="final", error="Permission denied")
        seen = replace(folder, folders={**folder.folders, "final": closed})
        found = iter(RayTrain().find(seen, store))
        assert next(found).name == ONE
        with pytest.raises(OSError, match="Permission denied"):
            list(found)


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("model_rank_1.pt", "model_rank_#.pt: rank 1 is not there: its family has 0 to 1"),
        ("dcp/.metadata", "dcp/: no .metadata, which is written last"),
    ],
)
def test_what_is_knowable_of_its_content(tmp_path: Path, lost: str, words: str) -> None:
    inside = {
        "model_rank_0.pt": PT,
        "model_rank_1.pt": PT,
        "dcp/.metadata": dcp_metadata({"__0_0.distcp": 4}),
        "dcp/__0_0.distcp": b"1234",
    }
    tree = {f"{name}/{path}": data for name in (ONE, TWO) for path, data in inside.items()}
    whole = {**tree, SNAPSHOT: snapshot(ONE, TWO)}
    assert {c.missing for c in claims_of(RayTrain, tmp_path / "whole", whole).values()} == {None}
    del whole[f"{TWO}/{lost}"]
    claims = claims_of(RayTrain, tmp_path / "torn", whole)
    assert (claims[ONE].missing, claims[TWO].missing) == (None, words)


@pytest.mark.parametrize(
    "path", ["model.pt", "a/b.safetensors", "dcp/__0_0.distcp", "dcp/.metadata"]
)
def test_each_file_that_is_cut_off_is_found(tmp_path: Path, path: str) -> None:
    inside = {
        "model.pt": PT,
        "a/b.safetensors": safetensors(),
        "dcp/.metadata": dcp_metadata({"__0_0.distcp": 4}),
        "dcp/__0_0.distcp": b"1234",
    }
    tree: dict[str, bytes | str] = {f"{ONE}/{name}": data for name, data in inside.items()}
    tree[SNAPSHOT] = snapshot(ONE)
    assert findings_of(RayTrain, tmp_path / "whole", tree) == []
    torn = {**tree, f"{ONE}/{path}": inside[path][: len(inside[path]) // 2]}
    (finding,) = findings_of(RayTrain, tmp_path / "torn", torn)
    assert finding.file == f"{ONE}/{path}"


def test_nothing_that_is_listed_is_ever_deleted(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = make_tree(tmp_path / "run", {**files(ONE, TWO, THREE), SNAPSHOT: snapshot(ONE, TWO)})
    set_age(run, 90_000)
    done = ckptctl("prune", "--keep-last", "1", "--delete-incomplete", "1h", run, "--json")
    assert done.code == 0, done.stderr
    (decided,) = done.json["runs"]
    reasons = {d["checkpoint"]["name"]: d["reasons"] for d in decided["decisions"]}
    assert "pointer" in {reason["rule"] for reason in reasons[ONE]}
    assert all((run / name).is_dir() for name in (ONE, TWO, THREE))
    (run / SNAPSHOT).write_bytes(snapshot(TWO))
    listed = ckptctl("list", run, "--json").json["runs"][0]["checkpoints"]
    assert {c["name"]: c["state"] for c in listed} == {
        ONE: "incomplete", TWO: "complete", THREE: "incomplete",
    }  # fmt: skip


def test_a_torn_snapshot_leaves_all_as_it_is(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = make_tree(
        tmp_path / "run", {**files(ONE, TWO, "step_5", "step_6"), SNAPSHOT: b'{"checkp'}
    )
    set_age(run, 90_000)
    done = ckptctl("prune", "--keep-last", "1", "--delete-incomplete", "1h", run, "--json")
    assert done.code == 0, done.stderr
    decisions = {d["checkpoint"]["name"]: d for d in done.json["runs"][0]["decisions"]}
    assert {name: d["verdict"] for name, d in decisions.items()} == dict.fromkeys(decisions, "keep")
    assert "unread" in {reason["rule"] for reason in decisions[ONE]["reasons"]}
    assert "pointer" in {reason["rule"] for reason in decisions["step_5"]["reasons"]}
    assert len(list(run.glob("*/model.pt"))) == 4
