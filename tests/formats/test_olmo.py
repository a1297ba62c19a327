"""OLMo and OLMo-core: who wrote a `stepN`, what commits it, which ranks must be there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ckptctl.decision import Context
from ckptctl.formats._base import Format
from ckptctl.formats._samples import dcp_metadata, torch_zip
from ckptctl.formats.olmo import Olmo
from ckptctl.formats.olmo_core import OlmoCore
from ckptctl.formats.torch_dcp import TorchDcp
from ckptctl.model import Unit
from ckptctl.survey import Reading, read_run, survey
from tests.claims import Tree, claim_of, claims_of, metadata_of
from tests.trees import make_tree
from tests.wrong import torn, wrong

ZIP = torch_zip()
BOTH = (Olmo, OlmoCore)


def whole(name: str = "step1000-unsharded", *parts: str) -> dict[str, bytes]:
    files = {f"{name}/{part}.pt": ZIP for part in parts or ("model", "optim", "train")}
    return {**files, f"{name}/config.yaml": b"run_name: x\n"}


def local(name: str = "step1000", ranks: int = 2) -> dict[str, bytes]:
    """Return a step by LocalShardedCheckpointer."""
    files = {
        f"{name}/{part}/rank{rank}.pt": ZIP
        for part in ("model", "optim", "train")
        for rank in range(ranks)
    }
    world = {f"{name}/metadata.yaml": b"world_size: %d\n" % ranks}
    return {**files, **world, f"{name}/config.yaml": b"run_name: x\n"}


def legacy(name: str = "step1000", ranks: int = 2) -> dict[str, bytes]:
    """Return a step by TorchLegacyShardedCheckpointer."""
    files = {f"{name}/rank{rank}.pt": ZIP for rank in range(ranks)}
    return {**files, f"{name}/config.yaml": b"run_name: x\n"}


def dcp(name: str = "step1000", ranks: int = 2) -> dict[str, bytes]:
    data = {f"__{rank}_0.distcp": len(ZIP) for rank in range(ranks)}
    return {
        f"{name}/model_and_optim/.metadata": dcp_metadata(data),
        **{f"{name}/model_and_optim/{file}": ZIP for file in data},
        **{f"{name}/train/rank{rank}.pt": ZIP for rank in range(ranks)},
    }


def torch_new(name: str = "step1000", ranks: int = 2) -> dict[str, bytes]:
    """Return a step by TorchNewStyleShardedCheckpointer."""
    return {**dcp(name, ranks), f"{name}/config.yaml": b"run_name: x\n"}


def core(name: str = "step1000", ranks: int = 2) -> dict[str, bytes]:
    marker = {f"{name}/.metadata.json": b'{"version": "2.4.0", "ephemeral": null}'}
    return {**dcp(name, ranks), **marker}


def without(tree: Tree, *lost: str) -> dict[str, bytes | str]:
    return {path: data for path, data in tree.items() if not path.endswith(lost)}


LAYOUTS: list[tuple[type[Format], dict[str, bytes], set[str]]] = [
    (Olmo, whole(), {"half of step1000-unsharded/config.yaml"}),
    (Olmo, local(), {"half of step1000/config.yaml"}),
    (Olmo, legacy(), {"half of step1000/config.yaml", "without step1000/rank1.pt"}),
    (Olmo, torch_new(), {"half of step1000/config.yaml", "without step1000/train/rank1.pt"}),
    (OlmoCore, core(), {"without step1000/train/rank1.pt"}),
]
"""Who writes what, and which ways to tear it show nowhere.

