"""`ckptctl verify`: what it proves, what it notes, and what the other commands make of that."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import blake3
import pytest

from ckptctl.formats._samples import dcp_metadata, safetensors, shard_index, torch_zip
from tests.layouts import like
from tests.program import Ckptctl, Done
from tests.saved import save, steps_left, touch
from tests.trees import make_tree, read_tree, set_age


def flip(path: Path, at: int = -1) -> None:
    """Change one bit of a file as a medium does: its times stay."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at < 0 else at] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def statuses(done: Done) -> dict[str, str]:
    return {each["name"]: each["status"] for each in done.json["results"]}


def codes(done: Done) -> dict[str, list[str]]:
    found = done.json["results"]
    return {r["name"]: [f["code"] for f in r["findings"]] for r in found if r["findings"]}


def states(ckptctl: Ckptctl, run: Path) -> dict[str, str]:
    found = ckptctl("list", run, "--json").json["runs"][0]["checkpoints"]
    return {each["name"]: each["state"] for each in found}


def read(done: Done) -> int:
    return sum(each["bytes_read"] for each in done.json["results"])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return save(tmp_path / "run", {1: 3.0, 2: 2.0, 3: 1.0})


def test_what_is_whole_is_ok_and_nothing_is_written(run: Path, ckptctl: Ckptctl) -> None:
    before = read_tree(run.parent)
    for level in ("names", "structure"):
        done = ckptctl("verify", run, "--level", level, "--json")
        assert (done.code, set(statuses(done).values())) == (0, {"ok"})
    done = ckptctl("verify", run, "--level", "digest", "--json")
    assert (done.code, set(statuses(done).values())) == (0, {"unrecorded"})
    assert read_tree(run.parent) == before


def test_the_json_has_the_keys_of_the_contract(run: Path, ckptctl: Ckptctl) -> None:
    done = ckptctl("verify", run, "--level", "digest", "--json")
    assert {k: done.json[k] for k in ("schema", "version", "level")} == {
        "schema": "ckptctl/verify", "version": 1, "level": "digest",
    }  # fmt: skip
    first = done.json["results"][0]
    assert first == {
        "run": "run",
        "name": "step_1",
        "path": str(run / "step_1.pt"),
        "status": "unrecorded",
        "files_checked": 2,
        "bytes_read": sum((run / name).stat().st_size for name in ("step_1.pt", "step_1.json")),
        "findings": [],
    }


def test_a_flipped_bit_is_found_after_it_was_recorded(run: Path, ckptctl: Ckptctl) -> None:
    assert ckptctl("verify", run, "--record").code == 0
    done = ckptctl("verify", run, "--level", "digest", "--json")
    assert (done.code, set(statuses(done).values())) == (0, {"ok"})
    flip(run / "step_3.pt", 60)
    assert ckptctl("verify", run).code == 0  # nothing at structure level can see it
    done = ckptctl("verify", run, "--level", "digest", "--json")
    assert done.code == 6
    assert statuses(done) == {"step_1": "ok", "step_2": "ok", "step_3": "damaged"}
    (finding,) = done.json["results"][2]["findings"]
    assert (finding["file"], finding["code"]) == ("step_3.pt", "digest")


def test_damage_is_remembered_and_a_good_result_clears_it(run: Path, ckptctl: Ckptctl) -> None:
    ckptctl("verify", run, "--record")
    flip(run / "step_3.pt", 60)
    ckptctl("verify", run, "--level", "digest")
    assert states(ckptctl, run)["step_3"] == "damaged"
    # A level that cannot see the damage does not clear it.
    done = ckptctl("verify", run, "--json")
    assert (done.code, statuses(done)["step_3"]) == (6, "damaged")
    assert ckptctl("verify", run, "--record").code == 6
    flip(run / "step_3.pt", 60)
    done = ckptctl("verify", run, "--level", "digest", "--json")
    assert (done.code, statuses(done)["step_3"]) == (0, "ok")
    assert states(ckptctl, run)["step_3"] == "complete"


