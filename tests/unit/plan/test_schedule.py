"""The plan of a run: who comes, under which name, and when."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import pytest

from harness.plan.arrivals import parse_arrivals
from harness.plan.schedule import PlannedVisit, Supply, plan_visits

S = 1_000_000_000


def line(visit: str, visitor: str, at: float, steps: int = 1) -> bytes:
    return json.dumps({"visit": visit, "visitor": visitor, "at": at, "steps": [{}] * steps}).encode()


# Three visits in four seconds; the first visitor comes twice.
TRACE = [line("a", "u", 1.0, 2), line("b", "w", 2.5), line("c", "u", 5.0)]


def plan(
    lines: Iterable[bytes] | Callable[[], Iterable[bytes]] = TRACE, arrivals: str = "recorded", **options: Any
) -> Iterator[PlannedVisit]:
    read = lines if callable(lines) else lambda: iter(lines)
    return plan_visits(read, parse_arrivals(arrivals), **({"seed": 1} | options))


def told(visits: Iterable[PlannedVisit]) -> list[tuple[str, int]]:
    return [(visit.name, visit.due_ns) for visit in visits]


def test_recorded() -> None:
    """A recorded plan is the trace: its names, its times, its lines untouched."""
    assert list(plan()) == [
        PlannedVisit(1 * S, "a", "u", "", 2, TRACE[0]),
        PlannedVisit(5 * S // 2, "b", "w", "", 1, TRACE[1]),
        PlannedVisit(5 * S, "c", "u", "", 1, TRACE[2]),
    ]


def test_speed() -> None:
    """Speed divides the recorded times."""
    assert [visit.due_ns for visit in plan(speed=2.0)] == [S // 2, 5 * S // 4, 5 * S // 2]


def test_duration_cuts_before_its_end() -> None:
    """Visits due at the duration or after it are not planned."""
    assert told(plan(duration_ns=5 * S)) == [("a", S), ("b", 5 * S // 2)]
    assert told(plan(duration_ns=5 * S + 1))[-1] == ("c", 5 * S)
    assert told(plan(arrivals="constant:2/s", duration_ns=S)) == [("a", 0), ("b", S // 2)]


def test_limit() -> None:
    """A limit keeps the first visits, of all rounds and clones; none is none."""
    assert [visit.name for visit in plan(limit_visits=4, loop=3)] == ["a", "b", "c", "a@1"]
    assert list(plan(limit_visits=0)) == []


def test_rates_take_the_visits_in_order() -> None:
    """A plan with a rate gives the trace's visits its own times; the shorter of the two ends it."""
    assert told(plan(arrivals="constant:10/s")) == [("a", 0), ("b", S // 10), ("c", S // 5)]
    assert told(plan(arrivals="constant:10/s:150ms")) == [("a", 0), ("b", S // 10)]


def test_closed() -> None:
    """A closed-loop plan has an order and no times, and neither a rate nor the duration cuts it."""
    assert told(plan(arrivals="closed:2", duration_ns=1, loop=2)) == [
        *(("a", -1), ("b", -1), ("c", -1)),
        *(("a@1", -1), ("b@1", -1), ("c@1", -1)),
    ]


def test_loop_identities() -> None:
    """Each further round has visitors of its own, who return to their own round's visits."""
    visits = list(plan(loop=3))
    assert [(v.visitor + v.suffix) for v in visits] == ["u", "w", "u", "u@1", "w@1", "u@1", "u@2", "w@2", "u@2"]
    assert len({visit.name for visit in visits}) == 9


def test_loop_has_no_seam() -> None:
    """The next round begins one mean gap after the last arrival, so time goes on, with the same gaps within a round."""
    dues = [visit.due_ns for visit in plan(loop=3)]
    assert dues == sorted(dues)
    round_ns = 5 * S + 5 * S // 3
    assert dues == [due + n * round_ns for n in range(3) for due in (S, 5 * S // 2, 5 * S)]


def test_empty_trace() -> None:
    """No visits in, no visits out, however often they are repeated."""
    assert list(plan([], loop=1000)) == []


def test_amplify_whole() -> None:
    """Every visitor comes as often as said: the original on time, clones up to one second later, by visitor."""
    visits = list(plan(amplify=3.0))
    assert sorted(visit.name for visit in visits) == sorted(v + s for v in "abc" for s in ("", "~1", "~2"))
    assert [visit.due_ns for visit in visits] == sorted(visit.due_ns for visit in visits)
    due = {visit.name: visit.due_ns for visit in visits}
    assert (due["a"], due["b"], due["c"]) == (S, 5 * S // 2, 5 * S)
    for clone in ("~1", "~2"):
        shift = {name: due[name + clone] - due[name] for name in "abc"}
        assert 0 <= shift["a"] == shift["c"] != shift["b"] < S
        assert 0 <= shift["b"] < S


def test_amplify_fraction_is_decided_by_visitor() -> None:
    """A fraction keeps or clones whole visitors: all visits of one have the same copies, and the share is right."""
    lines = [line(f"{n}-{k}", f"u{n}", n + k / 2) for n in range(4000) for k in range(2)]
    for amplify in (0.25, 1.5):
        copies: dict[str, dict[str, set[str]]] = {}
        for visit in plan(lines, amplify=amplify):
            copies.setdefault(visit.visitor, {}).setdefault(visit.visit, set()).add(visit.suffix)
        for visits in copies.values():
            assert len(visits) == 2
            assert len({frozenset(suffixes) for suffixes in visits.values()}) == 1
        total = sum(len(suffixes) for visits in copies.values() for suffixes in visits.values())
        # Four standard deviations of a binomial share of 4,000 visitors with two visits each.
        spread = 4 * 2 * (4000 * (amplify % 1) * (1 - amplify % 1)) ** 0.5
        assert abs(total - 8000 * amplify) < spread


def test_amplify_none() -> None:
    """An amplification of next to nothing plans nobody."""
    assert list(plan(amplify=1e-9, loop=3)) == []


def test_clones_across_rounds_are_ordered() -> None:
    """Clones of a round's last visits that are due in the next round come in their turn."""
    lines = [line(f"v{n}", f"u{n}", n / 20) for n in range(20)]
    visits = list(plan(lines, amplify=2.0, loop=3))
    assert [visit.due_ns for visit in visits] == sorted(visit.due_ns for visit in visits)
    assert len({visit.name for visit in visits}) == len(visits) == 120
    rounds = [int(visit.suffix.partition("@")[2] or 0) for visit in visits]
    assert rounds != sorted(rounds)


def test_same_seed_same_plan() -> None:
    """A plan is a function of its arguments: the seed moves Poisson arrivals and nothing else."""
    lines = [line(f"v{n}", f"u{n % 30}", n / 9) for n in range(200)]
    options: dict[str, Any] = {"amplify": 1.7, "loop": 2}
    assert list(plan(lines, **options)) == list(plan(lines, **options)) == list(plan(lines, seed=2, **options))
    poisson = [list(plan(lines, "poisson:20/s", seed=seed, **options)) for seed in (1, 1, 2)]
    assert poisson[0] == poisson[1] != poisson[2]
    assert [visit.name for visit in poisson[0]] == [visit.name for visit in poisson[2]]


def test_memory_is_constant() -> None:
    """The plan is made while it is read: it never runs further ahead of the trace than the clones' one second."""
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        while True:
            yield line(f"v{read}", f"u{read}", read / 100)
            read += 1

    visits = plan(endless, amplify=2.0)
    for taken, visit in enumerate(islice(visits, 20_000), 1):
        # 100 visits a second, clones at most one second late.
        assert read - taken / 2 <= 101
        assert visit.due_ns >= (read - 101) * S // 100


@pytest.mark.parametrize(
    ("arrivals", "options", "gave_out"),
    [
        ("recorded", {"duration_ns": 4 * S}, False),
        ("recorded", {"duration_ns": 60 * S}, True),
        ("constant:1/s", {"duration_ns": 2 * S}, False),
        ("constant:1/s", {"duration_ns": 3 * S}, False),  # three visits, due at 0, 1 and 2 s: just enough
        ("constant:1/s", {"duration_ns": 4 * S}, True),
        ("constant:1/s", {"duration_ns": 4 * S, "loop": 2}, False),
        ("constant:1/s", {"duration_ns": 4 * S, "loop": 2, "limit_visits": 2}, True),
    ],
)
def test_a_plan_tells_when_its_visits_give_out(arrivals: str, options: dict[str, Any], gave_out: bool) -> None:
    """A trace, or a limit, that ends before the plan's time does is told, so that rates are of the time with visits."""
    supply = Supply()
    assert list(plan(arrivals=arrivals, supply=supply, **options))
    assert supply.gave_out == gave_out
