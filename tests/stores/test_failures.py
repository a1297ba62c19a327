"""What a user is told where a bucket cannot be used, and how soon; never a secret."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ckptctl.listing import Entry
from ckptctl.stores import open_store
from ckptctl.stores._base import IgnoredConditionError, Store
from ckptctl.stores._options import region_of
from tests.servers import fake_gcs, liar, seaweed
from tests.servers.sharing import nobodys

ENGINES = ("obstore", "fsspec")
SECRETS = [
    part for who in (seaweed.ADMIN, seaweed.GUEST, seaweed.READER, seaweed.WRONG) for part in who
]
NOT_TOLD = "told-to-nobody"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
                 "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def told(kind: type[OSError], attempt: Callable[[], object], *words: str) -> str:
    """What an attempt fails with; all words are in it and no secret is."""
    with pytest.raises(kind) as caught:
        attempt()
    text = f"{caught.value} {caught.value.args} {caught.value.__cause__}"
    for word in words:
        assert word in text
    for secret in (*SECRETS, NOT_TOLD, "Signature="):
        assert secret not in text
    return text


def listing(store: Store) -> Callable[[], object]:
    return store.listing


def test_a_bucket_that_is_not_there(seaweedfs: seaweed.Seaweed, engine: str) -> None:
    def opened() -> Store:
        options = seaweedfs.options(seaweed.ADMIN, engine=engine)
        return open_store("s3://typo-bucket/run", options)

    host = f"127.0.0.1:{seaweedfs.port}"
    words = ("s3://typo-bucket", host, "no such bucket (NoSuchBucket)", "check its name")
    told(FileNotFoundError, opened().listing, "listing", *words)
    told(FileNotFoundError, lambda: opened().read("a", 10), "reading from", *words)
    told(FileNotFoundError, lambda: opened().open("a").__enter__(), "reading from", *words)
    told(FileNotFoundError, lambda: opened().replace("a", b""), "writing to", *words)
    told(FileNotFoundError, lambda: opened().create("a", b""), "writing to", *words)
    removed = opened().remove_files({"a": Entry(1, 0)})
    assert removed.freed == 0
    assert "no such bucket" in removed.left[0]


def test_a_bucket_of_others(seaweedfs: seaweed.Seaweed, engine: str) -> None:
    store = open_store(f"s3://{seaweed.CLOSED}/run", seaweedfs.options(engine=engine))
    words = (
        seaweed.CLOSED,
        "permission is denied (AccessDenied)",
        "check the bucket's name and policy",
    )
    told(PermissionError, store.listing, "listing", *words)
    told(PermissionError, lambda: store.read("a", 10), "reading from", *words)
    told(PermissionError, lambda: store.replace("a", b""), "writing to", *words)
    removed = store.remove_files({"a": Entry(1, 0), "b": Entry(1, 0)})
    assert removed.freed == 0
    assert [line[:3] for line in removed.left] == ["a: ", "b: "]


def test_who_may_only_read(seaweedfs: seaweed.Seaweed, engine: str) -> None:
    own = open_store(f"s3://{seaweed.BUCKET}/{engine}-read", seaweedfs.options())
    own.replace("a", b"12")
    other = open_store(own.root, seaweedfs.options(seaweed.READER, engine=engine))
    assert list(other.listing().files) == ["a"]
    told(PermissionError, lambda: other.create("lock", b""), "writing to", "AccessDenied")
    for removed in (other.remove_file("a"), other.remove_tree("")):
        assert removed.freed == 0
        assert len(removed.left) == 1
    assert own.read("a", 10) == b"12"


def test_a_wrong_secret(seaweedfs: seaweed.Seaweed, engine: str) -> None:
    store = open_store("s3://checkpoints/run", seaweedfs.options(seaweed.WRONG, engine=engine))
    words = ("s3://checkpoints", "the credentials are refused (SignatureDoesNotMatch)", "AWS_PROFILE")  # fmt: skip
    told(PermissionError, store.listing, *words)
    unknown = seaweedfs.options(("AKIANOBODY", NOT_TOLD), engine=engine)
    store = open_store("s3://checkpoints/run", unknown)
    text = told(PermissionError, store.listing, "the credentials are refused (InvalidAccessKeyId)")
    assert "AKIANOBODY" not in text


def test_a_gcs_bucket_that_is_not_there(gcs: fake_gcs.FakeGcs) -> None:
    def opened() -> Store:
        return open_store("gs://typo-bucket/run", gcs.options())

    told(FileNotFoundError, opened().listing, "listing gs://typo-bucket", "no such bucket")
    told(FileNotFoundError, lambda: opened().replace("a", b""), "writing to gs://typo-bucket")


def test_a_refused_connection_is_known_soon() -> None:
    with nobodys() as gone:
        _refused(gone)


def _refused(gone: str) -> None:
    s3 = {"endpoint_url": gone, "key": "AKIALIAR", "secret": NOT_TOLD}
    ways: list[tuple[str, dict[str, object]]] = [
        ("s3://b/run", {**s3, "engine": "obstore"}),
        ("s3://b/run", {**s3, "engine": "fsspec"}),
        ("gs://b/run", {"endpoint_url": gone, "token": "anon"}),
    ]

    def attempt(way: tuple[str, dict[str, object]]) -> tuple[str, float]:
        began = time.monotonic()
        text = told(ConnectionError, listing(open_store(*way)), "no connection", gone[7:])
        return text, time.monotonic() - began

    with ThreadPoolExecutor(len(ways)) as pool:
        for text, seconds in pool.map(attempt, ways):
            assert seconds < 90, text  # 30 on a machine that does nothing else


@pytest.fixture
def lying() -> Iterator[liar.Liar]:
    with liar.running() as server:
        yield server


def test_a_server_that_ignores_conditions_is_found_out(lying: liar.Liar, engine: str) -> None:
    store = open_store("s3://b/run", lying.options(engine=engine))
    told(IgnoredConditionError, lambda: store.create("lock", b"mine"), "If-None-Match", "s3://b")
    assert lying.objects == {}  # nothing of ours stays
    lying.objects["/b/run/lock"] = b"theirs"
    with pytest.raises(FileExistsError):
        store.create("lock", b"mine")
    assert lying.objects == {"/b/run/lock": b"theirs"}


def test_each_key_of_a_batch_that_stays_is_told(lying: liar.Liar, engine: str) -> None:
    names = [f"{n:04}{'-stuck' if n in {3, 1100} else ''}" for n in range(1200)]
    lying.objects |= {f"/b/run/{name}": b"12" for name in names}
    store = open_store("s3://b/run", lying.options(engine=engine))
    removed = store.remove_files(dict.fromkeys(names, Entry(2, 0)))
    assert removed.freed == 2 * 1198
    assert [line.partition(":")[0] for line in removed.left] == ["0003-stuck", "1100-stuck"]
    assert all("AccessDenied" in line for line in removed.left)
    assert sorted(lying.objects) == ["/b/run/0003-stuck", "/b/run/1100-stuck"]
    deletions = [path for method, path, _ in lying.asked if method == "POST"]
    assert len(deletions) <= 4  # one for each thousand, and again each that stayed


def test_requester_pays_is_said(lying: liar.Liar, engine: str) -> None:
    store = open_store("s3://b/run", lying.options(engine=engine, requester_pays="true"))
    store.replace("a", b"")
    method, _, headers = lying.asked[-1]
    assert method == "PUT"
    assert {k.lower(): v for k, v in headers.items()}["x-amz-request-payer"] == "requester"


def test_anybody_may_read_what_is_public(seaweedfs: seaweed.Seaweed, engine: str) -> None:
    options = {"endpoint_url": seaweedfs.endpoint, "anon": "true", "engine": engine}
    assert "ready" in open_store(f"s3://{seaweed.PUBLIC}", options).listing().files
    told(PermissionError, open_store(f"s3://{seaweed.CLOSED}", options).listing, "AccessDenied")


def test_the_environment_is_enough(
    seaweedfs: seaweed.Seaweed, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweed.GUEST[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweed.GUEST[1])
    monkeypatch.setenv("AWS_ENDPOINT_URL", seaweedfs.endpoint)
    store = open_store(f"s3://{seaweed.BUCKET}", {"engine": engine})
    assert store.listing(deep=False).files


def test_what_is_named_goes_before_the_environment(
    seaweedfs: seaweed.Seaweed, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOTHER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "stale")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    store = open_store(f"s3://{seaweed.BUCKET}", seaweedfs.options(engine=engine))
    assert store.listing(deep=False).files


def test_the_region_of_a_bucket_is_asked_for_where_nobody_named_it(lying: liar.Liar) -> None:
    assert region_of("b", lying.endpoint) == "eu-west-3"
    with nobodys() as gone:
        assert region_of("b", gone) == "us-east-1"


def test_the_environment_is_enough_for_gcs(
    gcs: fake_gcs.FakeGcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs.endpoint)
    assert open_store(f"gs://{fake_gcs.BUCKET}").listing(deep=False).error is None


@pytest.mark.parametrize("how", ["key", "process"])
def test_a_profile_is_enough(
    seaweedfs: seaweed.Seaweed,
    engine: str,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    answer = tmp_path / "answer.json"
    answer.write_text(
        f'{{"Version": 1, "AccessKeyId": "{seaweed.GUEST[0]}", "SecretAccessKey": "{seaweed.GUEST[1]}", "Expiration": "2099-01-01T00:00:00Z"}}'
    )
    ways = {
        "key": f"aws_access_key_id = {seaweed.GUEST[0]}\naws_secret_access_key = {seaweed.GUEST[1]}\n",
        "process": f"credential_process = cat {answer}\n",
    }
    (tmp_path / "config").write_text(
        f"[profile train]\nregion = us-east-1\nendpoint_url = {seaweedfs.endpoint}\n{ways[how]}"
    )
    location = f"s3://{seaweed.BUCKET}"
    by_option = open_store(location, {"engine": engine, "profile": "train"})
    assert by_option.listing(deep=False).files
    monkeypatch.setenv("AWS_PROFILE", "train")
    assert open_store(location, {"engine": engine}).listing(deep=False).files


def test_no_credentials_and_no_such_profile(seaweedfs: seaweed.Seaweed, engine: str) -> None:
    def attempt(**options: object) -> Callable[[], object]:
        given = {"endpoint_url": seaweedfs.endpoint, "engine": engine, **options}
        return lambda: open_store("s3://checkpoints/run", given).listing()

    told(PermissionError, attempt(), "credentials", "s3://checkpoints", "AWS_ACCESS_KEY_ID")
    told(PermissionError, attempt(profile="typo"), "no such profile", "~/.aws/config")


def test_misspelt_options_and_unknown_schemes_are_refused() -> None:
    told(OSError, lambda: open_store("s3://b", {"endpont_url": "x"}), "endpont_url", "endpoint_url")
    told(OSError, lambda: open_store("s3://b", {"engine": "rclone"}), "obstore or fsspec")
    told(OSError, lambda: open_store("nosuch://b/run"), "nosuch://", "fsspec does not know it")
