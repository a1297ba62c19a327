"""What was copied to a bucket and back is loaded by its own framework."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from tests.cli.test_buckets import options
from tests.program import Ckptctl
from tests.stores.places import Place
from tests.trees import make_tree, set_age


def there_and_back(run: Path, s3: Place, ckptctl: Ckptctl) -> Path:
    """Copy a run to a bucket and from there to another directory."""
    set_age(run, 7200)
    back = run.parent / "back"
    for source, destination in ((str(run), f"{s3.url}/run"), (f"{s3.url}/run", str(back))):
        done = ckptctl("sync", source, destination, *options(s3), "--json")
        assert done.code == 0, done.stdout
    return back


def test_safetensors_of_a_hugging_face_checkpoint(
    tmp_path: Path, s3: Place, ckptctl: Ckptctl
) -> None:
    made = np.arange(24, dtype=np.float32).reshape(4, 6)
    run = make_tree(
        tmp_path / "run",
        {"checkpoint-5/trainer_state.json": '{"global_step": 5, "log_history": []}'},
    )
    safetensors.numpy.save_file({"weight": made}, run / "checkpoint-5/model.safetensors")
    back = there_and_back(run, s3, ckptctl)
    loaded = safetensors.numpy.load_file(back / "checkpoint-5/model.safetensors")
    assert np.array_equal(loaded["weight"], made)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")  # one process is meant
def test_torch_loads_a_file_and_a_distributed_checkpoint(
    tmp_path: Path, s3: Place, ckptctl: Ckptctl
) -> None:
    reason = "torch is several GB for most who run these tests, so it is no dependency of them"
    torch = pytest.importorskip("torch", reason=reason)
    dcp = pytest.importorskip("torch.distributed.checkpoint", reason=reason)
    made = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    run = tmp_path / "run"
    run.mkdir()
    torch.save({"model": {"weight": made}, "step": 7}, run / "step_7.pt")
    dcp.save({"weight": made}, checkpoint_id=str(run / "step-8"), no_dist=True)
    back = there_and_back(run, s3, ckptctl)
    loaded = torch.load(back / "step_7.pt", weights_only=True)
    assert torch.equal(loaded["model"]["weight"], made)
    state = {"weight": torch.zeros(4, 6)}
    dcp.load(state, checkpoint_id=str(back / "step-8"), no_dist=True)
    assert torch.equal(state["weight"], made)
