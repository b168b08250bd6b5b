"""What Locust 2.47 does by itself, and the fleet's answer to each of it (real processes, real ZeroMQ)."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.system.harness_run import (
    Finished,
    assert_ledger,
    descendants,
    failed_checks,
    get_engagement,
    oracle,
    start_run,
    wait_until,
    write_trace,
)
from tests.system.oracle_log import OracleLog
from tests.system.plain_locust import (
    Locust,
    begun_second,
    free_port,
    is_worker,
    journal_of,
    listening,
    master_args,
    post,
    summary_of,
    wait_for_page,
    worker_args,
    write_locustfile,
    write_profile,
)

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("fleet")]

PASS, INTERNAL, INVALID, INTERRUPTED = 0, 1, 5, 130
LOOPBACK = {"0100007F"}
# A busy machine may make the instrument's own checks fail; nothing in the books may.
HONEST = (PASS, INVALID)

DROP_A_THIRD = """
from random import Random
from locust.rpc import zmqrpc

rng = Random(3)

def lossy(send):
    def maybe(self, message):
        if message.type != "harness" or rng.random() > 0.33:
            send(self, message)
    return maybe

zmqrpc.Client.send = lossy(zmqrpc.BaseSocket.send)
zmqrpc.Server.send_to_client = lossy(zmqrpc.BaseSocket.send_to_client)
"""

RAISE_IN_THE_HUB = """
from harness.fleet import life

over = life.Life._on_over
ended = []

def fragile(self, ticket, end):
    ended.append(ticket)
    if len(ended) == 20:
        raise RuntimeError("a bad day")
    return over(self, ticket, end)

life.Life._on_over = fragile
"""

RAISE_IN_THE_MASTER = """
from harness.measure import ledger

settle = ledger.Ledger.settle

def fragile(self, worker, visits, steps):
    if sum(visits.values()):
        raise RuntimeError("a bad day")
    return settle(self, worker, visits, steps)

ledger.Ledger.settle = fragile
"""

TELL_OF_A_SECOND_LIFE = """
from pathlib import Path
from harness.fleet import worker

born = worker.WorkerNode._born

def told(self):
    life = born(self)
    if self._lives > 1:
        Path({flag!r}).touch()
    return life

worker.WorkerNode._born = told
"""

# Ctrl-C for everybody at the worst moment: while the master is at work, not while it waits.
INTERRUPT_AT_WORK = """
import os, signal
from harness.fleet import master

turn = master.Conductor.turn
turns = 0

def interrupted(self, now_ns):
    global turns
    turns += self.phase == "running"
    if turns == 20:
        turns += 1
        os.killpg(0, signal.SIGINT)
    for _ in range(1000):
        pass
    return turn(self, now_ns)

master.Conductor.turn = interrupted
"""


def trace_of(scratch: Path, visits: int, rate_hz: float = 25.0, think_s: float = 0.2) -> Path:
    """A trace of visits of two steps."""
    path = scratch / "trace.jsonl"
    write_trace(path, ([get_engagement(identity="fresh"), get_engagement(think_s)] for _ in range(visits)), rate_hz)
    return path


def assert_each_call_once(log: OracleLog, visits: int) -> None:
    """The target saw both steps of every visit, each exactly once."""
    assert len(log.by_visit) == visits
    assert log.report["duplicates"] == []
    assert len(log.calls) == 2 * visits


def assert_begun_in_turn_and_once(summary: dict[str, Any], log: OracleLog) -> None:
    """By the target's record of a run that was stopped: its visits came in turn, each call once, none left out."""
    visits, begun = summary["visits"], set(log.by_visit)
    assert len(log.attempts) == len(log.calls), "a call came twice"
    assert all(call.number == 1 for call in log.calls), "nothing had to be tried again"
    # What the stop cut off may have been sent already.
    assert 0 <= len(log.calls) - summary["attempts"]["total"] <= visits["censored"]
    whole = {visit for visit, calls in log.by_visit.items() if len(calls) == 2}
    assert 0 <= len(whole) - visits["completed"] <= visits["censored"]
    assert len(begun - whole) <= visits["censored"]
    last = max(int(visit.removeprefix("v-")) for visit in begun)
    assert len({f"v-{number:06d}" for number in range(last)} - begun) <= visits["dropped"], "a visit was left out"


def books_in_doubt(summary: dict[str, object]) -> set[str]:
    """Failed checks that a busy machine does not excuse."""
    doubts = ("ledger", "slice", "crossed", "workers_lost")
    return {name for name in failed_checks(summary) if any(word in name for word in doubts)}


