"""Pointers at a destination: each only when what it names is whole there, and never back."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ckptctl.formats._base import Move
from ckptctl.formats.tensorflow import TensorFlow
from ckptctl.manifest import Manifest, Noted
from ckptctl.model import Metadata, State
from ckptctl.pointernote import FILE, dump_links, parse_links, read_links
from ckptctl.pointing_there import pointing_there
from ckptctl.repointing import read_trackers, write_pointers
from ckptctl.sides import Fate, Point, Points, Side
from ckptctl.stores import open_store
from ckptctl.stores.local import LocalStore
from tests.layouts import PT, grid, like, proto, shards, snapshot
from tests.memory import KNOWN, Files, folder_of, read
from tests.trees import make_tree, read_tree

HERE = "/data/run"
DISK, BUCKET = "/backup/run", "gs://bucket/some/run"


@dataclass(frozen=True)
class Tree:
    """A run: its files, its symlinks, and what the state notes of links."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    noted: Mapping[str, str] = field(default_factory=dict)


def tree(*parts: Mapping[str, bytes | str]) -> Tree:
    """Return a run of files; a text that begins with "-> " is a symlink."""
    files: dict[str, bytes] = {}
    links: dict[str, str] = {}
    for path, content in itertools.chain.from_iterable(part.items() for part in parts):
        if isinstance(content, str) and content.startswith("-> "):
            links[path] = content[3:]
        else:
            files[path] = content.encode() if isinstance(content, str) else content
    return Tree(files, links)


def side(run: Tree, location: str, times: Mapping[str, int] | None = None) -> Side:
    """Read a run; every checkpoint has a manifest that fits, as each that was copied has."""
    folder = folder_of(run.files, run.links, bucket="://" in location, times=times)
    found, seen = read(folder, run.files, location)
    contents = {path: run.files[path] for path in seen.trackers}

    def manifest(member: str) -> Manifest | None:
        own = {p: e for p, e in folder.walk() if p == member or p.startswith(f"{member}/")}
        noted = {p: Noted(e.size, e.mtime_ns, None, etag=e.etag or None) for p, e in own.items()}
        return Manifest(
            name=member,
            path=member,
            format="",
            said=Metadata(),
            files=noted,
            created_ns=0,
            created_by="",
        )

    return Side(run=seen, found=found, contents=contents, manifest=manifest, noted=run.noted)


def decided(here: Tree, there: Tree, at: str, source: str = HERE) -> Points:
    return pointing_there(side(here, source), side(there, at), KNOWN.by_name)


def after(there: Tree, points: Points) -> Tree:
    """Return the destination as it is when the pointers were written."""
    planned = [point for point in points.points if point.fate is Fate.PLANNED]
    files = {p.path: p.content for p in planned if p.content is not None}
    links = {p.path: p.link for p in planned if p.link is not None and not p.noted}
    return Tree({**there.files, **files}, {**there.links, **links}, dict(points.note))


Parts = tuple[
    Callable[[int], Mapping[str, bytes | str]], Callable[[int], Mapping[str, bytes | str]]
]
"""The files of the checkpoint of a step, and the pointers that name it."""


def _ray(step: int) -> str:
    return f"checkpoint_2026-11-23_13-07-5{step}.123456"


def _nemo(step: int) -> str:
    return f"gpt--val_loss=1.20-step={step}-consumed_samples=6400.0"


