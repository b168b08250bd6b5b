"""Enters the same attempts into Locust's statistics twice, slice by slice and request by request; prints both as JSON.

Run as a process of its own: importing locust patches the standard library.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from random import Random
from typing import Any
from unittest.mock import patch

from locust import stats as locust_stats
from locust.stats import RequestStats

from harness.fleet import locust_stats as ours
from harness.measure.recorder import Recorder
from harness.visitor.records import ENGAGED, NO_REPLY, Attempt, Chain, Result

METHODS = {"get_engagement": "POST", "update": "PUT"}
REPLIES = [*ENGAGED, Result.loading, Result.throttled, Result.server_error, Result.client_error]
# Times in the middle of Locust's rounding steps, so that a histogram's 0.1 % cannot tip them over an edge.
TIMES_MS = [3, 17, 42, 99, 120, 480, 990, 1_300, 8_700, 12_000]


def attempts(rng: Random, count: int) -> Iterator[Attempt]:
    """Attempts of all kinds."""
    for number in range(count):
        op = rng.choice(list(METHODS))
        result = rng.choice([*REPLIES, *NO_REPLY])
        done_ns = rng.choice(TIMES_MS) * 1_000_000 + rng.randrange(100_000)
        yield Attempt(
            f"v-{number}", rng.choice(["all", "mobile"]), op, 0, 1, result, Chain.none, False, False, 200, -1,
            0, 0, 0, 0, done_ns, "",
        )  # fmt: skip


def entered(stats: RequestStats) -> dict[str, Any]:
    """Everything that Locust's UI, CSV files and reports are made of."""
    entries = {"total": stats.total} | {f"{method} {name}": entry for (name, method), entry in stats.entries.items()}
    return {
        "entries": {
            key: {
                "requests": entry.num_requests,
                "failures": entry.num_failures,
                "none": entry.num_none_requests,
                "per_second": dict(sorted(entry.num_reqs_per_sec.items())),
                "failures_per_second": dict(sorted(entry.num_fail_per_sec.items())),
                "times": dict(sorted(entry.response_times.items())),
                "total_ms": entry.total_response_time,
                "min_ms": entry.min_response_time,
                "max_ms": entry.max_response_time,
                "last": entry.last_request_timestamp,
                "median": entry.median_response_time,
                "p95": entry.get_response_time_percentile(0.95),
                "cached_seconds": list(entry.response_times_cache or ()),
            }
            for key, entry in sorted(entries.items())
        },
        "errors": sorted((error.method, error.name, error.error, error.occurrences) for error in stats.errors.values()),
    }


def main() -> None:
    """Three slices in three seconds."""
    rng = Random(5)
    with patch.object(locust_stats.time, "time") as clock, patch.object(ours, "time") as our_clock:
        clock.return_value = our_clock.return_value = 1_000.0
        fed, logged = RequestStats(), RequestStats()
        fed.total.use_response_times_cache = logged.total.use_response_times_cache = True
        fed.reset_all()
        logged.reset_all()
        recorder = Recorder()
        for second in (1_001.5, 1_002.5, 1_004.5):
            clock.return_value = our_clock.return_value = second
            batch = list(attempts(rng, 300))
            recorder.attempts(batch)
            ours.feed(fed, recorder.take())
            for attempt in batch:
                method, name = METHODS[attempt.op], attempt.op
                time_ms = None if attempt.result in NO_REPLY else attempt.done_ns / 1e6
                logged.log_request(method, name, time_ms, 0)  # type: ignore[arg-type]
                if attempt.result not in ENGAGED:
                    logged.log_error(method, name, attempt.result.name)
        json.dump({"fed": entered(fed), "logged": entered(logged)}, sys.stdout)


if __name__ == "__main__":
    main()
