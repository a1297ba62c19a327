"""Names as ModelCheckpoint makes them are read back exactly, and their family never depends on numbers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptctl.formats._base import FORMATS
from ckptctl.formats._lightning_name import read_name
from ckptctl.listing import Entry, Folder
from ckptctl.reading import Blob

KEYS = st.from_regex(r"(?:val|train)[-_][a-z]{1,8}", fullmatch=True)
VALUES = st.floats(-1e9, 1e9, allow_nan=False)
SPECS = st.sampled_from([".2f", ".4f", ".3e", ""])
NUMBERS = st.integers(0, 10**20)
PIECES = st.sampled_from(
    ["epoch=", "step=", "last", "-v1", ".ckpt", "--", "-", "=", "/", "\n", "\udcff", "0", "1.5", "nan",
     "checkpoint-", "tmp-", "hpc_ckpt_", "val/", "-unfinished", ".nemo", "gpt", "~", " (copy)", "٣"]
)  # fmt: skip


def written(value: float, spec: str) -> str:
    text = format(value, spec)
    return text if any(mark in text for mark in ".en") else f"{text}.0"


@given(NUMBERS, NUMBERS, st.dictionaries(KEYS, VALUES, max_size=3), SPECS, st.integers(0, 20))
def test_a_name_is_read_back(
    epoch: int, step: int, metrics: Mapping[str, float], spec: str, version: int
) -> None:
    texts = {key: written(value, spec) for key, value in metrics.items()}
    stem = "-".join([f"epoch={epoch}", f"step={step}", *(f"{k}={v}" for k, v in texts.items())])
    name = read_name(stem + (f"-v{version}" if version else ""), ".ckpt")
    assert name is not None
    assert (name.epoch, name.step) == (epoch, step)
    assert name.metrics == {key: float(text) for key, text in texts.items()}
    assert name.family == "-".join(["epoch=#", "step=#", *(f"{k}=#" for k in texts)]) + ".ckpt"


@pytest.mark.parametrize(
    ("stem", "metrics"),
    [
        ("epoch=3-step=5-val-loss=0.3", {"val-loss": 0.3}),
        ("epoch=3-val-loss=-1.5e-05-val-top-1-acc=0.5-v1", {"val-loss": -1.5e-05, "val-top-1-acc": 0.5}),
        ("epoch=3_val-loss=0.3", {"val-loss": 0.3}),
        ("epoch=3--val-f1=0.3-last", {"val-f1": 0.3}),
        ("resnet-val_loss=0.3-epoch=3", {"val_loss": 0.3}),  # a model's name, as far as one can tell
        ("epoch=3-some text-loss=0.3", {"loss": 0.3}),
        ("epoch=3-2-loss=0.3", {"loss": 0.3}),
        ("epoch=3-resnet-step=5", {}),
    ],
)  # fmt: skip
def test_a_metrics_own_name_may_have_a_dash(stem: str, metrics: dict[str, float]) -> None:
    name = read_name(stem)
    assert name is not None
    assert (name.epoch, name.metrics) == (3, metrics)


@settings(deadline=None)  # the first example imports every format
@given(st.lists(PIECES, max_size=8).map("".join), st.lists(PIECES, max_size=6).map("".join))
def test_no_name_crashes_a_format_and_what_is_claimed_is_there(name: str, inner: str) -> None:
    parts = [part for part in (name or "x").split("/") if part]
    entry = Entry(size=1, mtime_ns=0)
    files = dict.fromkeys(parts, entry)
    inside = Folder("x", files={inner.replace("/", "") or "y": entry, "meta.pt": entry})
    for folder in (
        Folder("", files=files),
        Folder("", folders=dict.fromkeys(parts, inside)),
    ):
        for key in ("hf-trainer", "lightning", "lightning-fsdp", "lightning-deepspeed", "nemo"):
            for claim in FORMATS[key]().find(folder, NoReader()):
                assert set(claim.members) <= set(folder.files) | set(folder.folders)
                assert folder.find(claim.key_file) is not None


class NoReader:
    """Recognising these formats reads no file."""

    def read(self, path: str, limit: int) -> bytes:
        raise AssertionError(path)

    def open(self, path: str) -> AbstractContextManager[Blob]:
        raise AssertionError(path)