A configuration of which half is left is still YAML; how many ranks there were is in no name.
"""


@pytest.mark.parametrize(("kind", "tree", "_"), LAYOUTS)
def test_each_layout_is_of_one_of_them(
    kind: type[Format], tree: dict[str, bytes], _: set[str], tmp_path: Path
) -> None:
    claim = claim_of(kind, tmp_path, tree)
    assert (claim.step, claim.counts, claim.missing) == (1000, Unit.STEP, None)
    assert claim.key_file == claim.marker
    assert claim.marker in tree
    assert claim.uncovered == ()
    assert wrong(kind, tmp_path) == []
    for other in (*BOTH, TorchDcp):
        assert other is kind or claims_of(other, tmp_path) == {}


@pytest.mark.parametrize(("kind", "tree", "unseen"), LAYOUTS)
def test_tearing(
    kind: type[Format], tree: dict[str, bytes], unseen: set[str], tmp_path: Path
) -> None:
    marked = {path for path in tree if path.endswith(("/config.yaml", "/.metadata.json"))}
    assert set(torn(kind, tmp_path, tree, but=tuple(marked))) == unseen - {
        f"half of {path}" for path in marked
    }
    for path in marked:
        lost = make_tree(tmp_path / "lost", {**tree, path: b""})
        assert wrong(kind, lost)


def test_both_forms_of_one_step_are_two_checkpoints(tmp_path: Path) -> None:
    found = claims_of(Olmo, tmp_path, {**whole(), **local()})
    assert {name: (c.step, c.family) for name, c in found.items()} == {
        "step1000-unsharded": (1000, "step#-unsharded"),
        "step1000": (1000, "step#"),
    }


def test_links_point(tmp_path: Path) -> None:
    tree: Tree = {**whole(), **local(), "latest": "-> step1000", "latest-unsharded": "-> step1000-unsharded"}  # fmt: skip
    make_tree(tmp_path, tree)
    view = survey(str(tmp_path), deep=True)
    run = read_run(view, view.found[0], Reading(context=Context(2 * 10**18)))
    assert {c.name: c.pointers for c in run.checkpoints} == {
        "step1000": ("latest",),
        "step1000-unsharded": ("latest-unsharded",),
    }


@pytest.mark.parametrize(
    ("tree", "resumable"),
    [(whole(), True), (whole("step5-unsharded", "model"), False), (local(), True)],
)
def test_weights_alone_cannot_go_on(tmp_path: Path, tree: Tree, resumable: bool) -> None:
    claim = claim_of(Olmo, tmp_path, tree)
    assert (claim.missing, claim.resumable) == (None, resumable)


@pytest.mark.parametrize(
    ("kind", "tree", "words"),
    [
        (Olmo, without(whole(), "model.pt"), "no model.pt"),
        (Olmo, without(whole(), "optim.pt"), "no optim.pt beside train.pt"),
        (Olmo, without(whole(), "train.pt"), "no train.pt beside optim.pt"),
        (Olmo, without(whole(), "config.yaml"), "no config.yaml, which is written last"),
        (Olmo, without(local(), "optim/rank1.pt"), "no optim/rank1.pt"),
        (Olmo, without(local(), "train/rank0.pt"), "no train/rank0.pt"),
        (Olmo, without(local(), "metadata.yaml"), "no metadata.yaml"),
        (Olmo, without(legacy(), "rank0.pt"), "no rank0.pt"),
        (Olmo, without(torch_new(), ".metadata"), "no .metadata, which is written last"),
        (OlmoCore, without(core(), ".metadata.json"), "no .metadata.json, which is written last and removed first"),
        (OlmoCore, without(core(), "/.metadata"), "model_and_optim: no .metadata, which is written last"),
        (OlmoCore, without(core(), "rank0.pt", "rank1.pt"), "no train/rank0.pt"),
        (OlmoCore, without(core(), ".distcp", "/.metadata"), "no model_and_optim/"),
        (OlmoCore, {**core(), "step1000/.metadata.json": b""}, ".metadata.json is empty"),
    ],
)  # fmt: skip
def test_what_is_missing(kind: type[Format], tree: Tree, words: str, tmp_path: Path) -> None:
    assert claim_of(kind, tmp_path, tree).missing == words


def test_ranks_that_only_the_count_knows_of(tmp_path: Path) -> None:
    tree = {**local(ranks=2), "step1000/metadata.yaml": b"world_size: 3\n"}
    assert claim_of(Olmo, tmp_path, tree).missing is None
    assert metadata_of(Olmo, tmp_path).missing == "no model/rank2.pt of 3 ranks"


@pytest.mark.parametrize("content", [b"{}", b"world_size: many", b"\xff" * 10, b"x" * 100_000])
def test_a_count_that_is_none(tmp_path: Path, content: bytes) -> None:
    tree = {**local(), "step1000/metadata.yaml": content}
    assert metadata_of(Olmo, tmp_path, tree).missing == "step1000/metadata.yaml has no world_size"


@pytest.mark.parametrize("content", [b"{", b"[]", b"[" * 10**5, b" " * 2**21])
def test_a_marker_that_is_no_json_commits_nothing(tmp_path: Path, content: bytes) -> None:
    tree = {**core(), "step1000/.metadata.json": content}
    assert metadata_of(OlmoCore, tmp_path, tree).missing is not None


@pytest.mark.parametrize(("kind", "made"), [(Olmo, legacy), (OlmoCore, core)])
def test_a_rank_that_the_steps_around_have(
    kind: type[Format], made: Callable[..., dict[str, bytes]], tmp_path: Path
) -> None:
    tree = {p: d for step in (1, 2, 3) for p, d in made(f"step{step}", 2 if step != 2 else 1).items()}  # fmt: skip
    found = claims_of(kind, tmp_path, tree)
    missing = {name: claim.missing for name, claim in found.items()}
    assert missing["step1"] is missing["step3"] is None
    assert str(missing["step2"]).endswith("rank1.pt, unlike those around it")


def test_what_is_written_after_the_marker_is_not_covered(tmp_path: Path) -> None:
    tree = {**core(), "step1000/config.json": b"{}", "step1000/data_paths.txt": b""}
    claim = claim_of(OlmoCore, tmp_path, tree)
    assert set(claim.uncovered) == {"step1000/config.json", "step1000/data_paths.txt"}


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (Olmo, "step1000-unsharded-tmp/model.pt"),
        (Olmo, "step1000-tmp/rank0.pt"),
        (Olmo, "step1000-tmp/model/rank0.pt"),
        (OlmoCore, "step1000-tmp/train/rank0.pt"),
        (OlmoCore, "step1000-tmp/model_and_optim/__0_0.distcp"),
    ],
)
def test_what_an_unfinished_save_left(kind: type[Format], path: str, tmp_path: Path) -> None:
    claim = claim_of(kind, tmp_path, {path: ZIP})
    assert (claim.temporary, claim.step, claim.key_file) == (True, 1000, path)
    assert claim.family == ("step#-unsharded" if "unsharded" in path else "step#")
    assert all(other is kind or claims_of(other, tmp_path) == {} for other in BOTH)


@pytest.mark.parametrize(
    "tree",
    [
        {"step1000/model.pt": ZIP, "step1000/config.yaml": b"x"},
        {"step1000/rank0.pt": ZIP},
        {"step1000/.metadata.json": b"{}", "step1000/checkpoint.pt": ZIP},
        {"step1000/.metadata": dcp_metadata({"__0_0.distcp": 1}), "step1000/__0_0.distcp": b"x"},
        {"step1000-unsharded/config.yaml": b"x"},
        {"step1000-tmp/notes.txt": b"x"},
        {"step1000-hf/model.safetensors": b"x"},
        without({path.replace("step1000", "step_1000"): d for path, d in core().items()}),
        {"step1000.bak/train/rank0.pt": ZIP},
    ],
)
def test_others_of_the_same_name(tree: Tree, tmp_path: Path) -> None:
    assert [kind.name for kind in BOTH if claims_of(kind, tmp_path, tree)] == []
