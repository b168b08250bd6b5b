"""A disturbed instrument at half of what it can: INVALID, with the cause in the first line."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.bench.children import fast_server
from tests.prove.cores import hog, set_apart, workers_of
from tests.prove.evidence import store
from tests.system.harness_run import (
    Finished,
    get_engagement,
    start_run,
    wait_until,
    write_trace,
)

SECONDS = 20
TRIES = int(os.environ.get("PROVE_INVALID_TRIES", "2"))


def bench_rate_hz(trace: Path, url: str, scratch: Path) -> float:
    """Attempts per second that a closed loop of 50 visits really reaches with the worker on a core of its own."""
    options = ["--arrivals", "closed:50", "--duration", "10s", "--loop", "1000", "--connections", "pooled"]
    command = start_run(trace, url, *options, scratch=scratch)
    try:
        set_apart(command)
        return float(command.wait(120).summary["rates"]["attempts_hz"])
    finally:
        command.kill()


def use_its_core(worker: int) -> None:
    """Two hogs beside the worker, on the core that it cannot leave, for five seconds."""
    [core] = os.sched_getaffinity(worker)
    spinning = [hog(core), hog(core)]
    time.sleep(5.0)
    for process in spinning:
        process.kill()
        process.wait()


def stop(worker: int) -> None:
    os.kill(worker, signal.SIGSTOP)
    time.sleep(3.0)
    os.kill(worker, signal.SIGCONT)


def lose(worker: int) -> None:
    os.kill(worker, signal.SIGKILL)


def disturbed(trace: Path, url: str, rate_hz: int, disturb: Callable[[int], None] | None, scratch: Path) -> Finished:
    """A run at `rate_hz` whose first worker is disturbed three seconds after the start."""
    workers = 2 if disturb is lose else 1
    options = ["--arrivals", f"constant:{rate_hz}/s", "--duration", f"{SECONDS}s", "--loop", "1000"]
    options += ["--connections", "pooled", "--workers", str(workers), "--drain", "5s"]
    command = start_run(trace, url, *options, scratch=scratch)
    try:
        set_apart(command, workers)
        series = scratch / "run" / "series.jsonl"
        wait_until(lambda: series.exists() and len(series.read_text().splitlines()) >= 3, 60, "three seconds")
        if disturb is not None:
            disturb(workers_of(command)[0])
        return command.wait(180)
    finally:
        command.kill()


# What each disturbance may be called: the worker that stood still may have been given up before it woke.
CAUSES: dict[str, tuple[Callable[[int], None] | None, tuple[str, ...]]] = {
    "hog": (use_its_core, ("loop_stall", "dispatch_lag_p99", "worker_cpu", "arrivals", "dropped", "workers_lost")),
    "stop": (stop, ("loop_stall", "workers_lost")),
    "lose": (lose, ("workers_lost",)),
    "nothing": (None, ()),
}


def test_each_disturbance_is_invalid_by_name(tmp_path: Path) -> None:
    """At half the bench rate a hog on the worker's core, SIGSTOP for 3 s, a lost worker: exit 5; undisturbed PASS."""
    trace, seen = tmp_path / "trace.jsonl", []
    write_trace(trace, ([get_engagement(identity="fresh")] for _ in range(5000)), 1000)
    with fast_server() as server:
        bench_hz = bench_rate_hz(trace, server.url, tmp_path / "bench")
        for name, (disturb, causes) in CAUSES.items():
            for number in range(TRIES):
                rate_hz = round(0.5 * bench_hz)
                finished = disturbed(trace, server.url, rate_hz, disturb, tmp_path / f"{name}-{number}")
                seen.append(row(name, bench_hz, rate_hz, finished))
                if disturb is not None:
                    first = finished.stdout.splitlines()[0]
                    assert finished.exit_code == 5, finished.explain()
                    assert first.startswith("INVALID ") and any(f"  {cause}: " in first for cause in causes), first
    told = [entry for entry in seen if entry["disturbance"] == "hog"]
    quiet = [entry for entry in seen if entry["disturbance"] == "nothing"]
    assert all("other processes took the CPU" in entry["cause"] for entry in told), told
    store("invalid-causes", test_each_disturbance_is_invalid_by_name.__doc__ or "", seen, seeds=[1])
    assert any(entry["exit_code"] == 0 for entry in quiet), quiet  # a control: it is the disturbance that is seen


def row(name: str, bench_hz: float, rate_hz: int, finished: Finished) -> dict[str, Any]:
    summary = finished.summary
    return {
        "disturbance": name,
        "bench_rate_hz": round(bench_hz),
        "rate_hz": rate_hz,
        "exit_code": finished.exit_code,
        "first_line": finished.stdout.splitlines()[0],
        "cause": summary["verdict"].get("cause", ""),
        "cpu_wait_max_ratio": summary["generator"].get("cpu_wait_max_ratio"),
        "loop_stall_max_ms": summary["generator"].get("loop_stall_max_ms"),
        "lag_p99_ms": summary["latency_ms"]["dispatch_lag"]["p99"],
        "load_1m": round(os.getloadavg()[0], 1),
    }
