"""What lies in a state directory and is not what it should be is found out, and breaks nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ckptctl.manifest import ManifestError, parse
from ckptctl.records import RecordError
from ckptctl.records import parse as parse_record
from tests.program import Ckptctl
from tests.saved import save

FILE: dict[str, Any] = {
    "path": "a", "bytes": 1, "mtime_ns": 1, "inode": 1, "etag": None, "digest": "00",
    "link": None, "hardlink": None, "sidecar": False,
}  # fmt: skip
MANIFEST: dict[str, Any] = {
    "schema": "ckptctl/manifest", "version": 1, "name": "a", "path": "a", "format": "torch-file",
    "step": 1, "epoch": None, "saved_at": "2026-01-02T03:04:05Z", "metrics": {}, "tags": [],
    "pinned": False, "resumable": None, "algorithm": "blake3", "files": [FILE], "dirs": [],
    "created_at": "2026-01-02T03:04:05Z", "created_by": "me",
}  # fmt: skip
RECORD: dict[str, Any] = {
    "schema": "ckptctl/record", "version": 1, "path": "a", "seen": {"a": [1, 1]}, "metrics": {},
    "tags": [], "pinned": False, "aliases": [], "holds": [], "proven": False, "damaged": None,
    "damage_level": None,
}  # fmt: skip


def wrong_files() -> Iterator[Any]:
    """Yield `files` of a manifest that no ckptctl wrote."""
    numbers: tuple[Any, ...] = (None, "1", 1.5, 1e999, [], True)
    texts: tuple[Any, ...] = ([], {}, 0, False)
    for key in ("bytes", "mtime_ns"):
        for value in numbers:
            yield {key: value}
    yield {"bytes": -1}
    for key in ("digest", "etag", "link", "hardlink"):
        for odd in texts:
            yield {key: odd}
    for odd in ([], 0, "md5", {"md5": 1}, {"md5": None}):
        yield {"checksums": odd}
    yield {"digest": None}  # it would pass for compared
    for path in ("../x", "/etc/passwd", "a/../../x", "", ".", "a//b", "a\0b", "a/\ud800", None, 1):
        yield {"path": path}
    for text in ("", "a\0b", "\ud800"):  # no link can say that
        yield {"digest": None, "link": text}
    for ns in (10**30, -(10**30)):  # nor can a file be that old
        yield {"mtime_ns": ns}


@pytest.mark.parametrize("change", list(wrong_files()), ids=str)
def test_a_manifest_with_a_wrong_file_is_not_understood(change: dict[str, Any]) -> None:
    assert parse(json.dumps(MANIFEST).encode()).files["a"].digest == "00"
    with pytest.raises(ManifestError):
        parse(json.dumps({**MANIFEST, "files": [{**FILE, **change}]}).encode())


@pytest.mark.parametrize("when", ["1e999", "[]", "null", '"x"', "1" * 30, "1" * 5000], ids=len)
def test_a_manifest_with_a_wrong_directory_is_not_understood(when: str) -> None:
    content = json.dumps({**MANIFEST, "dirs": [{"path": "a", "mtime_ns": 0}]})
    assert parse(content.encode()).dirs == {"a": 0}
    with pytest.raises(ManifestError):
        parse(content.replace('"mtime_ns": 0', f'"mtime_ns": {when}').encode())


@pytest.mark.parametrize(
    "change", [{"seen": {"a": [1e999, 1]}}, {"metrics": {"x": 10**400}}], ids=["seen", "metrics"]
)
def test_a_record_with_numbers_beyond_all_is_not_understood(change: dict[str, Any]) -> None:
    assert parse_record(json.dumps(RECORD).encode()).path == "a"
    with pytest.raises(RecordError):
        parse_record(json.dumps({**RECORD, **change}).encode())


@pytest.mark.parametrize("inode", ["1e999", "[" * 10_000], ids=len)
@pytest.mark.parametrize("file", ["run.json", "verifying.jsonl"])
def test_other_files_of_the_state_that_are_garbage_count_for_nothing(
    file: str, inode: str, tmp_path: Path, ckptctl: Ckptctl
) -> None:
    run = save(tmp_path / "run", {1: 1.0})
    assert ckptctl("verify", run, "--record").code == 0
    head = '{"schema": "ckptctl/verifying", "version": 1, "scope": "digest, newer than None", '
    content = f'{head}"began_ns": {inode}, "path": "x", "inode": {inode}}}\n'
    (tmp_path / ".ckptctl" / "run" / file).write_text(content)
    assert ckptctl("verify", run, "--level", "digest").code == 0