@pytest.mark.parametrize("how", ["gone", "smaller"])
def test_prune_does_not_rest_on_what_lost_something_that_was_recorded(
    how: str, tmp_path: Path, ckptctl: Ckptctl
) -> None:
    """Nothing but the manifest knows of it: the framework needs no such file."""
    root = tmp_path / "run"
    for step in (1, 2, 3):
        tree = {f"step_{step}/{name}": torch_zip() for name in ("model.pt", "extra.bin")}
        make_tree(root, tree, age=7200 * (4 - step))
    assert ckptctl("verify", root, "--record").code == 0
    extra = root / "step_3" / "extra.bin"
    if how == "gone":
        extra.unlink()
    else:
        extra.write_bytes(torch_zip({"0": b"x"}))
        set_age(extra, 7200)
    set_age(root / "step_3", 7200)
    assert ckptctl("verify", root).code == 6
    plan = ckptctl("prune", root, "--keep-last", "1", "-n", "--plan-out", tmp_path / "p").stdout
    assert "was recorded" in plan
    assert ckptctl("prune", root, "--keep-last", "1").code == 0
    assert sorted(path.name for path in root.iterdir()) == ["step_2", "step_3"]


def test_prune_keeps_what_is_damaged_and_does_not_count_it(run: Path, ckptctl: Ckptctl) -> None:
    ckptctl("verify", run, "--record")
    flip(run / "step_3.pt", 60)
    ckptctl("verify", run, "--level", "digest")
    assert ckptctl("prune", run, "--keep-last", "1").code == 0
    assert steps_left(run) == [2, 3]


def test_damage_is_of_those_files_only(run: Path, ckptctl: Ckptctl) -> None:
    ckptctl("verify", run, "--record")
    flip(run / "step_3.pt", 60)
    ckptctl("verify", run, "--level", "digest")
    (run / "step_3.pt").write_bytes(torch_zip({"data/1": b"anew"}))
    set_age(run / "step_3.pt", 7200)
    assert states(ckptctl, run)["step_3"] == "complete"


def test_what_is_saved_anew_is_no_damage(run: Path, ckptctl: Ckptctl) -> None:
    ckptctl("verify", run, "--record")
    (run / "step_3.pt").write_bytes(torch_zip({"data/1": b"anew"}))
    done = ckptctl("verify", run, "--level", "digest", "--json")
    assert (done.code, statuses(done)["step_3"]) == (0, "unrecorded")
    assert codes(done) == {"step_3": ["stale-record"]}
    done = ckptctl("verify", run, "--record", "--json")
    assert (done.code, statuses(done)["step_3"]) == (0, "ok")
    done = ckptctl("verify", run, "--level", "digest", "--json")
    assert (done.code, codes(done)) == (0, {})


@pytest.mark.parametrize("level", ["names", "structure", "digest"])
def test_a_member_that_was_recorded_must_be_there(
    level: str, tmp_path: Path, ckptctl: Ckptctl
) -> None:
    tree = {"step_5/model.safetensors": safetensors(), "step_5/extra.safetensors": safetensors("b")}
    run = make_tree(tmp_path / "run", tree, age=7200)
    assert ckptctl("verify", run, "--record").code == 0
    (run / "step_5/extra.safetensors").unlink()
    done = ckptctl("verify", run, "--level", level, "--json")
    assert (done.code, statuses(done)) == (6, {"step_5": "incomplete"})
    assert codes(done) == {"step_5": ["missing"]}


def sharded(root: Path) -> Path:
    """Write two shards of one size and their index."""
    shards = {
        f"model-0000{n}-of-00002.safetensors": safetensors(name) for n, name in ((1, "a"), (2, "b"))
    }
    index = shard_index({name: ["ab"[i]] for i, name in enumerate(shards)})
    tree = {f"step_5/{name}": content for name, content in shards.items()}
    return make_tree(root, {**tree, "step_5/model.safetensors.index.json": index}, age=7200)