FRAMEWORKS: Mapping[str, Parts] = {
    "composer": (
        lambda n: {f"ep1-ba{n}-rank0.pt": PT},
        lambda n: {"latest-rank0.pt": f"-> ep1-ba{n}-rank0.pt"},
    ),
    "deepspeed": (lambda n: grid(f"global_step{n}", 1, 1), lambda n: {"latest": f"global_step{n}"}),
    "detectron2": (
        lambda n: {f"model_{n:07}.pth": PT},
        lambda n: {"last_checkpoint": f"model_{n:07}.pth"},
    ),
    "espnet": (
        lambda n: {f"{n}epoch.pth": PT},
        lambda n: {"latest.pth": f"-> {n}epoch.pth", "valid.acc.best.pth": f"-> {n}epoch.pth"},
    ),
    "lightning": (
        lambda n: {f"epoch={n}-step={n}.ckpt": PT},
        lambda n: {"last.ckpt": f"-> epoch={n}-step={n}.ckpt"},
    ),
    "megatron": (
        lambda n: like("megatron", f"iter_{n:07}"),
        lambda n: {"latest_checkpointed_iteration.txt": f"{n}"},
    ),
    "mmengine": (
        lambda n: {f"epoch_{n}.pth": PT},
        lambda n: {"last_checkpoint": f"{HERE}/epoch_{n}.pth"},
    ),
    "nanotron": (lambda n: like("nanotron", f"{n}"), lambda n: {"latest.txt": f"{n}"}),
    "nemo": (
        lambda n: like("nemo", _nemo(n)),
        lambda n: {"gpt-last": f"-> {_nemo(n)}"},
    ),
    "olmo": (
        lambda n: like("olmo", f"step{n}-unsharded"),
        lambda n: {"latest-unsharded": f"-> step{n}-unsharded"},
    ),
    "ray": (
        lambda n: {f"{_ray(n)}/model.pt": PT},
        lambda n: {"checkpoint_manager_snapshot.json": snapshot(map(_ray, range(1, n + 1)))},
    ),
    "openrlhf": (
        lambda n: {
            f"{root}/{path}": content
            for root in ("_actor", "_critic")
            for path, content in grid(f"global_step{n}", 1, 1).items()
        },
        lambda n: {f"{root}/latest": f"global_step{n}" for root in ("_actor", "_critic")},
    ),
    "tensorflow": (
        shards,
        lambda n: {"checkpoint": proto(*(f"ckpt-{m}" for m in range(1, n + 1)))},
    ),
    "verl": (
        lambda n: like("verl", f"global_step_{n}"),
        lambda n: {"latest_checkpointed_iteration.txt": f"{n}"},
    ),
}  # fmt: skip


def pointed(run: Tree, at: str) -> dict[str, set[str]]:
    """Return what each pointer of a run names, as `list` sees it."""
    found: dict[str, set[str]] = {}
    for one in side(run, at).run.checkpoints:
        for pointer in one.pointers:
            found.setdefault(pointer, set()).add(one.member)
    return found


@pytest.mark.parametrize("at", [DISK, BUCKET])
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_pointers_name_only_what_is_whole_there_and_a_second_time_nothing_is_written(
    name: str, at: str
) -> None:
    files, pointers = FRAMEWORKS[name]
    for last in (1, 2):
        here = tree(*(files(n) for n in (1, 2)), pointers(last))
        for whole in itertools.chain.from_iterable(
            itertools.combinations((1, 2), n) for n in range(3)
        ):
            torn = dict(list(tree(files(3 - last)).files.items())[:-1])
            there = Tree({**torn, **tree(*(files(n) for n in whole)).files})
            points = decided(here, there, at)
            assert {point.path.removesuffix(".symlink") for point in points.points} == set(
                pointers(last)
            )
            needed = set(range(1, last + 1)) if name == "ray" else {last}
            for point in points.points:
                assert (point.fate is Fate.PLANNED) == (needed <= set(whole)), (whole, point)
                assert (point.fate is Fate.SKIPPED) == (
                    point.content is None and point.link is None
                )
                assert point.text or point.fate is Fate.PLANNED
            now = after(there, points)
            again = decided(here, now, at)
            assert not [p for p in again.points if p.fate is Fate.PLANNED], again
            assert again.note == now.noted


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_what_was_copied_to_a_bucket_and_back_has_the_pointers_of_the_source(name: str) -> None:
    files, pointers = FRAMEWORKS[name]
    here = tree(files(1), files(2), pointers(2))
    payload = tree(files(1), files(2))
    cloud = after(payload, decided(here, payload, BUCKET))
    back = after(payload, decided(cloud, payload, HERE, source=BUCKET))
    assert (back.files, back.links) == (here.files, here.links)
    assert pointed(back, HERE) == pointed(here, HERE)


@pytest.mark.parametrize("at", [DISK, BUCKET])
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_pointer_never_goes_back_to_an_older_one(name: str, at: str) -> None:
    """The source is a disk that was restored from an older copy."""
    files, pointers = FRAMEWORKS[name]
    payload = tree(files(1), files(2))
    there = after(payload, decided(tree(files(1), files(2), pointers(2)), payload, at))
    here = tree(files(1), pointers(1))
    points = decided(here, there, at)
    assert {point.fate for point in points.points} == {Fate.SKIPPED}
    assert all("newer" in (point.text or "") for point in points.points)
    assert points.note == there.noted


def test_a_pointer_follows_a_source_that_itself_went_back() -> None:
    files, pointers = FRAMEWORKS["nanotron"]
    here = tree(files(2), files(1), pointers(1))  # 1 was saved after 2
    there = tree(files(2), files(1), pointers(2))
    (point,) = decided(here, there, DISK).points
    assert (point.fate, point.content) == (Fate.PLANNED, b"1")


