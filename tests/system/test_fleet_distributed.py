"""Fleets of several workers: leaving and loss, guard-rails, slow targets, full queues, accounts, the wrong way."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.store.run_folder import RunFolder
from tests.system.fleet_run import (
    TIMING,
    assert_settled_once_or_lost,
    chained_trace,
    joining,
    running,
    workers_below,
)
from tests.system.harness_run import (
    assert_ledger,
    failed_checks,
    get_engagement,
    oracle,
    start_run,
    wait_until,
    write_trace,
)
from tests.system.misbehaving import answer, peer, reply
from tests.system.plain_locust import (
    Locust,
    begun_second,
    free_port,
    journal_of,
    master_args,
    summary_of,
    worker_args,
    write_locustfile,
    write_profile,
)
from tests.system.test_fleet_dns import MOVING, NAME

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("distributed")]

PASS, INTERNAL, USAGE, INVALID, REFUSED = 0, 1, 2, 5, 6

# Fills the queue of every worker, as soon as a file says so, far above ZeroMQ's high-water mark of 1,000.
FLOOD = """
from pathlib import Path
from harness.fleet import fabric
from harness.fleet.messages import CHANNEL, Beat, encode

turn = fabric.Conductor.turn

def flooding(self, now_ns):
    if Path({flag!r}).exists() and not getattr(self, "flooded", False):
        self.flooded = True
        from locust.runners import MasterRunner
        import gc
        (runner,) = [each for each in gc.get_objects() if type(each) is MasterRunner]
        for client in list(runner.clients):
            for number in range(3_000):
                runner.send_message(CHANNEL, encode(Beat("nobody", number, 0)), client_id=client)
    return turn(self, now_ns)

fabric.Conductor.turn = flooding
"""

# Writes down where this process connects or sends to; for `sitecustomize`, so that every process of a run does.
WATCHED = """
import os, sys

def watch(event, arguments, found=set()):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        if isinstance(address, tuple) and address[0] not in found:
            found.add(address[0])
            with open(os.path.join({folder!r}, f"{{os.getpid()}}.txt"), "a") as file:
                file.write(f"{{address[0]}}\\n")

