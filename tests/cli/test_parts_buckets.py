"""`ckptctl sync --part` into a bucket on a real server, where a file has its name as soon as it is there."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ckptctl.cli.options import Common
from ckptctl.cli.run_by_run import read_place
from ckptctl.cli.runtime import Session
from ckptctl.cli.sync_cargo import Loader
from ckptctl.formats._samples import dcp_metadata, torch_zip
from ckptctl.lock import Lock
from ckptctl.model import NS
from ckptctl.parts.handing import Hands, Offer
from ckptctl.parts.meeting import Meeting
from ckptctl.parts.part import Caller
from ckptctl.parts.whole import key_of
from ckptctl.reading import VanishedError
from ckptctl.survey import run_store
from ckptctl.transfer.cargo import Cargo
from ckptctl.transfer.sending import Sender
from ckptctl.transfer.sweeping import sweep
from ckptctl.transfer.throttle import Throttle
from tests.program import Ckptctl
from tests.servers.seaweed import BUCKET, GUEST, VERSIONED, Seaweed
from tests.stores.places import Place, place
from tests.trees import make_tree, read_tree

SHARD = b"x" * 4096
DCP = (
    {
        "step-100/.metadata": dcp_metadata({f"__{n}_0.distcp": 4096 for n in range(2)}),
        "step-100/__0_0.distcp": SHARD,
    },
    {"step-100/__1_0.distcp": SHARD},
)
FOLDER = tuple(
    {f"update_7/{name}{number}.pt": torch_zip() for name in ("model", "optim")} for number in "ab"
)
"""Of these no name and no file tells how many there are."""


def environment(seaweedfs: Seaweed) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": seaweedfs.endpoint,
        "AWS_ACCESS_KEY_ID": GUEST[0],
        "AWS_SECRET_ACCESS_KEY": GUEST[1],
        "AWS_REGION": "us-east-1",
    }


@pytest.mark.parametrize(("parts", "order"), [(DCP, (0, 1)), (DCP, (1, 0)), (FOLDER, (0, 1))])
def test_nothing_looks_whole_before_it_is(
    parts: tuple[dict[str, bytes], ...], order: tuple[int, int], tmp_path: Path,
    ckptctl: Ckptctl, seaweedfs: Seaweed, request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    to = next(place("s3-obstore", request)).url
    env = environment(seaweedfs)
    first, last = order
    for number, tree in enumerate(parts):
        make_tree(tmp_path / f"node{number}", tree, age=7200)
    done = ckptctl("sync", tmp_path / f"node{first}", to, "--part", f"{first}/2", env=env)
    assert done.code == 0, done.stderr
    seen = ckptctl("list", to, "--json", "--settle", "0s", env=env).json.get("runs", ())
    assert "complete" not in {c["state"] for run in seen for c in run["checkpoints"]}
    done = ckptctl("sync", tmp_path / f"node{last}", to, "--part", f"{last}/2", "--json", env=env)
    own = sum(map(len, parts[last].values()))  # what was held back is copied by the server
    assert [(r["status"], r["bytes_sent"]) for r in done.json["results"]] == [("done", own)], (
        done.stdout
    )
    assert ckptctl("verify", to, "--level", "digest", env=env).code == 0
    assert ckptctl("sync", to, tmp_path / "back", env=env).code == 0
    back = {p: c for p, c in read_tree(tmp_path / "back").items() if ".ckptctl" not in p.split("/")}
    assert back == {**parts[0], **parts[1]}


def test_parts_meet_in_a_bucket_that_keeps_versions(
    tmp_path: Path, ckptctl: Ckptctl, seaweedfs: Seaweed
) -> None:
    """SeaweedFS lists what lies below `0/` there before `0.json`, and ends without it."""
    to = f"s3://{VERSIONED}{tmp_path}/run"
    said = []
    for number, tree in enumerate(DCP):
        make_tree(tmp_path / f"node{number}", tree, age=7200)
        part = ("--part", f"{number}/2", "--json")
        done = ckptctl("sync", tmp_path / f"node{number}", to, *part, env=environment(seaweedfs))
        assert done.code == 0, done.stdout
        said += [result["status"] for result in done.json["results"]]
    assert said == ["part", "done"]


def test_one_that_called_as_one_of_many_and_has_all_replaces_what_it_began(
    tmp_path: Path, ckptctl: Ckptctl, seaweedfs: Seaweed, request: pytest.FixtureRequest
) -> None:
    """Rank 0 of a training, on a shared file system."""
    to = next(place("s3-obstore", request)).url
    env = environment(seaweedfs)
    run = make_tree(tmp_path / "run", {**FOLDER[0], **FOLDER[1]}, age=7200)
    waits = ckptctl("sync", run, to, "--part", "0/3", env=env)
    assert waits.code == 0
    assert "--part 0/1" in waits.stdout + waits.stderr
    refused = ckptctl("sync", run, to, "--part", "0/1", env=env)
    assert refused.code == 5
    assert "--overwrite" in refused.stdout + refused.stderr
    assert ckptctl("sync", run, to, "--part", "0/1", "--overwrite", env=env).code == 0
    listed = ckptctl("list", to, "--json", env=env).json["runs"][0]["checkpoints"]
    assert [(c["name"], c["state"]) for c in listed] == [("update_7", "complete")]


def test_a_file_that_two_have_is_one(
    tmp_path: Path, ckptctl: Ckptctl, seaweedfs: Seaweed, request: pytest.FixtureRequest
) -> None:
    to = next(place("s3-obstore", request)).url
    env = environment(seaweedfs)
    said = []
    for number, tree in enumerate(DCP):
        both = {**tree, "step-100/train_state.pt": torch_zip()}
        run = make_tree(tmp_path / f"node{number}", both, age=7200 - number)
        done = ckptctl("sync", run, to, "--part", f"{number}/2", "--json", env=env)
        said += [(done.code, result["status"]) for result in done.json["results"]]
        time.sleep(1.1 * (number == 0))  # a bucket's times are whole seconds
    assert said == [(0, "part"), (0, "done")]
    assert ckptctl("verify", to, "--level", "digest", env=env).code == 0


class Changed(Sender):
    """Of what it sends the source is another by the end."""

    def refuse_changed(self, cargo: Cargo) -> None:
        raise VanishedError(errno.ESTALE, "it was saved anew meanwhile", cargo.member)


def hands_of(number: int, node: Path, to: Place, sender: type[Sender]) -> tuple[Hands, Offer]:
    above, _, name = to.url.rpartition("/")
    state = replace(to, url=f"{above}/.ckptctl/{name}").open()
    read = read_place(Session(common=Common(no_config=True, no_progress=True)), str(node))
    (one,) = read.runs
    assert read.view is not None
    assert one.found is not None
    assert one.run is not None
    (checkpoint,) = one.run.checkpoints
    hands = Hands(
        meeting=Meeting(state, time.time_ns), run=to.open(), caller=Caller(number, 3),
        sender=sender(
            run_store(read.view, one.found), Throttle(None, time.monotonic, time.sleep), 1, 1,
            lambda: False, lambda _: None,
        ),
        by="a test", looked_ns=time.time_ns(), trackers={}, pointing={},
    )  # fmt: skip
    cargo = Loader(read.view, one.found, to.url).cargo(checkpoint, None)
    return hands, Offer(key=key_of(checkpoint), cargo=cargo)


def test_who_takes_back_what_it_sent_takes_nothing_that_another_has_sent_too(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    to = next(place("s3-obstore", request))
    for number in range(2):
        files = [f"update_7/{name}.pt" for name in ("model", "optim", f"state_{'ab'[number]}")]
        tree = dict.fromkeys(files, torch_zip())
        make_tree(tmp_path / f"node{number}", tree, age=7200 - number)
    first, offer = hands_of(0, tmp_path / "node0", to, Sender)
    first.hand_in(offer)
    second, offer = hands_of(1, tmp_path / "node1", to, Changed)
    run, state = second.run, second.meeting.state
    # Who publishes holds the run's lock: all stays for the next call.
    with closing_lock(Lock(state, time.time_ns)):
        with pytest.raises(VanishedError):
            second.hand_in(offer)
        assert run.stat("update_7/state_b.pt") is not None
        assert second.meeting.part(offer.key, second.caller) is not None
    with pytest.raises(VanishedError):
        second.hand_in(offer)
    assert [path for path, _ in run.listing("update_7").walk()] == ["optim.pt", "state_a.pt"]
    assert second.meeting.part(offer.key, second.caller) is None
    assert not second.meeting.alive(second.caller)


def test_who_takes_back_what_it_sent_leaves_what_was_published_meanwhile(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    to = next(place("s3-obstore", request))
    make_tree(tmp_path / "node", FOLDER[0], age=7200)

    class Published(Changed):
        def refuse_changed(self, cargo: Cargo) -> None:
            hands.meeting.forget(offer.key)  # the last that a publisher does
            super().refuse_changed(cargo)

    hands, offer = hands_of(0, tmp_path / "node", to, Published)
    with pytest.raises(VanishedError):
        hands.hand_in(offer)
    assert hands.run.stat("update_7/optima.pt") is not None


@contextmanager
def closing_lock(lock: Lock) -> Iterator[None]:
    lock.acquire()
    yield
    lock.release()


def test_what_nobody_goes_on_with_never_looks_whole(
    tmp_path: Path, ckptctl: Ckptctl, seaweedfs: Seaweed, request: pytest.FixtureRequest
) -> None:
    there = next(place("s3-obstore", request))
    above, _, name = there.url.rpartition("/")
    run, state = there.open(), replace(there, url=f"{above}/.ckptctl/{name}").open()
    env = environment(seaweedfs)
    node = make_tree(tmp_path / "node0", FOLDER[0], age=7200)
    assert ckptctl("sync", node, there.url, "--part", "0/2", env=env).code == 0
    said = f'{{"began_ns": {time.time_ns()}, "files": {{"update_7/big.pt": {{"token": "x"}}}}}}'
    state.replace("staging/update_7.parts/1.sent", said.encode())  # by one that died then
    client, prefix = seaweedfs.client(), there.url.removeprefix(f"s3://{BUCKET}/")
    for key in (f"{prefix}/update_7/big.pt", f".ckptctl/{prefix}/staging/update_7.parts/1.files/a"):
        client.create_multipart_upload(Bucket=BUCKET, Key=key)
    assert list(run.unfinished())
    assert list(state.unfinished())
    later_ns = time.time_ns() + 8 * 24 * 3600 * NS
    sweep(state, run, (), later_ns)
    assert not list(run.unfinished())
    assert not list(state.unfinished())
    listed = ckptctl("list", there.url, "--json", "--settle", "0s", env=env).json["runs"]
    assert [c["state"] for one in listed for c in one["checkpoints"]] == ["incomplete"]
    kept = [path for path, _ in state.listing("staging").walk()]
    assert kept == ["update_7.parts/0.json"]
    run.remove_tree("update_7")
    sweep(state, run, (), later_ns)
    assert state.stat(f"staging/{kept[0]}") is None


def test_what_a_late_caller_has_besides_is_added(
    tmp_path: Path, ckptctl: Ckptctl, seaweedfs: Seaweed, request: pytest.FixtureRequest
) -> None:
    to = next(place("s3-obstore", request)).url
    env = environment(seaweedfs)
    more = {"step-100/optim_rank2.pt": torch_zip({"data/0": bytes(1 << 20)})}
    said = []
    for number, tree in enumerate((*DCP, more)):
        run = make_tree(tmp_path / f"node{number}", tree, age=7200)
        done = ckptctl("sync", run, to, "--part", f"{number}/3", "--json", env=env)
        said += [(done.code, result["status"]) for result in done.json["results"]]
    assert said == [(0, "part"), (0, "done"), (0, "done")]
    back = tmp_path / "back"
    assert ckptctl("sync", to, back, "--part", "0/1", env=env).code == 0
    assert read_tree(back / "step-100") == {
        path.removeprefix("step-100/"): content
        for tree in (*DCP, more)
        for path, content in tree.items()
    }
