"""Load steps: which seconds belong to which, what they show, and what bounds follow."""

from __future__ import annotations

import pytest

from harness.capacity.steps import LoadStep, Staircase, load_steps
from harness.judge.threshold import parse_thresholds
from harness.measure.histogram import Histogram
from harness.measure.snapshot import Snapshot
from harness.plan.arrivals import parse_arrivals
from harness.units import NS_PER_MS, NS_PER_S

THRESHOLDS = parse_thresholds(["p50(response_time) < 50ms", "availability(eventual) > 90%"])


@pytest.mark.parametrize(
    ("arrivals", "end_s", "steps"),
    [
        ("constant:20/s:10s,poisson:40/s:10s", None, [(20, 0, 10), (40, 10, 20)]),
        ("constant:20/s:10s,constant:40/s", 30, [(20, 0, 10), (40, 10, 30)]),
        ("constant:20/s:10s,ramp:20/s..40/s:5s,constant:40/s:10s", None, [(20, 0, 10), (40, 15, 25)]),
        ("constant:20/s:10s,constant:40/s:10s,constant:60/s:10s", 15, [(20, 0, 10), (40, 10, 15)]),
        ("constant:20/s:60s", None, []),
        ("constant:20/s:10s,constant:40/s", None, []),
        ("recorded", 60, []),
        ("closed:10", 60, []),
        ("ramp:1/s..9/s:30s", None, []),
    ],
)
def test_held_rates_are_steps(arrivals: str, end_s: int | None, steps: list[tuple[float, int, int]]) -> None:
    """Each held segment is a step as long as it lasts; one alone, ramps, recorded and closed plans make none."""
    found = load_steps(parse_arrivals(arrivals), None if end_s is None else end_s * NS_PER_S)
    assert [(step.rate_hz, step.start_ns / NS_PER_S, step.end_ns / NS_PER_S) for step in found] == steps


def test_the_first_fifth_of_a_step_is_left_out() -> None:
    """Whole seconds count from the end of settling to the end of the step."""
    assert list(LoadStep(1.0, 10 * NS_PER_S, 20 * NS_PER_S).seconds) == list(range(12, 20))
    assert list(LoadStep(1.0, 0, 7 * NS_PER_S).seconds) == list(range(2, 7))


def second(rate: int, ms: int, available: int, failed: int = 0, lost: int = 0) -> Snapshot:
    """One second: `rate` visits begun, steps available and failed, replies after `ms`, and attempts without reply."""
    histogram = Histogram()
    histogram.add(ms * NS_PER_MS, available)
    if lost:
        histogram.add_infinite(lost)
    return Snapshot(
        counters={
            ("visits_started", "all"): rate,
            ("steps", "get_engagement", "all", "available"): available,
            ("steps", "get_engagement", "all", "failed"): failed,
        },
        histograms={
            ("response_time", "get_engagement", "all", "ok"): histogram,
            ("service_time", "get_engagement", "all", "ok"): histogram,
        },
    )


def test_steps_are_measured_and_bound_the_capacity() -> None:
    """Three steps of ten seconds: rates, concurrency by Little's law, latency and verdicts as computed by hand."""
    steps = load_steps(parse_arrivals("constant:20/s:10s,constant:40/s:10s,constant:80/s:10s"), None)
    staircase = Staircase(steps, THRESHOLDS, timeout_ns=2 * NS_PER_S)
    for at in range(30):
        noise = second(1000, 9000, 500) if at % 10 < 2 else None
        staircase.add(at, noise or (second(20, 10, 40), second(40, 20, 80), second(70, 200, 90, 30, 10))[at // 10])
        assert len(staircase.results) == at // 10
    staircase.end()
    assert [(r.rate_hz, r.achieved_hz, r.goodput_hz) for r in staircase.results] == [
        (20, 20, 40),
        (40, 40, 80),
        (80, 70, 90),
    ]
    assert [r.concurrency for r in staircase.results] == pytest.approx([0.4, 1.6, 90 * 0.2 + 10 * 2.0])
    assert [r.availability for r in staircase.results] == [1, 1, 0.75]
    assert [list(r.ok.values()) for r in staircase.results] == [[True, True], [True, True], [False, False]]
    assert [r.latency_ns["p95"] for r in staircase.results] == [10 * NS_PER_MS, 20 * NS_PER_MS, None]
    assert staircase.bounds_hz() == {"at_least": 40, "below": 80}


def test_bounds_say_only_what_was_seen() -> None:
    """All held: no upper bound. The lowest broken: no lower one. Without thresholds: none at all."""
    steps = load_steps(parse_arrivals("constant:20/s:10s,constant:40/s:10s"), None)
    for milliseconds, thresholds, bounds in (
        (10, THRESHOLDS, {"at_least": 40}),
        (90, THRESHOLDS, {"below": 20}),
        (10, [], {}),
    ):
        staircase = Staircase(steps, thresholds, timeout_ns=NS_PER_S)
        for at in range(20):
            staircase.add(at, second(20, milliseconds, 40))
        staircase.end()
        assert staircase.bounds_hz() == bounds


@pytest.mark.parametrize(("seconds", "told"), [(9, 0), (10, 1), (15, 1), (19, 1), (20, 2), (25, 2), (29, 2), (30, 3)])
def test_a_step_that_was_cut_off_is_not_told(seconds: int, told: int) -> None:
    """Of three steps of ten seconds, as many have a result as were played to their last second."""
    steps = load_steps(parse_arrivals("constant:20/s:10s,constant:40/s:10s,constant:80/s:10s"), None)
    staircase = Staircase(steps, THRESHOLDS, timeout_ns=NS_PER_S)
    for at in range(seconds):
        staircase.add(at, second(20, 10, 40))
    staircase.end()
    staircase.end()
    assert len(staircase.results) == told