def test_a_pointer_stays_where_the_source_names_what_it_saved_before() -> None:
    files, pointers = FRAMEWORKS["nanotron"]
    here = tree(files(1), files(2), pointers(1))
    (point,) = decided(here, tree(files(1), files(2), pointers(2)), DISK).points
    assert (point.fate, point.content) == (Fate.SKIPPED, None)


def test_a_pointer_to_what_is_another_one_there_is_left_out() -> None:
    here = tree({"model_0000001.pth": PT, "last_checkpoint": "model_0000001.pth"})
    there = tree({"model_0000001.pth": PT})
    other = frozenset({"model_0000001.pth"})
    (point,) = pointing_there(side(here, HERE), side(there, DISK), KNOWN.by_name, other).points
    assert (point.fate, point.text) == (
        Fate.SKIPPED,
        "names model_0000001, which is another one there",
    )


def test_a_pointer_to_what_has_another_size_there_is_left_out() -> None:
    here = tree({"model_0000001.pth": PT, "last_checkpoint": "model_0000001.pth"})
    there = tree({"model_0000001.pth": PT + PT})
    (point,) = decided(here, there, DISK).points
    assert point.text == "names model_0000001, which is another one there"


def test_a_pointer_to_what_is_damaged_there_is_left_out() -> None:
    here = tree({"model_0000001.pth": PT, "last_checkpoint": "model_0000001.pth"})
    there = side(tree({"model_0000001.pth": PT}), DISK)
    damaged = tuple(replace(one, state=State.DAMAGED) for one in there.run.checkpoints)
    there = replace(there, run=replace(there.run, checkpoints=damaged))
    (point,) = pointing_there(side(here, HERE), there, KNOWN.by_name).points
    assert (point.fate, point.content) == (Fate.SKIPPED, None)


def test_a_tracker_that_names_what_is_gone_is_left_out() -> None:
    here = tree({"model_0000001.pth": PT, "last_checkpoint": "model_0000002.pth"})
    (point,) = decided(here, tree({"model_0000001.pth": PT}), DISK).points
    assert (point.fate, point.text) == (Fate.SKIPPED, "what it names is not here")


def test_a_marker_that_only_the_bucket_needed_is_not_missed_on_a_disk() -> None:
    step = like("orbax", "1000")
    cloud = side(replace(tree(step), noted={"best": "1000"}), BUCKET)
    marker = "1000/commit_success.txt"
    payload = tree({path: c for path, c in step.items() if not path.endswith("commit_success.txt")})

    def manifest(member: str) -> Manifest | None:
        noted = cloud.noted_of(member)
        assert noted is not None
        made = {
            p: f._replace(made=p.endswith("commit_success.txt")) for p, f in noted.files.items()
        }
        assert made[marker].made
        return replace(noted, files=made)

    back = pointing_there(
        side(replace(tree(step), noted={"best": "1000"}), BUCKET),
        side(payload, DISK),
        KNOWN.by_name,
    )
    assert [point.fate for point in back.points] == [Fate.SKIPPED]
    known = Side(run=cloud.run, found=cloud.found, manifest=manifest, noted=cloud.noted)
    (point,) = pointing_there(known, side(payload, DISK), KNOWN.by_name).points
    assert (point.path, point.link, point.fate) == ("best", "1000", Fate.PLANNED)


def test_a_pointer_to_what_is_to_be_deleted_there_is_left_out() -> None:
    here = tree({"model_0000001.pth": PT, "last_checkpoint": "model_0000001.pth"})
    there = side(tree({"model_0000001.pth": PT}), BUCKET)
    doomed = tuple(replace(one, doomed_ns=1) for one in there.run.checkpoints)
    there = replace(there, run=replace(there.run, checkpoints=doomed))
    (point,) = pointing_there(side(here, HERE), there, KNOWN.by_name).points
    assert point.text == "names model_0000001, which is scheduled for deletion there"


def test_without_a_manifest_a_ray_checkpoint_is_not_taken_for_whole() -> None:
    files, pointers = FRAMEWORKS["ray"]
    there = replace(side(tree(files(1)), DISK), manifest=lambda _: None)
    (point,) = pointing_there(side(tree(files(1), pointers(1)), HERE), there, KNOWN.by_name).points
    assert (point.fate, point.content) == (Fate.SKIPPED, None)


