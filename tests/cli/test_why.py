"""`ckptctl why`: the decision of one checkpoint as `prune` makes it, explained."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ckptctl.formats._samples import torch_zip
from tests.program import Ckptctl
from tests.saved import save, steps_left
from tests.trees import make_tree, read_tree, set_age

LOSSES: dict[int, float | None] = {
    1000: 20.0, 2000: 9.0, 3000: 12.0, 4000: 8.5, 5000: 30.0, 6000: 11.0, 7000: 10.0, 8000: 10.5,
}  # fmt: skip
KEEP = ("--keep-last", "3", "--keep-best", "2", "--metric", "val_ppl")


def test_one_that_goes_has_every_rules_rank_and_what_would_keep_it(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", LOSSES)
    done = ckptctl("why", "step_3000", run, *KEEP)
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == f"step_3000 would be deleted: {run}/step_3000.pt"
    for line in (
        "last 3             #6 by step: kept by --keep-last 6",
        "best 2 by val_ppl  #6 by val_ppl (12): kept by --keep-best 6",
        "raise last from 3 to 6 (--keep-last 6)",
        "raise best by val_ppl from 2 to 6 (--keep-best 6)",
        "add --keep-step 3000",
        "pin it (ckptctl annotate --pin)",
    ):
        assert line in done.stdout


def test_a_kept_one_has_every_reason_and_what_would_let_go_of_it(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", {**LOSSES, 7000: 1.0})
    done = ckptctl("why", "step_7000", run, *KEEP)
    assert "because last #2 by step" in done.stdout
    assert "because best #1 by val_ppl (1)" in done.stdout
    assert "lower last from 3 to 1 (--keep-last 1)" in done.stdout
    assert "leave out best 2 by val_ppl" in done.stdout
    newest = ckptctl("why", "step_8000", run, *KEEP)
    assert "no rule can let go of it" in newest.stdout
    assert "newest" in newest.stdout


@pytest.mark.parametrize("name", [f"step_{step}" for step in LOSSES])
def test_json_has_the_decision_of_the_prune_and_its_flags_replayed_flip_it(
    tmp_path: Path, ckptctl: Ckptctl, name: str
) -> None:
    run = save(tmp_path / "run", LOSSES)
    done = ckptctl("why", name, run, *KEEP, "--json")
    assert done.code == 0
    assert (done.json["schema"], done.json["version"]) == ("ckptctl/why", 1)
    (result,) = done.json["results"]
    assert (result["run"], result["name"], result["path"]) == ("run", name, f"{run}/{name}.pt")
    pruned = ckptctl("prune", run, *KEEP, "-n", "--json").json["runs"][0]["decisions"]
    decision = next(d for d in pruned if d["checkpoint"]["name"] == name)
    assert {key: result[key] for key in decision} == decision
    assert [rule["flags"] for rule in result["rules"]]
    assert bool(result["changes"]) == (result["fixed"] is None)
    for change in result["changes"]:
        if change["pinned"]:
            assert ckptctl("annotate", name, "--in", run, "--pin").code == 0
        after = ckptctl("prune", run, *change["flags"], "-n", "--json").json["runs"][0]["decisions"]
        assert {d["verdict"] for d in after if d["checkpoint"]["name"] == name} == (
            {"delete"} if result["verdict"] == "keep" else {"keep"}
        ), change["text"]


def test_the_decision_is_made_with_proof(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", LOSSES)
    best = run / "step_4000.pt"
    best.write_bytes(torch_zip()[:-30])
    set_age(best, 14 * 3600)
    torn = ckptctl("why", "step_4000", run, *KEEP, "--json").json["results"][0]
    assert (torn["verdict"], [r["rule"] for r in torn["reasons"]]) == ("keep", ["incomplete"])
    assert {rule["text"] for rule in torn["rules"]} == {"counts complete checkpoints only"}
    assert torn["changes"][0]["delete_incomplete"] is not None
    second = ckptctl("why", "step_7000", run, *KEEP, "--json").json["results"][0]
    assert {"rule": "best", "text": "#2 by val_ppl (10)"} in second["reasons"]


def test_it_changes_nothing(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", LOSSES)
    before = read_tree(tmp_path)
    assert ckptctl("why", "step_3000", run, *KEEP).code == 0
    assert read_tree(tmp_path) == before


@pytest.mark.parametrize("command", [("why", "--keep-last", "1"), ("hold",), ("annotate", "--pin")])
def test_a_name_is_a_name_a_file_name_or_a_path(
    tmp_path: Path, ckptctl: Ckptctl, command: tuple[str, ...]
) -> None:
    run = save(tmp_path / "runs" / "a", LOSSES)
    where = ("--in",) if command[0] == "annotate" else ()
    for name, location in (
        ("step_3000", run),
        ("step_3000.pt", run),
        ("./step_3000.pt", run),
        ("a/step_3000.pt", tmp_path / "runs"),
        ("step_3000", tmp_path / "runs"),
    ):
        done = ckptctl(*command, name, *where, location, "--json")
        assert done.code == 0, done.stdout
        assert done.json["results"][0]["path"] == f"{run}/step_3000.pt"
    alone = ckptctl(*command, run / "step_3000.pt", "--json")
    assert alone.json["results"][0]["path"] == f"{run}/step_3000.pt"


@pytest.mark.parametrize("command", [("why", "--keep-last", "1"), ("hold",), ("annotate", "--pin")])
def test_a_name_that_nothing_or_too_much_has(
    tmp_path: Path, ckptctl: Ckptctl, command: tuple[str, ...]
) -> None:
    for name in "ab":
        save(tmp_path / "runs" / name, LOSSES)
    where = ("--in",) if command[0] == "annotate" else ()
    none = ckptctl(*command, "step_300", *where, tmp_path / "runs" / "a")
    assert none.code == 8
    assert "near names: step_3000" in none.stderr
    both = ckptctl(*command, "step_3000", *where, tmp_path / "runs")
    assert both.code == 2
    assert "a/step_3000.pt" in both.stderr
    assert "b/step_3000.pt" in both.stderr
    (tmp_path / "empty").mkdir()
    assert ckptctl(*command, "step_3000", *where, tmp_path / "empty").code == 8
    assert ckptctl(*command, "step_3000", *where, tmp_path / "missing").code == 7
    itself = ckptctl(*command, "step_3000", *where, tmp_path / "runs" / "a" / "step_3000.pt")
    assert itself.code == 2
    assert not (tmp_path / "runs" / ".ckptctl").exists()


def test_parts_of_one_step_are_siblings(tmp_path: Path, ckptctl: Ckptctl) -> None:
    tree = {f"{part}_step_{s}.pt": torch_zip() for s in (1, 2, 3) for part in ("model", "optim")}
    run = make_tree(tmp_path / "run", tree, age=7200)
    done = ckptctl("why", "model_step_1", run, "--keep-last", "1")
    assert "lives and dies with optim_step_1" in done.stdout


def test_without_rules_or_where_prune_would_refuse_there_is_no_decision(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", LOSSES)
    none = ckptctl("why", "step_3000", run)
    assert none.code == 2
    assert "--keep-last" in none.stderr
    assert ckptctl("why", "step_3000", run, "--keep-tag", "nobody-has").code == 4
    assert ckptctl("why", "step_3000", run, "--keep-best", "1", "--metric", "nope:min").code == 2
    config = tmp_path / "ckptctl.yaml"
    config.write_text(
        "version: 1\nruns: [{match: other, policy: p}]\npolicies: {p: {keep: [{last: 1}]}}\n"
    )
    unmatched = ckptctl("why", "step_3000", run)
    assert unmatched.code == 2
    assert "left alone" in unmatched.stderr


def test_a_policy_counts_and_its_limits_do_not_hide_the_answer(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", LOSSES)
    policy = tmp_path / "mine.yaml"
    policy.write_text(
        "version: 1\npolicies: {p: {keep: [{last: 1}], limits: {max_delete: 1}, grace: 7d}}\n"
    )
    assert ckptctl("prune", run, "--policy", policy).code == 4
    done = ckptctl("why", "step_3000", run, "--policy", policy, "--json")
    assert done.code == 0
    assert done.json["results"][0]["verdict"] == "delete"
    assert steps_left(run) == sorted(LOSSES)


def test_strange_names_do_not_reach_the_terminal(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", LOSSES)
    os.rename(run / "step_3000.pt", run / "a\x1b[31m_step_3000.pt")
    name = "a\x1b[31m_step_3000"
    for done in (
        ckptctl("why", name, run, "--keep-last", "3"),
        ckptctl("annotate", name, "--in", run, "--tag", "\x1b[0m"),
        ckptctl("hold", name, run),
    ):
        assert done.code == 0, done.stderr
        assert "\x1b" not in done.stdout
