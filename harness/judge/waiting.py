"""The `time_to_available` block of summary.json: how the waits of get_engagement steps ended, as a curve."""

from __future__ import annotations

from typing import Any

from harness.judge.latency import milliseconds
from harness.measure.snapshot import Snapshot
from harness.measure.survival import Moment, incidence, quantile_interval, time_to_event_quantiles

_QUANTILES = (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99))
# The curve has a point for every fiftieth of the waits that ended, so its size does not depend on the run's.
_POINT_EVERY = 0.02


def waiting_block(measured: Snapshot) -> dict[str, Any]:
    """Quantiles with 95 % intervals, and the cumulative incidence: shares available and refused by each time.

    {"steps", "available", "censored", "never",
     "quantiles_ms": {"p50": {"value", "ci95": [low, high]}, …},
     "curve": [{"at_ms", "available_ratio", "ci95": [low, high], "never_ratio", "waiting"}, …]}

    None stands for what lies beyond what was followed. Empty when no step waited. How: `harness.measure.survival`.
    """
    ended, censored, never = (
        measured.histogram(f"time_to_available{suffix}") for suffix in ("", "_censored", "_never")
    )
    steps = ended.count + censored.count + never.count
    if not steps:
        return {}
    moments = incidence(ended, censored, never)
    times_ns = time_to_event_quantiles(ended, censored, never, [q for _, q in _QUANTILES])
    quantiles = {
        name: {"value": milliseconds(time_ns), "ci95": [milliseconds(end) for end in quantile_interval(moments, q)]}
        for (name, q), time_ns in zip(_QUANTILES, times_ns, strict=True)
    }
    return {
        "steps": steps,
        "available": ended.count,
        "censored": censored.count,
        "never": never.count,
        "quantiles_ms": quantiles,
        "curve": [_point(moment) for moment in _thinned(moments)],
    }


def _thinned(moments: list[Moment]) -> list[Moment]:
    kept: list[Moment] = []
    reached = -1.0
    for moment in moments:
        over = moment.available + moment.never
        if over >= reached + _POINT_EVERY or moment is moments[-1]:
            kept.append(moment)
            reached = over
    return kept


def _point(moment: Moment) -> dict[str, Any]:
    low, high = (None if end is None else round(end, 6) for end in (moment.low, moment.high))
    return {
        "at_ms": milliseconds(moment.at_ns),
        "available_ratio": round(moment.available, 6),
        "ci95": [low, high],
        "never_ratio": round(moment.never, 6),
        "waiting": moment.waiting,
    }