def test_a_manifest_of_other_files_proves_nothing() -> None:
    files, pointers = FRAMEWORKS["ray"]
    true = side(tree(files(1)), DISK)

    def manifest(member: str) -> Manifest | None:
        known = true.noted_of(member)
        assert known is not None
        other = {path: noted._replace(mtime_ns=1) for path, noted in known.files.items()}
        return replace(known, files=other)

    there = Side(run=true.run, found=true.found, manifest=manifest)
    (point,) = pointing_there(side(tree(files(1), pointers(1)), HERE), there, KNOWN.by_name).points
    assert (point.fate, point.content) == (Fate.SKIPPED, None)


def test_ray_gets_no_snapshot_that_lists_what_is_gone_at_the_source_too() -> None:
    files, pointers = FRAMEWORKS["ray"]
    (point,) = decided(tree(files(2), pointers(2)), tree(files(2)), DISK).points
    assert (point.fate, point.text) == (
        Fate.SKIPPED,
        "it lists a checkpoint that is not whole there",
    )


def test_composer_names_the_whole_key_of_the_object() -> None:
    files, pointers = FRAMEWORKS["composer"]
    (point,) = decided(tree(files(5), pointers(5)), tree(files(5)), BUCKET).points
    assert point.path == "latest-rank0.pt.symlink"
    assert point.content == b"some/run/ep1-ba5-rank0.pt"


def test_composers_object_names_the_key_in_the_bucket_that_it_is_copied_to() -> None:
    files, _ = FRAMEWORKS["composer"]
    cloud = tree(files(5), {"latest-rank0.pt.symlink": "some/run/ep1-ba5-rank0.pt"})
    (point,) = decided(cloud, tree(files(5)), "s3://other/place", source=BUCKET).points
    assert (point.path, point.content) == ("latest-rank0.pt.symlink", b"place/ep1-ba5-rank0.pt")


def test_each_rank_of_composer_has_its_own_link_again() -> None:
    ranks = {f"ep1-ba5-rank{rank}.pt": PT for rank in range(2)}
    marks = {f"latest-rank{n}.pt.symlink": f"some/run/ep1-ba5-rank{n}.pt" for n in range(2)}
    points = decided(tree(ranks, marks), tree(ranks), DISK, source=BUCKET).points
    assert {p.path: p.link for p in points} == {
        f"latest-rank{rank}.pt": f"ep1-ba5-rank{rank}.pt" for rank in range(2)
    }


def test_tensorflow_lists_only_what_is_there_with_its_times() -> None:
    text = proto("ckpt-1", "ckpt-2", "ckpt-3") + "".join(
        f"all_model_checkpoint_timestamps: {n}.5\n" for n in (1, 2, 3)
    )
    here = tree(shards(1, 2, 3), {"checkpoint": text + "last_preserved_timestamp: 0.5\n"})
    (point,) = decided(here, tree(shards(1, 3)), BUCKET).points
    assert point.content is not None
    assert point.content.decode() == (
        proto("ckpt-1", "ckpt-3")
        + "all_model_checkpoint_timestamps: 1.5\nall_model_checkpoint_timestamps: 3.5\n"
        + "last_preserved_timestamp: 0.5\n"
    )


def test_tensorflows_full_paths_in_the_run_become_relative() -> None:
    moved = TensorFlow().repointed(
        proto(f"{HERE}/ckpt-1").encode(), {"ckpt-1"}, Move((HERE,), DISK)
    )
    assert moved.decode() == proto("ckpt-1")


def test_mmengine_finds_its_checkpoint_where_it_was_copied() -> None:
    files, pointers = FRAMEWORKS["mmengine"]
    (point,) = decided(tree(files(7), pointers(7)), tree(files(7)), DISK).points
    assert point.content == b"/backup/run/epoch_7.pth"


def test_mmengines_path_of_another_place_stays_as_it_is() -> None:
    elsewhere = b"/cluster/work/epoch_7.pth\n"
    here = Tree({"epoch_7.pth": PT, "last_checkpoint": elsewhere})
    (point,) = decided(here, Tree({"epoch_7.pth": PT}), DISK).points
    assert point.content == elsewhere


def test_a_full_path_in_a_symlink_becomes_relative() -> None:
    here = tree({"step_5.pt": PT, "best/now.pt": f"-> {HERE}/step_5.pt"})
    (point,) = decided(here, tree({"step_5.pt": PT}), DISK).points
    assert (point.path, point.link) == ("best/now.pt", "../step_5.pt")


