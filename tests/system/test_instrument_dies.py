"""What the harness itself cannot do without dies in the middle of a run: INVALID at once, told in one line."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.system.harness_run import (
    ACCOUNT,
    Command,
    Finished,
    assert_ledger,
    command_line,
    descendants,
    get_engagement,
    oracle,
    start_run,
    wait_until,
    write_trace,
)

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("instrument-dies")]

INVALID, INTERRUPTED = 5, 130
RATE_HZ, SECONDS = 50, 60


def long_trace(path: Path) -> Path:
    write_trace(path, ([get_engagement(identity="fresh")] for _ in range(RATE_HZ * SECONDS)), RATE_HZ)
    return path


def child_of(command: Command, word: str) -> int:
    """The process below `command` that has `word` among its arguments."""
    [pid] = [pid for pid in descendants(command.pid) if word in command_line(pid)]
    return pid


def seconds_stored(folder: Path) -> int:
    series = folder / "series.jsonl"
    return series.read_text().count("\n") if series.exists() else 0


def cut(command: Command, folder: Path, end: Any, after_s: int = 3) -> Finished:
    """Calls `end` when that many seconds are stored, and gives the command's end."""
    try:
        wait_until(lambda: seconds_stored(folder) >= after_s, 60, "some seconds of load")
        end()
        return command.wait(command.age_s() + 40)
    finally:
        command.kill()


def assert_cut_by_the_instrument(finished: Finished, words: list[str]) -> dict[str, Any]:
    assert finished.exit_code == INVALID, finished.explain()
    assert "Traceback" not in finished.stderr + finished.stdout, finished.explain()
    [line] = finished.error_lines
    summary, manifest = finished.summary, finished.manifest
    assert_ledger(summary)
    assert summary["ended"]["reason"] == "instrument"
    assert summary["verdict"]["status"] == "INVALID"
    assert summary["verdict"]["cause"].startswith("instrument: ")
    assert manifest["partial"] is True
    for said in (line, summary["ended"]["message"], summary["verdict"]["cause"], manifest["reason"]):
        assert all(word in said for word in words), said
    return summary


def assert_rates_of_what_took_place(summary: dict[str, Any]) -> None:
    """Visits came evenly until the end: whatever the plan's length, the rates are those of the time that took place."""
    assert 2 <= summary["phases"]["arrivals_s"] < SECONDS / 2
    assert summary["rates"]["planned_visits_hz"] == pytest.approx(RATE_HZ, rel=0.05)
    # What was cut off in flight counts as begun; a busy machine may begin the last ones no more.
    assert summary["rates"]["achieved_visits_hz"] == pytest.approx(RATE_HZ, rel=0.25)
    assert summary["visits"]["planned"] == RATE_HZ * SECONDS


def test_a_dead_simulator_ends_the_run(tmp_path: Path) -> None:
    """kill -9 of the embedded simulator: exit 5 long before the plan's end; what was measured until then is kept."""
    command = start_run(long_trace(tmp_path / "trace.jsonl"), "sim", scratch=tmp_path)
    finished = cut(command, command.out, lambda: os.kill(child_of(command, "sim"), signal.SIGKILL))
    summary = assert_cut_by_the_instrument(finished, ["the simulator ended during the run (signal 9)", "run again"])
    assert summary["attempts"]["by_result"]["available"] > 0
    assert_rates_of_what_took_place(summary)


def test_the_loss_of_all_workers_is_told(tmp_path: Path) -> None:
    """kill -9 of the only worker: a line of its own on stderr, a partial folder, and the same in the summary."""
    with oracle() as server:
        command = start_run(long_trace(tmp_path / "trace.jsonl"), server.url, scratch=tmp_path)
        finished = cut(command, command.out, lambda: os.kill(child_of(command, "--worker"), signal.SIGKILL))
    summary = assert_cut_by_the_instrument(finished, ["no worker is left", "worker-1 is lost", "log"])
    assert summary["generator"]["workers_lost"] == 1
    assert 2 <= summary["phases"]["arrivals_s"] < SECONDS / 2


