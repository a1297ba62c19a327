"""What becomes of a run whose tracker cannot be read: its checkpoints are seen, and the error too."""

from __future__ import annotations

import errno
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from ckptctl.formats._base import Format
from ckptctl.formats._samples import torch_zip
from ckptctl.formats._trackers import read_tracker
from ckptctl.formats.deepspeed import DeepSpeed
from ckptctl.formats.megatron import TRACKER, Megatron
from ckptctl.model import Claim
from ckptctl.reading import Blob
from tests.claims import Tree, opened
from tests.trees import make_tree

PT = torch_zip()
RUNS = [
    (DeepSpeed, "latest", {"global_step5/mp_rank_00_model_states.pt": PT}),
    (Megatron, TRACKER, {"iter_0000005/mp_rank_00/model_optim_rng.pt": PT}),
]


class Failing:
    """A disk that lists and does not read."""

    def read(self, path: str, limit: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error", path)

    def open(self, path: str) -> AbstractContextManager[Blob]:
        raise OSError(errno.EIO, "Input/output error", path)


@pytest.mark.parametrize(("kind", "tracker", "tree"), RUNS)
def test_a_tracker_that_cannot_be_read(
    kind: type[Format], tracker: str, tree: Tree, tmp_path: Path
) -> None:
    make_tree(tmp_path, {**tree, tracker: b"5"})
    seen: list[Claim] = []
    with opened(tmp_path) as (folder, _), pytest.raises(OSError, match=tracker):
        seen.extend(kind().find(folder, Failing()))
    assert [claim.step for claim in seen] == [5]


@pytest.mark.parametrize(("kind", "tracker", "tree"), RUNS)
def test_a_tracker_that_is_gone_since_the_listing(
    kind: type[Format], tracker: str, tree: Tree, tmp_path: Path
) -> None:
    make_tree(tmp_path, {**tree, tracker: b"5"})
    with opened(tmp_path) as (folder, store):
        (tmp_path / tracker).unlink()
        assert read_tracker(tracker, folder, store) is None
        assert [claim.step for claim in kind().find(folder, store)] == [5]
        assert list(kind().pointers(folder, store)) == []
