"""SpeechBrain: which directories are its own, what one lacks, what CKPT.yaml says safely."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from ckptctl.annotate import Beside, annotate
from ckptctl.decision import Context
from ckptctl.formats._samples import torch_zip
from ckptctl.formats.speechbrain import SpeechBrain
from ckptctl.group import look
from ckptctl.known import known_formats
from ckptctl.model import NS, State
from tests.claims import Tree, claim_of, claims_of, findings_of, metadata_of, opened
from tests.trees import make_tree

PT = torch_zip()
NAME = "CKPT+2026-01-02+03-04-05+00"
NUMPY = b"""# yamllint disable
WER: &id002 !!python/object/apply:numpy.core.multiarray.scalar
- &id001 !!python/object/apply:numpy.dtype
  args:
  - f8
  - false
  - true
  state: !!python/tuple
  - 3
  - <
  - null
  - null
  - null
  - -1
  - -1
  - 0
- !!binary |
  mpmZmZmZKEA=
CER: !!python/object/apply:numpy._core.multiarray.scalar
- *id001
- !!binary |
  AAAAAAAA4D8=
end-of-epoch: true
unixtime: 1767323045.5
"""


def saved(
    name: str, meta: bytes = b"end-of-epoch: true\nunixtime: 5.5\n"
) -> dict[str, bytes | str]:
    return {
        f"{name}/CKPT.yaml": meta,
        f"{name}/counter.ckpt": b"5",
        f"{name}/dataloader-TRAIN.ckpt": b"120",
        f"{name}/model.ckpt": PT,
        f"{name}/optimizer.ckpt": PT,
    }


def at(minute: int) -> str:
    return f"CKPT+2026-01-02+03-{minute:02}-05+00"


def test_a_whole_one(tmp_path: Path) -> None:
    claim = claim_of(SpeechBrain, tmp_path, saved(NAME))
    assert (claim.name, claim.step, claim.epoch, claim.counts) == (NAME, None, None, None)
    assert (claim.key_file, claim.family) == (f"{NAME}/model.ckpt", "CKPT+#")
    assert (claim.missing, claim.expects_marker, claim.resumable) == (None, False, True)
    assert findings_of(SpeechBrain, tmp_path) == []


@pytest.mark.parametrize(
    ("name", "family", "epoch"),
    [
        ("CKPT+2026-01-02+03-04-05+01", "CKPT+#", None),
        ("CKPT+2026-01-02+03-04-05+100", "CKPT+#", None),
        ("CKPT+best", "CKPT+best", None),
        ("CKPT+latest", "CKPT+latest", None),
        ("CKPT+epoch_7", "CKPT+epoch_#", 7),
    ],
)
def test_names(tmp_path: Path, name: str, family: str, epoch: int | None) -> None:
    claim = claim_of(SpeechBrain, tmp_path, saved(name))
    assert (claim.family, claim.epoch, claim.named) == (family, epoch, False)


@pytest.mark.parametrize(
    "tree",
    [
        saved(f"{NAME}.bak"),
        saved(f"{NAME}-best"),
        saved("CKPT+epoch_7.bak"),
        saved("CKPT"),
        saved("ckpt+1"),
        {f"{NAME}/notes.txt": b"x"},
    ],
)
def test_others_are_not_claimed(tmp_path: Path, tree: Tree) -> None:
    assert claims_of(SpeechBrain, tmp_path, tree) == {}


def test_they_are_ordered_by_the_time_that_was_noted(tmp_path: Path) -> None:
    """The names are of local time: where a clock went back an hour, they mislead."""
    tree = {
        **saved("CKPT+2026-10-25+02-50-00+00", b"unixtime: 1793000000.25\n"),
        **saved("CKPT+2026-10-25+02-10-00+00", b"unixtime: 1793001200.5\n"),
    }
    make_tree(tmp_path, tree)
    with opened(tmp_path) as (folder, store):
        found = look(folder, store, known_formats())
        context = Context(now_ns=4_000_000_000 * NS)
        run = annotate(found, "run", str(tmp_path), store, Beside(), context)
    last = max(run.checkpoints, key=lambda c: c.saved_ns)
    assert (last.name, last.stated) == ("CKPT+2026-10-25+02-10-00+00", True)
    assert last.saved_ns == 1793001200 * NS + NS // 2
    assert {c.state for c in run.checkpoints} == {State.COMPLETE}


def test_metrics(tmp_path: Path) -> None:
    meta = (
        b"# yamllint disable\nWER: 12.3\nACC: 1\nloss: .nan\ngap: -.inf\nend-of-epoch: true\n"
        b"epoch: 5\nnote: good\nok: true\nnothing: null\nunixtime: 1767323045.5\n"
    )
    said = metadata_of(SpeechBrain, tmp_path, saved(NAME, meta))
    metrics = dict(said.metrics)
    assert math.isnan(metrics.pop("loss"))
    assert metrics == {"WER": 12.3, "ACC": 1.0, "gap": -math.inf}
    assert (said.epoch, said.saved_ns) == (5, 1767323045 * NS + NS // 2)
    assert (said.unread, said.problems, said.missing) == (None, (), None)


def test_numpy_scalars_are_read_from_their_bytes(tmp_path: Path) -> None:
    said = metadata_of(SpeechBrain, tmp_path, saved(NAME, NUMPY))
    assert dict(said.metrics) == {"WER": 12.3, "CER": 0.5}
    assert (said.unread, said.problems) == (None, ())


@pytest.mark.parametrize(
    "value",
    [
        b"!!python/object/apply:os.system ['touch HACKED']",
        b"!!python/object/new:subprocess.Popen [[touch, HACKED]]",
        b"!!python/name:os.system",
        b"!!python/object/apply:numpy.core.multiarray.scalar [x, y]",
        b"[{args: [f8], state: [3, <]}, '???']",
        b"[{args: [f8], state: [3, <]}, 'AAAA']",
        b"{a: 1}",
    ],
)
def test_objects_are_never_made(
    tmp_path: Path, value: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    meta = b"unixtime: 5.5\nWER: 0.5\nodd: " + value + b"\n"
    said = metadata_of(SpeechBrain, tmp_path / "run", saved(NAME, meta))
    assert (dict(said.metrics), said.saved_ns, said.unread) == (
        {"WER": 0.5},
        5 * NS + NS // 2,
        None,
    )
    odd = value.startswith(b"!!python/name")  # a tag on an empty text: nothing is said
    assert [problem.code for problem in said.problems] == ([] if odd else ["metadata-value"])
    assert not (tmp_path / "HACKED").exists()


@pytest.mark.parametrize("content", [b"unixtime: soon\n", b"unixtime: [1]\n", b"epoch: x\n"])
def test_a_value_of_a_wrong_type_is_a_problem(tmp_path: Path, content: bytes) -> None:
    said = metadata_of(SpeechBrain, tmp_path, saved(NAME, content))
    assert (said.saved_ns, said.epoch, said.unread) == (None, None, None)
    assert [problem.code for problem in said.problems] == ["metadata-value"]


@pytest.mark.parametrize(
    "content",
    [b"[1]", b"{", b"\xff", b"a: &a [*a]", b"[" * 100_000, b"x", b"- a\n" * 200_000],
    ids=["list", "torn", "bytes", "loop", "deep", "text", "many"],
)
def test_what_cannot_be_understood_is_unread(tmp_path: Path, content: bytes) -> None:
    said = metadata_of(SpeechBrain, tmp_path, saved(NAME, content))
    assert said.unread is not None
    assert said.unread.startswith(f"{NAME}/CKPT.yaml ")
    assert [problem.code for problem in said.problems] == ["metadata-unreadable"]


def test_what_is_written_first_proves_nothing(tmp_path: Path) -> None:
    claim = claim_of(SpeechBrain, tmp_path, {f"{NAME}/CKPT.yaml": b"unixtime: 5.5\n"})
    assert claim.missing == "nothing but CKPT.yaml, which is written first"
    assert claim.marker is None


@pytest.mark.parametrize("minute", [1, 2, 3])
@pytest.mark.parametrize("file", ["counter.ckpt", "model.ckpt", "optimizer.ckpt"])
def test_a_file_that_the_ones_around_have(tmp_path: Path, file: str, minute: int) -> None:
    tree = {**saved(at(1)), **saved(at(2)), **saved(at(3))}
    del tree[f"{at(minute)}/{file}"]
    found = {name: c.missing for name, c in claims_of(SpeechBrain, tmp_path, tree).items()}
    text = f"no {file}, which the checkpoints around it have"
    assert found == {at(m): text if m == minute else None for m in (1, 2, 3)}


def test_an_object_more_from_some_moment_on_is_no_loss(tmp_path: Path) -> None:
    tree = {path: data for minute in range(1, 5) for path, data in saved(at(minute)).items()}
    tree |= {f"{at(minute)}/scheduler.ckpt": PT for minute in (3, 4)}
    assert {c.missing for c in claims_of(SpeechBrain, tmp_path, tree).values()} == {None}


def test_without_its_yaml_the_framework_does_not_see_it(tmp_path: Path) -> None:
    tree = saved(NAME)
    del tree[f"{NAME}/CKPT.yaml"]
    claim = claim_of(SpeechBrain, tmp_path, tree)
    assert claim.missing == "no CKPT.yaml, without which SpeechBrain does not see it"
    assert metadata_of(SpeechBrain, tmp_path).saved_ns is None


@pytest.mark.parametrize("file", ["CKPT.yaml", "counter.ckpt", "model.ckpt"])
def test_empty_files(tmp_path: Path, file: str) -> None:
    claim = claim_of(SpeechBrain, tmp_path, {**saved(NAME), f"{NAME}/{file}": b""})
    assert claim.missing == f"{file} is empty"


@pytest.mark.parametrize("file", ["model.ckpt", "optimizer.ckpt"])
def test_torn_files(tmp_path: Path, file: str) -> None:
    (finding,) = findings_of(SpeechBrain, tmp_path, {**saved(NAME), f"{NAME}/{file}": PT[:-9]})
    assert (finding.file, finding.code) == (f"{NAME}/{file}", "torn")


@pytest.mark.parametrize("left", ["CKPT.yaml", "model.ckpt"])
def test_one_torn_save_does_not_hide_another(tmp_path: Path, left: str) -> None:
    """A crash that comes back leaves several: what the last one lost is not normal for that."""
    tree = {**saved(at(1)), **saved(at(2)), **saved(at(3)), **saved(at(4))}
    del tree[f"{at(3)}/optimizer.ckpt"]
    for path in [path for path in tree if path.startswith(at(4)) and not path.endswith(left)]:
        del tree[path]
    found = claims_of(SpeechBrain, tmp_path, tree)
    assert found[at(2)].missing is None
    assert found[at(3)].missing == "no optimizer.ckpt, which the checkpoints around it have"
    assert found[at(4)].missing is not None
