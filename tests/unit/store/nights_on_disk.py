"""Run folders for tests of the history: small, written by `RunFolder`, with a summary that the index can read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.store.run_folder import RunFolder

CONFIG = {"arrivals": "constant:20/s", "target": "http://127.0.0.1:40001", "retry": {"name": "none"}}


def write_night(
    runs: Path, at: int, p95: float | None, *, status: str = "PASS", partial: bool = False, **changes: Any
) -> str:
    """One run of day `at` of January with that p95 of the response time; returns its id."""
    run_id = f"run-{at:03}"
    manifest = {
        "run_id": run_id,
        "started_at": f"2026-01-{at:02}T03:00:00.000+00:00",
        "scenario": "nightly",
        "trace_digest": "sha256:0",
        "config": CONFIG | changes,
    }
    folder = RunFolder.create(runs / f"2026-01-{at:02}-nightly-{run_id}", manifest)
    exit_code = {"PASS": 0, "FAIL": 3, "INVALID": 5}[status]
    failed = {"PASS": None, "FAIL": "slo", "INVALID": "validity"}[status]
    summary: dict[str, Any] = {
        "run_id": run_id,
        "duration_s": 60.0,
        "phases": {"warmup_s": 0.0, "arrivals_s": 60.0, "measured_s": 60.0},
        "latency_ms": {"response_time": latency(p95)} if p95 is not None else {},
        "verdict": {"status": status, "exit_code": exit_code, "checks": [_check(failed)] if failed else []},
    }
    if partial:
        folder.mark_partial("interrupted")
    folder.finish(summary, None)
    return run_id


def latency(p95: float) -> dict[str, Any]:
    """A latency block around a p95."""
    return {"count": 1000, "p50": p95 / 2, "p95": p95, "p99": p95 * 1.5}


def _check(kind: str) -> Mapping[str, Any]:
    return {"name": "x", "kind": kind, "ok": False, "observed": 1.0, "limit": 0.5, "unit": "", "message": "too much"}
