"""Copies on other tiers: what counts as one, and that nothing is deleted without those promised."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from ckptctl.formats._samples import torch_zip
from tests.program import Ckptctl
from tests.stores.places import Place
from tests.tiers import CLOSED, life

OTHER = torch_zip({"data/0": b"another "})
"""Another checkpoint of the same size."""


def test_only_what_is_proven_on_another_tier_is_deleted(tmp_path: Path, ckptctl: Ckptctl) -> None:
    here = life(tmp_path, ckptctl)
    here.copy([1, 2])
    done = here.prune("--json")
    assert done.code == 0
    assert here.left == [3, 4, 5]
    said = here.why(done)
    assert set(said) == {3, 4, 5}
    for words in ("0 of 1 proven copy", "slow has none", "ckptctl sync", "ckptctl apply"):
        assert words in said[3]


def test_a_copy_that_is_not_proven_counts_for_nothing(tmp_path: Path, ckptctl: Ckptctl) -> None:
    """Whatever happened to a copy keeps the original: only 7 and 8 are as they were copied."""
    here = life(tmp_path, ckptctl, steps=9)
    here.copy(range(1, 9))
    there = here.at("slow")
    (there / "step_1.pt").unlink()
    os.truncate(there / "step_2.pt", 10)
    os.utime(there / "step_3.pt", (1, 1))
    (there / "step_4.pt").write_bytes(OTHER)
    shutil.copy2(here.run / "step_4.pt", tmp_path / "like")
    os.utime(there / "step_4.pt", ns=(0, (tmp_path / "like").stat().st_mtime_ns + 1))
    os.utime(here.run / "step_5.pt", (1, 1))  # saved anew here
    for file in (tmp_path / "slow" / ".ckptctl" / "llm" / "manifests").iterdir():
        if json.loads(file.read_text())["path"] == "step_6.pt":
            file.unlink()
    done = here.prune("--json")
    assert (done.code, here.left) == (0, [1, 2, 3, 4, 5, 6, 9])
    said = here.why(done)
    assert "slow has none" in said[1]
    assert "slow has it incomplete" in said[2]
    assert "slow has another step_3.pt than was copied" in said[3]
    assert "slow has another step_4.pt than was copied" in said[4]
    assert "slow has another one of this name: step_5.pt differs" in said[5]
    assert "slow has it without a manifest" in said[6]


def test_another_checkpoint_of_the_name_is_no_copy(tmp_path: Path, ckptctl: Ckptctl) -> None:
    here = life(tmp_path, ckptctl, steps=3)
    here.copy([1, 2], record=False)
    (here.at("slow") / "step_1.pt").write_bytes(OTHER)
    assert here("verify", here.at("slow"), "--record").code == 0
    done = here.prune("--json")
    assert here.left == [1, 3]
    assert "slow has another one of this name: step_1.pt differs" in here.why(done)[1]


def test_digests_tell_a_copy_of_another_time(tmp_path: Path, ckptctl: Ckptctl) -> None:
    here = life(tmp_path, ckptctl, steps=3)
    here.copy([1, 2], record=False)
    os.utime(here.at("slow") / "step_1.pt")
    assert here("verify", here.at("slow"), "--record").code == 0
    assert 1 in here.why(here.prune("--json"))
    assert here.left == [1, 3]
    assert here("verify", here.run, "--record").code == 0
    assert here.prune().code == 0
    assert here.left == [3]


def test_the_same_file_under_two_tiers_is_no_copy(tmp_path: Path, ckptctl: Ckptctl) -> None:
    here = life(tmp_path, ckptctl, steps=3, urls={"alias": f"{tmp_path}/alias"})
    (tmp_path / "alias").symlink_to(tmp_path / "fast")
    here.copy([], record=False)
    for step in (1, 2):
        os.link(here.run / f"step_{step}.pt", here.at("slow") / f"step_{step}.pt")
    for place in ("slow", "fast"):
        assert here("verify", here.at(place), "--record").code == 0
    said = here.why(here.prune("--json"))
    assert here.left == [1, 2, 3]
    assert "alias" not in said[1]
    assert "slow has the very same file" in said[1]


def test_an_unread_tier_holds_back_only_what_needs_it(tmp_path: Path, ckptctl: Ckptctl) -> None:
    url = f"{{url: 's3://b/c', storage_options: {{endpoint_url: '{CLOSED}', key: a, secret: b}}}}"
    here = life(tmp_path, ckptctl, steps=4, urls={"cloud": url})
    here.copy([1, 2])
    done = ckptctl(
        "prune", here.run, "-c", tmp_path / "ckptctl.yaml", "--json", env={"AWS_MAX_ATTEMPTS": "1"}
    )
    assert done.code == 5
    assert here.left == [3, 4]
    assert "cloud cannot be read" in here.why(done)[3]
    skipped = [o for o in done.json["runs"][0]["outcomes"] if o["status"] == "skipped"]
    assert [o["checkpoint"] for o in skipped] == ["step_3"]


def test_a_tier_that_is_not_mounted_is_not_an_empty_one(tmp_path: Path, ckptctl: Ckptctl) -> None:
    here = life(tmp_path, ckptctl, steps=2)
    (tmp_path / "slow").rmdir()
    done = here.prune("--json")
    assert (done.code, here.left) == (5, [1, 2])
    assert "slow cannot be read" in here.why(done)[1]


def test_require_copies_counts_tiers(tmp_path: Path, ckptctl: Ckptctl) -> None:
    here = life(tmp_path, ckptctl, steps=4, urls={"third": f"{tmp_path}/third"})
    (tmp_path / "third").mkdir()
    here.copy([1, 2, 3])
    here.copy([1], "third")
    assert here.prune("--require-copies", "2").code == 0
    assert here.left == [2, 3, 4]
    assert "1 of 2 proven copies" in here.why(here.prune("--require-copies", "2", "--json"))[2]
    shutil.rmtree(here.at("slow"))
    assert here.prune("--require-copies", "0").code == 0
    assert here.left == [4]


def test_a_tier_that_is_not_copied_from_needs_no_copies(tmp_path: Path, ckptctl: Ckptctl) -> None:
    here = life(tmp_path, ckptctl, fast="grace: 0s", steps=4)
    assert here.prune("--require-copies", "1").code == 0
    assert here.left == [1, 2, 3, 4]
    assert here.prune().code == 0
    assert here.left == [4]


def test_only_what_copy_chooses_needs_copies(tmp_path: Path, ckptctl: Ckptctl) -> None:
    here = life(tmp_path, ckptctl, steps=6, fast="copy_to: slow, copy: [{every: 3}]")
    here.copy([3])
    done = here.prune("--json")
    assert done.code == 0
    assert here.left == [6]
    assert done.stderr == ""


def test_parts_of_one_node_are_no_copies(tmp_path: Path, ckptctl: Ckptctl) -> None:
    here = life(
        tmp_path, ckptctl, steps=2, urls={"slow": f"{{url: {tmp_path}/slow, per_node: true}}"}
    )
    here.copy([1])
    assert here.prune().code == 0
    assert here.left == [1, 2]


def test_a_location_on_no_tier_has_no_copies(tmp_path: Path, ckptctl: Ckptctl) -> None:
    here = life(tmp_path, ckptctl, steps=3)
    other = shutil.copytree(here.run, tmp_path / "elsewhere")
    done = here("prune", other, "--require-copies", "1")
    assert done.code == 2
    assert "lies on no tier" in done.stderr
    assert here("prune", other).code == 0
    assert [p.name for p in other.glob("*.pt")] == ["step_3.pt"]


def test_a_plan_asks_for_copies_again(tmp_path: Path, ckptctl: Ckptctl) -> None:
    here = life(tmp_path, ckptctl, steps=4)
    here.copy([1, 2, 3])
    plan = str(tmp_path / "plan.json")
    assert here.prune("--plan-out", plan).code == 0
    bare = here("prune", here.run, "--from-plan", plan, "--no-config", config=False)
    assert (bare.code, here.left) == (5, [1, 2, 3, 4])  # no tiers are known, so no copies
    assert here.prune("--plan-out", plan).code == 0
    (here.at("slow") / "step_2.pt").unlink()
    done = here.prune("--from-plan", plan)
    assert done.code == 5
    assert here.left == [2, 4]


def test_copies_are_read_where_that_is_asked(tmp_path: Path, ckptctl: Ckptctl) -> None:
    here = life(tmp_path, ckptctl, steps=4)
    here.copy([1, 2, 3])
    rotten = here.at("slow") / "step_2.pt"
    before = rotten.stat().st_mtime_ns
    content = rotten.read_bytes()
    rotten.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(rotten, ns=(before, before))
    done = here.prune("--verify-copies", "digest", "--json")
    assert done.code == 5
    assert here.left == [2, 4]
    (skipped,) = [o for o in done.json["runs"][0]["outcomes"] if o["status"] == "skipped"]
    assert "slow has another step_2.pt than was copied" in skipped["error"]


def test_a_copy_that_goes_meanwhile_stops_the_deletion(tmp_path: Path, ckptctl: Ckptctl) -> None:
    here = life(tmp_path, ckptctl, steps=3)
    here.copy([1, 2])
    done = here("undo", here.at("slow"))
    assert done.code == 0
    assert here("prune", here.at("slow"), "--keep-last", "1").code == 0
    assert here.prune().code == 0
    assert here.left == [1, 3]


def test_why_tells_what_is_missing_and_what_would_help(tmp_path: Path, ckptctl: Ckptctl) -> None:
    here = life(tmp_path, ckptctl, steps=3)
    here.copy([2])
    kept = here("why", "step_1", here.run)
    assert "0 of 1 proven copy on other tiers (slow has none)" in kept.stdout
    assert "let it be copied (ckptctl sync, or apply)" in kept.stdout
    assert here("why", "step_2", here.run).stdout.startswith("step_2 would be deleted")


def test_list_tells_the_copies_of_each(tmp_path: Path, ckptctl: Ckptctl) -> None:
    here = life(tmp_path, ckptctl, steps=2, urls={"cloud": f"{tmp_path}/not-mounted"})
    here.copy([1])
    done = here("list", here.run, "--json")
    assert done.code == 0
    first, second = done.json["runs"][0]["checkpoints"]
    (copy,) = first["copies"]
    assert (copy["tier"], copy["path"]) == ("slow", str(here.at("slow") / "step_1.pt"))
    assert copy["proven_at"]
    assert second["copies"] == []
    (problem,) = [p for p in done.json["runs"][0]["problems"] if p["code"] == "tier-unreachable"]
    assert "cloud" in problem["text"]
    there = here("list", here.at("slow"), "--json").json["runs"][0]["checkpoints"]
    assert [c["tier"] for c in there[0]["copies"]] == []


def test_copies_in_a_bucket(tmp_path: Path, ckptctl: Ckptctl, s3: Place) -> None:
    options = json.dumps(s3.options)
    here = life(
        tmp_path, ckptctl, urls={"slow": f"{{url: '{s3.url}', storage_options: {options}}}"}
    )
    for step in (1, 2, 3):
        s3.put(f"llm/step_{step}.pt", (here.run / f"step_{step}.pt").read_bytes())
    for place in ("@slow/llm", "@fast/llm"):
        assert here("verify", place, "--record").code == 0
    s3.put("llm/step_1.pt", OTHER)
    first = here("list", here.run, "--json").json["runs"][0]["checkpoints"]
    assert [[c["tier"] for c in each["copies"]] for each in first] == [
        [],
        ["slow"],
        ["slow"],
        [],
        [],
    ]
    done = here.prune("--verify-copies", "digest", "--json")
    assert (done.code, here.left) == (0, [1, 4, 5])
    assert "slow has another step_1.pt than was copied" in here.why(done)[1]


def test_a_run_in_a_bucket_needs_copies_on_a_disk_until_its_grace_is_over(
    tmp_path: Path, ckptctl: Ckptctl, s3: Place
) -> None:
    options = json.dumps(s3.options)
    url = f"{{url: '{s3.url}', storage_options: {options}}}"
    here = life(tmp_path, ckptctl, urls={"fast": url})
    for step in range(1, 6):
        s3.put(f"llm/step_{step}.pt", (here.run / f"step_{step}.pt").read_bytes())
    here.copy([1, 2, 3])
    assert here("verify", "@fast/llm", "--record").code == 0
    done = here("prune", "@fast/llm", "--grace", "0s", "--settle", "0s", "--json")
    assert done.code == 0, done.stderr
    assert set(here.why(done)) == {4, 5}
    s3.put("llm/step_1.pt", (here.run / "step_1.pt").read_bytes())
    s3.put("llm/step_2.pt", (here.run / "step_2.pt").read_bytes())
    assert here("verify", "@fast/llm", "--record").code == 0
    grace = here("prune", "@fast/llm", "--grace", "1d", "--settle", "0s")
    assert grace.code == 0, grace.stderr
    (here.at("slow") / "step_1.pt").unlink()
    purged = here("purge", "@fast/llm", "--all", "--json")
    assert purged.code == 5
    there = sorted(path for path, _ in s3.open().listing("llm").walk())
    assert there == ["step_1.pt", "step_4.pt", "step_5.pt"]


def test_status_tells_of_every_tier_what_is_still_to_be_copied(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    here = life(tmp_path, ckptctl, more="    grace: 1d\n")
    here.copy([1, 2, 3])
    (here.at("slow") / "step_3.pt").write_bytes(OTHER)
    assert here("verify", here.at("slow"), "--record").code == 0
    assert here.prune().code == 0  # 1 and 2 are in the trash now
    numbers = tmp_path / "ckptctl.prom"
    done = here("status", "--json", "--prometheus", numbers)
    assert done.code == 0
    fast, slow = done.json["runs"]
    assert (fast["tier"], slow["tier"]) == ("fast", "slow")
    size = (here.run / "step_4.pt").stat().st_size
    assert fast["copies"] == {
        "to": "slow",
        "required": 1,
        "backlog": {"checkpoints": 2, "bytes": 2 * size},
        "conflicts": 1,
        "proven": 0,
        "missing": 3,
        "unreachable": [],
    }
    assert slow["copies"] is None
    assert fast["next_purge_at"] > "2026"
    assert slow["next_purge_at"] is None
    text = numbers.read_text()
    labels = f'run="llm",location="{here.run}",to="slow"'
    for line in (
        f"ckptctl_copy_backlog{{{labels}}} 2",
        f"ckptctl_copy_backlog_bytes{{{labels}}} {2 * size}",
        f"ckptctl_copy_conflicts{{{labels}}} 1",
        f"ckptctl_copies_missing{{{labels}}} 3",
        "ckptctl_next_purge_timestamp_seconds{",
    ):
        assert line in text
    table = here("status").stdout
    assert "0 proven, 3 missing, 1 conflict" in table
    assert f"2 ({2 * size} B)" in table
    line = here("status", "--warn", "100w").stdout.splitlines()[0]
    named = line.partition(" | ")[2].split("'")[1::2]
    assert "llm on fast bytes" in named
    assert len(named) == len(set(named)) == 6
    (tmp_path / "slow").rename(tmp_path / "away")
    away = here("status", here.run, "--json")
    assert away.code == 0
    (run,) = away.json["runs"]
    assert run["copies"]["unreachable"] == ["slow"]
    assert run["copies"]["backlog"]["checkpoints"] == 0
    assert "unknown" in here("status", here.run).stdout


def test_parts_of_several_nodes_are_neither_deleted_nor_copied(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    fast = f"{{url: {tmp_path}/fast, per_node: true}}"
    here = life(tmp_path, ckptctl, urls={"fast": fast})
    for command in (("prune", here.run), ("sync", here.run, tmp_path / "slow/llm")):
        done = here(*command)
        assert done.code == 2
        assert "per_node" in done.stderr
    assert here.left == [1, 2, 3, 4, 5]


def test_status_tells_the_conflict_and_the_backlog_that_apply_meets(
    tmp_path: Path, ckptctl: Ckptctl, s3: Place
) -> None:
    """Apply goes by what is there now, whatever was noted, and copies nothing to delete it at once."""
    slow = f"{{url: '{s3.url}', storage_options: {json.dumps(s3.options)}}}"
    here = life(tmp_path, ckptctl, fast="keep: [{last: 5}], copy_to: slow", urls={"slow": slow})
    assert here("apply").code == 0  # the bucket keeps the last one
    idle = here("status", "--json").json["runs"][0]["copies"]
    assert (idle["backlog"]["checkpoints"], idle["conflicts"]) == (0, 0)
    s3.put("llm/step_5.pt", OTHER + b"and more")
    for where in ((), (here.run,)):
        found = here("status", *where, "--json").json["runs"][0]["copies"]
        assert (found["backlog"]["checkpoints"], found["conflicts"]) == (0, 1)
    for more in (("-n",), ()):
        done = here("apply", "--json", *more)
        assert done.code == 5
        assert [r["status"] for r in done.json["results"] if r["action"] == "copy"] == ["conflict"]
