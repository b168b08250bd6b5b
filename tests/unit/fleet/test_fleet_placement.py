"""Placement: shares by capacity, the same worker for the same visitor, nobody moved without need."""

from __future__ import annotations

from collections import Counter

import pytest

from harness.fleet.placement import MAX_ERAS, Placement


def placement(**weights: float) -> Placement:
    """A placement over these workers."""
    made = Placement()
    for name, weight in weights.items():
        made.join(name, weight)
    return made


@pytest.mark.parametrize("weights", [(1, 1), (1, 1, 1, 1), (2, 1), (1, 2, 3, 4), (0.5, 0.25, 8)])
def test_visitors_are_shared_by_capacity(weights: tuple[float, ...]) -> None:
    """Of 40,000 visitors each worker gets its share, within four standard deviations of the binomial."""
    made = placement(**{f"host-{index}": weight for index, weight in enumerate(weights)})
    got = Counter(made.place(f"visitor-{n}", False) for n in range(40_000))
    for index, weight in enumerate(weights):
        share = weight / sum(weights)
        assert abs(got[f"host-{index}"] - 40_000 * share) < 4 * (40_000 * share * (1 - share)) ** 0.5


def test_the_loss_of_a_worker_moves_its_own_visitors_only() -> None:
    """Whoever was placed elsewhere stays there; the lost worker's visitors are shared by the others."""
    made = placement(a=1, b=2, c=1)
    before = {f"v{n}": made.place(f"v{n}", False) for n in range(5_000)}
    made.leave("b")
    after = {visitor: made.place(visitor, False) for visitor in before}
    assert {visitor for visitor in before if before[visitor] != after[visitor]} == {
        visitor for visitor, worker in before.items() if worker == "b"
    }
    assert set(after.values()) == {"a", "c"}


def test_a_new_worker_takes_its_share_and_nothing_moves_between_the_old_ones() -> None:
    """A visitor either stays where it was or goes to the new worker, a third of them."""
    made = placement(a=1, b=1)
    before = {f"v{n}": made.place(f"v{n}", False) for n in range(6_000)}
    made.join("c", 1)
    moved = [visitor for visitor, worker in before.items() if made.place(visitor, False) != worker]
    assert all(made.place(visitor, False) == "c" for visitor in moved)
    assert abs(len(moved) - 2_000) < 150


def test_who_comes_again_is_never_moved_by_a_new_worker() -> None:
    """Visitors that return stay through any number of joins, up to `MAX_ERAS`; new ones are shared all the same."""
    made = placement(a=1, b=1)
    before: dict[str, str] = {}
    for era in range(MAX_ERAS):
        before |= {f"era-{era}/{n}": made.place(f"era-{era}/{n}", True) for n in range(200)}
        made.join(f"late-{era}", 1)
    assert {visitor: made.place(visitor, True) for visitor in before} == before
    newcomers = Counter(made.place(f"new-{n}", False) for n in range(9_000))
    assert len(newcomers) == 2 + MAX_ERAS
    assert min(newcomers.values()) > 350


def test_a_returning_visitor_of_a_lost_worker_goes_to_one_of_its_own_time() -> None:
    """Its ids are gone with the worker; where it goes then, it stays."""
    made = placement(a=1, b=1)
    mine = [f"v{n}" for n in range(500) if made.place(f"v{n}", True) == "a"]
    made.join("c", 1)
    made.leave("a")
    assert {made.place(visitor, True) for visitor in mine} == {"b"}
    made.leave("b")
    assert {made.place(visitor, True) for visitor in mine} == {"c"}


def test_when_all_have_gone_who_comes_next_gets_everybody() -> None:
    """Returning visitors were placed, then every worker went: the next one to come is theirs."""
    made = placement(a=1, b=1)
    visitors = [f"v{n}" for n in range(100)]
    for visitor in visitors:
        made.place(visitor, True)
    made.leave("a")
    made.leave("b")
    made.join("c", 1)
    assert {made.place(visitor, True) for visitor in visitors} == {"c"}
