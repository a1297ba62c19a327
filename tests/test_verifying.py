"""What is read and what comes of it, where a whole program would have to be raced."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ckptctl.algorithms import quickest
from ckptctl.comparing import Expected, by_digests
from ckptctl.formats.torch_file import TorchFile
from ckptctl.hashing import Hashed, Wanted, hash_all
from ckptctl.listing import Entry
from ckptctl.looking import How, Looked
from ckptctl.manifest import ALGORITHM, Manifest
from ckptctl.manifest import Noted as Seen
from ckptctl.model import Checkpoint, Metadata
from ckptctl.resumption import Resumption
from ckptctl.stores.local import LocalStore
from ckptctl.verdicts import Level, Status
from ckptctl.verifying import read_all
from tests.claims import checkpoint_of, claim_of, opened
from tests.trees import make_tree

FILE = "step_1.pt"
SIDECAR = "step_1.json"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    with closing(LocalStore(str(make_tree(tmp_path, {FILE: b"abc", SIDECAR: b"{}"})))) as it:
        yield it


def checkpoint_in(root: Path) -> Checkpoint:
    claim = claim_of(TorchFile, root)
    with opened(root) as (folder, _):
        return replace(checkpoint_of(claim, folder), files=dict(folder.files), sidecars=(SIDECAR,))


def hashed_as_listed(listed: Entry, store: LocalStore) -> Hashed:
    (found,) = hash_all(
        [Wanted(FILE, listed)], store, jobs=1, advanced=lambda _: None, stop=lambda: False
    )
    return found


def test_what_changed_since_it_was_listed_has_no_digest(tmp_path: Path, store: LocalStore) -> None:
    listed = store.listing().files[FILE]
    (tmp_path / FILE).write_bytes(b"longer than before")
    assert hashed_as_listed(listed, store).entry is None


def test_a_sample_of_sidecars_alone_proves_nothing(tmp_path: Path, store: LocalStore) -> None:
    checkpoint = checkpoint_in(tmp_path)
    sampled = (Wanted(SIDECAR, checkpoint.files[SIDECAR]),)
    how = How(source=store, formats={}, manifest=lambda _: None, level=Level.DIGEST)
    ((result, _),) = read_all(
        [Looked(Expected(checkpoint), wanted=sampled)], how,
        known={}, heard=lambda _: None, advanced=lambda _: None, stop=lambda: False,
    )  # fmt: skip
    assert result.status is Status.UNRECORDED


@pytest.mark.parametrize(
    ("held", "status"),
    [
        ({"crc32": "352441c2"}, Status.OK),
        ({"crc32": "352441c3"}, Status.DAMAGED),
        ({"etag": "0" * 32}, Status.UNRECORDED),  # which need not be an MD5
        ({"crc64nvme": "0" * 16}, Status.UNRECORDED),  # which cannot be computed here
    ],
)
def test_bytes_that_are_not_what_the_server_was_sent_are_damage(
    held: dict[str, str], status: Status, tmp_path: Path, store: LocalStore
) -> None:
    checkpoint = checkpoint_in(tmp_path)
    wanted = Wanted(FILE, checkpoint.files[FILE], quickest(held), held=held)
    how = How(source=store, formats={}, manifest=lambda _: None, level=Level.DIGEST)
    ((result, _),) = read_all(
        [Looked(Expected(checkpoint), wanted=(wanted,))], how,
        known={}, heard=lambda _: None, advanced=lambda _: None, stop=lambda: False,
    )  # fmt: skip
    assert result.status is status


def test_an_interruption_does_not_lose_a_checksum_that_did_not_fit(
    tmp_path: Path, store: LocalStore
) -> None:
    entry = store.listing().files[FILE]
    digests = {ALGORITHM: "ab"}
    for warnings, again in ((), {FILE}), (("its record does not hash to its CRC",), set[str]()):
        resumption = Resumption("digest", 1, lambda: LocalStore(str(tmp_path)))
        resumption.heard(Hashed(FILE, entry, digests, 3, warnings))
        resumption.flush()
        known = Resumption("digest", 2, lambda: None).known([str(tmp_path)], [Wanted(FILE, entry)])
        assert set(known) == again
        (tmp_path / "verifying.jsonl").unlink(missing_ok=True)


@pytest.mark.parametrize(
    "line",
    ['{"path": "step_1.pt", "seen": %s}', '{"path": "step_1.pt", "seen": %s, "digests": {}}'],
)
def test_a_line_without_its_digest_is_read_again(
    line: str, tmp_path: Path, store: LocalStore
) -> None:
    entry = store.listing().files[FILE]
    resumption = Resumption("digest", 1, lambda: LocalStore(str(tmp_path)))
    resumption.heard(Hashed(FILE, entry, {ALGORITHM: "ab"}, 3))
    resumption.flush()
    noted = tmp_path / "verifying.jsonl"
    head, first = noted.read_text().splitlines()
    seen = first[first.index('"seen": ') + 8 : first.index(', "digests"')]
    noted.write_text(f"{head}\n{line % seen}\n")
    assert not Resumption("digest", 2, lambda: None).known([str(tmp_path)], [Wanted(FILE, entry)])


@pytest.mark.usefixtures("store")
def test_many_files_saved_anew_take_no_time(tmp_path: Path) -> None:
    files = {f"step_1/{number}": Entry(3, 20, inode=number + 1) for number in range(20_000)}
    checkpoint = replace(
        checkpoint_in(tmp_path), files=files, sidecars=(), key_file="step_1/0", member="step_1"
    )
    manifest = Manifest(
        name="step_1", path="step_1", format="x", said=Metadata(),
        files={path: Seen(3, 10, "old") for path in files}, created_ns=15, created_by="",
    )  # fmt: skip
    hashed = [Hashed(path, entry, {ALGORITHM: "new"}, 3) for path, entry in files.items()]
    began = time.process_time()
    (finding,) = by_digests(Expected(checkpoint, manifest), hashed)
    assert finding.code == "stale-record"
    assert time.process_time() - began < 15
