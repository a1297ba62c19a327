"""Levanter: which directories are its own, what commits them, what their arrays prove."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from ckptctl.decision import Context
from ckptctl.formats._samples import dcp_metadata, ocdbt_manifest, torch_zip
from ckptctl.formats.levanter import Levanter
from ckptctl.formats.torch_dcp import TorchDcp
from ckptctl.formats.torchtitan import Torchtitan
from ckptctl.model import Unit
from ckptctl.survey import Reading, read_run, survey
from tests.claims import Tree, claim_of, claims_of, findings_of, metadata_of
from tests.trees import make_tree
from tests.wrong import torn, wrong


def array(compressor: str | None = None) -> bytes:
    said = {"chunks": [2, 3], "compressor": compressor and {"id": compressor}, "dtype": "<f4"}
    return json.dumps({**said, "shape": [2, 3], "zarr_format": 2}).encode()


def saved(step: int = 1000, **more: object) -> dict[str, bytes]:
    said = {"step": step, "timestamp": "2026-01-02T03:04:05.250000", "is_temporary": False, **more}
    return {
        f"step-{step}/metadata.json": json.dumps(said).encode(),
        f"step-{step}/model/blocks/0/weight/.zarray": array(),
        f"step-{step}/model/blocks/0/weight/0.0": bytes(24),
        f"step-{step}/opt_state/count/.zarray": array(),
        f"step-{step}/opt_state/count/0.0": bytes(24),
    }


def test_a_step(tmp_path: Path) -> None:
    claim = claim_of(Levanter, tmp_path, saved())
    assert (claim.step, claim.counts, claim.family) == (1000, Unit.STEP, "step-#")
    assert claim.key_file == claim.marker == "step-1000/metadata.json"
    assert claim.missing is None
    said = metadata_of(Levanter, tmp_path)
    assert (said.step, said.saved_ns, said.missing) == (1000, 1767323045250000000, None)
    assert wrong(Levanter, tmp_path) == []


def test_tearing(tmp_path: Path) -> None:
    tree = saved()
    zeros = [f"without {path}" for path in tree if path.endswith("/0.0")]  # zeros are not stored
    assert list(torn(Levanter, tmp_path, tree)) == zeros


@pytest.mark.parametrize(
    ("chunk", "compressor"),
    [
        (bytes.fromhex("28b52ffd2018c10000") + bytes(range(24)), "zstd"),
        (bytes.fromhex("28b52ffd2418c30000") + bytes(1) + bytes(4), "zstd"),
        (bytes.fromhex("28b52ffd0058400000") + bytes(8) + bytes.fromhex("c10000") + bytes(24), "zstd"),
    ],
)  # fmt: skip
def test_compressed_chunks(tmp_path: Path, chunk: bytes, compressor: str) -> None:
    path = "step-1000/model/blocks/0/weight/"
    tree = {**saved(), f"{path}.zarray": array(compressor), f"{path}0.0": chunk}
    assert findings_of(Levanter, tmp_path / "whole", tree) == []
    for length in range(6, len(chunk)):
        where = tmp_path / str(length)
        assert findings_of(Levanter, where, {**tree, f"{path}0.0": chunk[:length]}) != []


def test_chunks_that_cannot_be_proven_are_no_damage(tmp_path: Path) -> None:
    path = "step-1000/model/blocks/0/weight/"
    for number, (kind, chunk) in enumerate(
        [("blosc", b"\x02\x01"), ("gzip", gzip.compress(b"x")), ("zstd", b"?")]
    ):
        tree = {**saved(), f"{path}.zarray": array(kind), f"{path}0.0": chunk}
        assert findings_of(Levanter, tmp_path / str(number), tree) == []


@pytest.mark.parametrize(
    ("kind", "size"),
    [("<f4", 24), ("|b1", 6), ("bfloat16", 12), ("<c16", 96), ("<M8[ns]", None), ("int4", None), (5, None)],
)  # fmt: skip
def test_how_long_a_chunk_is_that_is_not_compressed(
    tmp_path: Path, kind: object, size: int | None
) -> None:
    path = "step-1000/model/blocks/0/weight/"
    said = {**json.loads(array()), "dtype": kind}
    tree = {**saved(), f"{path}.zarray": json.dumps(said).encode()}
    assert findings_of(Levanter, tmp_path, {**tree, f"{path}0.0": bytes(size or 7)}) == []
    other = findings_of(Levanter, tmp_path / "other", {**tree, f"{path}0.0": bytes(95)})
    assert [finding.code for finding in other] == ([] if size is None else ["data-truncated"])


@pytest.mark.parametrize("said", [b"[]", b"{", b'{"chunks": 5}', b'{"chunks": [-1]}', b"{}"])
def test_a_description_of_an_array_that_is_none(tmp_path: Path, said: bytes) -> None:
    path = "step-1000/model/blocks/0/weight/.zarray"
    (finding,) = findings_of(Levanter, tmp_path, {**saved(), path: said})
    assert (finding.file, finding.code) == (path, "metadata-unreadable")


def test_an_ocdbt(tmp_path: Path) -> None:
    tree = {
        "step-5/metadata.json": saved(5)["step-5/metadata.json"],
        "step-5/manifest.ocdbt": ocdbt_manifest(),
        "step-5/d/0123": b"x",
    }
    assert wrong(Levanter, make_tree(tmp_path, tree)) == []
    half = ocdbt_manifest()[:-1]
    assert wrong(Levanter, make_tree(tmp_path / "half", {**tree, "step-5/manifest.ocdbt": half}))


def test_without_its_metadata_it_was_not_committed(tmp_path: Path) -> None:
    tree = saved()
    del tree["step-1000/metadata.json"]
    claim = claim_of(Levanter, tmp_path, tree)
    assert claim.missing == "no metadata.json, which is written last"
    assert (claim.marker, claim.expects_marker) == (None, True)
    assert claim.key_file in tree


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"step": 1000}', b'{"timestamp": "x"}'])
def test_a_marker_that_levanter_could_not_read_is_not_trusted(
    tmp_path: Path, content: bytes
) -> None:
    tree = {**saved(), "step-1000/metadata.json": content}
    assert metadata_of(Levanter, tmp_path, tree).missing is not None


def test_what_a_user_adds_to_it_is_heard(tmp_path: Path) -> None:
    make_tree(tmp_path, saved(pinned=True, metrics={"loss": 2.5}, is_temporary=True))
    view = survey(str(tmp_path), deep=True)
    (checkpoint,) = read_run(view, view.found[0], Reading(context=Context(2 * 10**18))).checkpoints
    assert (checkpoint.format, checkpoint.step, checkpoint.state) == ("levanter", 1000, "complete")
    assert (checkpoint.pinned, checkpoint.metrics) == (True, {"loss": 2.5})
    assert (checkpoint.sidecars, checkpoint.stated) == ((), True)


def test_its_users_rewrite_it_to_keep_a_checkpoint() -> None:
    assert Levanter.rewrites == {"metadata.json"}


def test_an_array_that_the_steps_around_have(tmp_path: Path) -> None:
    tree = {path: data for step in (1, 2, 3) for path, data in saved(step).items()}
    tree = {path: data for path, data in tree.items() if not path.startswith("step-2/opt_state")}
    found = claims_of(Levanter, tmp_path, tree)
    assert found["step-2"].missing == "no opt_state/count/.zarray, unlike those around it"
    assert found["step-1"].missing is None


COLLISIONS: list[tuple[Tree, str | None]] = [
    ({"step-1/.metadata": dcp_metadata({"__0_0.distcp": 1}), "step-1/__0_0.distcp": b"x"}, "torch-dcp"),
    ({"step-1/model.safetensors.index.json": b"{}", "step-1/model-00001-of-00001.safetensors": b"x"}, "torchtitan"),
    ({"step-1/metadata.json": b'{"step": 1, "timestamp": "x"}', "step-1/model.pt": torch_zip()}, None),
]  # fmt: skip


@pytest.mark.parametrize(("tree", "owner"), COLLISIONS)
def test_others_of_the_same_name(tmp_path: Path, tree: Tree, owner: str | None) -> None:
    assert claims_of(Levanter, tmp_path, tree) == {}
    claimed = [kind.name for kind in (TorchDcp, Torchtitan) if claims_of(kind, tmp_path)]
    assert claimed == ([owner] if owner else [])


@pytest.mark.parametrize("kind", [TorchDcp, Torchtitan])
def test_they_do_not_claim_its_own(kind: type[TorchDcp | Torchtitan], tmp_path: Path) -> None:
    assert claims_of(kind, tmp_path, saved()) == {}


@pytest.mark.parametrize("name", ["step_1000", "step1000", "step-1000-tmp", "xstep-1000", "1000"])
def test_other_names_are_not_claimed(tmp_path: Path, name: str) -> None:
    tree = {path.replace("step-1000", name): data for path, data in saved().items()}
    assert claims_of(Levanter, tmp_path, tree) == {}
