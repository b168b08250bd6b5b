"""The closed label sets of the metrics page, and its bucket edges (interfaces sections 3 and 5).

With 5 cohorts, 3 SLO edges and load steps the page stays below 500 series; a test counts them. `internal_error` has no
zeros: it ends the run, and is shown when it was counted.
"""

from __future__ import annotations

from harness.measure.names import RESULTS, SETTLED_STEPS
from harness.units import NS_PER_US

OTHER_COHORT = "(other)"
PHASES = ("starting", "warmup", "measure", "drain", "ended")
VERDICTS = ("PASS", "FAIL", "INVALID")
WORKER_STATES = ("expected", "ready", "running", "leaving", "lost")
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}

# What an operation cannot come to is not on the page.
RESULTS_BY_OP = {
    "get_engagement": tuple(name for name in RESULTS if name not in ("accepted", "internal_error")),
    "update": tuple(
        name for name in RESULTS if name not in ("available", "not_available", "loading", "internal_error")
    ),
}
OUTCOMES_BY_OP = {
    "get_engagement": tuple(name for name in SETTLED_STEPS if name not in ("accepted", "skipped")),
    "update": tuple(name for name in SETTLED_STEPS if name not in ("available", "not_available")),
}

REPLY_EDGES_NS = tuple(
    us * NS_PER_US
    for us in (
        *(1_000, 2_500, 5_000, 10_000, 20_000, 35_000, 50_000, 75_000, 100_000, 150_000, 200_000, 300_000),
        *(500_000, 750_000, 1_000_000, 1_500_000, 2_000_000, 3_000_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000),
    )
)
CONNECT_EDGES_NS = tuple(
    us * NS_PER_US
    for us in (500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 10_000_000)
)
DELAY_EDGES_NS = tuple(
    us * NS_PER_US for us in (100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000)
)
