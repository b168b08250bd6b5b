"""Lines of `series.jsonl`: one flat, readable dict per second, for charts and for people's eyes.

Nothing is judged on these (the slices hold the histograms); quantiles here are of one second only and must never be
averaged.
"""

from __future__ import annotations

from typing import Any

from harness.measure.snapshot import Snapshot
from harness.units import NS_PER_MS, NS_PER_S

_QUANTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
_MEASURES = ("response_time", "service_time", "connect_time", "dispatch_lag", "loop_delay", "time_to_available")


def series_line(
    second: int, snapshot: Snapshot, *, planned: int | None, open_visits: int, workers: int
) -> dict[str, Any]:
    """What happened in one second, as JSON-able data.

    `second` counts from the run's start; `planned` is how many visits were due in it (None in closed-loop runs: the key
    is left out); `open_visits` how many were open at its end; `workers` how many took part. Under `<measure>_ms` stand
    p50, p95, p99 and max, null where they fall on attempts without a reply; a measure without values is left out.
    """
    line: dict[str, Any] = {"t_s": second}
    if planned is not None:
        line["planned"] = planned
    line |= {
        "started": snapshot.total("visits_started"),
        "settled": snapshot.total("visits"),
        "open": open_visits,
        "attempts": snapshot.total("attempts"),
        "results": snapshot.by_last("attempts"),
        "outcomes": snapshot.by_last("steps"),
        "visits": snapshot.by_last("visits"),
        "workers": workers,
    }
    for measure in _MEASURES:
        histogram = snapshot.histogram(measure)
        if histogram.count:
            values = zip(_QUANTILES, histogram.quantiles([q for _, q in _QUANTILES]), strict=True)
            line[f"{measure}_ms"] = {name: None if ns is None else ns / NS_PER_MS for (name, _), ns in values}
    if "loop_stall_max_ns" in snapshot.maxima:
        line["loop_stall_max_ms"] = snapshot.maxima["loop_stall_max_ns"] / NS_PER_MS
    if "cpu_ns" in snapshot.sums:
        line["cpu_s"] = snapshot.sums["cpu_ns"] / NS_PER_S
    if "rss_bytes" in snapshot.maxima:
        line["rss_max_mb"] = snapshot.maxima["rss_bytes"] / 1e6
    if "last_arrival_ns" in snapshot.maxima:
        line["last_arrival_s"] = snapshot.maxima["last_arrival_ns"] / NS_PER_S
    return line