def test_a_symlink_through_another_one_still_arrives() -> None:
    here = tree({"step_5.pt": PT, "a.pt": "-> z.pt", "z.pt": "-> step_5.pt"})
    points = decided(here, tree({"step_5.pt": PT}), DISK).points
    assert {point.path: point.link for point in points} == {"a.pt": "z.pt", "z.pt": "step_5.pt"}
    kept = tree({"step_5.pt": PT, "step_9.pt": PT, "z.pt": "-> step_9.pt"})  # z is newer there
    assert {p.path: p.link for p in decided(here, kept, DISK).points} == {
        "a.pt": "step_5.pt",
        "z.pt": None,
    }


def test_a_symlink_out_of_the_run_and_one_inside_a_checkpoint_are_no_pointers() -> None:
    run = {"step_5.pt": PT, "data": "-> /datasets", **like("nanotron", "7")}
    here = tree(run, {"7/again": "-> config.yaml", "up": "-> ../other"})
    assert decided(here, tree(run), DISK).points == ()


def test_a_latest_inside_a_checkpoint_is_payload() -> None:
    run = {**like("lightning-deepspeed", "epoch=3-step=1000.ckpt")}
    assert "epoch=3-step=1000.ckpt/latest" in run
    assert decided(tree(run), tree(run), DISK).points == ()


@pytest.mark.parametrize(
    ("taken", "what"),
    [
        ({"last.ckpt": b"a full copy"}, "checkpoint or directory"),
        ({"last.ckpt/notes": b"x"}, "checkpoint or directory"),
    ],
)
def test_a_symlink_never_takes_the_place_of_anything_else(
    taken: Mapping[str, bytes], what: str
) -> None:
    files, pointers = FRAMEWORKS["lightning"]
    points = decided(tree(files(5), pointers(5)), tree(files(5), taken), DISK).points
    assert [(p.fate, p.link) for p in points] == [(Fate.SKIPPED, None)]
    assert what in (points[0].text or "")


def test_a_file_that_is_no_checkpoint_keeps_its_name_too() -> None:
    here = tree({"step_5.pt": PT, "current": "-> step_5.pt"})
    (point,) = decided(here, tree({"step_5.pt": PT, "current": b"mine"}), DISK).points
    assert (point.link, point.text) == (None, "a file has this name there: left as it is")


def test_a_tracker_never_takes_the_place_of_a_symlink() -> None:
    here = tree({"step_5.pt": PT, "latest": "step_5.pt"})
    (point,) = decided(here, tree({"step_5.pt": PT, "latest": "-> elsewhere"}), DISK).points
    assert (point.content, point.text) == (None, "a symlink has this name there: left as it is")


def test_a_run_is_known_by_the_way_that_its_links_resolve_to() -> None:
    files, _ = FRAMEWORKS["mmengine"]
    run = tree(
        files(7), {"last_checkpoint": "/lustre/run/epoch_7.pth", "x": "-> /lustre/run/epoch_7.pth"}
    )
    here = replace(side(run, HERE), real=lambda path: path.replace("/data/", "/lustre/"))
    points = pointing_there(here, side(tree(files(7)), DISK), KNOWN.by_name).points
    assert {point.path: point.content or point.link for point in points} == {
        "last_checkpoint": b"/backup/run/epoch_7.pth",
        "x": "epoch_7.pth",
    }


@pytest.mark.parametrize(
    ("run", "path"),
    [
        ("lightning-link/checkpoints", "last.ckpt"),
        ("deepspeed-zero1", "latest"),
        ("tensorflow/tf_ckpts", "checkpoint"),
        ("mmengine-epoch", "last_checkpoint"),
    ],
)
def test_pointers_of_real_runs_come_along(run: str, path: str, corpus: Path) -> None:
    real = read_tree(corpus / run)
    links = {p: c[3:].decode() for p, c in real.items() if c.startswith(b"-> ")}
    files = {p: c for p, c in real.items() if p not in links}
    here, payload = Tree(files, links), Tree({p: c for p, c in files.items() if p != path})
    (point,) = decided(here, payload, DISK).points
    assert (point.path, point.fate) == (path, Fate.PLANNED)
    now = after(payload, Points(points=(point,), note={}))
    assert (now.files, now.links) == (here.files, here.links)
    assert pointed(now, DISK) == pointed(here, HERE)


def opened(root: Path) -> tuple[LocalStore, LocalStore]:
    state = root.parent / "state"
    state.mkdir(exist_ok=True)
    return LocalStore(str(root)), LocalStore(str(state))


