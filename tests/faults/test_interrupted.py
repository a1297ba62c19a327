"""A signal at every moment after something was changed: what was done is told all the same."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ckptctl.formats._samples import torch_zip
from tests.cli.test_buckets import options
from tests.faults.moments import Moments
from tests.program import Ckptctl, Done
from tests.saved import save
from tests.stores.places import Place, place


def lines_of(words: str) -> int:
    """Return how many lines a call had that a signal could cut."""
    return int(re.findall(r"lines=([0-9]+)", words)[0])


class Case(NamedTuple):
    """A call that changes something: what it takes, the path whose change begins it, what it tells."""

    call: str  # with {} for the directory of the case
    first: str  # or a pattern of what is there before
    told: str  # in the JSON on stdout
    before: str = ""  # a call that comes first


def _two_runs(root: Path) -> None:
    for run in ("a", "b"):
        save(root / "fast" / run, {1: None, 2: None, 3: None})
    (root / "ckptctl.yaml").write_text(
        f"version: 1\ntiers: {{fast: {{url: {root}/fast}}, slow: {{url: {root}/slow}}}}\n"
        "runs: [{match: '**', policy: p}]\npolicies: {p: {keep: [{last: 3}], tiers: {fast: "
        "{keep: [{last: 1}], copy_to: slow}}}}\n"
    )
    (root / "slow").mkdir()


TRASH = "prune -r --no-config --keep-last 1 --grace 1d {0}/fast"
ITS_TRASH = "fast/.ckptctl/a/trash/*"
CASES = {
    "sync": Case("sync {0}/fast/a {0}/to", "to/step_3.pt", '"checkpoint": "step_3"'),
    "sync -r": Case("sync -r {0}/fast {0}/to", "to/a/step_3.pt", '"checkpoint": "step_3"'),
    "prune": Case(
        "prune -r --no-config --keep-last 1 {0}/fast", "fast/a/step_1.pt", '"status": "done"'
    ),
    "undo": Case("undo -r --no-config {0}/fast", "fast/a/step_1.pt", '"status": "done"', TRASH),
    "purge": Case("purge -r --no-config --all {0}/fast", ITS_TRASH, '"status": "done"', TRASH),
    "apply": Case("apply -c {0}/ckptctl.yaml", "slow/a/step_3.pt", '"checkpoint": "step_3"'),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_was_done_is_told(
    tmp_path: Path, ckptctl: Ckptctl, moments: Moments, case: Case
) -> None:
    def called(nth: int) -> tuple[int, str, str]:
        base = tmp_path / str(nth)
        base.mkdir()
        _two_runs(base)
        if case.before:
            assert ckptctl(*case.before.format(base).split()).code == 0
        first = next(base.glob(case.first), base / case.first)
        call = [*case.call.format(base).split(), "--json"]
        done = ckptctl(str(nth), "cli/", str(first), *call, module=("tests.faults.interrupted",))
        shutil.rmtree(base)
        return done.code, done.stdout, done.stderr

    code, told, words = called(0)
    assert code == 0, words
    assert case.told in told
    lines = lines_of(words)
    assert lines
    for nth in moments(lines + 1):
        code, told, words = called(nth)
        if lines_of(words) < nth:  # it took another way, and was not interrupted
            continue
        assert code == 143, (nth, told, words)
        assert case.told in told, (nth, told, words)
        assert json.loads(told), nth
        assert "Traceback" not in words


LOOKS = "formats/,group.py,survey.py,stores/,reading.py"


@pytest.fixture(params=["local", "s3-obstore"])
def where(request: pytest.FixtureRequest) -> Iterator[Place]:
    yield from place(request.param, request)


def test_where_it_only_looks_it_ends_at_once(
    ckptctl: Ckptctl, moments: Moments, where: Place
) -> None:
    """Nothing takes the signal for a failure of a format, or of the network."""
    where.put("step_1.pt", torch_zip())
    where.put("step_1.json", b'{"step": 1}')

    def called(nth: int) -> Done:
        call = (str(nth), LOOKS, "-", "list", where.url, *options(where), "--json")
        return ckptctl(*call, module=("tests.faults.interrupted",))

    done = called(0)
    assert done.code == 0, done.stderr
    lines = lines_of(done.stderr)
    assert lines > 100
    for nth in moments(lines + 1, 0, 2):
        done = called(nth)
        if lines_of(done.stderr) < nth:  # what was being saved has settled meanwhile
            continue
        assert done.code == 143, (nth, done)
        assert done.json["kind"] == "interrupted", (nth, done)
