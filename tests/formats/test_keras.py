"""Keras: which names count, sets of shards, the backup of BackupAndRestore."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from ckptctl.decision import Context
from ckptctl.formats._samples import hdf5, shard_index
from ckptctl.formats.keras import Keras
from ckptctl.model import Kind, Unit
from ckptctl.survey import Reading, read_run, survey
from tests.claims import claim_of, claims_of, findings_of, metadata_of
from tests.trees import make_tree
from tests.wrong import torn, wrong


def sharded(base: str, count: int = 2) -> dict[str, bytes]:
    shards = {f"{base}_{number:05}.weights.h5": [f"/layers/{number}/vars"] for number in range(count)}  # fmt: skip
    return {f"{base}.weights.json": shard_index(shards), **dict.fromkeys(shards, hdf5())}


def backup(**more: object) -> dict[str, bytes]:
    note = {"epoch": 3, "batch": 0, **more}
    return {"latest.weights.h5": hdf5(), "training_metadata.json": json.dumps(note).encode()}


@pytest.mark.parametrize("directory", ["weights", "models"])
def test_templates_without_a_word_may_be_anything(directory: str, corpus: Path) -> None:
    assert len(list((corpus / "keras" / directory).iterdir())) >= 12
    assert claims_of(Keras, corpus / "keras" / directory) == {}


@pytest.mark.parametrize(
    ("file", "suffix"),
    [
        ("models/model-03-0.3018.keras", "keras"),
        ("weights/weights.03-0.30.weights.h5", "weights.h5"),
    ],
)
def test_a_real_one_under_another_name(
    file: str, suffix: str, corpus: Path, tmp_path: Path
) -> None:
    name = f"net-epoch-03.{suffix}"
    tree = {name: (corpus / "keras" / file).read_bytes()}
    claim = claim_of(Keras, tmp_path / "whole", tree)
    assert (claim.name, claim.epoch, claim.kind) == ("net-epoch-03", 3, Kind.FILE)
    assert wrong(Keras, tmp_path / "whole") == []
    assert wrong(Keras, make_tree(tmp_path / "cut", {name: tree[name][:-1]}))
    assert wrong(Keras, make_tree(tmp_path / "empty", {name: b""}))


@pytest.mark.parametrize(
    ("file", "step", "epoch", "family"),
    [
        ("weights-epoch-05.weights.h5", None, 5, "weights-epoch-#.weights.h5"),
        ("ckpt-12.keras", 12, None, "ckpt-#.keras"),
        ("model_05.h5", 5, None, "model_#.h5"),
        ("net_epoch5_val_loss0.31.hdf5", None, 5, "net_epoch#_val_loss#.hdf5"),
        ("step_00500.weights.h5", 500, None, "step_#.weights.h5"),
        ("epoch_00000.weights.h5", None, 0, "epoch_#.weights.h5"),
    ],
)
def test_names(tmp_path: Path, file: str, step: int, epoch: int, family: str) -> None:
    claim = claim_of(Keras, tmp_path, {file: hdf5()})
    assert (claim.step, claim.epoch, claim.family) == (step, epoch, family)
    assert (claim.kind, claim.key_file, claim.resumable) == (Kind.FILE, file, None)
    assert claim.log_offset == (-1 if epoch is not None else 0)


@pytest.mark.parametrize(
    "file",
    ["best.keras", "model.h5", "weights.05-0.32.weights.h5", "cp-0005.weights.h5", "train_00001.h5", "model_00001.weights.h5",
     "epoch-5-best.keras", ".epoch-5.keras", "epoch-5.keras.tmp", "latest.weights.h5", "training_metadata.json", "epoch-5.weights.json.bak"],
)  # fmt: skip
def test_other_files_are_not_claimed(tmp_path: Path, file: str) -> None:
    assert claims_of(Keras, tmp_path, {file: hdf5()}) == {}


def test_epochs_of_the_csv_log_begin_at_zero(tmp_path: Path) -> None:
    log = "epoch,val_loss\n0,0.9\n1,0.5\n2,0.3\n"
    tree = {f"net-epoch-0{n}.keras": hdf5() for n in (1, 2, 3)}
    make_tree(tmp_path, {**tree, "log.csv": log})
    view = survey(str(tmp_path), deep=True)
    reading = Reading(context=Context(2 * 10**18), metrics_from=("log.csv",))
    run = read_run(view, view.found[0], reading)
    assert [c.metrics["val_loss"] for c in run.checkpoints] == [0.9, 0.5, 0.3]


def test_shards_are_one_checkpoint(tmp_path: Path) -> None:
    claim = claim_of(Keras, tmp_path, sharded("net-epoch-05", 3))
    assert (claim.kind, claim.name, claim.epoch) == (Kind.GROUP, "net-epoch-05", 5)
    assert (claim.counts, claim.log_offset) == (Unit.EPOCH, -1)
    assert (claim.key_file, claim.family) == (
        "net-epoch-05.weights.json",
        "net-epoch-#.weights.json",
    )
    assert len(claim.members) == 4
    assert wrong(Keras, tmp_path) == []


def test_tearing_shards(tmp_path: Path) -> None:
    assert list(torn(Keras, tmp_path, sharded("net-epoch-05", 3))) == []


def test_a_shard_that_only_the_index_knows_of(tmp_path: Path) -> None:
    tree = sharded("model_5", 3)
    del tree["model_5_00002.weights.h5"]
    assert claim_of(Keras, tmp_path, tree).missing is None
    said = metadata_of(Keras, tmp_path)
    assert said.missing == "no model_5_00002.weights.h5, which model_5.weights.json names"


@pytest.mark.parametrize(
    "index", [b"{}", b"[]", b"{", b'{"weight_map": {"a": "../../x"}}', b"[" * 10**5]
)
def test_an_index_that_is_none(tmp_path: Path, index: bytes) -> None:
    tree = {**sharded("model_5"), "model_5.weights.json": index}
    assert metadata_of(Keras, tmp_path, tree).missing is not None


@pytest.mark.parametrize("base", ["model", "ckpt"])
@pytest.mark.parametrize("lost", [[], ["model.weights.json"]])
def test_shards_of_what_has_no_number_are_no_steps(
    tmp_path: Path, base: str, lost: list[str]
) -> None:
    tree = {path: data for path, data in sharded(base, 3).items() if path not in lost}
    assert claims_of(Keras, tmp_path, tree) == {}


@pytest.mark.parametrize(
    "twin", ["latest.weights.h5.bkp", "_latest.weights.h5", "training_metadata.json.bkp"]
)
def test_the_backup_is_named_whatever_is_beside_it(tmp_path: Path, twin: str) -> None:
    tree: Mapping[str, bytes] = {**backup(), twin: hdf5()}
    claim = claim_of(Keras, tmp_path, tree)
    assert (claim.name, claim.named, claim.step, claim.epoch) == ("latest", True, None, None)
    assert claim.members == ("latest.weights.h5", "training_metadata.json")
    assert (claim.key_file, claim.resumable) == ("latest.weights.h5", True)
    assert wrong(Keras, tmp_path) == []


def test_a_backup_whose_note_is_not_written_yet(tmp_path: Path) -> None:
    tree = {"latest.weights.h5": hdf5(), "latest.weights.h5.bkp": hdf5()}
    assert claim_of(Keras, tmp_path, tree).missing == (
        "no training_metadata.json, which is written last"
    )


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"batch": 1}', b"[" * 10**4])
def test_a_note_that_fit_cannot_go_on_by(tmp_path: Path, note: bytes) -> None:
    assert wrong(Keras, make_tree(tmp_path, {**backup(), "training_metadata.json": note}))


def test_what_is_neither_hdf5_nor_zip(tmp_path: Path) -> None:
    (finding,) = findings_of(Keras, tmp_path, {"epoch_5.keras": bytes(64)})
    assert (finding.file, finding.code) == ("epoch_5.keras", "torn")
