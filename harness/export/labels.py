"""The closed label sets of the metrics page, and its bucket edges (interfaces sections 3 and 5).

With 5 cohorts and 5 SLO edges the page stays below 500 series; a test counts them.
"""

from __future__ import annotations

from harness.measure.names import OUTCOMES, RESULTS
from harness.units import NS_PER_S, NS_PER_US

OTHER_COHORT = "(other)"
PHASES = ("starting", "warmup", "measure", "drain", "ended")
VERDICTS = ("PASS", "FAIL", "INVALID")
WORKER_STATES = ("expected", "ready", "running", "lost")
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}

# What an operation cannot come to is not on the page.
RESULTS_BY_OP = {
    "get_engagement": tuple(name for name in RESULTS if name != "accepted"),
    "update": tuple(name for name in RESULTS if name not in ("available", "not_available", "loading")),
}
OUTCOMES_BY_OP = {
    "get_engagement": tuple(name for name in OUTCOMES if name not in ("accepted", "skipped")),
    "update": tuple(name for name in OUTCOMES if name not in ("available", "not_available")),
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


def edge_text(edge_ns: int) -> str:
    """An edge given in ns as it stands in `le`: seconds without superfluous zeros."""
    return f"{edge_ns // NS_PER_S}.{edge_ns % NS_PER_S:09d}".rstrip("0").rstrip(".")