def test_plain_locust_plays_a_profile_in_one_process(tmp_path: Path) -> None:
    """`locust --headless` without workers conducts and plays the run, feeds Locust's stats, exits with the verdict."""
    trace = trace_of(tmp_path, 100)
    with oracle() as server:
        profile = write_profile(tmp_path, trace, server.url, "workers = 3")
        with Locust("--headless", "--only-summary", "--harness-config", str(profile), scratch=tmp_path) as locust:
            code = locust.wait(60)
        assert_each_call_once(server.log(), 100)
    summary = summary_of(tmp_path / "run")
    assert_ledger(summary)
    assert code == summary["verdict"]["exit_code"]
    assert code in HONEST, locust.explain()
    assert summary["visits"]["completed"] == 100
    said = (locust.stdout + locust.stderr).splitlines()
    assert [line.split()[2:4] for line in said if line.startswith("POST") and "(" in line] == [["200", "0(0.00%)"]]
    assert "Traceback" not in locust.stderr


def test_plain_locust_forks_its_own_workers(tmp_path: Path) -> None:
    """`--processes 2`: the run waits for both workers of this host, both play, together they play everything once."""
    trace = trace_of(tmp_path, 120)
    port = free_port()
    with oracle() as server:
        profile = write_profile(tmp_path, trace, server.url)
        args = [*master_args(profile, port)[1:], "--processes", "2", "--master-port", str(port)]
        with Locust(*args, scratch=tmp_path) as locust:
            code = locust.wait(60)
        assert_each_call_once(server.log(), 120)
    summary = summary_of(tmp_path / "run")
    assert_ledger(summary)
    assert code in HONEST, locust.explain()
    assert [worker["completed"] > 30 for worker in summary["workers"]] == [True, True]


def test_ctrl_c_reaches_forked_workers_and_harms_nothing(tmp_path: Path) -> None:
    """SIGINT to master and workers alike, as a terminal sends it: the master alone ends the run, cut off and stored."""
    trace = trace_of(tmp_path, 1000)
    port = free_port()
    with oracle() as server:
        profile = write_profile(tmp_path, trace, server.url)
        args = [*master_args(profile, port)[1:], "--processes", "2", "--master-port", str(port)]
        with Locust(*args, scratch=tmp_path, locustfile=write_locustfile(tmp_path, INTERRUPT_AT_WORK)) as locust:
            code = locust.wait(60)
        log = server.log()
    assert code == INTERRUPTED, locust.explain()
    summary = summary_of(tmp_path / "run")
    assert_ledger(summary)
    assert books_in_doubt(summary) == set()
    assert summary["visits"]["planned"] == 1000
    assert summary["visits"]["undealt"] > 0
    assert summary["visits"]["lost"] == 0
    assert 0 <= len(log.calls) - summary["attempts"]["total"] <= summary["visits"]["censored"]


def test_a_late_worker_moves_no_visit(tmp_path: Path) -> None:
    """Locust moves users when a worker joins late; visits stay where they were dealt, and new ones are shared."""
    trace = trace_of(tmp_path, 600, think_s=1.0)  # long enough for a start on a busy machine, and 5 s dealt ahead
    port = free_port()
    with oracle() as server:
        profile = write_profile(tmp_path, trace, server.url)
        with (
            Locust(*master_args(profile, port), scratch=tmp_path, name="master") as master,
            Locust(*worker_args(port), scratch=tmp_path, name="worker-1"),
        ):
            wait_until(lambda: begun_second(tmp_path / "run") >= 1, 30, "a second of the run")
            with Locust(*worker_args(port), scratch=tmp_path, name="worker-2"):
                code = master.wait(90)
        assert_each_call_once(server.log(), 600)
    summary = summary_of(tmp_path / "run")
    assert_ledger(summary)
    assert code in HONEST, master.explain()
    assert books_in_doubt(summary) == set()
    assert [worker["revoked"] for worker in summary["workers"]] == [0, 0]
    assert [worker["completed"] > 0 for worker in summary["workers"]] == [True, True]


def test_the_end_waits_for_the_drain_and_the_final_slices(tmp_path: Path) -> None:
    """A drain much longer than Locust's half second at the end: every reply counts, no slice is missing."""
    trace = trace_of(tmp_path, 50, think_s=4.0)
    with oracle() as server:
        command = start_run(trace, server.url, "--workers", "2", scratch=tmp_path)
        try:
            finished = command.wait(60)
        finally:
            command.kill()
        assert_each_call_once(server.log(), 50)
    summary = finished.summary
    assert_ledger(summary)
    assert finished.exit_code in HONEST, finished.explain()
    assert books_in_doubt(summary) == set()
    assert (summary["visits"]["completed"], summary["attempts"]["total"]) == (50, 100)


