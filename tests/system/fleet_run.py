"""A fleet under test: a run with local workers that others can join, and what its processes and books say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.system.harness_run import Command, command_line, descendants, get_engagement, start_run, write_trace
from tests.system.oracle_log import OracleLog
from tests.system.plain_locust import free_port, journal_of

# A busy machine may make the instrument's own checks fail; nothing in the books may.
TIMING = {"dispatch_lag_p99", "worker_cpu", "loop_stall", "arrivals", "dropped"}


def chained_trace(path: Path, visits: int, rate_hz: float, think_s: float = 0.3) -> Path:
    """Visits of two chained calls, evenly spaced."""
    write_trace(path, ([get_engagement(identity="fresh"), get_engagement(think_s)] for _ in range(visits)), rate_hz)
    return path


class Fleet:
    """A `harness run` that binds a port, and the ways to disturb it."""

    def __init__(self, trace: Path, target: str, *options: str, scratch: Path, workers: int, expect: int) -> None:
        self.port = free_port()
        where = ["--bind", f"127.0.0.1:{self.port}", "--workers", str(workers), "--expect-workers", str(expect)]
        self.command: Command = start_run(trace, target, *where, *options, scratch=scratch)
        self.out = scratch / "run"

    def local_workers(self) -> list[int]:
        """The process ids of the workers that the run started."""
        return workers_below(self.command.pid)

    def master(self) -> int:
        """The process id of Locust's master."""
        return next(pid for pid in descendants(self.command.pid) if "--master" in command_line(pid))


def workers_below(pid: int) -> list[int]:
    """Worker processes below a process, in the order of their ids."""
    return sorted(each for each in descendants(pid) if "--worker" in command_line(each))


@contextmanager
def joining(port: int, *options: str, scratch: Path, name: str = "joiner") -> Iterator[Command]:
    """A `harness worker` that joins the run at this port; ends with the block."""
    command = Command("worker", f"127.0.0.1:{port}", *options, scratch=scratch / name, out=scratch / name)
    try:
        yield command
    finally:
        command.kill()


@contextmanager
def running(trace: Path, target: str, *options: str, scratch: Path, workers: int, expect: int) -> Iterator[Fleet]:
    """A fleet for the time of the block."""
    fleet = Fleet(trace, target, *options, scratch=scratch, workers=workers, expect=expect)
    try:
        yield fleet
    finally:
        fleet.command.kill()


def lost_visits(folder: Path) -> list[str]:
    """The visits that the journal declares lost, by name."""
    return [visit for entry in journal_of(folder) if entry["event"] == "lost" for visit in entry.get("visits", ())]


def assert_settled_once_or_lost(summary: dict[str, Any], folder: Path, log: OracleLog, visits: int) -> None:
    """By the target's own record: no visit begun twice, all but the lost, dropped and undealt played to their end."""
    lost = lost_visits(folder)
    assert len(lost) == len(set(lost)) == summary["visits"]["lost"]
    assert log.report["duplicates"] == []
    begins: dict[str, int] = {}
    calls: dict[str, int] = {}
    for call in log.calls:
        calls[call.visit] = calls.get(call.visit, 0) + 1
        begins[call.visit] = begins.get(call.visit, 0) + (call.step == 0 and call.number == 1)
    assert {visit for visit, times in begins.items() if times > 1} == set(), "begun twice"
    whole = {visit for visit, times in calls.items() if times == 2}
    books = summary["visits"]
    assert books["planned"] == visits
    assert len(whole - set(lost)) == books["completed"]
    # What was begun and is not whole is lost or was cut off.
    assert len(set(calls) - whole - set(lost)) <= books["censored"]


def run_alone(*args: str, env: dict[str, str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    """One `harness` command with this environment added."""
    command: Sequence[str] = [sys.executable, "-m", "harness", *args]
    return subprocess.run(command, env=os.environ | env, capture_output=True, text=True, timeout=timeout_s, check=False)