def test_the_loss_of_all_workers_is_no_pass_even_where_losses_are_tolerated(tmp_path: Path) -> None:
    """--tolerate-worker-loss speaks of a run that goes on with others: without any it is INVALID all the same."""
    with oracle() as server:
        options = ["--tolerate-worker-loss", "1"]
        command = start_run(long_trace(tmp_path / "trace.jsonl"), server.url, *options, scratch=tmp_path)
        finished = cut(command, command.out, lambda: os.kill(child_of(command, "--worker"), signal.SIGKILL))
    assert_cut_by_the_instrument(finished, ["no worker is left"])


def test_an_interrupted_run_tells_the_rates_of_its_time(tmp_path: Path) -> None:
    """Ctrl-C after some seconds of a minute: arrivals, planned and achieved rate are those of these seconds."""
    with oracle() as server:
        command = start_run(long_trace(tmp_path / "trace.jsonl"), server.url, scratch=tmp_path)
        finished = cut(command, command.out, lambda: command.signal(signal.SIGINT))
    assert finished.exit_code == INTERRUPTED, finished.explain()
    assert_rates_of_what_took_place(finished.summary)


def test_a_search_whose_simulator_dies_says_so_and_blames_no_rate(tmp_path: Path) -> None:
    """The simulator all steps share is killed: exit 5, one line, no step is called broken, the finished ones stay."""
    trace, out = long_trace(tmp_path / "trace.jsonl"), tmp_path / "search"
    rates = ["--start", "50/s", "--max", "400/s", "--threshold", "p95(response_time) < 5s"]
    times = ["--hold", "5s", "--settle", "1s", "--budget", "5m", "--cooldown", "0s"]
    where = ["--target", "sim", "--account", ACCOUNT, "--metrics", "off", "--out", str(out)]
    command = Command("capacity", "search", str(trace), *rates, *times, *where, scratch=tmp_path, out=out)

    def steps() -> list[dict[str, Any]]:
        state = out / "search.json"
        found: list[dict[str, Any]] = orjson.loads(state.read_bytes())["steps"] if state.exists() else []
        return found

    try:
        wait_until(lambda: len(steps()) >= 1, 90, "a finished step")
        os.kill(child_of(command, "sim"), signal.SIGKILL)
        finished = command.wait(command.age_s() + 60)
    finally:
        command.kill()
    assert finished.exit_code == INVALID, finished.explain()
    assert "Traceback" not in finished.stderr + finished.stdout, finished.explain()
    assert "the simulator ended during the run (signal 9)" in finished.error_lines[-1]
    # How a step ends that was finished before depends on the machine; that none is called broken does not.
    assert {step["verdict"] for step in steps()} <= {"held", "invalid"}


def test_a_trace_shorter_than_the_plan_tells_the_rates_of_its_own_time(tmp_path: Path) -> None:
    """Four seconds of visits in a plan of a minute: the rates are those of the four seconds."""
    trace = tmp_path / "trace.jsonl"
    write_trace(trace, ([get_engagement(identity="fresh")] for _ in range(200)), RATE_HZ)
    with oracle() as server:
        options = ["--arrivals", f"constant:{RATE_HZ}/s", "--duration", f"{SECONDS}s"]
        finished = start_run(trace, server.url, *options, scratch=tmp_path).wait(60)
    assert finished.exit_code == 0, finished.explain()
    summary = finished.summary
    assert summary["phases"]["arrivals_s"] == pytest.approx(4, rel=0.01)
    assert summary["rates"]["planned_visits_hz"] == pytest.approx(RATE_HZ, rel=0.01)
    assert summary["rates"]["achieved_visits_hz"] == pytest.approx(RATE_HZ, rel=0.01)
