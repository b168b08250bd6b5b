"""A page on which every family of the run's metrics has at least one series: for docs and checks."""

from __future__ import annotations

from harness.export.families import Page
from harness.export.prometheus import MetricsPage
from harness.export.state import CapacityState, RunState
from harness.measure.histogram import Histogram
from harness.measure.names import MEASURES
from harness.measure.snapshot import Snapshot


def example_page() -> Page:
    """A page on which every family has at least one series."""
    snapshot = Snapshot()
    snapshot.counters[("first_attempts", "get_engagement", "all")] = 1
    snapshot.counters[("first_available", "get_engagement", "all")] = 1
    snapshot.counters[("steps", "get_engagement", "all", "available")] = 1
    for measure in MEASURES:
        op, cohort = ("", "") if measure == "loop_delay" else ("get_engagement", "all")
        histogram = snapshot.histograms[measure, op, cohort, "ok"] = Histogram()
        histogram.add(1_000_000)
    state = RunState(
        planned_rate_hz=1.0,
        achieved_rate_hz=1.0,
        worker_cpu_ratio={"worker-1": 0.1},
        slo_ok={"p95(response_time) < 500ms": True},
        capacity=CapacityState(
            step_rate_hz=1.0,
            step_achieved_hz=1.0,
            step_goodput_hz=1.0,
            step_concurrency=1.0,
            step_latency_s=dict.fromkeys(("p50", "p95", "p99"), 0.001),
            step_availability=1.0,
            step_ok={"p95(response_time) < 500ms": True},
            rate_hz=dict.fromkeys(("at_least", "below", "estimate"), 1.0),
            usl=dict.fromkeys(("lambda", "sigma", "kappa", "knee", "peak"), 1.0),
        ),
    )
    info = {"run_id": "…", "scenario": "…", "trace": "…", "version": "…"}
    page = MetricsPage(run_info=info, cohorts=["all"])
    page.add(snapshot)
    return page.page(state)
