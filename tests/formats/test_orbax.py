"""Orbax: which directories are steps, what commits them, what they say of themselves."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ckptctl.formats._samples import ocdbt_manifest, torch_zip
from ckptctl.formats.orbax import Orbax
from ckptctl.listing import Folder
from ckptctl.model import Unit
from tests.claims import Tree, agrees, claim_of, claims_of, findings_of, metadata_of, opened
from tests.trees import make_tree

COMMIT = "commit_success.txt"


def described(**more: object) -> bytes:
    said = {"metrics": {}, "init_timestamp_nsecs": 1, "commit_timestamp_nsecs": 1795439368475743114}
    return json.dumps({**said, **more}).encode()


def old(name: str, more: Tree | None = None) -> dict[str, bytes | str]:
    """Return a step as Orbax left it on a disk before 0.12.3."""
    return {
        f"{name}/_CHECKPOINT_METADATA": described(),
        f"{name}/default/_METADATA": b'{"tree_metadata": {}, "use_ocdbt": true}',
        f"{name}/default/manifest.ocdbt": ocdbt_manifest(),
        f"{name}/default/ocdbt.process_0/manifest.ocdbt": ocdbt_manifest(),
        f"{name}/default/d/0123": b"x",
        **{f"{name}/{path}": data for path, data in (more or {}).items()},
    }


def new(name: str, more: Tree | None = None) -> dict[str, bytes | str]:
    return {**old(name, more), f"{name}/{COMMIT}": b"ok", f"{name}/default/{COMMIT}": b"ok"}


def in_bucket(root: Path, tree: Tree) -> Folder:
    """Return the listing of a tree as a bucket gives it: without inodes."""
    make_tree(root, tree)

    def bare(folder: Folder) -> Folder:
        return replace(
            folder,
            files={name: entry._replace(inode=0) for name, entry in folder.files.items()},
            folders={name: bare(inside) for name, inside in folder.folders.items()},
        )

    with opened(root) as (folder, _):
        return bare(folder)


def test_the_corpus(corpus: Path, truth: Mapping[str, list[dict[str, Any]]]) -> None:
    agrees(Orbax, corpus / "orbax", truth["orbax"])


def test_a_step_that_is_committed_by_a_file(tmp_path: Path) -> None:
    claim = claim_of(Orbax, tmp_path, new("1000"))
    assert (claim.step, claim.counts, claim.family) == (1000, Unit.STEP, "#")
    assert claim.key_file == claim.marker == f"1000/{COMMIT}"
    assert (claim.missing, claim.expects_marker, claim.committed) == (None, True, False)


def test_an_older_step_is_committed_by_its_name(tmp_path: Path) -> None:
    claim = claim_of(Orbax, tmp_path, old("1000"))
    assert (claim.missing, claim.expects_marker, claim.committed) == (None, False, True)
    assert (claim.key_file, claim.marker) == ("1000/_CHECKPOINT_METADATA", None)


@pytest.mark.parametrize(
    ("name", "step", "family"),
    [
        ("0", 0, "#"),
        ("00000500", 500, "#"),
        ("step_1000", 1000, "step_#"),
        ("ckpt_7", 7, "ckpt_#"),
        ("v2_model_12", 12, "v2_model_#"),
        ("98765432109876543210", 98765432109876543210, "#"),
    ],
)
def test_names(tmp_path: Path, name: str, step: int, family: str) -> None:
    claim = claim_of(Orbax, tmp_path, new(name))
    assert (claim.step, claim.family) == (step, family)


@pytest.mark.parametrize("name", ["1000.bak", "1000-best", "step-1000", "final", "a1000"])
def test_other_names_are_not_claimed(tmp_path: Path, name: str) -> None:
    assert claims_of(Orbax, tmp_path, new(name)) == {}


@pytest.mark.parametrize(
    "tree",
    [
        {"1000/default/_METADATA": b"{}"},
        {"1000/state/manifest.ocdbt": ocdbt_manifest()},
        {"1000/default/checkpoint": b"\x81", "1000/default/params.w/.zarray": b"{}"},
        {"1000/default/checkpoint": b"\x81"},
        {"1000/_METADATA": b"{}", "1000/manifest.ocdbt": ocdbt_manifest()},
        {"step_1000/_CHECKPOINT_METADATA": described(), "step_1000/_METADATA": b"{}"},
    ],
)
def test_steps_of_other_versions(tmp_path: Path, tree: Tree) -> None:
    claim = claim_of(Orbax, tmp_path, tree)
    assert (claim.step, claim.missing, claim.committed) == (1000, None, True)
    assert claim.key_file in tree


@pytest.mark.parametrize(
    "tree",
    [
        {"1000/model.pt": torch_zip()},
        {"1000/checkpoint_metadata.json": b"{}", "1000/model_config.json": b"{}"},  # nanotron
        {"1000/logs/checkpoint": b"x", "1000/logs/ckpt-1.index": b"x"},  # TensorFlow
        {"exp_12/params/_METADATA": b"{}"},
        {"exp_12/_METADATA": b"{}", "exp_12/_CHECKPOINT_METADATA": described()},
        {"step_5/training_info.json": b"{}", "step_5/policy/weights.pt": torch_zip()},  # NeMo-RL
    ],
)
def test_what_has_a_number_but_is_no_step(tmp_path: Path, tree: Tree) -> None:
    assert claims_of(Orbax, tmp_path, tree) == {}


@pytest.mark.parametrize("extra", [{}, {"12345/params/_METADATA": b"{}"}])
def test_a_directory_of_steps_is_a_run_however_it_is_called(tmp_path: Path, extra: Tree) -> None:
    assert claims_of(Orbax, tmp_path, {**new("12345/100"), **new("12345/200"), **extra}) == {}
    assert set(claims_of(Orbax, tmp_path / "12345")) == {"100", "200"}


def test_flax_keeps_half_of_a_checkpoint_beside_it(tmp_path: Path) -> None:
    tree = {"checkpoint_5/_METADATA": b"{}", f"checkpoint_5_gda/{COMMIT}": b""}
    assert claims_of(Orbax, tmp_path, tree) == {}


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("1000.orbax-checkpoint-tmp", "#"),
        ("1000.orbax-checkpoint-tmp-1795439368", "#"),
        ("step_1000.orbax-checkpoint-tmp-3", "step_#"),
    ],
)
def test_a_save_that_was_cut_off(tmp_path: Path, name: str, family: str) -> None:
    tree = {f"{name}/default/d/0": b"x", f"{name}/default.orbax-checkpoint-tmp/d/0": b"x"}
    claim = claim_of(Orbax, tmp_path, tree)
    assert (claim.temporary, claim.step, claim.family, claim.members) == (
        True,
        1000,
        family,
        (name,),
    )
    assert claim.missing is not None
    assert claim.key_file in tree
    assert metadata_of(Orbax, tmp_path).missing is None


def test_a_staging_directory_without_a_file_has_nothing_to_delete(tmp_path: Path) -> None:
    assert claims_of(Orbax, tmp_path, {"1000.orbax-checkpoint-tmp/default/": b""}) == {}


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        (COMMIT, f"no {COMMIT}, which is written last"),
        (f"default/{COMMIT}", f"no default/{COMMIT}"),
        ("default/", "no item"),
    ],
)
def test_what_a_newer_step_must_have(tmp_path: Path, lost: str, words: str) -> None:
    whole = new("1000", {"metrics/metrics": b"{}", f"metrics/{COMMIT}": b"ok"})
    if lost == "default/":
        whole = {p: d for p, d in whole.items() if "metrics/" not in p}
    tree = {path: data for path, data in whole.items() if not path.startswith(f"1000/{lost}")}
    assert claim_of(Orbax, tmp_path, tree).missing == words


def test_an_item_that_was_not_renamed(tmp_path: Path) -> None:
    tree = old("1000", {"state.orbax-checkpoint-tmp/d/0": b"x"})
    assert claim_of(Orbax, tmp_path, tree).missing == (
        "state.orbax-checkpoint-tmp was not renamed: its item is not whole"
    )


def test_what_a_user_puts_into_a_step_is_no_part_of_it(tmp_path: Path) -> None:
    tree = new("1000", {"eval.txt": b"", "plots/loss.png": b"x"})
    claim = claim_of(Orbax, tmp_path, tree)
    assert (claim.missing, claim.uncovered) == (None, ("1000/eval.txt",))


def test_metadata_that_the_other_steps_have(tmp_path: Path) -> None:
    tree = {**old("100"), **old("200")}
    del tree["100/_CHECKPOINT_METADATA"]
    found = claims_of(Orbax, tmp_path, tree)
    assert found["100"].missing == "no _CHECKPOINT_METADATA, unlike the other steps"
    assert found["200"].missing is None


def test_a_process_and_an_item_that_the_steps_around_have(tmp_path: Path) -> None:
    part = {"default/ocdbt.process_1/manifest.ocdbt": ocdbt_manifest(), "iter/state": b"x"}
    tree = {
        path: data for step in ("1", "2", "3", "4", "5") for path, data in old(step, part).items()
    }
    del tree["2/default/ocdbt.process_1/manifest.ocdbt"]
    del tree["4/iter/state"]
    found = claims_of(Orbax, tmp_path, tree)
    assert found["2"].missing == "no default/ocdbt.process_1/, unlike those around it"
    assert found["4"].missing == "no iter/, unlike those around it"
    assert {found[step].missing for step in "135"} == {None}


def test_metrics_for_some_steps_only_are_no_loss(tmp_path: Path) -> None:
    tree = {
        **old("1", {"metrics/metrics": b"{}"}),
        **old("2"),
        **old("3", {"metrics/metrics": b"{}"}),
    }
    assert {claim.missing for claim in claims_of(Orbax, tmp_path, tree).values()} == {None}


def test_in_a_bucket_only_the_file_commits(tmp_path: Path) -> None:
    folder = in_bucket(tmp_path, {**old("1"), **new("2")})
    with opened(tmp_path) as (_, store):
        found = {claim.name: claim for claim in Orbax().find(folder, store)}
    assert found["1"].missing == f"no {COMMIT}, which is written last"
    assert (found["1"].expects_marker, found["1"].committed) == (True, False)
    assert (found["2"].missing, found["2"].marker) == (None, f"2/{COMMIT}")


def test_a_step_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    make_tree(tmp_path, new("1"))
    with opened(tmp_path) as (folder, store):
        closed = Folder("2", error="Permission denied", forbidden=True)
        seen = replace(folder, folders={**folder.folders, "2": closed})
        with pytest.raises(OSError, match="Permission denied"):
            list(Orbax().find(seen, store))
        other = replace(folder, folders={**folder.folders, "old_2": closed})
        assert [claim.name for claim in Orbax().find(other, store)] == ["1"]


def test_a_step_that_was_never_finalised(tmp_path: Path) -> None:
    tree = {**new("1"), "1/_CHECKPOINT_METADATA": described(commit_timestamp_nsecs=None)}
    said = metadata_of(Orbax, tmp_path, tree)
    assert said.missing is not None
    assert "never finalised" in said.missing
    assert said.saved_ns is None


def test_the_time_of_the_commit_is_the_time_it_was_saved(tmp_path: Path) -> None:
    assert metadata_of(Orbax, tmp_path, new("1")).saved_ns == 1795439368475743114


@pytest.mark.parametrize("stamp", ["soon", 0, -1, True, 1.5, []])
def test_a_time_that_is_none(tmp_path: Path, stamp: object) -> None:
    tree = {**new("1"), "1/_CHECKPOINT_METADATA": described(commit_timestamp_nsecs=stamp)}
    said = metadata_of(Orbax, tmp_path, tree)
    assert (said.saved_ns, said.missing, said.unread) == (None, None, None)


def test_metrics(tmp_path: Path) -> None:
    more: Tree = {
        "metrics/metrics": b'{"loss": NaN, "acc": 1, "eval": {"f1": 0.5}, "ok": true, "note": "x", "huge": 1'
        + b"0" * 400
        + b"}"
    }
    tree = {**new("1", more), "1/_CHECKPOINT_METADATA": described(metrics={"acc": 2, "ppl": 3.5})}
    metrics = dict(metadata_of(Orbax, tmp_path, tree).metrics)
    assert math.isnan(metrics.pop("loss"))
    assert metrics == {"acc": 1.0, "eval/f1": 0.5, "ppl": 3.5}


@pytest.mark.parametrize("file", ["_CHECKPOINT_METADATA", "metrics/metrics"])
@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff", b'{"a": ' + b"[" * 5000])
def test_what_cannot_be_understood_is_unread(tmp_path: Path, file: str, content: bytes) -> None:
    said = metadata_of(Orbax, tmp_path, {**new("1"), f"1/{file}": content})
    assert said.unread is not None
    assert f"1/{file}" in said.unread
    assert [problem.code for problem in said.problems] == ["metadata-unreadable"]
    # `_CHECKPOINT_METADATA` tells by its last write that the step was finalised.
    assert said.missing == (said.unread if file == "_CHECKPOINT_METADATA" else None)


def test_empty_metadata_is_missing(tmp_path: Path) -> None:
    tree = {**new("1"), "1/_CHECKPOINT_METADATA": b""}
    assert claim_of(Orbax, tmp_path, tree).missing == "_CHECKPOINT_METADATA is empty"


def test_a_whole_step_proves_whole(tmp_path: Path) -> None:
    assert findings_of(Orbax, tmp_path, new("1")) == []


@pytest.mark.parametrize(
    ("file", "content", "code"),
    [
        ("default/manifest.ocdbt", ocdbt_manifest()[:-1], "manifest-damaged"),
        ("default/manifest.ocdbt", bytes(16), "manifest-damaged"),
        ("default/manifest.ocdbt", b"", "manifest-damaged"),
        ("default/manifest.ocdbt", None, "manifest-missing"),
        ("default/_METADATA", b'{"tree', "metadata-unreadable"),
        ("_CHECKPOINT_METADATA", b"{", "metadata-unreadable"),
    ],
)
def test_what_structure_shows(tmp_path: Path, file: str, content: bytes | None, code: str) -> None:
    tree = new("1")
    del tree[f"1/{file}"]
    if content is not None:
        tree[f"1/{file}"] = content
    (finding,) = findings_of(Orbax, tmp_path, tree)
    assert (finding.file, finding.code) == (f"1/{file}", code)
