"""Who may put a configuration or a state directory where a search finds it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ckptctl.trust import private_group, trusted

ME = os.getuid()
OTHER = 4242 if ME != 4242 else 4243
root_only = pytest.mark.skipif(ME != 0, reason="only root can give files to other users")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A configuration above a run: proj/ckptctl.yaml, proj/team/run/."""
    proj = tmp_path / "proj"
    (proj / "team" / "run").mkdir(parents=True)
    (proj / "ckptctl.yaml").write_text("version: 1\n")
    for path in (proj, proj / "team", proj / "team" / "run"):
        path.chmod(0o755)
    (proj / "ckptctl.yaml").chmod(0o644)
    return proj


def reason(proj: Path, uid: int = ME, owner: int = ME, *, private: bool = False) -> str | None:
    return trusted(
        str(proj / "ckptctl.yaml"),
        str(proj / "team" / "run"),
        uid,
        owner,
        private=lambda _uid, _gid: private,
    )


def test_what_only_its_owner_can_write_counts(tree: Path) -> None:
    assert reason(tree) is None


@pytest.mark.parametrize("place", ["ckptctl.yaml", ".", "team", "team/run"])
def test_what_everyone_can_write_does_not(tree: Path, place: str) -> None:
    path = tree / place
    path.chmod(path.stat().st_mode | stat.S_IWOTH)
    assert reason(tree, private=True) == f"{os.path.normpath(path)} is writable by everyone"


def test_what_lies_above_or_beside_the_way_does_not_matter(tree: Path) -> None:
    (tree / "other").mkdir()
    (tree / "other").chmod(0o777)
    tree.parent.chmod(0o777)
    assert reason(tree) is None


@pytest.mark.parametrize("place", ["ckptctl.yaml", ".", "team", "team/run"])
def test_the_group_may_write_only_where_it_is_the_owners_own(tree: Path, place: str) -> None:
    path = tree / place
    path.chmod(path.stat().st_mode | stat.S_IWGRP)
    assert reason(tree, private=True) is None
    told = reason(tree, private=False)
    assert told == f"{os.path.normpath(path)} is writable by group {path.stat().st_gid}"


@root_only
def test_an_access_list_behind_the_groups_bits_is_seen(tree: Path) -> None:
    def entry(tag: int, perm: int, who: int = 0xFFFFFFFF) -> bytes:
        return tag.to_bytes(2, "little") + perm.to_bytes(2, "little") + who.to_bytes(4, "little")

    acl = (2).to_bytes(4, "little") + b"".join(
        [entry(1, 6), entry(2, 6, OTHER), entry(4, 4), entry(16, 6), entry(32, 4)]
    )
    try:
        os.setxattr(tree / "ckptctl.yaml", "system.posix_acl_access", acl)
    except OSError:
        pytest.skip("this file system has no access lists")
    assert reason(tree, private=True) is not None


@root_only
@pytest.mark.parametrize("place", ["ckptctl.yaml", ".", "team", "team/run"])
def test_owners(tree: Path, place: str) -> None:
    os.chown(tree / place, OTHER, -1)
    assert reason(tree, uid=OTHER + 1, owner=OTHER) is None
    assert reason(tree, uid=OTHER, owner=OTHER + 1) is None
    told = reason(tree, uid=0, owner=OTHER + 1)
    assert told is not None
    assert f"belongs to uid {OTHER}" in told


def test_a_sticky_directory_protects_what_lies_in_it(tree: Path) -> None:
    tree.chmod(0o1777)
    (tree / "team").chmod(0o1777)
    assert reason(tree) is None


@root_only
def test_what_another_put_into_a_sticky_directory_does_not_count(tree: Path) -> None:
    tree.chmod(0o1777)
    os.chown(tree / "ckptctl.yaml", OTHER, -1)
    assert reason(tree) is not None


def test_a_hard_link_in_a_sticky_directory_could_be_anyones(tree: Path) -> None:
    os.link(tree / "ckptctl.yaml", tree / "team" / "second")
    assert reason(tree) is None
    tree.chmod(0o1777)
    told = reason(tree)
    assert told is not None
    assert "hard links" in told


def test_a_state_directory_is_itself_no_place_for_others(tree: Path) -> None:
    state = tree / ".ckptctl"
    state.mkdir(mode=0o755)
    run = str(tree / "team" / "run")
    assert trusted(str(state), run, ME, ME) is None
    state.chmod(0o1777)
    assert trusted(str(state), run, ME, ME) == f"{state} is writable by everyone"


def test_a_link_is_judged_by_its_target_too(tree: Path, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles"
    real.mkdir(mode=0o755)
    (tree / "ckptctl.yaml").rename(real / "policy.yaml")
    (tree / "ckptctl.yaml").symlink_to(real / "policy.yaml")
    assert reason(tree) is None
    real.chmod(0o777)
    assert reason(tree) == f"{real} is writable by everyone"


def test_what_is_gone_is_not_trusted(tree: Path) -> None:
    (tree / "ckptctl.yaml").unlink()
    told = reason(tree)
    assert told is not None
    assert "cannot be examined" in told


def test_elsewhere_only_its_own_directory_counts(tree: Path) -> None:
    (tree / "team").chmod(0o777)
    path = str(tree / "ckptctl.yaml")
    assert trusted(path, None, ME, ME) is None
    tree.chmod(0o777)
    assert trusted(path, None, ME, ME) == f"{tree} is writable by everyone"


def test_private_groups() -> None:
    assert private_group(0, 0)  # root's group root
    assert not private_group(0, 1)  # daemon's is not root's
    assert not private_group(2**31 - 7, 2**31 - 7)  # unknown to the system
