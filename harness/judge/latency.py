"""The latency blocks of summary.json: merged histograms become milliseconds."""

from __future__ import annotations

from typing import Any

from harness.measure.histogram import Histogram
from harness.measure.names import ATTEMPT_MEASURES
from harness.measure.snapshot import Snapshot
from harness.measure.survival import time_to_event_quantiles
from harness.units import NS_PER_MS

QUANTILES: tuple[tuple[str, float], ...] = (
    ("p50", 0.5),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p999", 0.999),
    ("max", 1.0),
)
_QS = [q for _, q in QUANTILES]


def latency_blocks(measured: Snapshot, *, op: str | None = None, cohort: str | None = None) -> dict[str, Any]:
    """{measure: {count, mean, p50, …, max}} in ms for all that was measured, of one op or cohort if given.

    `count` includes the infinitely slow ones, which `infinite` counts when there are any; a quantile (and the max)
    that falls there is None, and `beyond_ms` is the largest finite value. `mean` is of the finite values. Error replies
    stand apart under `response_time{result=error}` and `service_time{result=error}`. `time_to_available`: `_waiting`.
    """
    blocks = {}
    for measure in (*ATTEMPT_MEASURES, "loop_delay"):
        for row, name in (("ok", measure), ("error", f"{measure}{{result=error}}")):
            histogram = measured.histogram(measure, op=op, cohort=cohort, row=row)
            if histogram.count:
                blocks[name] = _block(histogram)
    if op in (None, "get_engagement"):
        waiting = _waiting(measured, cohort)
        if waiting:
            blocks["time_to_available"] = waiting
    return blocks


def _block(histogram: Histogram) -> dict[str, Any]:
    block = {
        "count": histogram.count,
        "mean": milliseconds(histogram.mean_ns),
        **_named(histogram.quantiles(_QS)),
    }
    if histogram.infinite:
        block |= {"infinite": histogram.infinite, "beyond_ms": milliseconds(histogram.max_ns)}
    return block


def _waiting(measured: Snapshot, cohort: str | None) -> dict[str, Any] | None:
    """Time to available of get_engagement steps: quantiles of the cumulative incidence over those that waited.

    `count` became available (and have the `mean`), `censored` were cut off by the run's end or the retry budget,
    `never` were refused. Quantiles are of all three together; None where too few became available to say.
    """
    available, censored, never = (
        measured.histogram(f"time_to_available{suffix}", cohort=cohort) for suffix in ("", "_censored", "_never")
    )
    if not available.count + censored.count + never.count:
        return None
    block: dict[str, Any] = {"count": available.count, "mean": milliseconds(available.mean_ns)}
    block |= _named(time_to_event_quantiles(available, censored, never, _QS))
    block |= {"censored": censored.count, "never": never.count}
    if block["max"] is None:
        longest = [waited.max_ns for waited in (available, censored) if waited.max_ns is not None]
        block["beyond_ms"] = milliseconds(max(longest, default=None))
    return block


def _named(times_ns: list[int | None]) -> dict[str, float | None]:
    return {name: milliseconds(time_ns) for (name, _), time_ns in zip(QUANTILES, times_ns, strict=True)}


def milliseconds(ns: float | None) -> float | None:
    """Nanoseconds as milliseconds, to the nanosecond; None stays None."""
    return None if ns is None else round(ns / NS_PER_MS, 6)
