"""What the program says, and what it leaves alone, where a server or the way to it fails.

How each library fails is shown in tests/stores/test_faults.py; so one is enough here, mostly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from ckptctl.formats._samples import safetensors, torch_zip
from tests.program import Ckptctl, Done
from tests.servers import faulty, seaweed
from tests.stores.places import Place, place, public

QUIET = {"CKPTCTL_DEBUG": ""}
SECRETS = (*seaweed.GUEST, *seaweed.ADMIN, "Signature")
COMMANDS = (
    ("list",), ("verify",), ("status",), ("prune", "--keep-last", "1", "-n"), ("why", "step_1", "--keep-last", "1"),
)  # fmt: skip
WRITES = "^(PUT|POST|DELETE)"
LISTING = "^GET .*(list-type|/o[?])"


@pytest.fixture(params=["s3-obstore"])
def run(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A run of three that anybody may read."""
    for where in public(request.param, request):
        _save(where)
        yield where


@pytest.fixture(params=["s3-obstore"])
def own(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A run of three that is read with credentials."""
    for where in place(request.param, request):
        _save(where)
        yield where


def _save(where: Place) -> None:
    for step in (1, 2, 3):
        where.put(f"step_{step}.pt", torch_zip())
        where.put(f"step_{step}.json", json.dumps({"loss": 1 / step}).encode())


@pytest.fixture
def proxy(request: pytest.FixtureRequest) -> Iterator[faulty.Proxy]:
    where: Place = request.getfixturevalue("run" if "run" in request.fixturenames else "own")
    with faulty.before(where.port) as running:
        yield running


def call(ckptctl: Ckptctl, words: tuple[str, ...], where: Place, proxy: faulty.Proxy) -> Done:
    once = {"retries": 1} if where.kind == "gcs" else {"config_kwargs": _ONCE}
    options = [
        word
        for key, value in where.through(proxy, **once).options.items()
        for word in ("--storage-option", f"{key}={value}")
    ]
    name = words[1:2] if words[0] == "why" else ()
    rest = words[1 + len(name) :]
    return ckptctl(
        words[0], *name, where.url, *rest, *options, "--settle", "0s", "--json", env=QUIET
    )


_ONCE = json.dumps({"retries": {"total_max_attempts": 1}})


def unreachable(done: Done, where: Place, proxy: faulty.Proxy, *words: str) -> None:
    """It ends with 7 and says where, what and what to check; nothing was written, nothing is given away."""
    assert done.code == 7, done.stdout + done.stderr
    said = done.stdout + done.stderr
    for word in (where.url.split("/")[2], f"127.0.0.1:{proxy.port}", *words):
        assert word in said
    assert "Traceback" not in said
    assert not any(secret in said for secret in SECRETS)
    assert proxy.asked(WRITES) == []


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_a_second_page_that_fails_is_told(
    words: tuple[str, ...], run: Place, proxy: faulty.Proxy, ckptctl: Ckptctl
) -> None:
    proxy.rewrite = faulty.small_pages
    error = faulty.gcs_error if run.kind == "gcs" else faulty.s3_error
    proxy.rule(error(503, "SlowDown"), "continuation-token=|pageToken=")
    unreachable(call(ckptctl, words, run, proxy), run, proxy, "listing", "slow down", "--jobs")


@pytest.mark.parametrize("words", COMMANDS[::3], ids=lambda words: words[0])
def test_a_listing_that_ends_in_a_login_page_is_told(
    words: tuple[str, ...], run: Place, proxy: faulty.Proxy, ckptctl: Ckptctl
) -> None:
    proxy.rewrite = faulty.small_pages
    page = faulty.answer(200, b"<html><body>Log in</body></html>", ("Content-Type", "text/html"))
    proxy.rule(page, skip=1)
    unreachable(call(ckptctl, words, run, proxy), run, proxy, "login page")


EITHER = pytest.mark.parametrize("own", ["s3-obstore", "gcs"], indirect=True)


@EITHER
def test_credentials_that_expire_meanwhile_are_told(
    own: Place, proxy: faulty.Proxy, ckptctl: Ckptctl
) -> None:
    if own.kind == "gcs":
        expired = faulty.gcs_error(401, "Invalid Credentials")
    else:
        expired = faulty.s3_error(403, "ExpiredToken")
    proxy.rule(expired, "^[A-Z]+ [^?]*step_.[.](pt|json)")  # the listing was let through
    done = call(ckptctl, ("prune", "--keep-last", "1", "-n"), own, proxy)
    assert proxy.asked(LISTING)
    unreachable(done, own, proxy, "step_", "credentials", "cannot be read")


def test_a_list_tells_what_of_it_could_not_be_read(
    own: Place, proxy: faulty.Proxy, ckptctl: Ckptctl
) -> None:
    proxy.rule(faulty.s3_error(403, "ExpiredToken"), "^GET [^?]*step_1.json")
    done = call(ckptctl, ("list",), own, proxy)
    assert done.code == 0  # as on a disk
    assert "credentials have expired" in str(done.json["runs"][0]["problems"])


def test_a_sidecar_that_cannot_be_read_keeps_all(
    own: Place, proxy: faulty.Proxy, ckptctl: Ckptctl
) -> None:
    proxy.rule(faulty.reset, "^GET [^?]*step_1.json")
    done = call(ckptctl, ("prune", "--keep-last", "1", "-n"), own, proxy)
    unreachable(done, own, proxy, "step_1.json")


@EITHER
def test_one_broken_transfer_is_no_damage(
    own: Place, proxy: faulty.Proxy, ckptctl: Ckptctl
) -> None:
    own.put("step_2.safetensors", safetensors("a"))
    media = "alt=media" if own.kind == "gcs" else ""
    for words in (("--level", "structure"), ("--record",), ("--level", "digest", "--reread")):
        proxy.rules = [
            faulty.Rule(
                act=faulty.alter(faulty.flip), fits=f"^GET .*step_2.{kind}.*{media}", times=1
            )
            for kind in ("pt", "safetensors")
        ]
        done = call(ckptctl, ("verify", *words), own, proxy)
        assert {rule.hit for rule in proxy.rules} == {1}, words
        assert (done.code, {r["status"] for r in done.json["results"]}) == (0, {"ok"}), done.stdout
    proxy.rules = [faulty.Rule(act=faulty.alter(faulty.flip), fits=f"^GET .*step_2.pt.*{media}")]
    assert call(ckptctl, ("verify", *words), own, proxy).code == 6


def test_the_newest_is_not_taken_for_torn_by_one_broken_transfer(
    own: Place, proxy: faulty.Proxy, ckptctl: Ckptctl
) -> None:
    media = "alt=media" if own.kind == "gcs" else ""
    broken = proxy.rule(faulty.alter(faulty.flip), f"^GET .*step_3.pt.*{media}", times=1)
    done = call(ckptctl, ("list",), own, proxy)
    assert done.code == 0, done.stderr
    assert {c["state"] for c in done.json["runs"][0]["checkpoints"]} == {"complete"}
    assert broken.hit == 1
    done = call(ckptctl, ("prune", "--keep-last", "1", "-n"), own, proxy)
    assert proxy.asked(WRITES) == []
    assert [d["verdict"] for d in done.json["runs"][0]["decisions"]].count("keep") >= 1


def test_bytes_that_do_not_come_are_no_damage(
    own: Place, proxy: faulty.Proxy, ckptctl: Ckptctl
) -> None:
    for act, level in ((faulty.reset, "digest"), (faulty.cut(0.5, honest=True), "structure")):
        proxy.rules = [faulty.Rule(act=act, fits="^GET [^?]*step_[12].pt")]
        done = call(ckptctl, ("verify", "--level", level), own, proxy)
        assert done.code == 7, done.stdout + done.stderr
        assert "damaged" not in done.stdout
    assert proxy.asked(WRITES) == []


def test_a_login_page_in_place_of_all_is_told(
    own: Place, proxy: faulty.Proxy, ckptctl: Ckptctl
) -> None:
    proxy.rule(
        faulty.answer(200, b"<html><body>Log in</body></html>", ("Content-Type", "text/html"))
    )
    unreachable(call(ckptctl, ("list",), own, proxy), own, proxy, "login page")


PRUNE = ("prune", "--keep-last", "1")


def left(where: Place) -> list[str]:
    return sorted(path for path, _ in where.open().listing().walk())


@EITHER
@pytest.mark.parametrize("listing", [0, 1])
def test_nothing_is_deleted_on_a_listing_that_fails(
    own: Place, proxy: faulty.Proxy, ckptctl: Ckptctl, listing: int
) -> None:
    """Neither on the first one nor on that which is made under the lock."""
    skip = listing if own.kind == "gcs" else 2 * listing  # each is asked for until it is proven
    error = faulty.gcs_error if own.kind == "gcs" else faulty.s3_error
    run = own.url.rpartition("/")[2]
    proxy.rule(error(503, "SlowDown"), f"{LISTING}.*prefix={run}/(&|$| )", skip=skip)
    done = call(ckptctl, PRUNE, own, proxy)
    assert done.code == 7, done.stdout
    assert len(left(own)) == 6
    assert call(ckptctl, PRUNE, own, faulty.Proxy(own.port)).code == 0
    assert left(own) == ["step_3.json", "step_3.pt"]


@EITHER
def test_credentials_that_expire_between_two_deletions_leave_a_rest_for_the_next_prune(
    own: Place, proxy: faulty.Proxy, ckptctl: Ckptctl
) -> None:
    if own.kind == "gcs":
        proxy.rule(faulty.gcs_error(401, "Invalid Credentials"), "^DELETE .*json")
    else:
        proxy.rule(faulty.s3_error(403, "ExpiredToken"), "^POST .*delete", skip=1)
    done = call(ckptctl, PRUNE, own, proxy)
    assert done.code == 5, done.stdout
    assert "credentials" in done.stdout
    assert left(own) == ["step_1.json", "step_2.json", "step_3.json", "step_3.pt"]
    done = call(ckptctl, PRUNE, own, faulty.Proxy(own.port))
    assert done.code == 0, done.stdout
    assert left(own) == ["step_3.json", "step_3.pt"]