def nothing() -> None:
    """Find the lock held."""


def written(points: Points, root: Path) -> tuple[Point, ...]:
    run, state = opened(root)
    return write_pointers(points, run, state, {}, nothing)


def test_what_is_planned_is_written_to_a_disk(tmp_path: Path) -> None:
    root = make_tree(
        tmp_path / "run", {"step_5.pt": "5", "last.pt": "-> step_4.pt", "latest": "step_4"}
    )
    points = Points(
        points=(
            Point(path="latest", fate=Fate.PLANNED, content=b"step_5"),
            Point(path="last.pt", fate=Fate.PLANNED, link="step_5.pt"),
            Point(path="best/now.pt", fate=Fate.PLANNED, link="../step_5.pt"),
            Point(path="other", fate=Fate.SKIPPED, text="no"),
        ),
        note={},
    )
    done = written(points, root)
    assert [point.fate for point in done] == [Fate.DONE] * 3 + [Fate.SKIPPED]
    assert read_tree(root) == {
        "step_5.pt": b"5",
        "latest": b"step_5",
        "last.pt": b"-> step_5.pt",
        "best/now.pt": b"-> ../step_5.pt",
    }
    assert list((tmp_path / "state").iterdir()) == []


def test_a_link_that_finds_a_file_under_its_name_meanwhile_leaves_it(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "run", {"last.pt": "saved just now", "dir/": b""})
    points = [Point(path=path, fate=Fate.PLANNED, link="step_5.pt") for path in ("last.pt", "dir")]
    done = written(Points(points=tuple(points), note={}), root)
    assert [point.fate for point in done] == [Fate.FAILED] * 2
    assert all("cannot be written there" in (point.text or "") for point in done)
    assert read_tree(root) == {"last.pt": b"saved just now"}
    assert list((tmp_path / "state").iterdir()) == []


def test_a_link_is_never_gone_while_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_tree(tmp_path / "run", {"last.pt": "-> step_4.pt"})

    def fails(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "rename", fails)
    (done,) = written(
        Points(points=(Point(path="last.pt", fate=Fate.PLANNED, link="step_5.pt"),), note={}), root
    )
    assert done.fate is Fate.FAILED
    assert read_tree(root) == {"last.pt": b"-> step_4.pt"}
    assert list((tmp_path / "state").iterdir()) == []


def test_nothing_is_written_once_the_lock_is_lost(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "run", {"latest": "step_4"})
    run, state = opened(root)

    def lost() -> None:
        raise RuntimeError("lost")

    points = Points(points=(Point(path="latest", fate=Fate.PLANNED, content=b"step_5"),), note={})
    with pytest.raises(RuntimeError):
        write_pointers(points, run, state, {}, lost)
    assert read_tree(root) == {"latest": b"step_4"}


def test_links_are_noted_in_the_state_of_a_bucket() -> None:
    run, state = (open_store(f"memory://pointing/{name}") for name in ("run", "state"))
    link = Point(path="last.ckpt", fate=Fate.PLANNED, link="a.ckpt", noted=True, text="noted")
    tracker = Point(path="latest", fate=Fate.PLANNED, content=b"a")
    points = Points(points=(tracker, link), note={"last.ckpt": "a.ckpt"})
    assert read_links(state) == {}
    done = write_pointers(points, run, state, {}, nothing)
    assert [point.fate for point in done] == [Fate.DONE] * 2
    assert read_links(state) == {"last.ckpt": "a.ckpt"}
    folder = folder_of({"latest": b"a", "gone": b""}, bucket=True)
    assert read_trackers(run, folder, ["latest", "gone", "last.ckpt"]) == {"latest": b"a"}


def test_a_note_is_read_as_it_was_written() -> None:
    links = {"last.ckpt": "epoch=3.ckpt", "best/a": "../step_5"}
    assert parse_links(dump_links(links)) == links


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("../a", "b"),
        ("/a", "b"),
        ("a", "../b"),
        ("a/b", "../../c"),
        ("a", "/etc/passwd"),
        ("", "b"),
    ],
)
def test_a_note_cannot_lead_out_of_the_run(path: str, text: str) -> None:
    assert parse_links(dump_links({path: text, "last": "step_5"})) == {"last": "step_5"}


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"schema":"ckptctl/pointers","version":2,"links":{}}']
)
def test_a_note_that_cannot_be_understood_is_an_error(content: bytes) -> None:
    with pytest.raises(OSError, match=FILE):
        read_links(Files({FILE: content}))
