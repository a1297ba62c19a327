"""What a bucket keeps although it was deleted: asked of real servers, counted, and told."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pytest

from ckptctl.listing import Entry
from ckptctl.model import NS
from ckptctl.stores import open_store
from ckptctl.stores._base import Store
from ckptctl.stores._keeping import Keeping, Remains, Retention, Versions
from ckptctl.stores._past import Version, asked, counted, of_gcs, of_s3, prefixes
from tests.servers import fake_gcs, liar, seaweed
from tests.stores.places import KINDS, Place, place

DAY = 86400 * NS


@pytest.fixture(params=KINDS)
def anywhere(request: pytest.FixtureRequest) -> Iterator[Place]:
    yield from place(request.param, request)


def test_where_nothing_is_kept_nothing_is_said(anywhere: Place) -> None:
    store = anywhere.open()
    store.replace("a", b"12345")
    gone = dict(store.listing().files)
    assert store.remove_files(gone).left == ()
    kept = store.keeping(gone)
    assert (kept.freed(5), kept.after(1, 5)) == (5, ())
    assert kept.versions in {"off", "suspended"}  # fake-gcs says false where GCS says nothing
    assert store.keeping().remains is None


@pytest.fixture(params=["s3-obstore", "s3-fsspec", "gcs"])
def versioned(request: pytest.FixtureRequest) -> Store:
    """A location of a bucket that keeps versions."""
    name = uuid.uuid4().hex[:8]
    if request.param == "gcs":
        gcs: fake_gcs.FakeGcs = request.getfixturevalue("gcs")
        return open_store(f"gs://{fake_gcs.VERSIONED}/{name}", gcs.options())
    weed: seaweed.Seaweed = request.getfixturevalue("seaweedfs")
    options = weed.options(seaweed.ADMIN, engine=request.param[3:])
    return open_store(f"s3://{seaweed.VERSIONED}/{name}", options)


def files_of(store: Store, path: str) -> dict[str, Entry]:
    return {f"{path}/{name}": entry for name, entry in store.listing(path).walk()}


def saved(store: Store) -> None:
    """Two checkpoints and a file, of which one was saved three times, and all once before."""
    for size in (1, 2, 3):
        store.replace("run/step_5/model.pt", b"x" * size)
    for path in ("run/step_5/sub/rng.pt", "run/step_50/model.pt", "run/step_5-old"):
        store.replace(path, b"1234")


def test_versions_that_are_left_are_counted_and_told(versioned: Store) -> None:
    saved(versioned)
    deleted = files_of(versioned, "run/step_5")
    assert sorted(deleted) == ["run/step_5/model.pt", "run/step_5/sub/rng.pt"]
    assert versioned.remove_files(deleted).left == ()
    kept = versioned.keeping(deleted)
    assert (kept.versions, kept.object_lock, kept.words()) == ("on", False, "versions are kept")
    assert kept.remains == Remains(versions=4, size=1 + 2 + 3 + 4, hidden=3 + 4)
    assert kept.freed(7) == 0
    (text,) = kept.after(2, 7)
    assert text.startswith("deleted, but 4 noncurrent versions (10 B) still cost money: ")
    assert f"{kept.where} keeps versions" in text
    assert sorted(files_of(versioned, "run")) == ["run/step_5-old", "run/step_50/model.pt"]


def test_what_was_saved_anew_since_is_current(versioned: Store) -> None:
    saved(versioned)
    deleted = files_of(versioned, "run/step_50")
    assert versioned.remove_files(deleted).left == ()
    versioned.replace("run/step_50/model.pt", b"anew")
    assert versioned.below("run").keeping({"step_50/model.pt": Entry(4, 0)}).remains == Remains(
        versions=1, size=4
    )


def test_the_pages_of_a_long_history_are_followed(
    versioned: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):  # SeaweedFS forgets `a-b` where a page ends within `a/`
        versioned.replace(f"run/step_{number % 3}/model.pt", b"123")
    deleted = files_of(versioned, "run")
    assert versioned.remove_files(deleted).left == ()
    monkeypatch.setattr("ckptctl.stores._s3fs.BATCH", 2)
    assert versioned.keeping(deleted).remains == Remains(versions=6, size=18, hidden=9)
    monkeypatch.setattr("ckptctl.stores._past._PAGES", 2)
    monkeypatch.setattr("ckptctl.stores.gcs._PAGE", 2)
    few = versioned.keeping(deleted).remains
    assert few is not None
    if versioned.root.startswith("s3:"):  # fake-gcs has no pages
        assert not few.whole
        assert 0 < few.versions < 6


@pytest.mark.parametrize("engine", ["obstore", "fsspec"])
def test_object_lock_is_noticed_and_hides_what_is_deleted(
    seaweedfs: seaweed.Seaweed, engine: str
) -> None:
    options = seaweedfs.options(seaweed.ADMIN, engine=engine)
    store = open_store(f"s3://{seaweed.LOCKED}/{uuid.uuid4().hex[:8]}", options)
    store.replace("run/a", b"12345")
    deleted = files_of(store, "run")
    assert store.remove_files(deleted).left == ()  # Object Lock does not refuse a delete marker
    kept = store.keeping(deleted)
    assert (kept.versions, kept.object_lock) == ("on", True)
    assert kept.retention == Retention("GOVERNANCE", 30 * DAY)
    assert kept.words() == "versions are kept; Object Lock; retention: 30d (GOVERNANCE)"
    (text,) = kept.after(1, 5)
    assert "1 noncurrent version (5 B) still costs money" in text
    assert "not within 30d (GOVERNANCE) of when they were saved" in text


@pytest.mark.parametrize("engine", ["obstore", "fsspec"])
def test_who_may_not_ask_knows_nothing_and_is_not_stopped(
    seaweedfs: seaweed.Seaweed, engine: str
) -> None:
    store = open_store(f"s3://{seaweed.CLOSED}", seaweedfs.options(engine=engine))
    kept = store.keeping({"a": Entry(1, 0, etag="1")})
    assert (kept.versions, kept.doubt, kept.remains) == ("unknown", "refused", None)
    (text,) = kept.after(1, 1)
    assert text.startswith(f"deleted, but {kept.where} may hold versions")
    assert "no permission (s3:GetBucketVersioning)" in text
    # Who may ask for versioning, but not for Object Lock, still knows that.
    store = open_store(f"s3://{seaweed.LOCKED}", seaweedfs.options(engine=engine))
    kept = store.keeping()
    assert (kept.versions, kept.object_lock) == ("on", None)
    assert "unknown" in kept.words()


@pytest.mark.parametrize("engine", ["obstore", "fsspec"])
def test_a_server_that_does_not_know_the_question_is_asked_once(engine: str) -> None:
    with liar.running() as lying:
        store = open_store("s3://b/run", lying.options(engine=engine))
        kept = store.keeping({"a": Entry(1, 0, etag="1")})
        assert len(lying.asked) == 1
    assert (kept.versions, kept.doubt) == ("unknown", "unsupported")
    assert (kept.after(1, 1), kept.freed(1)) == ((), 1)
    assert "does not know" in kept.words()


@pytest.mark.parametrize("engine", ["obstore", "fsspec"])
def test_a_key_that_a_lock_protects_says_so(engine: str) -> None:
    with liar.running() as lying:
        lying.objects |= {"/b/run/locked": b"1", "/b/run/other": b"1", "/b/run/stuck": b"1"}
        store = open_store("s3://b/run", lying.options(engine=engine))
        removed = store.remove_files(dict.fromkeys(("locked", "other", "stuck"), Entry(1, 0)))
    assert removed.freed == 1
    locked, stuck = removed.left
    assert "Object Lock protects the object (AccessDenied)" in locked
    assert "credentials" not in locked
    assert "permission is denied (AccessDenied)" in stuck


def test_a_hold_of_gcs_says_so() -> None:
    with liar.running() as lying:
        store = open_store("gs://b/run", {"endpoint_url": lying.endpoint, "token": "anon"})
        removed = store.remove_files(dict.fromkeys(("a", "under active hold"), Entry(1, 0)))
    assert removed.freed == 0
    assert len(removed.left) == 2
    for text in removed.left:
        assert "a temporary hold protects the object (objectUnderActiveHold)" in text
        assert "credentials" not in text


class Scripted:
    """A bucket that fails where it is told to."""

    def __init__(self, pages: Sequence[Sequence[Version] | OSError], found: Keeping) -> None:
        self.pages = pages
        self.found = found
        self.asked: list[str] = []

    def settings(self) -> Keeping:
        return self.found

    def noncurrent(self, prefix: str) -> Iterator[Sequence[Version]]:
        self.asked.append(prefix)
        for page in self.pages:
            if isinstance(page, OSError):
                raise page
            yield page


ON = Keeping(versions="on")


def test_a_count_that_breaks_off_says_at_least_how_many() -> None:
    page = [Version("p/a", 3, "new"), Version("p/a", 2, "old"), Version("p/other", 9, "new")]
    deleted = {"p/a": "new"}
    assert counted(Scripted([page], ON), deleted, "p/") == Remains(2, 5, 3)
    assert counted(Scripted([page, TimeoutError()], ON), deleted, "p/") == Remains(2, 5, 3, False)
    assert counted(Scripted([TimeoutError()], ON), deleted, "p/") is None
    assert counted(Scripted([page] * 60, ON), deleted, "p/") == Remains(100, 250, 3, False)
    kept = asked(lambda: Scripted([page, OSError()], ON), "s3://b", deleted, "p/")
    assert "at least 2 noncurrent versions (5 B) still cost money" in kept.after(1, 3)[0]
    kept = asked(lambda: Scripted([OSError()], ON), "s3://b", deleted, "p/")
    assert "an unknown number of noncurrent versions still cost" in kept.after(1, 3)[0]
    assert kept.freed(3) == 0


def told(bucket: Scripted, *deleted: str) -> Keeping:
    return asked(lambda: bucket, "s3://b", dict.fromkeys(deleted, "1"), "")


def test_nothing_is_listed_where_there_are_no_versions_or_no_answers() -> None:
    for found in (
        Keeping(),
        Keeping(versions="unknown", doubt="unsupported"),
        Keeping(versions="unknown", doubt="unanswered"),
    ):
        bucket = Scripted([], found)
        assert told(bucket, "a").remains is None
        assert bucket.asked == []
    bucket = Scripted([], replace(ON, versions="suspended"))
    assert told(bucket).remains is None
    assert told(bucket, "a").remains == Remains()
    assert bucket.asked == ["a"]


def test_there_is_a_listing_for_each_folder_and_never_one_for_each_key() -> None:
    two = ["r/step_5/a", "r/step_5/b/c", "r/step_50/a"]
    assert prefixes(two, "r/") == ["r/step_5/", "r/step_50/"]
    assert prefixes(["r/step_1.pt", "r/step_2.pt", "r/step_2.json"], "r/") == ["r/step_"]
    assert prefixes(["step_1.pt"], "") == ["step_1.pt"]
    many = [f"r/step_{number}/a" for number in range(1000)]
    assert prefixes(many, "r/") == ["r/step_"]
    assert prefixes([*many, "r/x.json"], "r/") == ["r/"]


def gcs_bucket(**settings: object) -> Keeping:
    return replace(of_gcs(settings), where="gs://b")


def test_the_settings_of_gcs_are_understood() -> None:
    assert of_gcs({}) == Keeping()
    assert gcs_bucket(versioning={"enabled": True}).versions == "on"
    assert gcs_bucket(versioning={"enabled": False}).versions == "suspended"
    kept = gcs_bucket(
        softDeletePolicy={"retentionDurationSeconds": "604800"},
        retentionPolicy={"retentionPeriod": "2592000", "isLocked": True},
        objectRetention={"mode": "Enabled"},
        defaultEventBasedHold=True,
    )
    assert (kept.soft_delete_ns, kept.retention) == (7 * DAY, Retention("locked", 30 * DAY))
    assert kept.words() == (
        "Object Lock; retention: 30d (locked); soft delete: 7d; new objects are held"
    )
    assert of_gcs({"softDeletePolicy": {"retentionDurationSeconds": "0"}}) == Keeping()
    unlocked = of_gcs({"retentionPolicy": {"retentionPeriod": "60"}}).retention
    assert unlocked == Retention("not locked", 60 * NS)


def test_the_settings_of_s3_are_understood() -> None:
    states: Mapping[str, Versions] = {"Enabled": "on", "Suspended": "suspended", "": "off"}
    for status, versions in states.items():
        assert of_s3({"Status": status} if status else {}, {}) == Keeping(versions=versions)
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Years": 2}}
    kept = of_s3({"Status": "Enabled"}, {"ObjectLockEnabled": "Enabled", "Rule": rule})
    assert (kept.object_lock, kept.retention) == (True, Retention("COMPLIANCE", 730 * DAY))
    kept = of_s3({"Status": "Enabled"}, {"ObjectLockEnabled": "Enabled"})
    assert (kept.object_lock, kept.retention) == (True, None)
    assert "but not while Object Lock keeps them" in kept.after(1, 1)[0]


def test_soft_delete_is_told_and_counts_as_freed() -> None:
    kept = gcs_bucket(softDeletePolicy={"retentionDurationSeconds": "604800"})
    (text,) = kept.after(3, 12_000)
    assert text == (
        "deleted, but 3 objects (12.0 kB) can be brought back for 7d and cost money until then: "
        "gs://b has soft delete"
    )
    assert kept.freed(12_000) == 12_000
    assert kept.after(0, 0) == ()
    both = replace(kept, versions="on", remains=Remains(3, 12_000, 12_000))
    assert [t.split(":")[0] for t in both.after(3, 12_000)] == [
        "deleted, but 3 noncurrent versions (12.0 kB) still cost money"
    ]


def test_suspended_versioning_frees_what_it_does_not_hide() -> None:
    kept = Keeping(where="s3://b", versions="suspended")
    assert "versioning is suspended" in kept.after(2, 10)[0]
    assert replace(kept, remains=Remains()).after(2, 10) == ()
    hiding = replace(kept, remains=Remains(3, 20, 6))
    assert hiding.freed(10) == 4
    assert "3 noncurrent versions (20 B) still cost money" in hiding.after(2, 10)[0]


def test_versions_that_are_found_are_told_even_to_who_may_not_ask_for_the_setting() -> None:
    kept = Keeping(where="gs://b", versions="unknown", doubt="refused", remains=Remains(2, 10, 5))
    assert "2 noncurrent versions (10 B) still cost money" in kept.after(1, 5)[0]
    assert kept.freed(5) == 0
    assert replace(kept, remains=Remains()).after(1, 5) == ()
    assert "storage.buckets.get" in replace(kept, remains=None).after(1, 5)[0]
