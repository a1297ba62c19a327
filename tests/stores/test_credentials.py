"""Credentials from where users have them, and what is said where they are of no use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptctl.stores import open_store
from tests.servers import fake_gcs, issuer, seaweed

LOCATION = f"s3://{seaweed.BUCKET}"
ROLE = "role_arn = arn:aws:iam::123456789012:role/training\n"
ASSUMED = f"[profile train]\n{ROLE}source_profile = base\n[profile base]\naws_access_key_id = AKIABASE\naws_secret_access_key = hush-base\n"
SSO = "[profile train]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = training\n[sso-session corp]\nsso_region = us-east-1\nsso_start_url = https://corp.invalid/start\n"


@pytest.fixture
def giving() -> Iterator[issuer.Issuer]:
    with issuer.running(seaweed.GUEST) as server:
        yield server


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, giving: issuer.Issuer) -> Path:
    """A user who has nothing: no file, no variable, no instance."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL",
                 "STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "HTTP_PROXY", "http_proxy",
                 "NO_PROXY", "no_proxy"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", giving.endpoint)
    return tmp_path


def profile(monkeypatch: pytest.MonkeyPatch, home: Path, text: str) -> None:
    (home / "config").write_text(text)
    monkeypatch.setenv("AWS_PROFILE", "train")


@pytest.fixture(autouse=True)
def silent(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever happens, no library writes to the terminal by itself."""
    yield
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""


def says(options: dict[str, object], *words: str, location: str = LOCATION) -> None:
    """An attempt fails with these words, that name the bucket, and no secret is in them."""
    with pytest.raises(PermissionError) as caught:
        open_store(location, options).listing(deep=False)
    text = f"{caught.value} {caught.value.__cause__}"
    for word in (location, "check ", *words):
        assert word in text
    for secret in ("hush", "AKIA", *seaweed.GUEST):
        assert secret not in text


@pytest.mark.parametrize("engine", ["obstore", "fsspec"])
def test_a_role_is_assumed(
    seaweedfs: seaweed.Seaweed, giving: issuer.Issuer, engine: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    profile(monkeypatch, home, ASSUMED)
    options: dict[str, object] = {"endpoint_url": seaweedfs.endpoint, "engine": engine}
    assert open_store(LOCATION, options).listing(deep=False).files
    assert giving.asked == ["AssumeRole"]
    giving.refusal = "AccessDenied"
    says(options, "AccessDenied")


def test_a_web_identity_is_exchanged(
    seaweedfs: seaweed.Seaweed, giving: issuer.Issuer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "token").write_text("hush-web")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(home / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/training")
    options: dict[str, object] = {"endpoint_url": seaweedfs.endpoint}
    assert open_store(LOCATION, options).listing(deep=False).files
    assert giving.asked == ["AssumeRoleWithWebIdentity"]
    giving.refusal = "InvalidIdentityToken"
    says(options, "they are refused (InvalidIdentityToken)", "role's policy")
    giving.refusal = "ExpiredTokenException"
    says(options, "have expired (ExpiredTokenException)")
    (home / "token").unlink()
    says(options, "finding credentials for")


def test_an_instance_and_a_container_give_theirs(
    seaweedfs: seaweed.Seaweed, giving: issuer.Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, object] = {"endpoint_url": seaweedfs.endpoint}
    with monkeypatch.context() as instance:
        instance.delenv("AWS_EC2_METADATA_DISABLED")
        instance.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", giving.endpoint)
        assert open_store(LOCATION, options).listing(deep=False).files
        assert giving.asked[0] == "/latest/api/token"
        assert giving.asked[-1].endswith("/training-node")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{giving.endpoint}/container")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "the-container")
    assert open_store(LOCATION, options).listing(deep=False).files
    assert giving.asked[-1] == "/container"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[profile train]\ncredential_process = false\n", ("what is to give them failed", "credential_process")),
        ("[profile train]\ncredential_process = echo hush\n", ("finding credentials for",)),
        (SSO, ("have expired", "aws sso login")),
        (f"[profile train]\n{ROLE}source_profile = gone\n", ("makes no sense (InvalidConfigError)",)),
        (f"[profile train]\n{ROLE}credential_source = Nowhere\n", ("~/.aws/config",)),
        ("[profile train]\naws_access_key_id = AKIAHUSH\n", ("they are refused (PartialCredentialsError)",)),
        ("[profile train]\naws_access_key_id = AKIA\taws\naws_secret_access_key = hush\tb\n", ("the credentials' key",)),
        ("[profile train\nhush", ("makes no sense (ConfigParseError)", "~/.aws/config")),
        ("[profile other]\n", ("no such profile", "AWS_PROFILE")),
    ],
    ids=lambda value: "" if isinstance(value, str) else value[0],
)  # fmt: skip
def test_what_is_wrong_with_a_profile_is_said(
    text: str, words: tuple[str, ...], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile(monkeypatch, home, text)
    with pytest.raises(PermissionError) as caught:
        open_store(LOCATION)
    for word in words:
        assert word in str(caught.value)
    assert "hush" not in str(caught.value).lower()
    assert "; check " in str(caught.value) or "; renew " in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "DefaultCredentialsError"), ("{hush", "DefaultCredentialsError"), ('{"type": "hush"}', "finding")],
    ids=["missing", "broken", "of a strange type"],
)  # fmt: skip
def test_a_file_of_google_that_is_of_no_use_is_said(
    content: str | None, words: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = home / "key.json"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    says({}, words, "GOOGLE_APPLICATION_CREDENTIALS", location="gs://b")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    says({"token": str(file)}, "finding credentials", "token=...", location="gs://b")


@pytest.mark.parametrize("lead", ["", "http://"])
def test_the_emulator_is_named_with_and_without_a_scheme(
    gcs: fake_gcs.FakeGcs, lead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"{lead}127.0.0.1:{gcs.port}/")
    store = open_store(f"gs://{fake_gcs.BUCKET}//", {"project": "p", "token": "anon"})
    assert store.listing(deep=False).error is None


def test_a_proxy_is_asked_unless_the_host_needs_none(
    seaweedfs: seaweed.Seaweed, gcs: fake_gcs.FakeGcs, giving: issuer.Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setenv("http_proxy", giving.endpoint)
    ways: tuple[tuple[str, dict[str, object]], ...] = (
        (LOCATION, seaweedfs.options()),
        (LOCATION, seaweedfs.options(engine="fsspec")),
        (f"gs://{fake_gcs.BUCKET}", gcs.options()),
    )
    for location, options in ways:
        with pytest.raises(PermissionError, match=r"the proxy wants a login .*HTTPS_PROXY"):
            open_store(location, options).listing(deep=False)
        assert giving.asked
        assert giving.asked.pop().startswith(str(options["endpoint_url"]))
        giving.asked.clear()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for location, options in ways:
        assert open_store(location, options).listing(deep=False).error is None
    assert not giving.asked