def test_dropped_messages_are_sent_again(tmp_path: Path) -> None:
    """ZeroMQ sockets drop silently: with a third of all our messages lost, both ways, every call is made once."""
    trace = trace_of(tmp_path, 150)
    tricky = write_locustfile(tmp_path, DROP_A_THIRD)
    port = free_port()
    with oracle() as server:
        profile = write_profile(tmp_path, trace, server.url)
        with (
            Locust(*master_args(profile, port), scratch=tmp_path, name="master", locustfile=tricky) as master,
            Locust(*worker_args(port), scratch=tmp_path, name="worker", locustfile=tricky),
        ):
            code = master.wait(60)
        log = server.log()
    summary = summary_of(tmp_path / "run")
    assert_ledger(summary)
    assert code in HONEST, master.explain()
    assert books_in_doubt(summary) == set()
    dropped = summary["visits"]["dropped"]
    # A lost GO or lease may come so late that a few visits are no longer worth beginning.
    assert dropped < 50
    assert summary["visits"]["completed"] == 150 - dropped
    assert_each_call_once(log, 150 - dropped)


def test_a_stopped_worker_with_leases_outstanding_loses_nothing(tmp_path: Path) -> None:
    """SIGSTOP for two seconds: leases wait or are sent again, what got too late is dropped by count, nothing twice."""
    trace = trace_of(tmp_path, 200)
    with oracle() as server:
        command = start_run(trace, server.url, "--workers", "2", scratch=tmp_path)
        try:
            wait_until(lambda: begun_second(tmp_path / "run") >= 1, 30, "a second of the run")
            victim = next(pid for pid in descendants(command.pid) if is_worker(pid))
            os.kill(victim, signal.SIGSTOP)
            time.sleep(2.0)
            os.kill(victim, signal.SIGCONT)
            finished = command.wait(60)
        finally:
            command.kill()
        log = server.log()
    summary = finished.summary
    assert_ledger(summary)
    assert books_in_doubt(summary) == set()
    assert summary["visits"]["lost"] == 0
    assert summary["visits"]["completed"] + summary["visits"]["dropped"] == 200
    assert log.report["duplicates"] == []
    assert "loop_stall" in failed_checks(summary), "the standstill is the instrument's fault, and said to be"
    assert "  loop_stall: " in finished.stdout.splitlines()[0]


def test_a_killed_worker_is_named_with_its_visits_and_the_run_is_invalid(tmp_path: Path) -> None:
    """SIGKILL of one of two workers: INVALID, the books balance, the journal names worker and visits, others play."""
    trace = trace_of(tmp_path, 250)
    with oracle() as server:
        command = start_run(trace, server.url, "--workers", "2", scratch=tmp_path)
        try:
            wait_until(lambda: begun_second(tmp_path / "run") >= 1, 30, "a second of the run")
            os.kill(next(pid for pid in descendants(command.pid) if is_worker(pid)), signal.SIGKILL)
            finished = command.wait(90)
        finally:
            command.kill()
        log = server.log()
    assert finished.exit_code == INVALID, finished.explain()
    summary = finished.summary
    assert_ledger(summary)
    (lost,) = [entry for entry in journal_of(finished.out) if entry["event"] == "lost"]
    (row,) = [worker for worker in summary["workers"] if worker["lost"]]
    assert lost["worker"] == row["id"]
    assert len(set(lost["visits"])) == row["lost"] == summary["visits"]["lost"] > 0
    assert "workers_lost" in failed_checks(summary)
    assert "  workers_lost: 1" in finished.stdout.splitlines()[0]
    assert summary["visits"]["completed"] == 250 - row["lost"]
    # What was dealt again had not been begun by the dead.
    assert log.report["duplicates"] == []


@dataclass(frozen=True)
class Disturbed:
    """A run of two workers, each of which got a SIGINT: where its processes listened, how it ended, what was seen."""

    listening: set[str]
    finished: Finished
    log: OracleLog


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory: pytest.TempPathFactory) -> Disturbed:
    """One such run for all that look at it."""
    scratch = tmp_path_factory.mktemp("disturbed")
    trace = trace_of(scratch, 100)
    options = ["--workers", "2", "--metrics", f"127.0.0.1:{free_port()}", "--linger", "0s"]
    with oracle() as server:
        command = start_run(trace, server.url, *options, scratch=scratch)
        try:
            wait_until(lambda: begun_second(scratch / "run") >= 0, 30, "a second of the run")
            below = descendants(command.pid)
            found = listening([command.pid, *below])
            for pid in below:
                if is_worker(pid):
                    os.kill(pid, signal.SIGINT)
            finished = command.wait(60)
        finally:
            command.kill()
        return Disturbed(found, finished, server.log())


