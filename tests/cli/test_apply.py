"""`apply`: copies before deletions over every tier, whatever fails beside it."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

from ckptctl.formats._samples import torch_zip
from tests.program import Ckptctl
from tests.saved import save, steps_left, touch
from tests.servers import faulty
from tests.stores.places import Place
from tests.trees import make_tree

POLICY = """
runs: [{match: 'llm*', policy: p}, {match: 'deep/**', policy: p}]
policies:
  p:
    keep: [{last: 3}]
    tiers:
      fast: {keep: [{last: 2}], copy_to: slow}
      slow: {copy_to: cold, copy: [{every: 4}]}
      cold: {keep: [{every: 4}]}
"""


def tiers(
    root: Path, policy: str = POLICY, names: tuple[str, ...] = ("fast", "slow", "cold")
) -> str:
    """Make a directory for each tier, and a configuration."""
    lines = "".join(f"  {name}: {{url: {root}/{name}}}\n" for name in names)
    for name in names:
        (root / name).mkdir(exist_ok=True)
    file = root / "ckptctl.yaml"
    file.write_text(f"version: 1\ntiers:\n{lines}{policy}")
    return str(file)


def left(root: Path, run: str = "llm") -> dict[str, list[int]]:
    return {tier: steps_left(root / tier / run) for tier in ("fast", "slow", "cold")}


def test_a_run_goes_its_whole_way_in_one_call_and_none_in_the_next(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    config = tiers(tmp_path)
    save(tmp_path / "fast" / "llm", dict.fromkeys(range(1, 9)))
    save(tmp_path / "fast" / "deep" / "a", dict.fromkeys(range(1, 4)))
    save(tmp_path / "fast" / "else", dict.fromkeys(range(1, 4)))
    dry = ckptctl("apply", "-c", config, "-n", "--json")
    assert left(tmp_path) == {"fast": list(range(1, 9)), "slow": [], "cold": []}
    would = [r["checkpoint"] for r in dry.json["results"] if r["run"] == "llm"]
    assert would[:2] == ["step_8", "step_7"]
    of_llm = next(run for run in dry.json["runs"] if run["name"] == "llm")
    assert [d["verdict"] for d in of_llm["decisions"]].count("delete") == 6
    done = ckptctl("apply", "-c", config, "--json")
    assert (done.code, done.stderr) == (0, "")
    assert done.json["schema"] == "ckptctl/apply"
    assert done.json["unmatched"] == ["else"]
    assert left(tmp_path) == {"fast": [7, 8], "slow": [6, 7, 8], "cold": [4, 8]}
    assert left(tmp_path, "deep/a") == {"fast": [2, 3], "slow": [1, 2, 3], "cold": [3]}
    assert steps_left(tmp_path / "fast" / "else") == [1, 2, 3]
    again = ckptctl("apply", "-c", config, "--json")
    assert again.code == 0
    assert {r["status"] for r in again.json["results"]} == {"equal"}
    assert not any(run["outcomes"] for run in again.json["runs"])
    short = ckptctl("apply", "-c", config, "llm", "@slow/llm", tmp_path / "fast" / "llm", "-q")
    assert (short.code, short.stdout) == (0, "1 run, nothing to do\n")


def test_what_the_next_tier_would_delete_at_once_is_not_copied_there_for_ever(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    policy = "runs: [{match: '**', policy: p}]\npolicies:\n  p:\n    keep: [{last: 2}]\n    tiers: {fast: {keep: [{last: 4}], copy_to: slow}}\n"
    config = tiers(tmp_path, policy)
    save(tmp_path / "fast" / "llm", dict.fromkeys(range(1, 7)))
    done = ckptctl("apply", "-c", config, "--json")
    assert left(tmp_path) == {"fast": [3, 4, 5, 6], "slow": [5, 6], "cold": []}
    sent = {r["checkpoint"] for r in done.json["results"] if r["status"] == "done"}
    assert sent == {"step_1", "step_2", "step_5", "step_6"}  # 1 and 2 had to have a copy to go
    again = ckptctl("apply", "-c", config, "--json")
    assert {r["status"] for r in again.json["results"]} == {"equal"}


def test_what_is_copied_nowhere_is_recorded_and_what_is_broken_is_told(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    policy = "runs: [{match: '**', policy: p}]\npolicies:\n  p: {keep: [{last: 3}]}\n"
    config = tiers(tmp_path, policy)
    run = save(tmp_path / "fast" / "llm", dict.fromkeys(range(1, 5)))
    assert ckptctl("apply", "-c", config).code == 0
    assert steps_left(run) == [2, 3, 4]
    assert len(list((run.parent / ".ckptctl" / "llm" / "manifests").iterdir())) == 3
    file = run / "step_3.pt"
    before = file.stat().st_mtime_ns
    with file.open("r+b") as stream:
        stream.seek(40)
        stream.write(b"\xff\xff")
    os.utime(file, ns=(before, before))
    assert ckptctl("verify", run, "--level", "digest").code == 6


def test_a_torn_one_is_never_copied_up(tmp_path: Path, ckptctl: Ckptctl) -> None:
    config = tiers(tmp_path)
    run = save(tmp_path / "fast" / "llm", dict.fromkeys(range(1, 5)))
    for step in (3, 4):
        os.truncate(run / f"step_{step}.pt", 20)
    done = ckptctl("apply", "-c", config, "--json")
    assert done.code == 5
    assert left(tmp_path)["slow"] == [1, 2]
    assert left(tmp_path)["fast"] == [1, 2, 3, 4]
    failed = [r["checkpoint"] for r in done.json["results"] if r["status"] == "failed"]
    assert failed == ["step_3"]  # the other one is plainly not whole: nothing new


def test_what_a_copy_finds_to_be_damaged_is_no_copy_of_what_would_be_deleted(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    config = tiers(tmp_path)
    run = save(tmp_path / "fast" / "llm", dict.fromkeys(range(4, 7)))
    assert ckptctl("sync", run, tmp_path / "slow" / "llm", "--no-config").code == 0
    copy = tmp_path / "slow" / "llm" / "step_4.pt"
    before = copy.stat()
    content = bytearray(copy.read_bytes())
    content[-40] ^= 1
    copy.write_bytes(content)
    os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))
    done = ckptctl("apply", "-c", config, "--json")
    assert done.code == 5
    failed = [r["checkpoint"] for r in done.json["results"] if r["status"] == "failed"]
    assert failed == ["step_4"]
    assert left(tmp_path)["fast"] == [4, 5, 6]
    slow = ckptctl("list", tmp_path / "slow" / "llm", "--no-config", "--json").json["runs"][0]
    states = {one["step"]: one["state"] for one in slow["checkpoints"]}
    assert states == {4: "damaged", 5: "complete", 6: "complete"}


def test_one_run_that_fails_stops_no_other(tmp_path: Path, ckptctl: Ckptctl) -> None:
    config = tiers(tmp_path)
    save(tmp_path / "fast" / "llm-a", dict.fromkeys(range(1, 5)))
    save(tmp_path / "fast" / "llm-b", dict.fromkeys(range(1, 5)))
    (tmp_path / "slow" / "llm-a").write_text("in the way")
    done = ckptctl("apply", "-c", config, "--json")
    assert done.code == 5
    errors = {(run["name"], run["tier"]): run["error"] for run in done.json["runs"] if run["error"]}
    assert [key for key in errors if key[0] == "llm-b"] == []
    assert errors["llm-a", "fast"]["code"] == 7
    assert left(tmp_path, "llm-a")["fast"] == [1, 2, 3, 4]
    assert left(tmp_path, "llm-b") == {"fast": [3, 4], "slow": [2, 3, 4], "cold": [4]}
    alone = ckptctl("apply", "-c", config, "llm-a")
    assert alone.code == 2
    assert "slow/llm-a: is neither a directory nor a checkpoint" in alone.stderr


def test_what_is_left_undone_is_told_on_stderr_too(tmp_path: Path, ckptctl: Ckptctl) -> None:
    """Cron mails what is printed and asks for no exit code; where stdout goes to a file, nobody reads it."""
    config = tiers(tmp_path)
    save(tmp_path / "fast" / "llm", dict.fromkeys(range(1, 5)))
    save(tmp_path / "slow" / "llm", {4: None})
    (tmp_path / "slow" / "llm" / "step_4.pt").write_bytes(torch_zip({"data/1": b"another"}))
    done = ckptctl("apply", "-c", config, "-q")
    assert "conflict" in done.stdout
    assert (done.code, done.stderr) == (5, "ckptctl: not everything could be done: llm\n")


def test_a_tier_that_is_not_there_is_never_made(tmp_path: Path, ckptctl: Ckptctl) -> None:
    config = tiers(tmp_path)
    save(tmp_path / "fast" / "llm", dict.fromkeys(range(1, 5)))
    (tmp_path / "cold").rmdir()
    done = ckptctl("apply", "-c", config, "--json")
    assert done.code == 5
    assert [(t["name"], t["error"]["code"]) for t in done.json["tiers"]] == [("cold", 7)]
    assert not (tmp_path / "cold").exists()
    assert left(tmp_path) == {"fast": [3, 4], "slow": [2, 3, 4], "cold": []}
    (tmp_path / "slow").rename(tmp_path / "away")
    lost = ckptctl("apply", "-c", config)
    assert lost.code == 7
    assert left(tmp_path)["fast"] == [3, 4]


def test_a_lock_of_another_is_left_to_it(tmp_path: Path, ckptctl: Ckptctl) -> None:
    config = tiers(tmp_path)
    save(tmp_path / "fast" / "llm", dict.fromkeys(range(1, 5)))
    (tmp_path / "slow" / "llm").mkdir()
    places = [os.open(tmp_path / tier / "llm", os.O_RDONLY) for tier in ("fast", "slow")]
    for place in places:
        fcntl.flock(place, fcntl.LOCK_EX)
    quiet = ckptctl("apply", "-c", config, "-q")
    assert (quiet.code, quiet.stdout, quiet.stderr) == (3, "", "")
    save(tmp_path / "fast" / "llm-b", dict.fromkeys(range(1, 5)))
    both = ckptctl("apply", "-c", config, "--json", "-q")
    assert both.code == 5
    assert {run["error"]["code"] for run in both.json["runs"] if run["error"]} == {3}
    assert left(tmp_path)["fast"] == [1, 2, 3, 4]
    assert left(tmp_path, "llm-b")["slow"] == [2, 3, 4]
    both = ckptctl("apply", "-c", config, "-q")
    assert (both.code, "locked" in both.stdout, both.stderr) == (5, True, "")
    assert "not everything could be done: llm\n" in ckptctl("apply", "-c", config).stderr
    for place in places:
        os.close(place)
    assert ckptctl("apply", "-c", config, "-q").code == 0
    assert left(tmp_path)["slow"] == [2, 3, 4]


def test_the_last_tier_may_be_a_bucket(tmp_path: Path, ckptctl: Ckptctl, s3: Place) -> None:
    config = Path(tiers(tmp_path))
    url = f"{{url: '{s3.url}', storage_options: {json.dumps(s3.options)}}}"
    config.write_text(config.read_text().replace(f"{{url: {tmp_path}/cold}}", url))
    save(tmp_path / "fast" / "llm", dict.fromkeys(range(1, 9)))
    done = ckptctl("apply", "-c", config, "--json")
    assert done.code == 0, done.stdout
    there = {path for path, _ in s3.open().listing("llm").walk()}
    assert {path for path in there if path.endswith(".pt")} == {"step_4.pt", "step_8.pt"}
    assert left(tmp_path) == {"fast": [7, 8], "slow": [6, 7, 8], "cold": []}
    again = ckptctl("apply", "-c", config, "--json")
    assert again.code == 0
    assert {result["status"] for result in again.json["results"]} == {"equal"}
    assert not any(run["outcomes"] for run in again.json["runs"])


def test_more_runs_take_no_more_connections(tmp_path: Path, ckptctl: Ckptctl, s3: Place) -> None:
    config = Path(tiers(tmp_path))
    runs = [f"llm-{number}" for number in range(8)]
    for run in runs:
        save(tmp_path / "fast" / run, dict.fromkeys((4, 5, 8)))
    with faulty.before(s3.port) as proxy:
        options = json.dumps(s3.through(proxy).options)
        url = f"{{url: '{s3.url}', storage_options: {options}}}"
        config.write_text(config.read_text().replace(f"{{url: {tmp_path}/cold}}", url))
        assert ckptctl("apply", "-c", config, runs[0]).code == 0
        one = proxy.connections
        assert ckptctl("apply", "-c", config).code == 0
        assert proxy.connections - one < 2 * len(runs)  # threads share some as they come
    assert {path.split("/")[0] for path, _ in s3.open().listing().walk()} == set(runs)


def test_two_at_once_do_it_once(tmp_path: Path) -> None:
    config = tiers(tmp_path)
    save(tmp_path / "fast" / "llm", dict.fromkeys(range(1, 9)))
    call = [sys.executable, "-m", "ckptctl", "apply", "-c", config, "-q", "--lock-wait", "1m"]
    both = [subprocess.Popen(call, stdout=subprocess.PIPE) for _ in range(2)]
    for each in both:
        each.communicate(timeout=60)
    assert [each.returncode for each in both] == [0, 0]
    assert left(tmp_path) == {"fast": [7, 8], "slow": [6, 7, 8], "cold": [4, 8]}


def test_what_makes_no_sense_changes_nothing(tmp_path: Path, ckptctl: Ckptctl) -> None:
    config = tiers(tmp_path)
    save(tmp_path / "fast" / "llm", dict.fromkeys(range(1, 5)))
    for code, words, arguments in (
        (2, "config example", ["--no-config"]),
        (2, "lies on no tier", ["-c", config, tmp_path]),
        (2, "leads out", ["-c", config, "llm/../x"]),
        (2, "RUN is empty", ["-c", config, ""]),
        (2, "no such tier", ["-c", config, "@warm/llm"]),
        (2, "--bwlimit", ["-c", config, "--bwlimit", "0"]),
        (8, "no tier of", ["-c", config, "lmm"]),
    ):
        done = ckptctl("apply", *arguments)
        assert (done.code, words in done.stderr) == (code, True), (arguments, done.stderr)
    assert left(tmp_path)["fast"] == [1, 2, 3, 4]
    (tmp_path / "none.yaml").write_text("version: 1\npolicies: {p: {keep: [{last: 1}]}}\n")
    assert ckptctl("apply", "-c", tmp_path / "none.yaml").code == 2


def test_sigterm_ends_it_within_seconds_and_the_next_goes_on(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    config = tiers(tmp_path)
    run = save(tmp_path / "fast" / "llm", dict.fromkeys(range(1, 4)))
    big = run / "step_4.safetensors"
    head = b'{"x":{"dtype":"U8","shape":[4194304],"data_offsets":[0,4194304]}}'
    big.write_bytes(len(head).to_bytes(8, "little") + head + bytes(4 << 20))
    touch([big])
    words = ("SIGTERM", "write:step_4:1", "apply", "-c", config, "--bwlimit", "20kB", "--json")
    assert ckptctl(*words, module=("tests.faults.signalled",)).code == 143
    assert not (tmp_path / "slow" / "llm" / big.name).exists()
    assert big.exists()
    done = ckptctl("apply", "-c", config)
    assert done.code == 0, done.stderr
    assert (tmp_path / "slow" / "llm" / big.name).read_bytes() == big.read_bytes()


def test_a_conflict_says_what_command_ends_it_and_a_dry_run_says_the_same(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    root = tmp_path / "a b"
    root.mkdir()
    config = tiers(root)
    run = save(root / "fast" / "llm", dict.fromkeys((4, 5)))
    there = save(root / "slow" / "llm", dict.fromkeys((3, 5)))
    (there / "step_5.pt").write_bytes(torch_zip({"data/0": b"otherone", "data/1": b"and more"}))
    touch([there / "step_5.pt"])
    texts = []
    for more in (("-n",), ()):
        done = ckptctl("apply", "-c", config, "--json", *more)
        assert done.code == 5
        texts += [r["error"] for r in done.json["results"] if r["status"] == "conflict"]
    assert len(texts) == 2
    assert texts[0] == texts[1]
    command = shlex.split(texts[1].split("`")[1])
    assert (command[0], command[-1]) == ("ckptctl", "--overwrite")
    assert ckptctl(*command[1:-1], "-n").code == 5
    planned = ckptctl(*command[1:], "-n", "--json")
    assert (planned.code, planned.json["results"][0]["status"]) == (0, "planned")
    assert ckptctl(*command[1:]).code == 0
    assert (there / "step_5.pt").read_bytes() == (run / "step_5.pt").read_bytes()
    assert ckptctl("apply", "-c", config).code == 0


def test_what_was_only_recorded_elsewhere_makes_a_refusal_a_part(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    policy = (
        "runs: [{match: '**', policy: p}]\npolicies:\n  p:\n    keep: [{last: 1}]\n"
        "    tiers:\n      fast: {keep: [{last: 9}], copy_to: slow}\n"
        "      slow: {limits: {max_delete: 1}}\n"
    )
    config = tiers(tmp_path, policy)
    run = save(tmp_path / "fast" / "llm", {6: None})
    save(tmp_path / "slow" / "llm", dict.fromkeys(range(1, 6)))
    assert ckptctl("apply", "-c", config).code == 5
    assert ckptctl("apply", "-c", config).code == 4
    assert ckptctl("annotate", "step_6", "--tag", "good", "--in", run, "--no-config").code == 0
    assert ckptctl("apply", "-c", config).code == 5  # the tag went along
    assert ckptctl("apply", "-c", config).code == 4
    save(tmp_path / "cold" / "llm", {6: None})
    assert ckptctl("apply", "-c", config).code == 5  # its digest was recorded
    assert ckptctl("apply", "-c", config).code == 4
    assert left(tmp_path)["slow"] == [1, 2, 3, 4, 5, 6]


def test_a_dry_run_goes_the_whole_way_too(tmp_path: Path, ckptctl: Ckptctl) -> None:
    """What is copied to one tier goes on to the next in the same call, and may meet another there."""
    config = tiers(tmp_path)
    save(tmp_path / "fast" / "llm", dict.fromkeys((4, 5, 8)))
    other = torch_zip({"data/0": b"otherone", "data/1": b"and more"})
    make_tree(tmp_path / "cold" / "llm", {"step_4.pt": other}, age=3600)
    dry = ckptctl("apply", "-c", config, "-n", "--json")
    done = ckptctl("apply", "-c", config, "--json")
    assert (dry.code, done.code) == (5, 5)
    said, did = (
        {(r["tier"], r["to"], r["checkpoint"]): r["status"] for r in call.json["results"]}
        for call in (dry, done)
    )
    assert said == {key: status.replace("done", "planned") for key, status in did.items()}
    assert said["slow", "cold", "step_4"] == "conflict"
    assert said["slow", "cold", "step_8"] == "planned"
    assert ckptctl("apply", "-c", config, "-n").code == 5


def test_no_bucket_holds_up_the_copies_between_disks(
    tmp_path: Path, ckptctl: Ckptctl, s3: Place
) -> None:
    config = Path(tiers(tmp_path))
    runs = ("llm-a", "llm-b")
    for run in runs:
        save(tmp_path / "fast" / run, dict.fromkeys((4, 5, 8)))
    seen: list[tuple[list[int], ...]] = []

    def refused(request: faulty.Request, forward: faulty.Forward) -> faulty.Answer:
        seen.append(tuple(left(tmp_path, run)["slow"] for run in runs))
        return faulty.s3_error(403, "AccessDenied")(request, forward)

    with faulty.before(s3.port) as proxy:
        options = json.dumps(s3.through(proxy).options)
        url = f"{{url: '{s3.url}', storage_options: {options}}}"
        config.write_text(config.read_text().replace(f"{{url: {tmp_path}/cold}}", url))
        proxy.rules.append(faulty.Rule(fits="^PUT", act=refused))
        done = ckptctl("apply", "-c", config, "--json")
    assert done.code == 5
    assert seen[0] == ([4, 5, 8], [4, 5, 8])
    sent = [
        r["checkpoint"] for r in done.json["results"] if (r["to"], r["status"]) == ("slow", "done")
    ]
    assert sorted(sent) == ["step_4", "step_4", "step_5", "step_5", "step_8", "step_8"]


def test_tiers_that_are_one_directory_are_refused(tmp_path: Path, ckptctl: Ckptctl) -> None:
    config = tiers(tmp_path)
    save(tmp_path / "fast" / "llm", dict.fromkeys(range(1, 9)))
    (tmp_path / "slow").rmdir()
    (tmp_path / "slow").symlink_to("fast")
    done = ckptctl("apply", "-c", config, "--json")
    assert (done.code, done.json["code"]) == (2, 2)
    assert "fast and slow are the same directory" in done.json["message"]
    assert left(tmp_path)["fast"] == list(range(1, 9))


def test_a_run_that_is_a_link_to_itself_on_the_next_tier_is_no_copy(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    config = tiers(tmp_path)
    save(tmp_path / "fast" / "llm", dict.fromkeys(range(1, 9)))
    (tmp_path / "slow" / "llm").symlink_to(tmp_path / "fast" / "llm")
    done = ckptctl("apply", "-c", config, "--json")
    assert (done.code, done.json["results"]) == (2, [])
    assert "is the same directory as" in done.json["message"]
    assert left(tmp_path)["fast"] == list(range(1, 9))


def test_what_lies_on_a_tier_inside_another_one_is_copied_from_there_alone(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    save(tmp_path / "all" / "fast" / "llm", dict.fromkeys(range(1, 4)))
    (tmp_path / "slow").mkdir()
    file = tmp_path / "ckptctl.yaml"
    file.write_text(
        f"version: 1\ntiers: {{fast: {{url: {tmp_path}/all/fast}}, slow: {{url: {tmp_path}/slow}},"
        f" all: {{url: {tmp_path}/all}}}}\nruns: [{{match: '**', policy: p}}]\n"
        "policies: {p: {keep: [{last: 9}], tiers: {fast: {copy_to: slow}}}}\n"
    )
    done = ckptctl("apply", "-c", str(file), "--json")
    assert done.code == 0, done.stdout
    assert steps_left(tmp_path / "slow" / "llm") == [1, 2, 3]
    assert not (tmp_path / "slow" / "fast").exists()


def test_a_tier_that_is_a_run_of_the_tier_that_is_copied_to_it_is_refused(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    save(tmp_path / "fast" / "llm", dict.fromkeys(range(1, 9)))
    file = tmp_path / "ckptctl.yaml"
    for inner in ("llm", "llm/deeper"):
        (tmp_path / "fast" / inner).mkdir(exist_ok=True)
        file.write_text(
            f"version: 1\ntiers: {{fast: {{url: {tmp_path}/fast}}, slow: {{url: {tmp_path}/fast/{inner}}}}}\n"
            "runs: [{match: '**', policy: p}]\npolicies:\n  p:\n    keep: [{last: 100}]\n"
            "    tiers: {fast: {copy_to: slow}, slow: {keep: [{last: 1}]}}\n"
        )
        done = ckptctl("apply", "-c", str(file))
        assert (done.code, "a run of the tier fast" in done.stderr) == (2, True), inner
        assert steps_left(tmp_path / "fast" / "llm") == list(range(1, 9))
