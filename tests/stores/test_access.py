"""What several locations of one bucket share."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptctl.stores import Access, settled
from ckptctl.stores._objects import ObjectStore

OPTIONS = {"endpoint_url": "http://127.0.0.1:9", "key": "a", "secret": "b"}


@pytest.mark.parametrize("engine", ["obstore", "fsspec"])
def test_how_a_bucket_is_reached_is_found_out_once(engine: str) -> None:
    access = Access({**OPTIONS, "engine": engine})
    stores = [access.open(f"s3://{path}") for path in ("one/run", "one", "two/run")]
    stores.append(Access(access.options).open("s3://one/run"))
    first, again, other, stranger = (s.keys for s in stores if isinstance(s, ObjectStore))
    assert first is again
    assert other is not first
    assert stranger is not first


def test_a_location_has_one_spelling(tmp_path: Path) -> None:
    """Else a run could be copied onto itself, and deleted there since it is there."""
    (tmp_path / "link").symlink_to(tmp_path / "run")
    assert settled(f"file://{tmp_path}/link/") == settled(str(tmp_path / "run"))
    assert settled("gcs://b/run/") == settled("GS://b/run") == "gs://b/run"
    assert settled("s3a://b/run") == "s3://b/run" != settled("s3://b/run2")
