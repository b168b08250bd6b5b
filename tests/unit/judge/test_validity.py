"""Validity: each limit of the instrument, at its edge and beyond, and what must not touch it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.config.model import ValidityLimits
from harness.judge.check import Check
from harness.judge.validity import check_validity, ledger_problems
from harness.measure.histogram import Histogram
from harness.measure.snapshot import Snapshot

MS = 1_000_000
RunSummary = Callable[..., dict[str, Any]]


def by_name(summary: dict[str, Any], limits: ValidityLimits | None = None) -> dict[str, Check]:
    return {check.name: check for check in check_validity(summary, limits or ValidityLimits())}


def test_healthy_run_is_valid(run_summary: RunSummary) -> None:
    """A healthy open run passes every check, and all of them were asked."""
    checks = by_name(run_summary())
    assert {name: check.ok for name, check in checks.items()} == dict.fromkeys(
        (
            "ledger", "dropped", "dispatch_lag_p99", "worker_cpu", "arrivals", "loop_stall", "slices_missing",
            "own_limits", "workers_lost", "crossed",
        ),
        True,
    )  # fmt: skip
    assert {check.kind for check in checks.values()} == {"validity"}


def test_closed_runs_are_not_asked_about_pace(run_summary: RunSummary) -> None:
    """A closed-loop run has no lag, CPU or arrivals limit."""
    closed = by_name(run_summary(load_model="closed", planned_visits=None))
    assert set(closed) == {"ledger", "dropped", "loop_stall", "slices_missing", "own_limits", "workers_lost", "crossed"}


@pytest.mark.parametrize(
    ("path", "edge", "beyond", "check"),
    [
        (("latency_ms", "dispatch_lag", "p99"), 10.0, 10.1, "dispatch_lag_p99"),
        (("generator", "loop_stall_max_ms"), 250.0, 250.1, "loop_stall"),
        (("generator", "cpu_max_ratio"), 0.8, 0.81, "worker_cpu"),
        (("generator", "slices_missing"), 0, 1, "slices_missing"),
        (("generator", "own_limits"), 0, 1, "own_limits"),
        (("generator", "workers_lost"), 0, 1, "workers_lost"),
        (("chain", "crossed"), 0, 1, "crossed"),
        (("visits", "dropped"), 1, 2, "dropped"),
        (("rates", "achieved_visits_hz"), 49.75, 49.7, "arrivals"),
        (("rates", "achieved_visits_hz"), 50.25, 50.3, "arrivals"),
    ],
)
def test_limits(run_summary: RunSummary, path: tuple[str, ...], edge: float, beyond: float, check: str) -> None:
    """Each default limit holds at its edge and is broken beyond it, with what was seen and what to do."""
    for value, ok in ((edge, True), (beyond, False)):
        summary = run_summary()
        *parents, last = path
        block = summary
        for parent in parents:
            block = block[parent]
        block[last] = value
        answer = by_name(summary)[check]
        assert answer.ok is ok
        assert ok or ("at most" in answer.message and ":" in answer.message)


def test_limits_come_from_the_profile(run_summary: RunSummary) -> None:
    """A profile's own limits replace the defaults."""
    summary = run_summary(workers_lost=1)
    assert not by_name(summary)["workers_lost"].ok
    assert by_name(summary, ValidityLimits(workers_lost=1))["workers_lost"].ok


def test_unmeasured_instrument_is_not_trusted(run_summary: RunSummary) -> None:
    """CPU, stalls or lag that nobody measured do not pass."""
    summary = run_summary()
    del summary["generator"]["cpu_max_ratio"], summary["generator"]["loop_stall_max_ms"]
    del summary["latency_ms"]["dispatch_lag"]
    checks = by_name(summary)
    failed = {name: check.message.split(",")[0] for name, check in checks.items() if not check.ok}
    assert failed == dict.fromkeys(("worker_cpu", "loop_stall", "dispatch_lag_p99"), "not measured")


def test_warm_up_edge_is_no_deviation(run_summary: RunSummary) -> None:
    """With a warm-up one visit a worker may fall beside its edge; without one, every visit counts."""

    def fifty_less_one(**changes: Any) -> bool:
        summary = run_summary(planned_visits=50, **changes)
        summary["rates"]["achieved_visits_hz"] = 49 / 20.0
        return by_name(summary)["arrivals"].ok

    assert fifty_less_one(warmup_s=2.0)
    assert not fifty_less_one()


def test_frozen_target_leaves_the_run_valid(run_summary: RunSummary, measured: Snapshot) -> None:
    """Ten-second answers and lost replies are the target's: no validity check minds."""
    for measure in ("response_time", "service_time"):
        slow = Histogram()
        slow.add(10_000 * MS, 700)
        slow.add_infinite(300)
        measured.histograms[measure, "get_engagement", "mobile", "ok"] = slow
    assert all(check.ok for check in by_name(run_summary(measured)).values())


def test_ledger_equations(run_summary: RunSummary) -> None:
    """Each broken equation of the books is named; balanced books have no problem."""
    assert ledger_problems(run_summary()) == []
    summary = run_summary()
    summary["visits"]["completed"] -= 1
    summary["steps"]["available"] -= 2
    summary["workers"][0]["completed"] -= 3
    assert ledger_problems(summary) == [
        "1000 visits were planned and 999 are accounted for",
        "1000 steps were planned and 998 are accounted for",
        "worker w1 was dealt 1000 visits and accounts for 997",
        "998 steps settled as available, 1000 measured so",
    ]
    assert not by_name(summary)["ledger"].ok


def test_causes_come_before_what_they_explain(run_summary: RunSummary) -> None:
    """A lost worker, a stall, a full CPU and lateness stand in this order, the books behind them."""
    names = list(by_name(run_summary()))
    order = ["workers_lost", "own_limits", "loop_stall", "worker_cpu", "dispatch_lag_p99", "arrivals", "dropped"]
    assert names[: len(order)] == order
    assert names.index("ledger") > names.index("dropped")


def test_others_on_the_core_are_named(run_summary: RunSummary) -> None:
    """Where a worker waited for its CPU, lateness and stalls are put down to others; else to its own load."""
    for waited, told in ((0.42, "other processes took the CPU, a worker waited for it for up to 42 %"), (0.02, "busy")):
        summary = run_summary()
        summary["latency_ms"]["dispatch_lag"]["p99"] = 50.0
        summary["generator"] |= {"cpu_wait_max_ratio": waited, "loop_stall_max_ms": 900.0}
        checks = by_name(summary)
        assert told in checks["dispatch_lag_p99"].message
        assert told in checks["loop_stall"].message


def test_drift_is_told_and_limited_only_on_request(run_summary: RunSummary) -> None:
    """A drifting run says so and stays valid, unless the profile limits the drift; the advice comes with the limit."""
    summary = run_summary()
    summary["steadiness"] = {"drift_ratio": 0.3, "drifts": True, "message": "service time moved by +30 %"}
    told = by_name(summary)["steady"]
    assert (told.ok, told.observed, told.limit, told.message) == (True, 0.3, None, "service time moved by +30 %")
    limited = by_name(summary, ValidityLimits(drift_ratio=0.2))["steady"]
    assert (limited.ok, "--warmup longer" in limited.message) == (False, True)
    summary["steadiness"]["drifts"] = False
    assert by_name(summary, ValidityLimits(drift_ratio=0.2))["steady"].ok