sys.addaudithook(watch)
"""


def reached(folder: Path) -> set[str]:
    """The addresses that any watched process sent something to."""
    return {line for file in folder.glob("*.txt") for line in file.read_text().splitlines()}


def test_sigterm_makes_a_worker_leave_and_harms_no_visit(tmp_path: Path) -> None:
    """One of two workers gets SIGTERM: what is open is finished there, the rest played elsewhere, nothing lost."""
    trace = chained_trace(tmp_path / "trace.jsonl", 350, 25.0)
    with oracle() as server:
        with running(trace, server.url, scratch=tmp_path, workers=2, expect=2) as fleet:
            wait_until(lambda: begun_second(fleet.out) >= 1, 60, "two seconds of the run")
            leaver = fleet.local_workers()[0]
            os.kill(leaver, signal.SIGTERM)
            wait_until(lambda: leaver not in fleet.local_workers(), 30, "the end of the worker that left")
            assert fleet.command.alive, "the run goes on"
            finished = fleet.command.wait(120)
        log = server.log()
    summary = finished.summary
    assert_ledger(summary)
    assert_settled_once_or_lost(summary, finished.out, log, 350)
    assert set(failed_checks(summary)) <= TIMING, finished.explain()
    visits = summary["visits"]
    assert (visits["lost"], visits["undealt"]) == (0, 0)
    assert visits["completed"] + visits["dropped"] == 350
    events = [entry["event"] for entry in journal_of(finished.out)]
    assert (events.count("leaving"), events.count("left"), events.count("lost")) == (1, 1, 0)
    assert [worker["completed"] > 0 for worker in summary["workers"]] == [True, True]
    assert sum(worker["revoked"] for worker in summary["workers"]) > 0


def test_workers_of_elsewhere_play_a_run_and_end_with_it(tmp_path: Path) -> None:
    """`harness worker` twice, by capacity 3 to 1: together they play everything once, and end with exit code 0."""
    trace = chained_trace(tmp_path / "trace.jsonl", 400, 50.0)
    with (
        oracle() as server,
        running(trace, server.url, scratch=tmp_path, workers=0, expect=2) as fleet,
        joining(fleet.port, "--capacity", "3", scratch=tmp_path, name="strong") as strong,
        joining(fleet.port, scratch=tmp_path, name="weak") as weak,
    ):
        finished = fleet.command.wait(120)
        ended = [each.wait(each.age_s() + 30) for each in (strong, weak)]
        log = server.log()
    summary = finished.summary
    assert_ledger(summary)
    assert_settled_once_or_lost(summary, finished.out, log, 400)
    assert [each.exit_code for each in ended] == [PASS, PASS], [each.explain() for each in ended]
    assert set(failed_checks(summary)) <= TIMING, finished.explain()
    names = [re.findall(r"plays run \w+ as (worker-\d)", each.stderr)[0] for each in ended]
    dealt = {worker["id"]: worker["dealt"] for worker in summary["workers"]}
    # Binomial: 400 draws of 3/4, five standard deviations of 8.7.
    assert abs(dealt[names[0]] - 300) < 44, dealt
    for worker in summary["workers"]:
        # One machine, one clock: the offset is nothing but its error.
        assert abs(worker["clock_offset_ms"]) <= worker["clock_error_ms"] + 1e-6
        assert "clock_drift_ms" in worker


def test_a_killed_master_ends_its_workers_and_leaves_a_readable_folder(tmp_path: Path) -> None:
    """SIGKILL of the master: no call after the fence, the worker ends with 5, the folder is partial and readable."""
    trace = chained_trace(tmp_path / "trace.jsonl", 2_000, 40.0)
    with (
        oracle() as server,
        running(trace, server.url, scratch=tmp_path, workers=0, expect=1) as fleet,
        joining(fleet.port, "--patience", "6s", scratch=tmp_path) as joiner,
    ):
        wait_until(lambda: begun_second(fleet.out) >= 1, 60, "two seconds of the run")
        (worker,) = workers_below(joiner.pid)
        os.kill(fleet.master(), signal.SIGKILL)
        killed = time.monotonic()
        calls_then = len(server.log().calls)
        finished = fleet.command.wait(fleet.command.age_s() + 30)
        # The fence is 3 s; what was sent then may be answered later, but nothing is sent any more.
        time.sleep(max(0.0, killed + 4.0 - time.monotonic()))
        calls_at_fence = len(server.log().calls)
        left = joiner.wait(joiner.age_s() + 40)
        took_s = time.monotonic() - killed
        calls_at_end = len(server.log().calls)
    assert finished.exit_code == INTERNAL, finished.explain()
    assert len(finished.error_lines) == 1
    assert "the master ended without a result" in finished.error_lines[0]
    assert left.exit_code == INVALID, left.explain()
    assert "the master is silent: " in left.stderr
    assert "harness: error: the master has been silent for 6 s: this worker ends" in left.stderr
    assert "Traceback" not in left.stderr + finished.stderr
    assert took_s < 30
    assert not Path(f"/proc/{worker}").exists()
    assert calls_then > 0
    assert calls_at_end == calls_at_fence
    stored = RunFolder.load(finished.out)
    assert (stored.partial, stored.summary) == (True, None)
    assert len(stored.series) >= 2
    assert [line["t_s"] if "t_s" in line else line["second"] for line in stored.series] == list(
        range(len(stored.series))
    )
    assert stored.journal[0]["event"] == "joined"


def test_an_abort_condition_stops_four_workers_within_two_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A target that answers 500 or a redirect: exit 6 with the condition, after 2 s not one call more, nor elsewhere.

    Every process of the run is watched at its sockets: the redirects lead nowhere.
    """
    (tmp_path / "hook").mkdir()
    found = tmp_path / "found"
    found.mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(WATCHED.format(folder=str(found)))
    trace = chained_trace(tmp_path / "trace.jsonl", 3_000, 60.0)
    profile = tmp_path / "limits.toml"
    profile.write_text('[limits]\nabort_on = ["ratio(server_error) < 50%", "ratio(throttled) < 5%"]\n')
    options = ("--workers", "4", "--profile", str(profile), "--retry", "none")
    with oracle("--faults", "server_error=0.7,redirect=0.3") as server:
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hook"))
        command = start_run(trace, server.url, *options, scratch=tmp_path)
        try:
            finished = command.wait(90)
        finally:
            command.kill()
        log = server.log()
    assert finished.exit_code == REFUSED, finished.explain()
    summary = finished.summary
    assert_ledger(summary)
    (guard,) = [check for check in summary["verdict"]["checks"] if check["kind"] == "guard"]
    said = r"abort_on ratio\(server_error\) < 50%: [5-9]\d(\.\d+)? % in the last \d s"
    assert re.match(said, guard["message"]), guard
    assert len(summary["workers"]) == 4
    assert all(worker["completed"] > 0 for worker in summary["workers"])
    moments = sorted(call.received_ms for call in log.calls)
    assert len(moments) > 40
    assert moments[-1] - moments[0] <= 2_000, "from the first error to the last call of anybody"
    assert summary["visits"]["undealt"] > 2_000
    assert summary["attempts"]["by_result"]["redirect"] > 0
    # Parent, master and four workers: each has connected at least to the target or to its master's port.
    assert len(list(found.glob("*.txt"))) >= 5
    assert reached(found) == {"127.0.0.1"}


def test_a_plan_beyond_the_limits_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """The arrivals themselves say more than the profile allows: one line, exit 6, not a single call."""
    trace = chained_trace(tmp_path / "trace.jsonl", 10, 10.0)
    profile = tmp_path / "limits.toml"
    profile.write_text("[limits]\nmax_visits_per_s = 50\n")
    with oracle() as server:
        options = ("--profile", str(profile), "--arrivals", "constant:10/s:5s,ramp:10/s..80/s:1m")
        finished = start_run(trace, server.url, *options, scratch=tmp_path).wait(40)
        assert server.log().calls == []
    assert finished.exit_code == REFUSED, finished.explain()
    (line,) = finished.error_lines
    assert "plans up to 80/s, limits.max_visits_per_s allows 50/s" in line
    assert not (tmp_path / "run").exists()


