"""What a selector means, of one run and of a run on several tiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ckptctl.errors import NotFoundError, UsageError
from ckptctl.listing import Entry
from ckptctl.model import Checkpoint
from ckptctl.resuming import Seen, gone_back
from ckptctl.rules._base import Metric
from ckptctl.selecting import Word, parse_selector, select
from tests.checkpoints import NOW, checkpoint, run, several


def seen(*said: dict[str, Any] | Checkpoint, tier: str | None = None, **more: Any) -> Seen:
    trackers = more.pop("trackers", ())
    made = [one if isinstance(one, Checkpoint) else checkpoint(**one) for one in said]
    return Seen(replace(run(made), trackers=trackers), tier, **more)


def steps(*numbers: int, **more: Any) -> list[Checkpoint]:
    return several([{"step": number, **more} for number in numbers])


def chosen(text: str, *places: Seen, own: bool = True) -> list[str]:
    found, _ = select(parse_selector(text), places, own=own)
    names = [
        f"{one.checkpoint.name}@{places[one.place].tier}" if places[one.place].tier else one.checkpoint.name
        for one in found
    ]  # fmt: skip
    return [name.removeprefix("step_") for name in names]


@pytest.mark.parametrize(
    ("text", "word", "value"),
    [
        ("latest", Word.LATEST, ""), ("saved", Word.SAVED, ""), ("best", Word.BEST, ""),
        ("./latest", Word.NAME, "latest"), ("step_5", Word.NAME, "step_5"), ("./a/b/", Word.NAME, "a/b"),
        ("alias:prod", Word.ALIAS, "prod"), ("tag:a:b", Word.TAG, "a:b"), ("latest:x", Word.NAME, "latest:x"),
        ("LATEST", Word.NAME, "LATEST"), ("odd:name.pt", Word.NAME, "odd:name.pt"), ("step", Word.NAME, "step"),
    ],
)  # fmt: skip
def test_a_text_is_a_keyword_or_a_name(text: str, word: Word, value: str) -> None:
    found = parse_selector(text)
    assert (found.word, found.value) == (word, value)


@pytest.mark.parametrize("text", ["", "step:", "step:x", "step:-1", "step:²", "alias:", "tag:", "best:", "best::min", "best:foo", "./"])  # fmt: skip
def test_what_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_selector(text)


def test_a_metric_is_for_best_only() -> None:
    assert parse_selector("best:acc", "loss").metric == Metric("acc", parse_selector("best:acc").metric.mode)  # type: ignore[union-attr] # just parsed  # fmt: skip
    assert parse_selector("best", "loss").metric is not None
    with pytest.raises(UsageError, match="--metric"):
        parse_selector("latest", "loss")


def test_latest_is_the_highest_step_and_saved_the_last_save() -> None:
    back = seen(*steps(800, 1000, 600))
    assert chosen("latest", back) == ["1000", "800", "600"]
    assert chosen("saved", back) == ["600", "1000", "800"]
    first = select(parse_selector("latest"), [back])[0][0].checkpoint
    assert getattr(gone_back([back], first), "name", None) == "step_600"
    assert gone_back([seen(*steps(600, 800))], steps(800)[0]) is None


@pytest.mark.parametrize(
    ("saved", "expected"),
    [("30m", ["last", "2", "1"]), ("90m", ["2", "last", "1"]), ("1h", ["2", "last", "1"]), ("9h", ["2", "1", "last"])],
)  # fmt: skip
def test_a_copy_for_resuming_counts_by_its_time(saved: str, expected: list[str]) -> None:
    own = checkpoint(name="last", named=True, saved=saved)
    assert chosen("latest", seen(*steps(1, 2), own)) == expected
    assert chosen("latest", seen(*steps(1, 2), own), own=False) == ["2", "1"]


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("last", True), ("last-v1", True), ("checkpoint_last", True), ("checkpoint", True), ("latest", True),
        ("best", False), ("model_best", False), ("checkpoint_best", False), ("model_final", False), ("on_exception", False),
    ],
)  # fmt: skip
def test_best_and_final_copies_are_none_for_resuming(name: str, counts: bool) -> None:
    own = checkpoint(name=name, named=True, saved="1m")
    assert (name in chosen("latest", seen(*steps(1), own))) is counts
    assert (name in chosen("saved", seen(*steps(1), own))) is counts
    assert chosen(f"./{name}", seen(*steps(1), own)) == [name]


def test_a_tracker_goes_before_the_highest_step_and_its_others_follow() -> None:
    one, two, three = steps(1, 2, 3)
    tracked = seen(one, replace(two, pointers=("latest",)), three, trackers=("latest",))
    assert chosen("latest", tracked) == ["2", "3", "1"]
    assert chosen("saved", tracked) == ["3", "2", "1"]


@pytest.mark.parametrize(
    ("file", "trackers", "obeyed"),
    [
        ("last.ckpt", (), True), ("latest-rank0.pt", (), True), ("latest.txt", ("latest.txt",), True),
        ("checkpoint", ("checkpoint",), True), ("best.ckpt", (), False), ("release", (), False),
        ("valid.acc.best.pth", (), False), ("checkpoint-3/trainer_state.json", (), False),
        ("latest_universal", ("latest_universal",), False), ("evaluated/latest", (), False),
    ],
)  # fmt: skip
def test_only_what_trainers_go_on_from_is_obeyed(
    file: str, trackers: tuple[str, ...], obeyed: bool
) -> None:
    one, two = steps(1, 2)
    found = chosen("latest", seen(replace(one, pointers=(file,)), two, trackers=trackers))
    assert found == (["1", "2"] if obeyed else ["2", "1"])


def test_weights_alone_are_never_resumed_from_but_may_be_named() -> None:
    one, two = steps(1, 2)
    weights = seen(one, replace(two, resumable=False, pointers=("latest",)), trackers=("latest",))
    assert chosen("latest", weights) == chosen("saved", weights) == ["1"]
    assert chosen("step:2", weights) == ["2"]
    with pytest.raises(NotFoundError, match="latest"):
        chosen("latest", seen(replace(two, resumable=False)))


def test_a_tracker_that_names_nothing_is_told() -> None:
    _, notes = select(parse_selector("latest"), [seen(*steps(1), trackers=("latest",))])
    assert notes == ["/run: latest names none of the checkpoints there"]


def tiers(*places: Sequence[Checkpoint], tracked_ns: int = 0) -> list[Seen]:
    return [
        seen(*found, tier=name, trackers=("latest",), tracked_ns=tracked_ns)
        for name, found in zip(("fast", "big"), places, strict=True)
    ]


def test_the_same_step_is_taken_from_the_faster_tier_first() -> None:
    one, two, three = steps(1, 2, 3)
    assert chosen("latest", *tiers([two], [one, two, three])) == ["3@big", "2@fast", "2@big", "1@big"]  # fmt: skip


def test_a_rollback_on_the_first_tier_is_obeyed() -> None:
    one, two, three = steps(1, 2, 3)
    back = replace(one, pointers=("latest",))
    later = replace(three, pointers=("latest",))
    assert chosen("latest", *tiers([back, two, three], [one, two, later]))[:2] == ["1@fast", "1@big"]  # fmt: skip
    # later ones have been pruned from the first tier, and the tracker was written after they were saved
    assert chosen("latest", *tiers([back], [one, two, later], tracked_ns=NOW))[0] == "1@fast"


def test_a_tracker_left_over_on_the_first_tier_is_not() -> None:
    one, two, three = steps(1, 2, 3)
    old, new = replace(one, pointers=("latest",)), replace(two, pointers=("latest",))
    places = tiers([old], [one, new, three], tracked_ns=one.saved_ns + 60)
    found, notes = select(parse_selector("latest"), places)
    assert (found[0].place, found[0].checkpoint.step) == (1, 2)
    assert notes[0] == (
        "latest on fast names step_1, but step_3 was saved later on big: it does not count"
    )


def test_a_tracker_of_a_slower_tier_never_leads_back() -> None:
    one, two, three = steps(1, 2, 3)
    stale = replace(one, pointers=("latest",))
    assert chosen("latest", *tiers([three], [stale, two], tracked_ns=NOW))[0] == "3@fast"
    # what the fast tier holds is all older: there the trainer has gone on elsewhere
    assert chosen("latest", *tiers([one], [replace(two, pointers=("latest",)), three]))[0] == "2@big"  # fmt: skip
    assert chosen("latest", *tiers([], [stale, two]))[0] == "1@big"


def test_an_upload_does_not_make_a_save_later() -> None:
    one, two = steps(1, 2)
    uploaded = replace(one, saved_ns=NOW)
    assert chosen("saved", *tiers([one, two], [uploaded])) == ["2@fast", "1@fast", "1@big"]


def test_a_step_saved_anew_is_no_copy_of_what_it_was() -> None:
    before, later = several([{"step": 4, "metrics": {"loss": 2.0}}, {"step": 6}])
    as_it_was = replace(before, saved_ns=NOW)
    larger = {path: Entry(1001, NOW) for path in before.files}
    for anew in (replace(as_it_was, metrics={"loss": 3.0}), replace(as_it_was, files=larger)):
        places = tiers([anew], [before, later])
        assert chosen("saved", *places) == ["4@fast", "6@big", "4@big"]
        assert chosen("latest", *places) == ["6@big", "4@fast", "4@big"]
        assert gone_back(places, later) == anew
        torn = tiers([before, later], [anew])  # by a copy that broke off, after the save
        assert chosen("saved", *torn) == ["6@fast", "4@fast", "4@big"]
    assert chosen("saved", *tiers([as_it_was], [before, later]))[0] == "6@big"


def test_best_ranks_as_the_rule_does() -> None:
    ranked = seen(
        *several(
            [
                {"step": 1, "metrics": {"loss": 1.0}}, {"step": 2, "metrics": {"loss": 1.0}},
                {"step": 3, "metrics": {"loss": float("nan")}}, {"step": 4},
                {"step": 5, "metrics": {"loss": 0.5}, "state": "incomplete"}, {"step": 6, "metrics": {"loss": 3.0}},
            ]
        ),
        checkpoint(name="best", named=True, metrics={"loss": 0.1}),
    )  # fmt: skip
    assert chosen("best:loss", ranked) == ["2", "1", "6"]
    assert chosen("best:loss:max", ranked) == ["6", "2", "1"]
    found, _ = select(parse_selector("best"), [ranked], Metric("loss"))
    assert found[0].why == "#1 by loss (1)"
    with pytest.raises(UsageError, match="by which metric"):
        chosen("best", ranked)
    with pytest.raises(NotFoundError):
        chosen("best:acc", ranked)


def test_a_metric_known_on_one_tier_ranks_its_copies_too() -> None:
    one, two = steps(1, 2)
    places = tiers([replace(one, metrics={"acc": 0.9}), two], [one])
    assert chosen("best:acc", *places) == ["1@fast", "1@big"]


def test_names_steps_tags_and_aliases_choose_all_that_have_them() -> None:
    one, two, three = steps(1, 2, 3)
    model = checkpoint(step=3, family="optim_#.pt", saved="30m")
    some = seen(
        replace(one, tags=("a",)), replace(two, tags=("a",), aliases=("prod",)), three, model
    )
    assert chosen("tag:a", some) == ["2", "1"]
    assert chosen("alias:prod", some) == ["2"]
    assert chosen("step:3", some) == ["3", "optim_3"]
    assert chosen("step_1.pt", some) == chosen("run/step_1.pt", some) == ["1"]
    for nothing in ("step:4", "tag:b", "alias:a", "step_9"):
        with pytest.raises(NotFoundError):
            chosen(nothing, some)


def test_without_steps_the_epoch_then_the_time_orders() -> None:
    epochs = seen(*several([{"epoch": 0}, {"epoch": 2}, {"epoch": 1}]))
    assert chosen("latest", epochs) == ["epoch_2", "epoch_1", "epoch_0"]
    mixed = seen(checkpoint(epoch=7, saved="2h"), checkpoint(step=5, saved="1h"))
    assert chosen("latest", mixed) == ["5", "epoch_7"]


def test_an_optimizer_is_no_model_but_one_alone_is_all_there_is() -> None:
    model, optim = checkpoint(step=3, family="model_#.pt"), checkpoint(step=3, family="optim_#.pt", saved="5m")  # fmt: skip
    ema = checkpoint(step=3, family="ema-model_#.pt", saved="1m")
    assert chosen("latest", seen(model, optim, ema)) == chosen("saved", seen(model, optim, ema)) == ["model_3"]  # fmt: skip
    assert chosen("latest", seen(optim)) == ["optim_3"]


def test_a_tracker_below_the_highest_step_is_obeyed_and_told() -> None:
    one, two = steps(1, 2)
    back = seen(replace(one, pointers=("latest",)), two, trackers=("latest",))
    _, notes = select(parse_selector("latest"), [back])
    assert notes == ["latest names step 1, and step_2 is there as well"]


def test_an_alias_means_what_the_records_of_the_fastest_tier_say() -> None:
    one, two = steps(1, 2)
    places = tiers([replace(one, aliases=("prod",)), two], [one, replace(two, aliases=("prod",))])
    assert chosen("alias:prod", *places) == ["1@fast", "1@big", "2@fast", "2@big"]
