"""The numbers of a trace against sums done by hand."""

from __future__ import annotations

import statistics

import msgspec
import pytest

from harness.trace.model import Step, Visit
from harness.trace.stat import TraceStat


def visit(at: float, *thinks: float, visitor: str = "u", request: bytes = b"{}", **more: object) -> Visit:
    steps = [Step(op="get_engagement", identity="fresh", request=msgspec.Raw(request))]
    steps += [Step(op="update", think=think) for think in thinks]
    return Visit(id=str(at), visitor=visitor, at=at, steps=steps, **more)  # type: ignore[arg-type]


def stat(*visits: Visit) -> dict[str, object]:
    numbers = TraceStat()
    for one in visits:
        numbers.add(one)
    return numbers.to_obj()


def test_whole_result() -> None:
    """Every number of a small trace, computed by hand."""
    request = b'{"engagementAttributes":[{"type":"cart"},{"type":"lead"},{"type":7},3]}'
    assert stat(
        visit(0.5, 2.0, 1.0, returns=True, request=request),
        visit(1.0, visitor="w", cohort="mobile", request=b'{"impAttributes":[{"type":"cart"}]}'),
        visit(1.2, visitor="x"),
        visit(4.0),
    ) == {
        "visits": 4,
        "visitors": 3,
        "returning_visits": 1,
        "multi_step_visits": 1,
        "steps": 6,
        "steps_per_visit": 1.5,
        "span_s": 3.5,
        "last_step_s": 4.0,
        # Seconds 0 to 4 hold 1, 2, 0, 0, 1 visits.
        "arrivals": {
            "mean_hz": 0.8,
            "peak_hz": 2,
            "gap_cv": round(statistics.pstdev([0.5, 0.2, 2.8]) / (3.5 / 3), 3),
            "dispersion": round(statistics.pvariance([1, 2, 0, 0, 1]) / 0.8, 3),
            "dispersion_by_window": {
                "1s": round(statistics.pvariance([1, 2, 0, 0, 1]) / 0.8, 3),
                "10s": None,
                "60s": None,
                "600s": None,
            },
        },
        "think_s": {"count": 2, "mean": 1.5, "p50": 1.0, "p90": 2.0, "p99": 2.0, "max": 2.0},
        "peak_open_visits": 2,
        # Open from 0.5 to 3.5; the others last no time.
        "open_visits": {
            "mean": round(3 / 3.5, 2),
            "peak": 2,
            "curve": {"bin_s": 1.0, "mean": [0.5, 1.0, 1.0, 0.5, 0.0], "peak": [1, 2, 1, 1, 1]},
        },
        "new_sessions": {
            "count": 4,
            "mean_per_min": 4.0,
            "peak_per_min": 4,
            "curve": {"bin_s": 60.0, "mean_per_min": [4.0]},
        },
        "ops": {"get_engagement": 4, "update": 2},
        "identities": {"fresh": 4, "chain": 2},
        "cohorts": {"all": 3, "mobile": 1},
        "attribute_types": {"cart": 2, "lead": 1},
    }


@pytest.mark.parametrize("count", [1, 2, 99, 100, 101, 1000])
def test_think_quantiles_are_ranks(count: int) -> None:
    """A quantile is the value at its rank, rounded up, among the sorted thinks, within half a percent."""
    thinks = [0.5 + number * 0.37 for number in range(count)]
    numbers = stat(visit(0, *reversed(thinks)))["think_s"]
    assert isinstance(numbers, dict)
    for name, q in (("p50", 50), ("p90", 90), ("p99", 99)):
        rank = max(1, -(-count * q // 100))
        assert numbers[name] == pytest.approx(thinks[rank - 1], rel=0.005)


def test_single_steps_have_no_think_times() -> None:
    """Without second steps the think times are null, not zero, and the text still reads."""
    numbers = TraceStat()
    numbers.add(visit(3.0))
    assert numbers.to_obj()["think_s"] == {"count": 0, "mean": None, "p50": None, "p90": None, "p99": None, "max": None}
    assert next(numbers.lines()) == "visits       1 by 1 visitors, 0 come again"