def test_a_worker_that_lacks_what_the_profile_names_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header's variable is set for the run and not for a worker of elsewhere: both say so and end with 2."""
    trace = chained_trace(tmp_path / "trace.jsonl", 10, 10.0)
    profile = tmp_path / "secret.toml"
    profile.write_text('[client]\nheaders = {Authorization = "env:FLEET_SECRET"}\n')
    with oracle() as server:
        monkeypatch.setenv("FLEET_SECRET", "hunter2")
        with running(trace, server.url, "--profile", str(profile), scratch=tmp_path, workers=0, expect=1) as fleet:
            monkeypatch.delenv("FLEET_SECRET")
            with joining(fleet.port, scratch=tmp_path) as joiner:
                finished, ended = fleet.command.wait(60), joiner.wait(60)
        assert server.log().calls == []
    why = "client.headers.Authorization: the environment variable FLEET_SECRET is not set"
    assert (finished.exit_code, ended.exit_code) == (USAGE, USAGE), finished.explain() + ended.explain()
    assert finished.error_lines == [f"harness: error: worker-1 on {socket.gethostname()}: {why}"]
    assert ended.error_lines == [f"harness: error: worker-1 cannot play this run: {why}"]


def test_a_stopped_peer_with_thousands_of_messages_waiting_loses_none_that_matters(tmp_path: Path) -> None:
    """3,000 messages for a stopped worker, beyond what ZeroMQ keeps: all leases and acknowledgements come through."""
    trace = chained_trace(tmp_path / "trace.jsonl", 300, 25.0)
    flag = tmp_path / "flood"
    tricky = write_locustfile(tmp_path, FLOOD.format(flag=str(flag)))
    port = free_port()
    with oracle() as server:
        profile = write_profile(tmp_path, trace, server.url)
        profile.write_text(profile.read_text() + '[client]\nmax_lag = "4s"\n')
        with (
            Locust(*master_args(profile, port), scratch=tmp_path, name="master", locustfile=tricky) as master,
            Locust(*worker_args(port), scratch=tmp_path, name="worker") as worker,
        ):
            wait_until(lambda: begun_second(tmp_path / "run") >= 1, 60, "two seconds of the run")
            worker.signal(signal.SIGSTOP)
            flag.touch()
            time.sleep(2.0)
            worker.signal(signal.SIGCONT)
            code = master.wait(60)
        log = server.log()
    summary = summary_of(tmp_path / "run")
    assert_ledger(summary)
    assert_settled_once_or_lost(summary, tmp_path / "run", log, 300)
    assert code in (PASS, INVALID), master.explain()
    assert set(failed_checks(summary)) <= TIMING, failed_checks(summary)
    assert (summary["visits"]["lost"], summary["visits"]["completed"]) == (0, 300)


def test_nothing_leaves_when_the_name_begins_to_lead_elsewhere(tmp_path: Path) -> None:
    """The same watch while DNS comes to answer with an address that is not allowed: not one packet there."""
    found = tmp_path / "found"
    found.mkdir()
    trick = WATCHED.format(folder=str(found)) + MOVING.format(name=NAME, after=3.0, takes_s=0.1, later=["192.0.2.7"])
    tricky = write_locustfile(tmp_path, trick)
    trace = tmp_path / "trace.jsonl"
    write_trace(trace, ([get_engagement(identity="fresh")] for _ in range(150)), 25.0)
    with peer({"v": answer(reply())}) as seen:
        profile = write_profile(tmp_path, trace, f"http://{NAME}:{seen.port}")
        args = ("--headless", "--only-summary", "--harness-config", str(profile))
        with Locust(*args, scratch=tmp_path, locustfile=tricky) as locust:
            code = locust.wait(60)
    assert code == REFUSED, locust.explain()
    assert len(seen.calls) > 10
    assert reached(found) == {"127.0.0.1"}


def test_a_message_about_users_does_not_build_locusts_parser_again(tmp_path: Path) -> None:
    """What Locust asks eighty times whenever a worker comes or goes is answered from memory, with the same answer."""
    script = (
        "from locust import argument_parser as ap\n"
        "from harness.fleet.attached import spare_the_loop\n"
        "before, built = ap.default_args_dict(), []\n"
        "spare_the_loop()\n"
        "setup = ap.setup_parser_arguments\n"
        "ap.setup_parser_arguments = lambda parser: (built.append(parser), setup(parser))\n"
        "assert [ap.default_args_dict() for _ in range(80)] == [before] * 80\n"
        "print(len(before) > 50, len(built))\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout.strip()) == (0, "True 0"), ended.stderr