def test_two_shards_that_were_swapped_are_found(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = sharded(tmp_path / "run")
    one, two = sorted((run / "step_5").glob("*.safetensors"))
    os.utime(two, ns=(0, one.stat().st_mtime_ns + 5_000_000_000))
    assert ckptctl("verify", run, "--record").code == 0
    spare = run / "spare"
    one.rename(spare)
    two.rename(one)
    spare.rename(two)
    done = ckptctl("verify", run, "--level", "digest", "--json")
    assert (done.code, statuses(done)) == (6, {"step_5": "damaged"})
    assert codes(done) == {"step_5": ["digest", "digest"]}
    assert ckptctl("verify", run, "--record").code == 6  # and --record does not make it the truth
    assert ckptctl("verify", run, "--level", "digest").code == 6


def test_one_file_that_was_overwritten_is_no_new_save(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = sharded(tmp_path / "run")
    ckptctl("verify", run, "--record")
    (run / "step_5/model-00001-of-00002.safetensors").write_bytes(safetensors("x"))
    done = ckptctl("verify", run, "--level", "digest", "--json", "--settle", "0s")
    assert (done.code, statuses(done)) == (6, {"step_5": "damaged"})


def test_a_truncated_member_is_damage_that_list_shows(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = sharded(tmp_path / "run")
    shard = run / "step_5/model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    set_age(run, 7200)
    assert states(ckptctl, run) == {"step_5": "complete"}  # list opens no shard
    done = ckptctl("verify", run, "--json")
    assert (done.code, statuses(done)) == (6, {"step_5": "damaged"})
    assert states(ckptctl, run) == {"step_5": "damaged"}


def test_what_was_never_whole_is_incomplete(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", {1: None, 2: None})
    torn = run / "step_2.pt"
    torn.write_bytes(torn.read_bytes()[:-30])
    set_age(torn, 3600)
    done = ckptctl("verify", run, "--json")
    assert (done.code, statuses(done)) == (6, {"step_1": "ok", "step_2": "incomplete"})
    touch([torn])
    done = ckptctl("verify", run, "--json")
    assert (done.code, statuses(done)) == (0, {"step_1": "ok", "step_2": "saving"})


def test_sidecars_and_the_trainers_own_copies_may_change(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", {1: 3.0})
    make_tree(run, {"last.pt": torch_zip()}, age=3600)
    ckptctl("verify", run, "--record")
    make_tree(run, {"last.pt": torch_zip({"data/1": b"later"}), "step_1.json": '{"val_ppl": 9}'})
    done = ckptctl("verify", run, "--level", "digest", "--json", "--settle", "0s")
    assert done.code == 0, done.stdout
    assert statuses(done)["step_1"] == "ok"
    assert codes(done)["step_1"] == ["re-recorded"]
    done = ckptctl("verify", run, "--level", "digest", "--json", "--settle", "0s")
    assert "step_1" not in codes(done)  # it was recorded anew
    flip(run / "step_1.json")
    done = ckptctl("verify", run, "--level", "digest", "--json")
    assert (done.code, codes(done)["step_1"]) == (6, ["digest"])  # rot is rot in a sidecar too


def test_record_reads_only_what_has_no_digest_yet(run: Path, ckptctl: Ckptctl) -> None:
    first = ckptctl("verify", run, "--record", "--json")
    assert read(first) == sum(path.stat().st_size for path in run.iterdir())
    assert read(ckptctl("verify", run, "--record", "--json")) == 0
    touch([run / "step_2.pt"])
    again = ckptctl("verify", run, "--record", "--json", "--settle", "0s")
    assert read(again) == (run / "step_2.pt").stat().st_size
    every = ckptctl("verify", run, "--record", "--reread", "--json", "--settle", "0s")
    assert read(every) == read(first)


def test_a_manifest_is_as_the_contract_says(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = sharded(tmp_path / "run")
    (run / "step_5/link").symlink_to("model-00001-of-00002.safetensors")
    os.link(run / "step_5/model-00001-of-00002.safetensors", run / "step_5/twin.safetensors")
    make_tree(run, {"step_5.json": '{"step": 5, "loss": NaN, "acc": 0.5, "tags": ["a"]}'})
    set_age(run, 7200)
    ckptctl("verify", run, "--record")
    (file,) = (tmp_path / ".ckptctl/run/manifests").iterdir()
    said = json.loads(file.read_text())
    assert {k: said[k] for k in ("schema", "version", "name", "path", "step", "algorithm")} == {
        "schema": "ckptctl/manifest", "version": 1, "name": "step_5", "path": "step_5", "step": 5,
        "algorithm": "blake3",
    }  # fmt: skip
    assert said["metrics"] == {"loss": "nan", "acc": 0.5}
    assert said["tags"] == ["a"]
    files = {each["path"]: each for each in said["files"]}
    assert files["step_5/link"]["link"] == "model-00001-of-00002.safetensors"
    assert files["step_5/link"]["digest"] is None
    twin = files["step_5/twin.safetensors"]
    assert twin["hardlink"] == "step_5/model-00001-of-00002.safetensors"
    assert [each["path"] for each in said["dirs"]] == ["step_5"]
    for path, each in files.items():
        if each["link"] is None:
            assert each["digest"] == blake3.blake3((run / path).read_bytes()).hexdigest()
            assert each["bytes"] == (run / path).stat().st_size


def test_what_a_lost_sidecar_said_is_still_known(run: Path, ckptctl: Ckptctl) -> None:
    ckptctl("verify", run, "--record")
    (run / "step_3.json").unlink()
    found = ckptctl("list", run, "--json").json["runs"][0]["checkpoints"]
    assert found[2]["metrics"] == {"val_ppl": 1.0}
    (run / "step_3.pt").write_bytes(torch_zip({"data/1": b"anew"}))
    found = ckptctl("list", run, "--json").json["runs"][0]["checkpoints"]
    assert found[2]["metrics"] == {}


def test_a_manifest_that_cannot_be_understood_keeps(run: Path, ckptctl: Ckptctl) -> None:
    ckptctl("verify", run, "--record")
    for file in (run.parent / ".ckptctl/run/manifests").iterdir():
        file.write_text("[" * 100_000)
    assert ckptctl("prune", run, "--keep-last", "1").code == 0
    assert steps_left(run) == [1, 2, 3]
    done = ckptctl("verify", run, "--level", "digest", "--json")
    assert (done.code, set(statuses(done).values())) == (0, {"unrecorded"})
    assert codes(done)["step_1"] == ["manifest-unreadable"]


def test_a_sample_does_not_call_sound_what_is_known_to_be_damaged(
    run: Path, ckptctl: Ckptctl
) -> None:
    ckptctl("verify", run, "--record")
    flip(run / "step_3.pt", 60)
    assert ckptctl("verify", run, "--level", "digest").code == 6
    flip(run / "step_3.pt", 60)  # whether it is read or not, a part says nothing of the whole
    done = ckptctl("verify", run, "--level", "digest", "--sample", "1%", "--json")
    assert (done.code, statuses(done)["step_3"]) == (6, "damaged")
    assert codes(done) == {"step_3": ["recorded-damage"]}
    assert ckptctl("verify", run, "--level", "digest").code == 0


def test_a_damage_that_is_remembered_names_its_file(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = make_tree(tmp_path / "run", like("hf-trainer", "checkpoint-500"), age=7200)
    ckptctl("verify", run, "--record")
    flip(run / "checkpoint-500" / "optimizer.pt", 60)
    assert ckptctl("verify", run, "--level", "digest").code == 6
    done = ckptctl("verify", run, "--level", "names", "--json")
    (finding,) = done.json["results"][0]["findings"]
    assert (done.code, finding["code"]) == (6, "recorded-damage")
    assert finding["file"] == "checkpoint-500/optimizer.pt"
    assert "optimizer.pt" not in finding["text"]  # once is enough


def test_a_sample_reads_a_part_and_clears_nothing(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = save(tmp_path / "run", dict.fromkeys(range(1, 41)))
    ckptctl("verify", run, "--record")
    size = (run / "step_1.pt").stat().st_size
    done = ckptctl("verify", run, "--level", "digest", "--sample", "10%", "--json")
    assert (done.code, read(done)) == (0, 4 * size)
    flip(run / "step_7.pt", 60)
    ckptctl("verify", run, "--level", "digest")
    flip(run / "step_7.pt", 60)
    done = ckptctl("verify", run, "--level", "digest", "--sample", "100%")
    assert states(ckptctl, run)["step_7"] == "damaged"
    assert ckptctl("verify", run, "--level", "digest").code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("--sample", "10"),
        ("--sample", "0%"),
        ("--sample", "nan%"),
        ("--sample", "5%", "--level", "structure"),
        ("--sample", "5%", "--level", "digest", "--record"),
        ("--reread",),
        ("--level", "bytes"),
        ("--newer-than", "soon"),
        ("--json", "-o", "xml"),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: tuple[str, ...], run: Path, ckptctl: Ckptctl
) -> None:
    assert ckptctl("verify", run, *arguments).code == 2


def test_it_compares_with_a_copy_elsewhere(run: Path, ckptctl: Ckptctl) -> None:
    copy = run.parent / "copy"
    shutil.copytree(run, copy)
    done = ckptctl("verify", run, "--against", copy, "--level", "digest", "--json")
    assert (done.code, set(statuses(done).values())) == (0, {"ok"})
    flip(copy / "step_1.pt", 60)
    assert ckptctl("verify", run, "--against", copy).code == 0
    done = ckptctl("verify", run, "--against", copy, "--level", "digest", "--json")
    assert (done.code, codes(done)) == (6, {"step_1": ["differs"]})
    assert states(ckptctl, run)["step_1"] == "complete"  # which of both is sound nobody knows
    (copy / "step_2.pt").unlink()
    (copy / "step_3.pt").write_bytes(torch_zip({"data/1": b"longer"}))
    set_age(copy / "step_3.pt", 7200)
    done = ckptctl("verify", run, "--against", copy, "--json")
    assert done.code == 6
    assert codes(done) == {"step_2": ["absent"], "step_3": ["differs"]}
    assert ckptctl("verify", run, "--against", run.parent / "nowhere").code == 7


def test_only_what_is_asked_for(run: Path, ckptctl: Ckptctl) -> None:
    done = ckptctl("verify", run, "--name", "step_2", "--name", "step_3.pt", "--json")
    assert (done.code, list(statuses(done))) == (0, ["step_2", "step_3"])
    assert ckptctl("verify", run, "--name", "step_9").code == 8
    done = ckptctl("verify", run, "--newer-than", "11.5h", "--json")
    assert list(statuses(done)) == ["step_2", "step_3"]
    done = ckptctl("verify", run / "step_2.pt", "--json")
    assert list(statuses(done)) == ["step_2"]


def test_several_locations_and_what_is_not_there(run: Path, ckptctl: Ckptctl) -> None:
    other = save(run.parent / "other", {7: None})
    done = ckptctl("verify", run, other, "--json")
    assert (done.code, len(done.json["results"])) == (0, 4)
    assert ckptctl("verify", run.parent / "nowhere").code == 7
    done = ckptctl("verify", run, run.parent / "nowhere", "--json")
    assert (done.code, len(done.json["results"])) == (5, 3)
    (run.parent / "empty").mkdir()
    assert ckptctl("verify", run.parent / "empty").code == 0


@pytest.mark.parametrize("output", ["jsonl", "csv", "paths", "table"])
def test_other_forms_of_output(output: str, run: Path, ckptctl: Ckptctl) -> None:
    (run / "step_3.pt").write_bytes(torch_zip()[:-20])
    set_age(run / "step_3.pt", 3600)
    done = ckptctl("verify", run, "-o", output)
    assert done.code == 6
    if output == "paths":
        assert done.stdout == f"{run}/step_3.pt\n"
    else:
        assert "incomplete" in done.stdout


def test_an_unwritable_state_does_not_hide_damage(run: Path, ckptctl: Ckptctl) -> None:
    shard = run / "step_1.pt"
    shard.write_bytes(shard.read_bytes()[:-30])
    set_age(shard, 12 * 3600)
    done = ckptctl("verify", run, "--state-dir", "/proc/nothing", "--json")
    assert (done.code, statuses(done)["step_1"]) == (6, "damaged")
    problems = [p["code"] for r in done.json["runs"] for p in r["problems"]]
    assert problems == ["state-unwritable"]
    assert (
        ckptctl("verify", run, "--name", "step_2", "--record", "--state-dir", "/proc/no").code == 7
    )


def megatron(root: Path, **digests: str) -> Path:
    data = torch_zip()
    tree: Mapping[str, bytes | str] = {
        ".metadata": dcp_metadata({"__0_0.distcp": len(data)}),
        "__0_0.distcp": data,
        "common.pt": torch_zip(),
        "metadata.json": '{"sharded_backend": "torch_dist", "sharded_backend_version": 1}',
    }
    said = {name: hashlib.sha256(_bytes(content)).hexdigest() for name, content in tree.items()}
    integrity = json.dumps({"algorithm": "sha256", "files": said | digests})
    tree = {f"iter_0001000/{name}": content for name, content in tree.items()}
    return make_tree(root, {**tree, "iter_0001000/integrity.json": integrity}, age=7200)


def _bytes(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content


def test_megatrons_own_digests_are_used(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = megatron(tmp_path / "run")
    done = ckptctl("verify", run, "--level", "digest", "--json")
    assert (done.code, statuses(done)) == (0, {"iter_0001000": "ok"})
    flip(run / "iter_0001000/__0_0.distcp")
    done = ckptctl("verify", run, "--level", "digest", "--json")
    assert (done.code, statuses(done)) == (6, {"iter_0001000": "damaged"})
    run = megatron(tmp_path / "lost", **{"__9_0.distcp": "0" * 64})
    done = ckptctl("verify", run, "--json")
    assert (done.code, statuses(done)) == (6, {"iter_0001000": "incomplete"})


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_one_goes_on_where_it_stopped(
    end: signal.Signals, tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    size = 18 << 20  # so that each is noted at once
    for step in range(1, 6):
        with (run / f"step_{step}.bin").open("wb") as file:
            file.truncate(size)  # a hole: read, but nowhere on the disk
    set_age(run, 7200)
    state = tmp_path / ".ckptctl/run"
    words = (end.name, "write:verifying.jsonl:2", "verify", run, "--record", "-j", "1")
    assert ckptctl(*words, module=("tests.faults.signalled",)).code in {128 + end, -end}
    noted = len((state / "verifying.jsonl").read_text().splitlines()) - 1
    assert noted > 0
    done = ckptctl("verify", run, "--record", "--json")
    assert (done.code, set(statuses(done).values())) == (0, {"ok"})
    assert 0 < read(done) <= (5 - noted) * size
    assert not (state / "verifying.jsonl").exists()
    assert ckptctl("verify", run, "--record", "--json").json["results"][0]["bytes_read"] == 0


def test_a_timeout_is_partial_and_can_be_gone_on_with(run: Path, ckptctl: Ckptctl) -> None:
    done = ckptctl("verify", run, "--level", "digest", "--timeout", "0s", "--json")
    assert done.code == 5
    assert re.search("--timeout", done.json["message"])


def test_what_is_torn_is_told_once(run: Path, ckptctl: Ckptctl) -> None:
    """The newest is looked into when it is listed already."""
    (run / "step_3.pt").write_bytes(torch_zip()[:-20])
    set_age(run / "step_3.pt", 3600)
    assert codes(ckptctl("verify", run, "--json")) == {"step_3": ["torn"]}


def test_a_timeout_holds_at_every_level(run: Path, ckptctl: Ckptctl) -> None:
    for level in ("names", "structure"):
        done = ckptctl("verify", run, "--level", level, "--timeout", "0s", "--json")
        assert (done.code, done.json["results"]) == (5, [])
        assert "0 of 3 checkpoints were verified" in done.json["message"]
    assert ckptctl("verify", run, "--timeout", "1h").code == 0


def test_the_rank_of_a_digest_is_not_hidden_by_jobs(run: Path, ckptctl: Ckptctl) -> None:
    ckptctl("verify", run, "--record", "-j", "8")
    flip(run / "step_2.pt", 60)
    done = ckptctl("verify", run, "--level", "digest", "-j", "8", "--json")
    assert statuses(done) == {"step_1": "ok", "step_2": "damaged", "step_3": "ok"}


def test_a_checksum_that_does_not_fit_is_only_a_warning(run: Path, ckptctl: Ckptctl) -> None:
    content = bytearray((run / "step_2.pt").read_bytes())
    content[content.index(b"data/0") + 6 + 2] ^= 1  # within the eight bytes of the record
    (run / "step_2.pt").write_bytes(content)
    set_age(run / "step_2.pt", 11 * 3600)
    done = ckptctl("verify", run, "--level", "digest", "--json")
    assert (done.code, codes(done)) == (0, {"step_2": ["crc"]})
    ckptctl("verify", run, "--record")
    done = ckptctl("verify", run, "--level", "digest", "--json")
    assert (done.code, codes(done), set(statuses(done).values())) == (0, {}, {"ok"})


def test_the_digest_in_the_name_of_what_mmengine_published_is_used(
    tmp_path: Path, ckptctl: Ckptctl
) -> None:
    content = b"not a ZIP, so the digest in the name is of the file itself"
    name = f"epoch_12-{hashlib.sha256(content).hexdigest()[:8]}"
    tree: Mapping[str, bytes | str] = {
        "epoch_11.pth": torch_zip(),
        f"{name}.pth": content,
        "last_checkpoint": "epoch_11.pth",
    }
    run = make_tree(tmp_path / "run", tree, age=7200)
    done = ckptctl("verify", run, "--level", "digest", "--json")
    assert (done.code, statuses(done)[name]) == (0, "ok")
    flip(run / f"{name}.pth")
    done = ckptctl("verify", run, "--level", "digest", "--json")
    assert (done.code, statuses(done)[name]) == (6, "damaged")


def test_record_replaces_no_manifest_that_it_cannot_read(run: Path, ckptctl: Ckptctl) -> None:
    ckptctl("verify", run, "--record")
    manifests = run.parent / ".ckptctl/run/manifests"
    newer = {
        file: file.read_text().replace('"version": 1', '"version": 2')
        for file in manifests.iterdir()
    }
    for file, text in newer.items():
        file.write_text(text)
    done = ckptctl("verify", run, "--record")
    assert done.code == 7
    assert "--reread" in done.stderr
    assert {file: file.read_text() for file in manifests.iterdir()} == newer
    done = ckptctl("verify", run, "--record", "--reread", "--json")
    assert (done.code, set(statuses(done).values())) == (0, {"ok"})
    assert ckptctl("verify", run, "--level", "digest").code == 0


def test_a_file_that_came_later_is_named(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = sharded(tmp_path / "run")
    ckptctl("verify", run, "--record")
    make_tree(run, {"step_5/added.bin": b"x"})
    set_age(run / "step_5/added.bin", 7200)
    done = ckptctl("verify", run, "--level", "digest", "--json")
    assert (done.code, statuses(done)) == (0, {"step_5": "unrecorded"})
    (finding,) = done.json["results"][0]["findings"]
    assert (finding["file"], finding["code"]) == ("step_5/added.bin", "unrecorded-file")
    ckptctl("verify", run, "--record")
    done = ckptctl("verify", run, "--level", "digest", "--json")
    assert (done.code, statuses(done), codes(done)) == (0, {"step_5": "ok"}, {})


def test_a_link_in_a_checkpoint_says_what_it_said(tmp_path: Path, ckptctl: Ckptctl) -> None:
    run = sharded(tmp_path / "run")
    (run / "step_5/deep").mkdir()
    (run / "step_5/deep/tokenizer").symlink_to("../../tokenizer-1")
    set_age(run / "step_5", 7200)
    ckptctl("verify", run, "--record")
    assert ckptctl("verify", run, "--level", "digest").code == 0
    (run / "step_5/deep/tokenizer").unlink()
    (run / "step_5/deep/tokenizer").symlink_to("../../tokenizer-2")
    done = ckptctl("verify", run, "--json")
    assert (done.code, codes(done)) == (6, {"step_5": ["link-changed"]})
    (run / "step_5/deep/tokenizer").unlink()
    (run / "step_5/deep/tokenizer").symlink_to("../../tokenizer-1")
    assert ckptctl("verify", run).code == 0
