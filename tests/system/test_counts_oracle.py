"""The counts, proved by two witnesses: the oracle and the simulator saw what the summary says, to the last one."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.system.harness_run import (
    ROOT,
    assert_proper_client,
    get_engagement,
    logged_attempts,
    oracle,
    run_to_end,
    update,
    write_trace,
)

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("heavy")]

VISITS = 10_000
RATE_HZ = 400
REPLIES = "not_available=0.08,loading=0.04,server_error=0.01,internal=0.005,throttled=0.003,renew=0.05,revid=0.005"
REFUSALS = "rejected=0.003,gone=0.002,client_error=0.003,redirect=0.002,bad_reply=0.003"
TRANSPORT = "hang=0.01,reset=0.01,cut=0.005,close=0.02"
CHAIN_EVENTS = ("started", "kept", "renewed", "revid", "rejected")
# What the client may call an attempt whose reply the oracle withheld, broke off, or gave too late.
NAMES_OF = {"hang": {"timeout"}, "reset": {"reset"}, "cut": {"reset", "bad_reply"}}


def make_trace(path: Path, visits: int = VISITS) -> dict[str, list[str]]:
    """Visits of one to three steps, every third with an update."""
    tails: tuple[list[dict[str, Any]], ...] = ([], [get_engagement(0.2)], [get_engagement(0.1), update(0.1)])
    return write_trace(path, ([get_engagement(identity="fresh"), *tails[n % 3]] for n in range(visits)), RATE_HZ)


def nonzero(counts: dict[str, int]) -> dict[str, int]:
    """The counts that are not 0."""
    return {name: count for name, count in counts.items() if count}


def test_without_transport_faults_every_count_equals_the_oracles(tmp_path: Path) -> None:
    """Attempts by result, sessions, chain events and step outcomes are the oracle's, over 10,000 visits."""
    trace = tmp_path / "trace.jsonl"
    ops = make_trace(trace)
    log_file = tmp_path / "attempts.jsonl"
    with oracle("--seed", "21", "--faults", f"{REPLIES},{REFUSALS},close=0.02", "--delay-ms", "1..30") as server:
        options = ["--arrivals", f"constant:{RATE_HZ}/s", "--drain", "60s", "--log-attempts", str(log_file)]
        summary = run_to_end(trace, server.url, *options, scratch=tmp_path, timeout_s=180).summary
        log = server.log()
    assert_proper_client(log)
    assert logged_attempts(log_file) == {call.attempt: call.outcome for call in log.calls}
    assert nonzero(summary["attempts"]["by_result"]) == log.results()
    assert summary["attempts"]["total"] == len(log.calls)
    chain = {event: summary["chain"][event] for event in CHAIN_EVENTS}
    assert chain == {event: log.chain_events()[event] for event in CHAIN_EVENTS}
    sessions = chain["started"] + chain["renewed"] + chain["revid"]
    hinted = sum(call.sid_in is None and call.vid_in is not None and call.chain == "kept" for call in log.calls)
    assert log.report["sids_issued"] == sessions + hinted
    steps = {name: count for name, count in summary["steps"].items() if name != "planned"}
    assert nonzero(steps) == log.step_outcomes(ops)
    assert summary["steps"]["planned"] == sum(map(len, ops.values()))
    assert (summary["visits"]["planned"], summary["visits"]["completed"]) == (VISITS, VISITS)


def test_with_transport_faults_both_sides_know_the_same_attempts(tmp_path: Path) -> None:
    """The attempts that arrived are ours but for connect and TLS errors, and each result is what its fault explains."""
    trace = tmp_path / "trace.jsonl"
    make_trace(trace, VISITS // 2)
    log_file = tmp_path / "attempts.jsonl"
    with oracle("--seed", "22", "--faults", f"{REPLIES},{REFUSALS},{TRANSPORT}", "--delay-ms", "1..30") as server:
        options = ["--arrivals", f"constant:{RATE_HZ}/s", "--drain", "60s", "--timeout", "1s"]
        options += ["--log-attempts", str(log_file)]
        summary = run_to_end(trace, server.url, *options, scratch=tmp_path, timeout_s=180).summary
        log = server.log()
    ours = logged_attempts(log_file)
    assert_proper_client(log)
    assert log.attempts <= ours.keys()
    unseen = {attempt: ours[attempt] for attempt in ours.keys() - log.attempts}
    assert set(unseen.values()) <= {"connect_error", "tls_error"}, unseen
    wrong = {
        call.attempt: (call.outcome, ours[call.attempt])
        for call in log.calls
        if ours[call.attempt] not in NAMES_OF.get(call.outcome, {call.outcome})
        # An answer too late for the client's second is a timeout; the oracle's clock must bear that out.
        and not (
            ours[call.attempt] == "timeout" and (call.answered_ms < 0 or call.answered_ms - call.received_ms > 800)
        )
    }
    assert wrong == {}
    assert nonzero(summary["attempts"]["by_result"]) == Counter(ours.values())
    assert {"timeout", "reset"} <= set(ours.values())


@contextmanager
def simulator(log: Path, scenario: str) -> Iterator[str]:
    """The practice target as its own process; gives its URL."""
    command = [sys.executable, "-m", "harness", "sim", "--port", "0", "--seed", "5", "--scenario", scenario]
    process = subprocess.Popen([*command, "--log", str(log)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "http://" in line, f"the simulator did not start: {line!r}"
        yield next(word for word in line.split() if word.startswith("http://"))
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize(("scenario", "visits"), [("flaky", VISITS), ("cold-account", VISITS // 4)])
def test_every_count_equals_the_simulators_truth(tmp_path: Path, scenario: str, visits: int) -> None:
    """Results, chain and sessions are what `/sim/truth` counted, and its log names our attempts and no others."""
    trace = tmp_path / "trace.jsonl"
    make_trace(trace, visits)
    sim_log, our_log = tmp_path / "sim.jsonl", tmp_path / "attempts.jsonl"
    with simulator(sim_log, scenario) as url:
        options = ["--arrivals", f"constant:{RATE_HZ}/s", "--drain", "60s", "--timeout", "3s"]
        options += ["--log-attempts", str(our_log)]
        summary = run_to_end(trace, url, *options, scratch=tmp_path, timeout_s=180).summary
        with urllib.request.urlopen(f"{url}/sim/truth", timeout=30) as reply:
            truth: dict[str, Any] = json.load(reply)
    ours = logged_attempts(our_log)
    theirs = {entry["attempt"]: entry["outcome"] for entry in map(json.loads, sim_log.read_text().splitlines())}
    seen = {attempt for attempt, result in ours.items() if result != "connect_error"}
    assert seen == theirs.keys()
    assert {attempt: "timeout" if told == "hang" else told for attempt, told in theirs.items()} == {
        attempt: ours[attempt] for attempt in theirs
    }
    assert nonzero(summary["attempts"]["by_result"]) == Counter(ours.values())
    assert nonzero(truth["outcomes"]) == Counter(theirs.values())
    # The simulator tells apart what a client calls kept (also a vid without sid, to which a session was given) and
    # renewed (for a session that had ended, or had had its calls).
    chain, theirs_chain = summary["chain"], Counter(truth["chain"])
    assert chain["started"] == theirs_chain["started"]
    assert chain["kept"] == theirs_chain["kept"] + theirs_chain["loaded"] + theirs_chain["returned"]
    assert chain["renewed"] == theirs_chain["renewed"] + theirs_chain["expired"]
    assert truth["sessions_issued"] == truth["chain"].get("loaded", 0) + chain["started"] + chain["renewed"]
    assert (chain["crossed"], truth["unknown_ids"]) == (0, 0)
