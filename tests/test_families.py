from __future__ import annotations

from ckptctl.families import all_apart, families, oldest_first
from tests.checkpoints import checkpoint, run


def test_families_come_by_name_and_hold_their_checkpoints_in_any_state() -> None:
    b, a = checkpoint(family="b_#.pt", step=1), checkpoint(family="a_#.pt", step=1)
    torn = checkpoint(family="a_#.pt", step=2, state="incomplete")
    first, second = families(run([b, torn, a]))
    assert (first.name, second.name) == ("a_#.pt", "b_#.pt")
    assert set(map(id, first.checkpoints)) == {id(torn), id(a)}
    assert [place.checkpoints for place in first.places] == [(a,)]


def test_checkpoints_of_one_step_are_ordered_by_time_then_path() -> None:
    late = checkpoint(step=1, name="a", saved="1h")
    early_b = checkpoint(step=1, name="b", saved="2h")
    early_c = checkpoint(step=1, name="c", saved="2h")
    (family,) = families(run([late, early_c, early_b]))
    assert [place.checkpoints for place in family.places] == [(early_b, early_c, late)]


def test_a_run_whose_names_have_nothing_in_common_is_told_from_others() -> None:
    apart = [checkpoint(family=f"{name}.pt", step=1) for name in ("x", "y", "z")]
    assert all_apart(families(run(apart)))
    assert not all_apart(families(run([*apart, checkpoint(family="x.pt", step=2)])))
    assert not all_apart(families(run([])))


def test_oldest_first_follows_the_order_of_each_family() -> None:
    them = [
        checkpoint(family="a_#.pt", step=9, saved="8h"),
        checkpoint(family="a_#.pt", step=5, saved="2h"),  # after a rollback
        checkpoint(family="a_#.pt", step=1, saved="9h"),
        checkpoint(family="b_#.pt", step=7, saved="4h"),
    ]
    assert [c.name for c in oldest_first(run(them))] == ["a_1", "b_7", "a_5", "a_9"]