def test_sigint_to_a_worker_does_nothing(disturbed: Disturbed) -> None:
    """A worker in a run leaves Ctrl-C to the master: the run goes on as if nothing had happened."""
    assert_each_call_once(disturbed.log, 100)
    assert disturbed.finished.exit_code in HONEST, disturbed.finished.explain()
    assert_ledger(disturbed.finished.summary)
    assert books_in_doubt(disturbed.finished.summary) == set()


def test_a_run_listens_on_loopback_only(disturbed: Disturbed) -> None:
    """Locust's master binds all addresses by default; ours, its metrics page included, does not."""
    assert disturbed.listening == LOOPBACK


def test_an_idle_worker_obeys_sigint(tmp_path: Path) -> None:
    """A worker that waits for a run in a terminal of its own can be ended with Ctrl-C."""
    port = free_port()
    profile = write_profile(tmp_path, trace_of(tmp_path, 10), "http://127.0.0.1:9")
    args = [*master_args(profile, port), "--expect-workers", "2"]
    with (
        Locust(*args, scratch=tmp_path, name="master"),
        Locust(*worker_args(port), scratch=tmp_path, name="worker") as worker,
    ):
        time.sleep(3.0)
        assert worker.alive, worker.explain()
        worker.signal(signal.SIGINT)
        worker.wait(10)
    assert "Traceback" not in worker.stdout + worker.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_between_two_runs_ends_when_told_to(tmp_path: Path, number: signal.Signals) -> None:
    """A run has ended, the web UI waits for the next: the worker goes at once, with exit code 0 and no traceback."""
    trace = trace_of(tmp_path, 5)
    flag = tmp_path / "second life"
    tricky = write_locustfile(tmp_path, TELL_OF_A_SECOND_LIFE.format(flag=str(flag)))
    port, web = free_port(), free_port()
    with oracle() as server:
        profile = write_profile(tmp_path, trace, server.url)
        args = [arg for arg in master_args(profile, port) if arg != "--headless"]
        args += ["--web-host", "127.0.0.1", "--web-port", str(web)]
        with (
            Locust(*args, scratch=tmp_path, name="master"),
            Locust(*worker_args(port), scratch=tmp_path, name="worker", locustfile=tricky) as worker,
        ):
            wait_for_page(f"http://127.0.0.1:{web}")
            post(f"http://127.0.0.1:{web}/swarm", user_count="1", spawn_rate="1")
            wait_until(flag.exists, 40, "the end of the run at the worker")
            worker.signal(number)
            assert worker.wait(20) == PASS, worker.explain()
    assert "Traceback" not in worker.stdout + worker.stderr


def test_an_error_in_the_hub_ends_the_run_with_exit_1_and_one_line(tmp_path: Path) -> None:
    """gevent prints what a callback raises and goes on; we end the run, and store what was measured."""
    trace = trace_of(tmp_path, 1000)
    tricky = write_locustfile(tmp_path, RAISE_IN_THE_HUB)
    with oracle() as server:
        profile = write_profile(tmp_path, trace, server.url)
        args = ("--headless", "--only-summary", "--harness-config", str(profile))
        with Locust(*args, scratch=tmp_path, locustfile=tricky) as locust:
            code = locust.wait(30)
    assert code == INTERNAL, locust.explain()
    assert "Traceback" not in locust.stdout + locust.stderr
    said = [line for line in (locust.stdout + locust.stderr).splitlines() if "a bad day" in line]
    assert len(said) == 1, locust.explain()
    summary = summary_of(tmp_path / "run")
    assert_ledger(summary)
    assert any("RuntimeError: a bad day" in entry.get("details", "") for entry in journal_of(tmp_path / "run"))


def test_an_error_in_the_master_ends_the_run_with_exit_1_and_one_line(tmp_path: Path) -> None:
    """Locust logs what a message handler raises and goes on; we end the run and say why."""
    trace = trace_of(tmp_path, 1000)
    tricky = write_locustfile(tmp_path, RAISE_IN_THE_MASTER)
    with oracle() as server:
        profile = write_profile(tmp_path, trace, server.url)
        args = ("--headless", "--only-summary", "--harness-config", str(profile))
        with Locust(*args, scratch=tmp_path, locustfile=tricky) as locust:
            code = locust.wait(30)
    assert code == INTERNAL, locust.explain()
    assert "Traceback" not in locust.stdout + locust.stderr
    assert (tmp_path / "run" / "manifest.json").exists()


