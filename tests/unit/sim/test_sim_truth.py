"""The truth's service times against sorted lists, and its counts against a hand count."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from harness.sim.truth import ServiceTimes, Truth

TIMES = st.lists(st.integers(0, 60_000_000_000), min_size=1, max_size=200)


@given(TIMES, TIMES)
def test_service_times_agree_with_the_sorted_list(first: list[int], second: list[int]) -> None:
    """Count, mean and max are exact; quantiles are the nearest rank within 0.05 % or half a microsecond, merged too."""
    times, other = ServiceTimes(), ServiceTimes()
    for time_ns in first:
        times.add(time_ns)
    for time_ns in second:
        other.add(time_ns)
    times.merge(other)
    ordered = sorted(first + second)
    found = times.to_obj()
    assert found["count"] == len(ordered)
    assert found["max"] == round(ordered[-1] / 1e6, 3)
    assert found["mean"] == round(sum(ordered) / len(ordered) / 1e6, 3)
    for name, quantile in (("p50", 50), ("p95", 95), ("p99", 99)):
        rank = max(1, math.ceil(quantile * len(ordered) / 100))
        value = found[name]
        assert value is not None
        assert math.isclose(value, ordered[rank - 1] / 1e6, rel_tol=5e-4, abs_tol=6e-4)


def test_times_are_kept_in_bounded_memory() -> None:
    """A million distinct microseconds up to a minute need fewer than 40,000 counters."""
    times = ServiceTimes()
    for time_us in range(0, 60_000_000, 60):
        times.add(time_us * 1_000)
    assert len(times._by_us) < 40_000


def test_counts_by_operation_outcome_and_ids() -> None:
    """Each decision is counted once under each heading; `chain` holds served engagement calls and rejections only."""
    truth = Truth()
    for op, outcome, met in (
        ("get_engagement", "available", "started"),
        ("get_engagement", "not_available", "kept"),
        ("get_engagement", "server_error", "kept"),
        ("get_engagement", "rejected", "adopted"),
        ("get_engagement", "available", "renewed"),
        ("get_engagement", "reset", ""),
        ("update", "accepted", "kept"),
        ("update", "rejected", "unknown_sid"),
    ):
        truth.decided(op, outcome, met)
    found = truth.to_obj()
    assert found["outcomes"] == {
        "available": 2,
        "not_available": 1,
        "rejected": 2,
        "reset": 1,
        "server_error": 1,
        "accepted": 1,
    }
    assert found["attempts"] == {
        "total": 8,
        "by_op": {"get_engagement": 6, "update": 2},
        "by_op_outcome": {
            "get_engagement": {"available": 2, "not_available": 1, "rejected": 1, "reset": 1, "server_error": 1},
            "update": {"accepted": 1, "rejected": 1},
        },
        "abandoned": {},
        "in_flight": 0,
    }
    assert found["chain"] == {"started": 1, "kept": 1, "renewed": 1, "rejected": 2}
    assert found["ids_seen"] == {
        "get_engagement": {"started": 1, "kept": 2, "adopted": 1, "renewed": 1},
        "update": {"kept": 1, "unknown_sid": 1},
    }
    assert (found["renewals"], found["unknown_ids"]) == (1, 2)
