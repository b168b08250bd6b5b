"""Runs that end early, whenever that happens: at once, with the documented exit code, and with what was measured."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.harness_run import ROOT, assert_ledger, failed_checks, oracle, start_run, wait_until

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("early")]

SMALL = ROOT / "fixtures" / "small.jsonl"
INTERRUPTED = 130


@pytest.mark.parametrize("after_s", [0.6, 1.5, 2.5])
def test_an_interrupt_while_the_run_starts_ends_it(tmp_path: Path, after_s: float) -> None:
    """Ctrl-C before the first visit, at whatever stage of the start: exit 130 soon, and a folder marked as partial."""
    with oracle() as server:
        command = start_run(SMALL, server.url, "--arrivals", "constant:20/s", "--loop", "50", scratch=tmp_path)
        try:
            wait_until(lambda: command.age_s() >= after_s, after_s + 5, "the moment to interrupt")
            command.signal(signal.SIGINT)
            finished = command.wait(command.age_s() + 20)
        finally:
            command.kill()
    assert finished.exit_code == INTERRUPTED, finished.explain()
    assert "Traceback" not in finished.stderr + finished.stdout


def test_an_interrupt_does_not_wait_for_the_rest_of_a_long_plan(tmp_path: Path) -> None:
    """A plan of twenty million visits, interrupted after some: 130 within seconds, with a summary that balances."""
    with oracle() as server:
        options = ["--arrivals", "constant:20/s", "--loop", "1000000", "--max-think", "100ms"]
        command = start_run(SMALL, server.url, *options, scratch=tmp_path)
        try:
            wait_until(lambda: len(server.log().calls) >= 20, 60, "some load")
            began_s = command.age_s()
            command.signal(signal.SIGINT)
            finished = command.wait(began_s + 45)
            took_s = command.age_s() - began_s
        finally:
            command.kill()
    assert finished.exit_code == INTERRUPTED, finished.explain()
    assert took_s < 30
    assert_ledger(finished.summary)
    # The plan was cut, the generator did what it should until then: nobody is blamed for the pace.
    assert set(failed_checks(finished.summary)) <= {"interrupted", "dispatch_lag_p99", "worker_cpu", "loop_stall"}
    assert finished.manifest["partial"] is True


def test_a_place_to_listen_that_is_none_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """--bind on an address that is not ours: one line, exit 2."""
    with oracle() as server:
        options = ["--bind", "192.0.2.1:5557", "--workers", "0", "--expect-workers", "1"]
        finished = start_run(SMALL, server.url, *options, scratch=tmp_path).wait(30)
    assert finished.exit_code == 2, finished.explain()
    assert len(finished.error_lines) == 1
    assert "--bind 192.0.2.1:5557" in finished.error_lines[0]


def test_a_reader_that_has_had_enough_is_no_error() -> None:
    """`harness trace head … | head -1`: the command that is cut off ends well, so that pipefail scripts go on."""
    command = [sys.executable, "-m", "harness", "trace", "head", str(ROOT / "fixtures" / "demo.jsonl.gz"), "-n", "1500"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        assert (process.wait(30), said) == (0, b"")