def test_a_master_without_a_worker_gives_up_in_time(tmp_path: Path) -> None:
    """Locust's start returns silently without workers; the headless master says so and ends."""
    profile = write_profile(tmp_path, trace_of(tmp_path, 10), "http://127.0.0.1:9")
    args = [*master_args(profile, free_port()), "--expect-workers", "1", "--expect-workers-max-wait", "2"]
    with Locust(*args, scratch=tmp_path) as locust:
        assert locust.wait(20) == 1
    assert "Gave up waiting for workers" in locust.stderr + locust.stdout
    assert not (tmp_path / "run").exists()


def test_the_web_ui_starts_without_workers_stops_and_starts_again(tmp_path: Path) -> None:
    """Started before any worker is there, a run begins with the first one; each start is a run folder of its own."""
    trace = trace_of(tmp_path, 1000)
    port, web = free_port(), free_port()
    url = f"http://127.0.0.1:{web}"
    with oracle() as server:
        profile = write_profile(tmp_path, trace, server.url)
        args = [arg for arg in master_args(profile, port) if arg != "--headless"]
        args += ["--web-host", "127.0.0.1", "--web-port", str(web)]
        with Locust(*args, scratch=tmp_path, name="master") as master:
            wait_for_page(url)
            post(f"{url}/swarm", user_count="1", spawn_rate="1")
            time.sleep(1.5)
            assert not (tmp_path / "run").exists()
            with Locust(*worker_args(port), scratch=tmp_path, name="worker"):
                wait_until(lambda: begun_second(tmp_path / "run") >= 1, 30, "the first run")
                post(f"{url}/stop")
                wait_until(lambda: (tmp_path / "run" / "summary.json").exists(), 20, "the first summary")
                first = server.log()
                post(f"{url}/swarm", user_count="1", spawn_rate="1")
                wait_until(lambda: begun_second(tmp_path / "run-2") >= 1, 30, "the second run")
                master.signal(signal.SIGTERM)
                assert master.wait(40) == INTERRUPTED, master.explain()
        rows = server.log().report["requests"]
    second = OracleLog(first.report | {"requests": rows[len(first.calls) :]})
    assert rows[: len(first.calls)] == first.report["requests"]
    for folder, log in ((tmp_path / "run", first), (tmp_path / "run-2", second)):
        summary = summary_of(folder)
        assert_ledger(summary)
        assert_begun_in_turn_and_once(summary, log)
        assert summary["attempts"]["total"] > 0
        assert summary["visits"]["planned"] == 1000
        assert books_in_doubt(summary) == set()


def test_a_killed_parent_leaves_a_stored_run_and_no_process(tmp_path: Path) -> None:
    """SIGKILL of `harness run` takes its workers along; the master stores what was measured, and nobody is left."""
    trace = trace_of(tmp_path, 1000)
    with oracle() as server:
        command = start_run(trace, server.url, scratch=tmp_path)
        try:
            wait_until(lambda: begun_second(tmp_path / "run") >= 1, 30, "a second of the run")
            below = descendants(command.pid)
            os.kill(command.pid, signal.SIGKILL)
            wait_until(lambda: (tmp_path / "run" / "summary.json").exists(), 20, "the summary")
            wait_until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in below), 20, "the end of all")
        finally:
            command.kill()
    summary = summary_of(tmp_path / "run")
    assert_ledger(summary)
    assert summary["verdict"]["exit_code"] == INVALID
    assert summary["visits"]["planned"] == 1000
    assert summary["attempts"]["total"] > 0
    assert '"partial": true' in (tmp_path / "run" / "manifest.json").read_text()


def test_sigterm_ends_a_headless_run_and_stores_it(tmp_path: Path) -> None:
    """Locust hears SIGTERM only after a headless shape has ended; the run is cut off and stored all the same."""
    trace = trace_of(tmp_path, 1000)
    with oracle() as server:
        profile = write_profile(tmp_path, trace, server.url)
        args = ("--headless", "--only-summary", "--harness-config", str(profile))
        with Locust(*args, scratch=tmp_path) as locust:
            wait_until(lambda: begun_second(tmp_path / "run") >= 1, 30, "a second of the run")
            locust.signal(signal.SIGTERM)
            assert locust.wait(20) == INTERRUPTED, locust.explain()
    summary = summary_of(tmp_path / "run")
    assert_ledger(summary)
    assert summary["visits"]["lost"] == 0
    assert summary["visits"]["undealt"] > 0
