"""What several locations of one bucket share."""

from __future__ import annotations

import pytest

from ckptctl.stores import Access
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
