"""A target whose name begins to lead elsewhere while a run goes on: asked again off the loop, judged by the guard."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.harness_run import Summary, assert_ledger, get_engagement, write_trace
from tests.system.misbehaving import Seen, answer, peer, reply
from tests.system.plain_locust import Locust, journal_of, summary_of, write_locustfile, write_profile

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("fleet_parts")]

HONEST = (0, 5)
REFUSED = 6
NAME = "service.test"
MOVES_AFTER_S = 2.0
ANSWER_TAKES_S = 1.0

# DNS as a service that moves has it: first one address, some time after the first question others. Each answer takes a
# while, as real ones may.
MOVING = """
import socket, time

asked = socket.getaddrinfo
first = None

def moving(host, port, *args, **kwargs):
    global first
    if host != "{name}":
        return asked(host, port, *args, **kwargs)
    import gevent
    first = first or time.monotonic()
    gevent.get_hub().threadpool.apply(gevent.monkey.get_original("time", "sleep"), ({takes_s},))
    moved = time.monotonic() - first > {after}
    addresses = {later} if moved else ["127.0.0.1"]
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

socket.getaddrinfo = moving

from harness.fleet import renewal
renewal.EVERY_S = 0.2
"""


def play_moving(scratch: Path, later: list[str]) -> tuple[int, Locust, Summary, list[Seen]]:
    """Plays 150 one-call visits, 25 a second, while the name moves; the peers at 127.0.0.1 and 127.0.0.2 saw this."""
    trace = scratch / "trace.jsonl"
    write_trace(trace, ([get_engagement(identity="fresh")] for _ in range(150)), 25.0)
    moving = MOVING.format(name=NAME, after=MOVES_AFTER_S, takes_s=ANSWER_TAKES_S, later=later)
    tricky = write_locustfile(scratch, moving)
    with ExitStack() as stack:
        old = stack.enter_context(peer({"v": answer(reply())}))
        new = stack.enter_context(peer({"v": answer(reply())}, host="127.0.0.2", port=old.port))
        profile = write_profile(scratch, trace, f"http://{NAME}:{old.port}")
        args = ("--headless", "--only-summary", "--harness-config", str(profile))
        with Locust(*args, scratch=scratch, locustfile=tricky) as locust:
            code = locust.wait(40)
        # A refused answer must have stopped the load by now, not just the process.
        time.sleep(0.1)
        return code, locust, summary_of(scratch / "run"), [old, new]


def test_new_connections_follow_the_name(tmp_path: Path) -> None:
    """From the next answer on connections go to the new address; none fails, and asking costs the loop nothing."""
    code, locust, summary, (old, new) = play_moving(tmp_path, ["127.0.0.2"])
    assert code in HONEST, locust.explain()
    assert_ledger(summary)
    assert (summary["attempts"]["total"], summary["attempts"]["by_result"]["available"]) == (150, 150)
    places = {name: "old" for name, _, _ in old.calls} | {name: "new" for name, _, _ in new.calls}
    order = [places[f"v-{number:06d}"] for number in range(150)]
    moved = order.index("new")
    assert order == ["old"] * moved + ["new"] * (150 - moved)
    assert 0 < moved < 140
    # On the loop it would be a stall of the answer's length.
    assert summary["generator"]["loop_stall_max_ms"] < ANSWER_TAKES_S * 950


def test_an_answer_that_the_guard_refuses_ends_the_run(tmp_path: Path) -> None:
    """A name that begins to lead off this machine: exit 6, one line, and nothing goes there or anywhere any more."""
    code, locust, summary, (old, new) = play_moving(tmp_path, ["127.0.0.2", "192.0.2.7"])
    assert code == REFUSED, locust.explain()
    assert "Traceback" not in locust.stdout + locust.stderr
    said = [line for line in (locust.stdout + locust.stderr).splitlines() if "is not on this machine" in line]
    # The verdict's first line names the cause, the check tells it in full.
    assert len(said) == 2, locust.explain()
    assert said[0].startswith("FAIL  ")
    for line in said:
        assert NAME in line
        assert "192.0.2.7" in line
    assert_ledger(summary)
    assert summary["verdict"]["exit_code"] == REFUSED
    # Nothing measured is lost: the worker drains, and what it had not begun goes back.
    visits = summary["visits"]
    assert (visits["lost"], visits["planned"]) == (0, 150)
    assert visits["undealt"] > 0
    assert visits["completed"] + visits["censored"] == 150 - visits["undealt"]
    assert new.calls == []
    assert 0 < summary["attempts"]["total"] <= len(old.calls) < 140
    assert any(entry["event"] == "failed" for entry in journal_of(tmp_path / "run"))
