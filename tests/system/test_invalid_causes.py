"""A run that proves nothing says so in its first line, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.harness_run import get_engagement, oracle, run_command, start_run, write_trace

pytestmark = pytest.mark.system

# What other load on this machine does to a run is not the question here.
LAX = "[validity]\nlag_p99_ms = 5000\nloop_stall_max_ms = 20000\ncpu_max_ratio = 1\narrivals_deviation_ratio = 1\n"
THIN = "p99(response_time) < 800ms"


def test_a_sample_too_small_for_its_gate_is_invalid(tmp_path: Path) -> None:
    """60 replies cannot answer for a p99: exit 5 with the gate and "not enough data" first, judged again alike."""
    trace, profile = tmp_path / "trace.jsonl", tmp_path / "lax.toml"
    write_trace(trace, ([get_engagement(identity="fresh")] for _ in range(60)), 30)
    profile.write_text(LAX)
    options = ["--profile", str(profile), "--threshold", THIN, "--threshold", "p50(response_time) < 30s"]
    with oracle() as server:
        finished = start_run(trace, server.url, *options, "--max-lag", "10s", scratch=tmp_path).wait(60)
    run_id = finished.summary["run_id"]
    line = f"INVALID  {run_id}  {THIN}: not enough data"
    assert (finished.exit_code, finished.stdout.splitlines()[0]) == (5, line), finished.explain()
    cause = f"{THIN}: not enough data: 60 values, 500 are needed; make the run longer or faster"
    assert finished.summary["verdict"]["cause"] == cause
    again = run_command("check", str(finished.out), "--quiet", scratch=tmp_path / "again")
    assert (again.exit_code, again.stdout.strip()) == (5, f"INVALID  {cause}")
    enough = run_command(
        "check", str(finished.out), "--threshold", "p50(response_time) < 30s", "--quiet", scratch=tmp_path / "enough"
    )
    assert (enough.exit_code, enough.stdout.strip()) == (0, "PASS")
