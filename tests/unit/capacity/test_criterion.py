"""Thresholds as shares that may be bad: what is counted, what is allowed, and what a search refuses."""

from __future__ import annotations

import pytest

from harness.capacity.criterion import criteria_of
from harness.errors import UsageError
from harness.judge.threshold import parse_thresholds
from harness.measure.histogram import Histogram
from harness.measure.snapshot import Snapshot
from harness.units import NS_PER_MS


def measured() -> Snapshot:
    """Ten replies of 10 to 100 ms, two attempts without one, and fifteen steps of which nine became available."""
    times = Histogram()
    times.add_all([ms * NS_PER_MS for ms in range(10, 101, 10)])
    waits = Histogram()
    waits.add_all([ms * NS_PER_MS for ms in range(10, 91, 10)])
    cut, never = Histogram(), Histogram()
    cut.add_all([20 * NS_PER_MS, 80 * NS_PER_MS])
    never.add_all([5 * NS_PER_MS])
    times.add_infinite(2)
    op = "get_engagement"
    return Snapshot(
        counters={
            ("steps", op, "all", "available"): 9,
            ("steps", op, "all", "failed"): 4,
            ("steps", op, "all", "exhausted"): 2,
            ("attempts", op, "all", "available"): 9,
            ("attempts", op, "all", "throttled"): 3,
        },
        histograms={
            ("response_time", op, "all", "ok"): times,
            ("time_to_available", op, "all", "ok"): waits,
            ("time_to_available_censored", op, "all", "ok"): cut,
            ("time_to_available_never", op, "all", "ok"): never,
        },
    )


@pytest.mark.parametrize(
    ("text", "allowed", "counts"),
    [
        ("p95(response_time) < 65ms", 0.05, (6, 12)),
        ("p50(response_time{op=get_engagement}) <= 500ms", 0.5, (2, 12)),
        ("p99.9(response_time) < 65ms", 0.001, (6, 12)),
        # Of the two that were cut off, the one after 80 ms had not kept 65 ms; the other says nothing.
        ("p90(time_to_available) < 65ms", 0.1, (5, 11)),
        ("ratio(failed) < 10%", 0.1, (4, 15)),
        ("ratio(available) > 99.5%", 0.005, (6, 15)),
        ("availability(eventual) >= 0.8", 0.2, (6, 15)),
        ("ratio(throttled) < 1%", 0.01, (3, 12)),
    ],
)
def test_a_threshold_is_a_share(text: str, allowed: float, counts: tuple[int, int]) -> None:
    """What is bad, of what, and how much of it may be, counted by hand."""
    [criterion] = criteria_of(parse_thresholds([text]))
    assert (criterion.allowed, criterion.counts(measured()), criterion.name) == (allowed, counts, text)


def test_what_is_no_share_is_left_to_the_run() -> None:
    """A maximum, an event, a rate, and a share of which nothing may be bad are no criteria."""
    others = [
        "max(response_time) < 1s", "chain(crossed) == 0", "rate(visits) > 5/s", "retry_amplification() < 2",
        "availability(eventual) >= 100%", "p50(response_time) > 1ms",
    ]  # fmt: skip
    assert [each.name for each in criteria_of(parse_thresholds([*others, "p99(response_time) < 1s"]))] == [
        "p99(response_time) < 1s"
    ]


@pytest.mark.parametrize(
    "texts", [["mean(response_time) < 1s", "p99(response_time) < 1s"], [], ["chain(crossed) == 0"]]
)
def test_a_search_refuses_means_and_wants_a_share(texts: list[str]) -> None:
    """A mean hides the slow; and without a share there is nothing to search by."""
    with pytest.raises(UsageError, match=r"means, which hide the slow|needs a percentile or a share"):
        criteria_of(parse_thresholds(texts))
