"""What bounds a search before it begins, how long its steps are, and headroom over a peak."""

from __future__ import annotations

from math import sqrt
from random import Random

import pytest

from harness.capacity.bounds import Shape, highest_rate, plan_times, shape_of
from harness.capacity.headroom import busiest_minute_hz, highest_held_hz
from harness.capacity.load_point import LoadPoint
from harness.capacity.steps import StepResult
from harness.engine.ceilings import Window
from harness.units import NS_PER_MS, NS_PER_S

SHAPE = Shape(visits=100, steps=3.0, sessions=1.5, stay_s=12.0)


def test_a_shape_is_the_mean_visit_and_how_long_nine_of_ten_stay() -> None:
    """Of ten visits: mean steps and sessions, and the ninth-longest stay."""
    visits = [(number, 1, float(number)) for number in range(1, 11)]
    assert shape_of(visits) == Shape(visits=10, steps=5.5, sessions=1.0, stay_s=9.0)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, (2000.0, "--max")),
        (
            {"max_visits_per_s": 500.0},
            (433.3, "limits.max_visits_per_s (500, less the room that arrivals by chance need)"),
        ),
        (
            {"max_visits_per_s": 500.0, "process": "constant"},
            (475.0, "limits.max_visits_per_s (500, less 5 % to catch up in)"),
        ),
        (
            {"max_new_sessions_per_min": 900.0},
            (8.77, "limits.max_new_sessions_per_min (900, less the room that arrivals by chance need)"),
        ),
        (
            {"connections_hz": 470.0},
            (470.0, "the local ports of this machine (about 470 new connections a second)"),
        ),
        (
            {"connections_hz": 470.0, "fresh": True},
            (470 / 3, "the local ports of this machine (about 470 new connections a second)"),
        ),
        ({"max_visits_per_s": 5000.0, "connections_hz": 2500.0}, (2000.0, "--max")),
    ],
)
def test_the_lowest_limit_bounds_the_search(limits: dict[str, float], expected: tuple[float, str]) -> None:
    """Ceilings of visits and sessions, ports, and --max: the lowest counts, by name."""
    rate, why = highest_rate(2000.0, SHAPE, **limits)  # type: ignore[arg-type]
    assert (rate, why) == (pytest.approx(expected[0], rel=1e-3), expected[1])


def late_share(ceiling: float, rate_hz: float, workers: int = 1) -> float:
    """Which share of 50,000 Poisson arrivals, dealt to workers by chance, their ceilings hold for more than 10 ms."""
    rng, late, now_s = Random("arrivals"), 0, 0.0
    windows = [Window(ceiling / workers, NS_PER_S) for _ in range(workers)]
    for _ in range(50_000):
        now_s += rng.expovariate(rate_hz)
        due_ns, window = round(now_s * NS_PER_S), rng.choice(windows)
        begun_ns = max(due_ns, window.free_ns())
        window.note(begun_ns)
        late += begun_ns - due_ns > 10 * NS_PER_MS
    return late / 50_000


@pytest.mark.parametrize(("ceiling", "workers"), [(10, 1), (50, 1), (1000, 1), (120, 4)])
def test_arrivals_by_chance_leave_the_ceiling_alone(ceiling: float, workers: int) -> None:
    """At the highest rate far fewer than the hundredth that makes a step INVALID are held; at the ceiling, more."""
    rate_hz, _ = highest_rate(2000.0, SHAPE, max_visits_per_s=ceiling, workers=workers)
    assert late_share(ceiling, rate_hz, workers) < 0.002
    assert late_share(ceiling, ceiling, workers) > 0.05
    # No more is left than chance asks for.
    assert rate_hz > ceiling - 4.5 * sqrt(ceiling * workers)


def test_a_ceiling_of_next_to_nothing_leaves_next_to_nothing() -> None:
    """However low a ceiling is, some rate is left, and it is below it."""
    for ceiling in (0.5, 1.0, 2.0):
        assert 0 < highest_rate(2000.0, SHAPE, max_visits_per_s=ceiling)[0] < ceiling


@pytest.mark.parametrize(
    ("budget_s", "hold_s", "settle_s", "stay_s", "expected"),
    [
        (2400, None, None, 0.0, (15, 150)),
        (60, None, None, 0.0, (3, 30)),
        (2400, None, None, 40.5, (41, 150)),
        (2400, 20.0, 1.0, 40.0, (1, 20)),
        (2400, 12.0, None, 0.0, (2, 12)),
    ],
)
def test_steps_last_as_long_as_budget_and_visits_ask(
    budget_s: float, hold_s: float | None, settle_s: float | None, stay_s: float, expected: tuple[int, int]
) -> None:
    """A sixteenth of the budget, 30 s at least; settling takes a tenth, and as long as visits think."""
    assert plan_times(budget_s, hold_s, settle_s, stay_s) == expected


def test_the_busiest_minute_may_begin_anywhere() -> None:
    """Ninety visits in the minute around 60 s, fewer in each minute of the clock."""
    at_s = [30 + number * 59 / 89 for number in range(90)]
    assert busiest_minute_hz(at_s) == 90 / 60
    assert busiest_minute_hz([0.0, 60.0]) == 1 / 60
    assert busiest_minute_hz([]) == 0


def point(rate_hz: float, **ok: bool) -> LoadPoint:
    """A point of which only rate and thresholds matter."""
    result = StepResult(
        rate_hz=rate_hz, achieved_hz=rate_hz, goodput_hz=rate_hz, concurrency=1, latency_ns={}, availability=None, ok=ok
    )
    return LoadPoint(label="", result=result, busy_s=(1.0,), useful=(1,))


def test_the_highest_rate_that_held_lies_below_all_that_broke() -> None:
    """A rate that held above a broken one does not count, nor one without a judged threshold."""
    points = [point(10, a=True), point(20, a=True, b=True), point(30, a=True, b=False), point(40, a=True)]
    assert highest_held_hz(points) == 20
    assert highest_held_hz([point(10)]) is None
    assert highest_held_hz([point(10, a=False), point(20, a=True)]) is None
