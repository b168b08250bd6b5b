"""A small, healthy run that tests bend to their needs."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from harness.judge.facts import RunFacts, WorkerFacts
from harness.judge.summary import summarize
from harness.measure.histogram import Histogram
from harness.measure.ledger import Ledger
from harness.measure.snapshot import Snapshot

MS = 1_000_000


def healthy_snapshot() -> Snapshot:
    """1,000 one-step visits of 20 s, each available at once in 20 ms."""
    twenty, lag, delay = Histogram(), Histogram(), Histogram()
    twenty.add(20 * MS, 1000)
    lag.add(1 * MS, 1000)
    delay.add(2 * MS, 200)
    op, cohort = "get_engagement", "mobile"
    return Snapshot(
        counters={
            ("attempts", op, cohort, "available"): 1000,
            ("steps", op, cohort, "available"): 1000,
            ("first_attempts", op, cohort): 1000,
            ("first_available", op, cohort): 1000,
            ("visits_started", cohort): 1000,
            ("visits_ended", cohort): 1000,
            ("visits", cohort, "completed"): 1000,
            ("chain", "started"): 1000,
        },
        histograms={
            ("response_time", op, cohort, "ok"): twenty,
            ("service_time", op, cohort, "ok"): twenty,
            ("time_to_available", op, cohort, "ok"): twenty,
            ("dispatch_lag", op, cohort, "ok"): lag,
            ("loop_delay", "", "", "ok"): delay,
        },
    )


@pytest.fixture
def measured() -> Snapshot:
    """What the healthy run measured."""
    return healthy_snapshot()


@pytest.fixture
def run_summary() -> Callable[..., dict[str, Any]]:
    """A function that gives the healthy run's summary, with changes of `RunFacts` and of the snapshot."""

    def build(snapshot: Snapshot | None = None, **changes: Any) -> dict[str, Any]:
        measured = snapshot or healthy_snapshot()
        ledger = Ledger()
        ledger.plan(1000, 1000)
        ledger.deal("w1", 1000, 1000)
        ledger.settle("w1", {"completed": 1000}, measured.by_last("steps"))
        facts: dict[str, Any] = {
            "run_id": "r", "started_at": "2030-01-01T00:00:00Z", "duration_s": 20.0, "trace_digest": "d", "seed": 1,
            "config": {}, "load_model": "open", "arrivals_s": 20.0, "planned_visits": 1000, "cpu_s": 2.0,
        }  # fmt: skip
        return summarize(
            run=RunFacts(**(facts | changes)),
            measured=measured,
            whole=measured,
            slices=[(0, measured)],
            ledger=ledger,
            workers=[WorkerFacts(id="w1", cpu_s=1.5, cpu_max_ratio=0.3, clock_offset_ms=0.0, rss_max_mb=50.0)],
            rng=Random(1),
        )

    return build
