"""The number that matters: a target that freezes is felt in full, because time runs from the planned moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.harness_run import failed_checks, get_engagement, oracle, run_to_end, write_trace

pytestmark = [pytest.mark.system, pytest.mark.alone]

RATE_HZ = 100
DURATION_S = 60
FREEZE_S = 10


def test_a_freeze_of_ten_seconds_shows_in_p95_as_seven(tmp_path: Path) -> None:
    """At 100 visits/s over 60 s, 1,000 fall into the freeze; the slowest 5 % are those of its first 3 s: p95 is 7 s."""
    trace = tmp_path / "trace.jsonl"
    write_trace(trace, ([get_engagement(identity="fresh")] for _ in range(RATE_HZ * DURATION_S)), RATE_HZ)
    with oracle("--freeze-at", "20", "--freeze-for", str(FREEZE_S), "--delay-ms", "2..8") as server:
        options = ["--arrivals", f"constant:{RATE_HZ}/s", "--duration", f"{DURATION_S}s"]
        finished = run_to_end(trace, server.url, *options, scratch=tmp_path, timeout_s=150)
        log = server.log()
    summary = finished.summary
    assert len(log.calls) == summary["visits"]["completed"] == RATE_HZ * DURATION_S
    # The witness first: what the service did is what the closed form is about.
    waits = sorted(call.answered_ms - call.received_ms for call in log.calls)
    assert waits[-1] == pytest.approx(FREEZE_S * 1000, rel=0.01)
    latency = summary["latency_ms"]
    assert latency["response_time"]["p95"] == pytest.approx(7000, rel=0.03)
    assert latency["response_time"]["p50"] < 50
    assert latency["response_time"]["max"] == pytest.approx(FREEZE_S * 1000, rel=0.03)
    for measure in ("service_time", "loop_delay", "dispatch_lag", "connect_time", "time_to_available"):
        assert latency[measure]["count"] > 0, measure
    # Visits do not wait for the target: the lag stays ours and small, and the freeze is the target's fault.
    assert latency["dispatch_lag"]["p99"] < 50
    assert summary["verdict"]["status"] == "PASS", failed_checks(summary)
    assert finished.exit_code == 0, finished.explain()
