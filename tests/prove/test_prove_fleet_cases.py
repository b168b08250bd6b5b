"""The fleet under a slow target, with workers lost and tolerated, with several accounts: too long for CI."""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.prove.evidence import store
from tests.prove.memory import watch
from tests.system.fleet_run import TIMING, assert_settled_once_or_lost, chained_trace, lost_visits, running
from tests.system.harness_run import (
    ACCOUNT,
    assert_ledger,
    failed_checks,
    get_engagement,
    oracle,
    start_run,
    wait_until,
)
from tests.system.misbehaving import answer, peer, reply
from tests.system.plain_locust import begun_second

PASS, INVALID = 0, 5
SLOW_VISITS = 20_000


def test_a_slow_target_under_a_ceiling_costs_drops_and_no_memory(tmp_path: Path) -> None:
    """A target that takes 2 s, 24 open visits allowed, 500/s planned: never a 25th, drops counted, memory flat."""
    trace = chained_trace(tmp_path / "trace.jsonl", SLOW_VISITS, 500.0, 0.0)
    profile = tmp_path / "limits.toml"
    profile.write_text("[limits]\nmax_open_visits = 24\n")
    with oracle("--delay-ms", "2000..2000") as server:
        options = ("--workers", "2", "--profile", str(profile))
        command = start_run(trace, server.url, *options, scratch=tmp_path)
        try:
            memory = watch(command, workers=2, every_s=1.0, limit_s=240)
            finished = command.wait(240)
        finally:
            command.kill()
        log = server.log()
    summary = finished.summary
    assert_ledger(summary)
    assert_settled_once_or_lost(summary, finished.out, log, SLOW_VISITS)
    visits = summary["visits"]
    assert (visits["lost"], visits["undealt"], visits["censored"]) == (0, 0, 0)
    # Two calls of 2 s a visit: 24 open ones make 6 a second.
    assert visits["completed"] < SLOW_VISITS / 500 * 6 + 2 * 24
    # The oracle sees calls, of which an open visit has one at a time here.
    assert log.peak_open() <= 24
    held = summary["generator"]["held"]["max_open_visits"]
    assert held >= visits["dropped"]
    failed = failed_checks(summary)
    assert finished.exit_code == INVALID
    assert "limits.max_open_visits held back" in failed["dropped"]
    assert f"Held back by the profile's limits: max_open_visits {held:,}." in " ".join(finished.stdout.split())
    figures = {"visits": visits, "held_back": held, "peak_open_by_the_target": log.peak_open(), **memory.figures()}
    promise = test_a_slow_target_under_a_ceiling_costs_drops_and_no_memory.__doc__ or ""
    store("fleet-slow-target", promise, figures, seeds=[1])
    memory.check(master_mb=150, worker_mb=150, growth_mb=10.0)


@pytest.mark.parametrize(("tolerated", "failing"), [(0, {"workers_lost"}), (1, set())])
def test_a_lost_worker_is_stated_and_tolerated_as_told(tmp_path: Path, tolerated: int, failing: set[str]) -> None:
    """SIGKILL of one of three: INVALID naming it; with one tolerated that check holds, and the loss is stated."""
    trace = chained_trace(tmp_path / "trace.jsonl", 500, 25.0)
    options = ("--tolerate-worker-loss", str(tolerated))
    with oracle() as server:
        with running(trace, server.url, *options, scratch=tmp_path, workers=3, expect=3) as fleet:
            wait_until(lambda: begun_second(fleet.out) >= 1, 60, "two seconds of the run")
            os.kill(fleet.local_workers()[1], signal.SIGKILL)
            finished = fleet.command.wait(120)
        log = server.log()
    summary = finished.summary
    assert_ledger(summary)
    assert_settled_once_or_lost(summary, finished.out, log, 500)
    assert set(failed_checks(summary)) - TIMING == failing, finished.explain()
    lost = len(lost_visits(finished.out))
    assert lost > 0
    assert f"Workers lost: 1, and with them {lost} visits" in finished.stdout
    clean = not set(failed_checks(summary))
    assert finished.exit_code == (PASS if clean else INVALID)


def test_two_workers_play_several_accounts_in_clones_and_rounds(tmp_path: Path) -> None:
    """Accounts by the trace's names, two clones, two rounds: every call asks for its own visit's account."""
    trace = tmp_path / "trace.jsonl"
    lines = [json.dumps({"harness_trace": 1, "source": "system test", "anonymized": True})]
    for n in range(40):
        account = {"account": ("shop", "bank")[n % 2]} if n % 4 else {}
        steps = [get_engagement(identity="fresh"), get_engagement(0.1)]
        lines.append(json.dumps({"visit": f"v-{n}", "visitor": f"p{n}", "at": n / 20, **account, "steps": steps}))
    trace.write_text("\n".join(lines) + "\n")
    profile = tmp_path / "accounts.toml"
    profile.write_text('[target]\naccount = {shop = "11111111", bank = "22222222"}\n')
    with peer({"v": answer(reply())}) as seen:
        options = ("--profile", str(profile), "--workers", "2", "--amplify", "2", "--loop", "2")
        command = start_run(trace, f"http://127.0.0.1:{seen.port}", *options, scratch=tmp_path)
        try:
            finished = command.wait(90)
        finally:
            command.kill()
    assert_ledger(finished.summary)
    assert finished.summary["visits"]["completed"] == 160, finished.explain()
    asked: Counter[tuple[str, str]] = Counter()
    for head in seen.heads:
        found = re.search(rb"POST /api/account/(\d+)/.*X-Harness-Attempt: v-(\d+)(\S*?)/", head, re.DOTALL | re.I)
        if found is not None:
            number = int(found[2])
            expected = ("11111111", "22222222")[number % 2] if number % 4 else ACCOUNT
            assert found[1].decode() == expected, head
            asked[f"v-{number}", found[3].decode()] += 1
    assert Counter(suffix for _, suffix in asked) == {"": 40, "~1": 40, "@1": 40, "~1@1": 40}
    assert set(asked.values()) == {2}
