"""The summary: sums that add up, nulls where a value is unknown, nothing where nothing was measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.measure.histogram import Histogram
from harness.measure.snapshot import Snapshot

MS = 1_000_000
OP, COHORT = "get_engagement", "mobile"
RunSummary = Callable[..., dict[str, Any]]


def test_latency_block_of_known_values(run_summary: RunSummary) -> None:
    """Equal values give themselves at every quantile, in ms."""
    assert run_summary()["latency_ms"]["response_time"] == {
        "count": 1000, "mean": 20.0, "p50": 20.0, "p90": 20.0, "p95": 20.0, "p99": 20.0, "p999": 20.0, "max": 20.0,
    }  # fmt: skip


def test_lost_replies_are_null_beyond(run_summary: RunSummary, measured: Snapshot) -> None:
    """With 2 % lost, p99 and above are null and `beyond_ms` is the longest reply; the count includes them."""
    held = Histogram()
    held.add(20 * MS, 98)
    held.add_infinite(2)
    measured.histograms["response_time", OP, COHORT, "ok"] = held
    assert run_summary(measured)["latency_ms"]["response_time"] == {
        "count": 100, "mean": 20.0, "p50": 20.0, "p90": 20.0, "p95": 20.0, "p99": None, "p999": None, "max": None,
        "infinite": 2, "beyond_ms": 20.0,
    }  # fmt: skip


def test_error_replies_have_their_own_row(run_summary: RunSummary, measured: Snapshot) -> None:
    """Error replies appear under their own name and leave the row of engagements alone."""
    held = Histogram()
    held.add(3 * MS)
    measured.histograms["response_time", OP, COHORT, "error"] = held
    blocks = run_summary(measured)["latency_ms"]
    assert (blocks["response_time{result=error}"]["max"], blocks["response_time"]["max"]) == (3.0, 20.0)


def test_time_to_available_tells_the_cut_off(run_summary: RunSummary, measured: Snapshot) -> None:
    """Cut-off and refused steps are counted beside those that became available and move the quantiles."""
    for name, value, n in (("", 100, 80), ("_censored", 900, 10), ("_never", 50, 10)):
        held = Histogram()
        held.add(value * MS, n)
        measured.histograms[f"time_to_available{name}", OP, COHORT, "ok"] = held
    block = run_summary(measured)["latency_ms"]["time_to_available"]
    assert block == {
        "count": 80, "mean": 100.0, "p50": 100.0, "p90": None, "p95": None, "p99": None, "p999": None, "max": None,
        "censored": 10, "never": 10, "beyond_ms": 900.0,
    }  # fmt: skip


def test_blocks_by_op_and_cohort_add_up(run_summary: RunSummary, measured: Snapshot) -> None:
    """Attempts and steps by op, and by cohort, sum to the totals; update has no time to available."""
    for key, n in {
        ("attempts", "update", "desktop", "accepted"): 7,
        ("attempts", OP, "desktop", "timeout"): 5,
    }.items():
        measured.counters[key] = n
    summary = run_summary(measured)
    for blocks in (summary["by_op"], summary["by_cohort"]):
        assert sum(block["attempts"]["total"] for block in blocks.values()) == summary["attempts"]["total"] == 1012
    assert summary["attempts"]["by_result"]["timeout"] == summary["by_op"][OP]["attempts"]["by_result"]["timeout"] == 5
    assert "time_to_available" not in summary["by_op"]["update"]["latency_ms"]
    assert "loop_delay" not in summary["by_op"][OP]["latency_ms"]


def test_unmeasured_is_absent(run_summary: RunSummary) -> None:
    """Plan, connections, CPU and intervals that nobody measured are absent, not zero."""
    summary = run_summary(load_model="closed", planned_visits=None, cpu_s=None)
    assert "planned_visits_hz" not in summary["rates"]
    assert summary["connections"] == {}
    assert {"cpu_s", "attempts_per_cpu_s"}.isdisjoint(summary["generator"])
    assert set(summary["availability"]) == {"first_attempt_ratio", "eventual_ratio"}


def test_stall_is_the_longest_by_any_probe(run_summary: RunSummary, measured: Snapshot) -> None:
    """A late probe of the loop counts as a stall, and the longer of both is told."""
    assert run_summary(measured)["generator"]["loop_stall_max_ms"] == 2.0
    measured.maxima["loop_stall_max_ns"] = 30 * MS
    assert run_summary(measured)["generator"]["loop_stall_max_ms"] == 30.0


def test_errors_come_most_frequent_first(run_summary: RunSummary, measured: Snapshot) -> None:
    """Errors are listed by falling count, then by key."""
    measured.errors = {(OP, "timeout", 0, -1, ""): 2, (OP, "loading", 500, 20, "Loading account"): 9}
    assert run_summary(measured)["errors"] == [
        {"op": OP, "result": "loading", "http_status": 500, "code": 20, "message": "Loading account", "count": 9},
        {"op": OP, "result": "timeout", "message": "", "count": 2},
    ]
