"""Which configuration is found for a location."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ckptctl.discover import Found, find_config, not_for

ME = os.getuid()
TEXT = "version: 1\n"


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """proj/exp/run/, home/, etc/: with no configuration anywhere."""
    for name in ("proj/exp/run", "home/.config/ckptctl", "xdg/ckptctl", "etc/ckptctl"):
        (tmp_path / name).mkdir(parents=True)
    for path in tmp_path.rglob("*"):
        path.chmod(0o755)  # whatever the umask
    return tmp_path


def write(path: Path) -> str:
    path.write_text(TEXT)
    path.chmod(0o644)
    return str(path)


def find(places: Path, location: str | None = None, **environ: str) -> Found:
    where = str(places / "proj/exp/run") if location is None else location
    env = {"HOME": str(places / "home"), **environ}
    return find_config(where, env, ME, system=str(places / "etc"))


def test_nothing_is_found_where_nothing_is(places: Path) -> None:
    assert find(places) == Found(None, searched=True)


def test_the_nearest_wins(places: Path) -> None:
    etc = write(places / "etc/ckptctl/config.yaml")
    assert find(places).file == etc
    home = write(places / "home/.config/ckptctl/config.yaml")
    assert find(places).file == home
    xdg = write(places / "xdg/ckptctl/config.yaml")
    assert find(places, XDG_CONFIG_HOME=str(places / "xdg")).file == xdg
    assert find(places, XDG_CONFIG_HOME="xdg").file == home  # relative: not to be obeyed
    proj = write(places / "proj/ckptctl.yaml")
    assert find(places, XDG_CONFIG_HOME=str(places / "xdg")).file == proj
    run = write(places / "proj/exp/run/ckptctl.yaml")
    assert find(places) == Found(run, searched=True)
    named = find(places, CKPTCTL_CONFIG="anything.yaml")
    assert named == Found("anything.yaml", searched=False)
    assert find(places, CKPTCTL_CONFIG="").file == run


def test_the_option_goes_before_all(places: Path) -> None:
    env = {"CKPTCTL_CONFIG": "env.yaml"}
    assert find_config(str(places), env, ME, named="mine.yaml").file == "mine.yaml"


def test_a_bucket_has_no_parents_to_search(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(places / "proj")
    write(places / "proj/ckptctl.yaml")
    home = write(places / "home/.config/ckptctl/config.yaml")
    assert find(places, "s3://bucket/run").file == home


def test_other_spellings_of_a_local_location(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proj = write(places / "proj/ckptctl.yaml")
    (places / "proj/exp/run/step_1.pt").write_bytes(b"")
    (places / "short").symlink_to(places / "proj/exp/run")
    monkeypatch.chdir(places / "proj/exp")
    for location in (".", "run", "run/", "run/step_1.pt", "run/not-there"):
        assert find(places, location).file == proj, location
    assert find(places, f"file://{places}/proj/exp/run").file == proj
    assert find(places, str(places / "short")).file == proj


def test_one_that_others_can_write_is_passed_over_with_a_warning(places: Path) -> None:
    near = places / "proj/exp/run/ckptctl.yaml"
    write(near)
    near.chmod(0o666)
    proj = write(places / "proj/ckptctl.yaml")
    found = find(places)
    assert found.file == proj
    assert found.warnings == (
        f"{near} is passed over: {near} is writable by everyone; name it with --config to use it",
    )


@pytest.mark.skipif(ME != 0, reason="only root can give files to other users")
def test_the_runs_owner_counts_for_root(places: Path) -> None:
    """An epilog runs as root on users' directories."""
    proj = write(places / "proj/ckptctl.yaml")
    for path in (places / "proj", *(places / "proj").rglob("*")):
        os.chown(path, 4242, -1)
    assert find(places).file == proj
    os.chown(proj, 4243, -1)
    assert find(places).file is None


def test_a_directory_of_that_name_is_found_to_be_wrong_not_passed_over(places: Path) -> None:
    (places / "proj/ckptctl.yaml").mkdir()
    assert find(places).file == str(places / "proj/ckptctl.yaml")


def test_a_dangling_link_is_told(places: Path) -> None:
    (places / "proj/ckptctl.yaml").symlink_to(places / "gone.yaml")
    found = find(places)
    assert found.file is None
    assert "cannot be examined" in found.warnings[0]


@pytest.mark.skipif(ME != 0, reason="only root can give files to other users")
def test_one_users_configuration_is_not_for_anothers_run(places: Path) -> None:
    """Root cleans up a directory of alice's, in which bob has a run too."""
    alice, bob = 4242, 4243
    mine = write(places / "proj/ckptctl.yaml")
    for name in ("proj", "proj/exp", "proj/exp/run", "proj/ckptctl.yaml"):
        os.chown(places / name, alice, -1)
    (places / "proj/exp/his").mkdir(mode=0o755)
    os.chown(places / "proj/exp/his", bob, -1)
    found = find(places, str(places / "proj/exp"))
    assert found.file == mine
    assert not_for(found, str(places / "proj/exp/run"), ME) is None
    told = not_for(found, str(places / "proj/exp/his"), ME)
    assert told is not None
    assert f"belongs to uid {alice}" in told
    assert not_for(Found(mine), str(places / "proj/exp/his"), ME) is None  # named by the caller


def test_a_configuration_for_all_is_for_every_run(places: Path) -> None:
    write(places / "etc/ckptctl/config.yaml")
    found = find(places)
    assert not_for(found, str(places / "proj/exp/run"), ME) is None
    assert not_for(found, "s3://bucket/run", ME) is None
    assert not_for(Found(None, searched=True), str(places / "proj/exp/run"), ME) is None
