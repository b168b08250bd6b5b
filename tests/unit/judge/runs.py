"""Made-up runs for comparisons: seconds with a level that lasts (an AR(1) process), replies lognormal around it."""

from __future__ import annotations

from math import exp, log, sqrt
from random import Random
from typing import Any

from harness.judge.compare import ComparedRun
from harness.measure.histogram import Histogram
from harness.measure.snapshot import Snapshot

MS = 1_000_000
OP, COHORT = "get_engagement", "mobile"
CONFIG = {"arrivals": "constant:50/s", "retry": {"name": "none"}, "duration_ns": 60_000 * MS}


def levels(rng: Random, seconds: int, *, rho: float, sd: float) -> list[float]:
    """A stationary AR(1) series with standard deviation `sd` and correlation `rho` between neighbours."""
    level, series = rng.gauss(0, sd), []
    for _ in range(seconds):
        series.append(level)
        level = rho * level + rng.gauss(0, sd * sqrt(1 - rho * rho))
    return series


def made_run(
    seed: int,
    *,
    seconds: int = 60,
    rate: int = 50,
    slower: float = 1.0,
    rho: float = 0.0,
    sd: float = 0.0,
    available: float = 0.9,
    lost: float = 0.0,
    run_id: str = "run",
    status: str = "PASS",
    config: dict[str, Any] | None = None,
) -> ComparedRun:
    """`rate` replies a second around 20 ms times `slower`; a share `available` at once, a share `lost` never."""
    rng = Random(seed)
    slices = {}
    for second, level in enumerate(levels(rng, seconds, rho=rho, sd=sd)):
        times, middle = Histogram(), log(20 * MS * slower) + level
        gone = sum(rng.random() < lost for _ in range(rate))
        times.add_all([int(exp(rng.gauss(middle, 0.5))) for _ in range(rate - gone)])
        times.add_infinite(gone)
        good = sum(rng.random() < available for _ in range(rate))
        slices[second] = Snapshot(
            counters={
                ("first_attempts", OP, COHORT): rate,
                ("first_available", OP, COHORT): good,
                ("attempts", OP, COHORT, "available"): good,
                ("attempts", OP, COHORT, "server_error"): rate - good,
            },
            histograms={("response_time", OP, COHORT, "ok"): times},
        )
    summary = {
        "run_id": run_id,
        "trace_digest": "sha256:1",
        "config": CONFIG | (config or {}),
        "phases": {"warmup_s": 0.0, "arrivals_s": float(seconds), "measured_s": float(seconds)},
        "verdict": {"status": status},
    }
    manifest = {"versions": {"harness": "1"}, "host": {"machine": "x86_64", "cores": 2}}
    return ComparedRun(manifest=manifest, summary=summary, slices=slices)
