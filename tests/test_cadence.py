"""What a run tells of its saves and restarts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ckptctl.cadence import job_ids, observe
from ckptctl.listing import Entry
from ckptctl.model import NS, Checkpoint, Kind
from tests.checkpoints import HOUR, NOW, checkpoint, run

MINUTE = 60


def at(step: int, hours_ago: float, **said: Any) -> Checkpoint:
    made = checkpoint(step=step, **said)
    return replace(made, saved_ns=NOW - round(hours_ago * HOUR))


def steady(count: int = 5, *, each: int = 100) -> list[Checkpoint]:
    """One save an hour, the newest an hour ago."""
    return [at((n + 1) * each, count - n) for n in range(count)]


def test_a_steady_run_shows_its_period_steps_and_size() -> None:
    seen = observe(run(steady(5)))
    assert (seen.saves, seen.restarts, seen.bytes) == (5, 0, 1000)
    assert seen.period_s == 3600
    assert seen.steps_per_save == 100
    assert seen.seconds_per_step == 36
    assert seen.observed_s == 4 * 3600


def test_a_step_that_goes_back_is_a_restart() -> None:
    saves = [at(100, 9), at(200, 8), at(300, 7), at(250, 6), at(350, 5)]
    seen = observe(run(saves))
    assert seen.restarts == 1
    assert seen.period_s == 3600


def test_a_step_that_repeats_is_a_restart() -> None:
    saves = [at(100, 9), at(200, 8), at(300, 7), at(300, 6, name="step_300-v1"), at(400, 5)]
    assert observe(run(saves)).restarts == 1


def test_an_epoch_that_goes_back_is_a_restart() -> None:
    saves = [checkpoint(epoch=n, saved=f"{9 - i}h") for i, n in enumerate([1, 2, 3, 2, 4])]
    seen = observe(run([replace(c, family="epoch_#.pt") for c in saves]))
    assert seen.restarts == 1
    assert seen.seconds_per_step is None  # an epoch is no step


@pytest.mark.parametrize(("gap", "restarts"), [(2.9, 0), (3.1, 1), (40, 1)])
def test_a_gap_of_more_than_three_medians_is_a_restart(gap: float, restarts: int) -> None:
    early = [at(100 * (n + 1), gap + 8 - n) for n in range(4)]
    late = [at(500 + 100 * n, 5 - n) for n in range(4)]
    seen = observe(run([*early, *late]))
    assert seen.restarts == restarts
    assert seen.period_s == 3600


def test_a_gap_is_one_period_of_work_and_no_part_of_the_cadence() -> None:
    early = [at(100 * (n + 1), 100 - n) for n in range(4)]
    late = [at(500 + 100 * n, 5 - n) for n in range(4)]
    seen = observe(run([*early, *late]))
    assert (seen.restarts, seen.period_s) == (1, 3600)
    assert seen.observed_s == 7 * 3600


def test_a_gap_whose_steps_account_for_it_was_made_by_a_prune() -> None:
    saves = [at(step, 50 - step / 100) for step in (1000, 2000, 4500, 4600, 4700, 4800, 4900)]
    seen = observe(run(saves))
    assert seen.restarts == 0
    assert seen.period_s == 3600
    assert seen.observed_s == 39 * 3600


def test_without_steps_any_long_gap_is_a_restart() -> None:
    hours = (50, 49, 48, 20, 19)
    saves = [replace(at(0, h), step=None, name=f"a{h}", family="a#.pt") for h in hours]
    assert observe(run(saves)).restarts == 1


def test_another_job_in_the_metadata_is_a_restart() -> None:
    jobs = [7, 7, 8, 8, 9]
    saves = [
        replace(c, metrics={"slurm_job_id": float(job)})
        for c, job in zip(steady(5), jobs, strict=True)
    ]
    assert observe(run(saves)).restarts == 2


CSV_LOG = b"step,loss,SLURM_JOB_ID\n1,2.0,100\n2,1.9,100\n3,1.8,101\n4,1.7,102\n"
JSON_LOG = b'{"step": 1, "slurm_job_id": 100}\n{"step": 2, "slurm_job_id": "101"}\n{"torn'


def test_jobs_in_a_log_are_restarts_that_left_no_checkpoint() -> None:
    assert observe(run(steady(5)), [CSV_LOG]).restarts == 2
    assert observe(run(steady(5)), [JSON_LOG]).restarts == 1
    assert observe(run(steady(5)), [b"step,loss\n1,2\n", b""]).restarts == 0


def test_a_restart_seen_twice_counts_once() -> None:
    saves = [at(100, 9), at(200, 8), at(300, 7), at(250, 6), at(350, 5)]
    assert observe(run(saves), [JSON_LOG]).restarts == 1


def test_a_requeued_job_keeps_its_id_and_counts_by_its_restarts() -> None:
    log = b"step,slurm_job_id,slurm_restart_count\n1,5,0\n2,5,1\n3,5,1\n"
    assert len(set(job_ids(log))) == 2


def test_a_log_in_no_known_form_names_no_job() -> None:
    assert job_ids(b"\x00\xff\n[1]\n{") == []
    assert job_ids(b'{"a": [\n[]\n"x"\n') == []


def _parts(c: Checkpoint, seconds: Sequence[float], names: Sequence[str] = ()) -> Checkpoint:
    named = names or [f"part{n}" for n in range(len(seconds))]
    files = {
        f"{c.name}/{name}": Entry(10, c.saved_ns + round(after * NS))
        for name, after in zip(named, seconds, strict=True)
    }
    return replace(c, kind=Kind.DIRECTORY, member=c.name, files=files)


def test_a_save_takes_at_least_from_its_first_to_its_last_file() -> None:
    saves = [_parts(c, (0, 20, took)) for c, took in zip(steady(3), (40, 42, 900), strict=True)]
    assert observe(run(saves)).save_s == 42


def test_what_is_written_beside_a_checkpoint_later_is_no_part_of_its_save() -> None:
    late = [_parts(c, (0, 30, 600), ("a.pt", "b.pt", "metrics.json")) for c in steady(3)]
    assert observe(run(late)).save_s == 30
    beside = [replace(_parts(c, (0, 30)), sidecars=(f"{c.name}.json",)) for c in steady(3)]
    beside = [
        replace(c, files={**c.files, f"{c.name}.json": Entry(1, c.saved_ns + 500 * NS)})
        for c in beside
    ]
    assert observe(run(beside)).save_s == 30


def test_single_files_do_not_tell_how_long_a_save_takes() -> None:
    assert observe(run(steady(5))).save_s is None


def test_times_of_half_a_period_are_those_of_something_else() -> None:
    assert observe(run([_parts(c, (0, 2000)) for c in steady(5)])).save_s is None


def test_a_copy_without_its_times_tells_nothing() -> None:
    saves = [replace(c, saved_ns=NOW - n * 1000) for n, c in enumerate(steady(5))]
    seen = observe(run(saves))
    assert seen.copied
    assert (seen.period_s, seen.restarts, seen.observed_s) == (None, 0, 0)


def test_what_is_not_complete_or_the_trainers_own_copy_is_no_save() -> None:
    others = [
        checkpoint(name="best", named=True, saved="30m"),
        at(600, 0.1, state="incomplete"),
        at(700, 0.05, state="saving"),
    ]
    assert observe(run([*steady(5), *others])).saves == 5


def test_parts_in_families_of_their_own_count_once() -> None:
    optim = [replace(c, family="optim_#.pt", name=f"optim_{c.step}") for c in steady(4)]
    seen = observe(run([*steady(5), *optim]))
    assert (seen.saves, seen.period_s, seen.restarts) == (5, 3600, 0)


@pytest.mark.parametrize("count", [0, 1])
def test_less_than_two_saves_tell_no_period(count: int) -> None:
    seen = observe(run(steady(count)))
    assert (seen.saves, seen.period_s, seen.observed_s) == (count, None, 0)
