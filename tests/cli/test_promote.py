"""`ckptctl promote`: pins, tags and aliases that go as they came, and who did it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ckptctl.formats._samples import torch_zip
from ckptctl.records import Record, dump, file_name, parse
from tests.cli.test_buckets import options
from tests.cli.test_processes import ENV
from tests.program import Ckptctl
from tests.saved import save, steps_left, touch
from tests.stores.places import Place
from tests.trees import read_tree, set_age

TORN = torch_zip()[:-30]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return save(tmp_path / "run", {1: 9.0, 2: 7.0, 3: 8.0, 4: None})


def marks(
    ckptctl: Ckptctl, run: Path | str, *more: str
) -> dict[str, tuple[bool, list[str], list[str]]]:
    """What each checkpoint that carries anything carries: pin, tags, aliases."""
    found = ckptctl("list", run, "--json", *more).json["runs"][0]["checkpoints"]
    every = {c["name"]: (c["pinned"], c["tags"], c["aliases"]) for c in found}
    return {name: what for name, what in every.items() if any(what)}


def promote(ckptctl: Ckptctl, *arguments: str | Path) -> dict[str, Any]:
    done = ckptctl("promote", *arguments, "--json")
    assert done.code == 0, done.stderr
    assert (done.json["schema"], done.json["version"]) == ("ckptctl/promote", 1)
    (result,) = done.json["results"]
    assert isinstance(result, dict)
    return result


def test_it_is_pinned_tagged_and_named_and_kept(run: Path, ckptctl: Ckptctl) -> None:
    ckptctl("verify", run, "--record")
    done = promote(
        ckptctl, "best:val_ppl", run, "--as", "prod", "--tag", "a", "--tag", "b", "--note", "for the demo",
    )  # fmt: skip
    assert (done["name"], done["action"], done["former"]) == ("step_2", "promote", [])
    assert (done["pinned"], done["tags"], done["aliases"]) == (True, ["a", "b"], ["prod"])
    (said,) = done["promotions"]
    assert (said["selector"], said["note"], said["from"]) == ("best:val_ppl", "for the demo", f"{run}/step_2.pt")  # fmt: skip
    assert said["metrics"] == {"val_ppl": 7.0}
    assert said["digest"].startswith("blake3:")
    assert {said[key] != "" for key in ("by", "host", "at")} == {True}
    assert ckptctl("resolve", "alias:prod", run).stdout == f"{run}/step_2.pt\n"
    assert ckptctl("prune", "--keep-last", "1", run).code == 0
    assert steps_left(run) == [2, 4]


def test_an_alias_that_moves_takes_its_pin_along_and_leaves_the_tags(
    run: Path, ckptctl: Ckptctl
) -> None:
    promote(ckptctl, "step_1", run, "--as", "prod", "--tag", "a")
    moved = promote(ckptctl, "step_3", run, "--as", "prod")
    assert moved["former"] == ["step_1.pt"]
    assert marks(ckptctl, run) == {"step_1": (False, ["a"], []), "step_3": (True, [], ["prod"])}
    text = ckptctl("promote", "step_2", run, "--as", "prod").stdout
    assert text == "step_2: promoted as prod; which was step_3.pt; pinned\n"
    record = parse((run.parent / ".ckptctl/run/records" / file_name("step_1.pt")).read_bytes())
    assert record.promotions[0].lost_ns is not None
    ckptctl("promote", "--demote", "step_1", run)
    assert marks(ckptctl, run) == {"step_2": (True, [], ["prod"])}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_pin_set_by_hand_stays_when_the_alias_moves(
    when: str, run: Path, ckptctl: Ckptctl
) -> None:
    pin = ("annotate", "step_1", "--pin", "--tag", "mine", "--in", run)
    if when == "before":
        ckptctl(*pin)
    promote(ckptctl, "step_1", run, "--as", "prod", "--tag", "mine")
    if when == "after":
        ckptctl(*pin)
    promote(ckptctl, "step_2", run, "--as", "prod")
    assert marks(ckptctl, run)["step_1"] == (True, ["mine"], [])
    assert ckptctl("promote", "--demote", "step_1", run).code == 0
    assert marks(ckptctl, run)["step_1"] == (True, ["mine"], [])


def test_another_promotion_is_another_reason_for_the_pin(run: Path, ckptctl: Ckptctl) -> None:
    promote(ckptctl, "step_1", run, "--as", "prod")
    promote(ckptctl, "step_1", run, "--as", "demo")
    promote(ckptctl, "step_2", run, "--as", "prod")
    assert marks(ckptctl, run)["step_1"] == (True, [], ["demo"])
    promote(ckptctl, "step_2", run, "--as", "demo")
    assert "step_1" not in marks(ckptctl, run)
    assert ckptctl("annotate", "step_2", "--unpin", "--in", run).code == 0
    assert marks(ckptctl, run)["step_2"] == (False, [], ["prod", "demo"])


def test_demote_undoes_what_promote_did_and_no_more(run: Path, ckptctl: Ckptctl) -> None:
    ckptctl("annotate", "step_1", "--tag", "old", "--in", run)
    promote(ckptctl, "step_1", run, "--as", "prod", "--tag", "old", "--tag", "new")
    promote(ckptctl, "step_1", run, "--as", "demo", "--tag", "more")
    ckptctl("annotate", "step_1", "--tag", "own", "--in", run)
    part = promote(ckptctl, "alias:demo", run, "--demote", "--as", "demo")
    assert (part["tags"], part["aliases"], part["pinned"]) == (["old", "new", "own"], ["prod"], True)  # fmt: skip
    done = promote(ckptctl, "alias:prod", run, "--demote")
    assert (done["tags"], done["aliases"], done["pinned"]) == (["old", "own"], [], False)
    assert all(each["ended_at"] for each in done["promotions"])  # what was is still told
    again = ckptctl("promote", "--demote", "step_1", run)
    assert (again.code, "was not promoted" in again.stderr) == (8, True)


def test_the_same_again_changes_nothing(run: Path, ckptctl: Ckptctl) -> None:
    promote(ckptctl, "step_1", run, "--as", "prod", "--tag", "a")
    before = read_tree(run.parent)
    assert len(promote(ckptctl, "step_1", run, "--as", "prod", "--tag", "a")["promotions"]) == 1
    assert read_tree(run.parent) == before


def test_what_is_not_whole_is_never_promoted(run: Path, ckptctl: Ckptctl) -> None:
    (run / "step_4.pt").write_bytes(TORN)
    before = read_tree(run.parent)
    saving = ckptctl("promote", "step_4", run)
    assert (saving.code, saving.stdout) == (6, "")
    assert read_tree(run.parent) == before
    done = ckptctl("promote", "latest", run, "--as", "prod")  # it is just being saved
    assert (done.code, done.stdout.split(":")[0]) == (0, "step_3")
    assert "passed over step_4" in done.stderr
    set_age(run / "step_4.pt", 3600)
    assert ckptctl("promote", "latest", run, "--as", "prod").code == 6
    assert marks(ckptctl, run) == {"step_3": (True, [], ["prod"])}


def test_latest_is_no_copy_that_the_trainer_replaces(run: Path, ckptctl: Ckptctl) -> None:
    (run / "last.pt").write_bytes(torch_zip())
    touch([run / "last.pt"])
    assert promote(ckptctl, "latest", run)["name"] == "step_4"
    named = ckptctl("promote", "last", run)
    assert (named.code, "may replace" in named.stderr) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("step_9", "run"), 8), (("alias:x", "run"), 8), (("tag:x", "run"), 8), (("best:acc", "run"), 8),
        (("best", "run"), 2), (("latest", "missing"), 7), (("latest", "."), 2), (("latest", "run/step_1.pt"), 2),
        (("latest", "run", "--to", "run/x"), 2), (("latest", "run", "--as", " "), 2), (("latest", "run", "--as", ""), 2), (("latest", "run", "--tag", ""), 2),
        (("latest", "run", "--demote", "--tag", "a"), 2), (("latest", "run", "--demote", "--to", "x"), 2), (("latest", "run", "--metric", "a"), 2),
    ],
)  # fmt: skip
def test_what_fails_records_nothing(
    arguments: tuple[str, ...], code: int, run: Path, monkeypatch: pytest.MonkeyPatch, ckptctl: Ckptctl
) -> None:  # fmt: skip
    save(run.parent / "other", {1: None})
    monkeypatch.chdir(run.parent)
    before = read_tree(run.parent)
    done = ckptctl("promote", *arguments)
    assert (done.code, done.stdout) == (code, ""), done.stderr
    assert read_tree(run.parent) == before


def test_a_path_of_its_own_needs_no_location(
    run: Path, monkeypatch: pytest.MonkeyPatch, ckptctl: Ckptctl
) -> None:
    monkeypatch.chdir(run.parent)
    assert promote(ckptctl, "run/step_1.pt")["name"] == "step_1"
    assert ckptctl("resolve", "run/step_1.pt").stdout == f"{run}/step_1.pt\n"
    assert ckptctl("promote", "./latest", run).code == 8


def test_two_at_once_leave_one_holder(run: Path, ckptctl: Ckptctl) -> None:
    program = [sys.executable, "-m", "ckptctl", "promote"]
    both = [
        subprocess.Popen([*program, name, run, "--as", "prod", "--lock-wait", "1m"], env={**os.environ, **ENV}, stdout=subprocess.DEVNULL)
        for name in ("step_1", "step_2")
    ]  # fmt: skip
    assert [each.wait() for each in both] == [0, 0]
    held = marks(ckptctl, run)
    assert list(held.values()) == [(True, [], ["prod"])]


def test_an_alias_in_another_state_directory_is_not_doubled(run: Path, ckptctl: Ckptctl) -> None:
    promote(ckptctl, "step_1", run, "--as", "prod")
    inner = run / ".ckptctl" / "records"
    inner.mkdir(parents=True)
    (inner / file_name("step_2.pt")).write_bytes(dump(Record(path="step_2.pt", aliases=("demo",))))
    done = ckptctl("promote", "step_3", run, "--as", "demo")
    assert done.code == 4, done.stderr
    assert marks(ckptctl, run) == {"step_1": (True, [], ["prod"]), "step_2": (False, [], ["demo"])}


def test_a_record_from_before_has_no_promotions() -> None:
    old = json.loads(dump(Record(path="a", tags=("b",))))
    del old["promotions"]
    assert parse(json.dumps(old).encode()) == Record(path="a", tags=("b",))


def test_a_run_in_a_bucket(s3: Place, ckptctl: Ckptctl) -> None:
    for step in (1, 2):
        s3.put(f"llm/step_{step}.pt", torch_zip())
    url = f"{s3.url}/llm"
    for name in ("step_1", "step_2"):
        done = ckptctl("promote", name, url, "--as", "prod", *options(s3))
        assert done.code == 0, done.stderr
    assert marks(ckptctl, url, *options(s3)) == {"step_2": (True, [], ["prod"])}
    assert ckptctl("resolve", "alias:prod", url, *options(s3)).stdout == f"{url}/step_2.pt\n"


def test_a_copy_is_made_first_and_named_there_as_well(run: Path, ckptctl: Ckptctl) -> None:
    shop = run.parent / "shop"
    promote(ckptctl, "step_1", run, "--as", "prod", "--to", shop)
    done = promote(ckptctl, "best:val_ppl", run, "--as", "prod", "--tag", "a", "--to", shop)
    assert (done["copy"]["path"], done["copy"]["status"]) == (f"{shop}/step_2.pt", "done")
    assert (shop / "step_2.pt").read_bytes() == (run / "step_2.pt").read_bytes()
    expected = {"step_1": (False, [], []), "step_2": (True, ["a"], ["prod"])}
    for place in (run, shop):
        assert marks(ckptctl, place) == {"step_2": expected["step_2"]}
        named = ckptctl("resolve", "alias:prod", place).stdout
        assert named == f"{place}/step_2.pt\n"
    (said,) = done["promotions"]
    assert said["from"] == f"{run}/step_2.pt"
    assert said["digest"].startswith("blake3:")  # which the copy has shown
    again = ckptctl("promote", "step_2", run, "--as", "prod", "--to", shop)
    assert f"is at {shop}/step_2.pt" in again.stdout
    ckptctl("promote", "--demote", "alias:prod", shop)
    assert marks(ckptctl, shop) == {}
    assert marks(ckptctl, run) == {"step_2": expected["step_2"]}


def test_nothing_is_recorded_where_the_copy_fails(run: Path, ckptctl: Ckptctl) -> None:
    shop = run.parent / "shop"
    shop.mkdir()
    (shop / "step_2.pt").write_bytes(torch_zip() + b"another")
    done = ckptctl("promote", "step_2", run, "--as", "prod", "--to", shop)
    assert (done.code, done.stdout) == (5, "")
    assert "has this name there" in done.stderr
    assert (shop / "step_2.pt").read_bytes() == torch_zip() + b"another"
    assert marks(ckptctl, run) == marks(ckptctl, shop) == {}
    torn = ckptctl("promote", "step_3", run, "--to", run)
    assert (torn.code, "source and destination are the same" in torn.stderr) == (2, True)
    (run / "step_3.pt").write_bytes(TORN)
    assert ckptctl("promote", "step_3", run, "--to", run.parent / "new").code == 6
    assert not (run.parent / "new").exists()
