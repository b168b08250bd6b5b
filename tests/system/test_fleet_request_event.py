"""Locust's `request` event in a user's own locustfile: every attempt is told once, and Locust counts it once."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.system.harness_run import (
    Summary,
    assert_ledger,
    get_engagement,
    logged_attempts,
    oracle,
    update,
    write_trace,
)
from tests.system.plain_locust import (
    Locust,
    free_port,
    master_args,
    summary_of,
    worker_args,
    write_locustfile,
    write_profile,
)

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("fleet_parts")]

HONEST = (0, 5)
ENGAGED = {"available", "not_available", "accepted"}
METHODS = {"get_engagement": "POST", "update": "PUT"}
FAULTS = "server_error=0.1,throttled=0.1"

# What a user may write below the import: a listener, and at the end a file with what it heard and what Locust counted.
LISTENER = """
import json, os, time
import gevent
from locust import events

heard = []
LISTENS = {listens}

def on_request(request_type, name, response_time, response_length, response, context, exception, start_time, url, **_):
    gevent.sleep(0)  # would raise in the hub
    late_s = time.time() - start_time - response_time / 1000
    heard.append([request_type, name, response_time, context, repr(exception) if exception else None, late_s, url])

if LISTENS:
    events.request.add_listener(on_request)

@events.quitting.add_listener
def on_quitting(environment, **_):
    stats = environment.stats
    rows = dict()
    for (name, method), entry in stats.entries.items():
        rows[f"{{method}} {{name}}"] = [entry.num_requests, entry.num_failures]
    failures = stats.errors.values()
    errors = [[each.method, each.name, each.parse_error(each.error), each.occurrences] for each in failures]
    role = type(environment.runner).__name__
    total = [stats.total.num_requests, stats.total.num_failures]
    with open(f"{{role}}.json", "w") as file:
        json.dump(dict(heard=heard, rows=rows, errors=sorted(errors), total=total), file)
"""


def trace_with_updates(scratch: Path) -> Path:
    """100 visits of two getEngagement calls and an update."""
    path = scratch / "trace.jsonl"
    steps = [get_engagement(identity="fresh"), get_engagement(0.1), update(0.1)]
    write_trace(path, (steps for _ in range(100)), 50.0)
    return path


def counted(summary: Summary) -> dict[str, list[int]]:
    """Requests and failures by method and name, from summary.json."""
    rows = {}
    for op, block in summary["by_op"].items():
        results = block["attempts"]["by_result"]
        failures = sum(count for result, count in results.items() if result not in ENGAGED)
        rows[f"{METHODS[op]} {op}"] = [sum(results.values()), failures]
    return rows


def failed(summary: Summary) -> dict[tuple[str, str], int]:
    """Attempts without an engagement reply by op and result, from summary.json."""
    return {
        (op, result): count
        for op, block in summary["by_op"].items()
        for result, count in block["attempts"]["by_result"].items()
        if count and result not in ENGAGED
    }


def assert_counted_once(told: dict[str, Any], summary: Summary) -> None:
    """Locust's own statistics say what summary.json says."""
    rows = counted(summary)
    assert told["rows"] == rows
    assert told["total"] == [sum(row[place] for row in rows.values()) for place in (0, 1)]
    assert {(name, error): count for _, name, error, count in told["errors"]} == failed(summary)


@pytest.mark.parametrize("listens", [True, False])
def test_a_listener_hears_every_attempt_and_locust_counts_each_once(tmp_path: Path, listens: bool) -> None:
    """One process: with a listener or without, Locust's table equals summary.json; the listener's list the log."""
    trace = trace_with_updates(tmp_path)
    locustfile = write_locustfile(tmp_path, LISTENER.format(listens=listens))
    with oracle("--faults", FAULTS) as server:
        profile = write_profile(tmp_path, trace, server.url)
        log = tmp_path / "attempts.jsonl"
        args = ("--headless", "--only-summary", "--harness-config", str(profile))
        with Locust(*args, scratch=tmp_path, locustfile=locustfile, env={"HARNESS_LOG_ATTEMPTS": str(log)}) as locust:
            code = locust.wait(60)
        url = server.url
    assert code in HONEST, locust.explain()
    summary = summary_of(tmp_path / "run")
    assert_ledger(summary)
    told = json.loads((tmp_path / "LocalRunner.json").read_text())
    assert_counted_once(told, summary)
    assert failed(summary), "no failure to compare"
    if not listens:
        assert told["heard"] == []
        return
    attempts = {}
    for method, name, time_ms, context, error, late_s, target in told["heard"]:
        attempts[f"{context['visit']}/{context['step']}/{context['attempt']}"] = context["result"]
        assert method == METHODS[name]
        assert (error is None) == (context["result"] in ENGAGED)
        assert error in (None, context["result"])
        assert time_ms > 0
        # Heard after it was over, within a few turns of the worker.
        assert -0.01 < late_s < 3
        assert target == url
    assert len(attempts) == len(told["heard"])
    assert attempts == logged_attempts(log)
    times = sorted(entry[2] for entry in told["heard"] if entry[4] is None)
    exact = summary["latency_ms"]["response_time"]
    assert times[-1] == pytest.approx(exact["max"], rel=0.002)
    assert sum(times) / len(times) == pytest.approx(exact["mean"], rel=0.002)


def test_listeners_on_workers_hear_their_own_calls_and_the_master_counts_all_once(tmp_path: Path) -> None:
    """Master and worker: the listener sits where the calls are made, and nothing is missing at the end."""
    trace = trace_with_updates(tmp_path)
    locustfile = write_locustfile(tmp_path, LISTENER.format(listens=True))
    port = free_port()
    with oracle("--faults", FAULTS) as server:
        profile = write_profile(tmp_path, trace, server.url)
        with (
            Locust(*master_args(profile, port), scratch=tmp_path, name="master", locustfile=locustfile) as master,
            Locust(*worker_args(port), scratch=tmp_path, name="worker", locustfile=locustfile) as worker,
        ):
            code = master.wait(60)
            worker.wait(20)
    assert code in HONEST, master.explain()
    summary = summary_of(tmp_path / "run")
    assert_ledger(summary)
    by_master, by_worker = (json.loads((tmp_path / f"{role}Runner.json").read_text()) for role in ("Master", "Worker"))
    assert by_master["heard"] == []
    results = Counter(entry[3]["result"] for entry in by_worker["heard"])
    assert results == {result: count for result, count in summary["attempts"]["by_result"].items() if count}
    assert_counted_once(by_master, summary)
