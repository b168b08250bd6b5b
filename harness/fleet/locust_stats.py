"""Feeding Locust's own statistics in batches, so that its web UI, CSV and HTML stay true.

A slice's histograms are entered bucket by bucket instead of request by request (Locust rounds response times anyway).
Failures are attempts without an engagement reply. Nothing is ever judged on these numbers.
"""

from __future__ import annotations

from time import time
from typing import Any

from locust.stats import RequestStats, StatsError, bucket_response_time

from harness.measure.buckets import bucket_midpoint
from harness.measure.histogram import Histogram
from harness.measure.snapshot import Snapshot
from harness.units import NS_PER_MS

# How Locust names our operations' requests.
METHODS = {"get_engagement": "POST", "update": "PUT"}
# Bucket of a histogram -> its midpoint as Locust rounds it; a slice is entered while visits wait.
_ROUNDED: dict[int, float] = {}
_ENGAGED = frozenset({"available", "not_available", "accepted"})


def feed(stats: RequestStats, snapshot: Snapshot) -> None:
    """Enters all attempts of `snapshot` into Locust's statistics, under the current second."""
    now_s = time()
    for op in snapshot.labels()[0]:
        results = snapshot.by_last("attempts", op)
        total = sum(results.values())
        if not total:
            continue
        failures = total - sum(results.get(result, 0) for result in _ENGAGED)
        # The same histogram merge serves both entries; an error reply takes time too, what has no reply has none.
        times = snapshot.histogram("response_time", op=op)
        times.merge(snapshot.histogram("response_time", op=op, row="error"))
        method = METHODS[op]
        rounded = _rounded(times)
        for entry in (stats.total, stats.get(op, method)):
            _enter(entry, times, rounded, total, failures, now_s)
        for result, count in results.items():
            if result not in _ENGAGED:
                _enter_error(stats, method, op, result, count)


def _rounded(times: Histogram) -> dict[float, int]:
    """How often each response time occurs, in ms as Locust rounds them."""
    counts: dict[float, int] = {}
    for index, count in times.counts.items():
        rounded = _ROUNDED.get(index)
        if rounded is None:
            rounded = _ROUNDED[index] = bucket_response_time(bucket_midpoint(index) / NS_PER_MS)
        counts[rounded] = counts.get(rounded, 0) + count
    return counts


def _enter(entry: Any, times: Histogram, rounded: dict[float, int], total: int, failures: int, now_s: float) -> None:
    second = int(now_s)
    if entry.use_response_times_cache and entry.last_request_timestamp and second > int(entry.last_request_timestamp):
        entry._cache_response_times(second - 1)
    entry.num_requests += total
    entry.num_failures += failures
    entry.num_none_requests += times.infinite
    entry.num_reqs_per_sec[second] += total
    if failures:
        entry.num_fail_per_sec[second] += failures
    entry.last_request_timestamp = now_s
    for time_ms, count in rounded.items():
        entry.response_times[time_ms] += count
    if times.min_ns is not None and times.max_ns is not None:
        entry.total_response_time += times.total_ns / NS_PER_MS
        low_ms, high_ms = times.min_ns / NS_PER_MS, times.max_ns / NS_PER_MS
        entry.min_response_time = low_ms if entry.min_response_time is None else min(entry.min_response_time, low_ms)
        entry.max_response_time = max(entry.max_response_time, high_ms)


def _enter_error(stats: RequestStats, method: str, op: str, result: str, count: int) -> None:
    key = StatsError.create_key(method, op, result)
    error = stats.errors.get(key)
    if error is None:
        error = stats.errors[key] = StatsError(method, op, result)
    error.occurrences += count
