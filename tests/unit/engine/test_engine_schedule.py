"""The engine's schedule in virtual time: on time, late, dropped, fenced, cut, drained, and in a closed loop."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.engine.engine import FENCE_NS, TICK_NS
from harness.units import NS_PER_MS, NS_PER_S
from harness.visitor.records import VisitEnd
from harness.visitor.retry import RetryPolicy
from tests.unit.engine.engine_world import T0_NS, World, arrival, line

RETRY = RetryPolicy(name="again", retry_on=frozenset({"timeout", "connect_error"}), first_ms=50.0, max_retries=2)


def started(world: World) -> World:
    """A world whose run begins now."""
    world.engine.start(T0_NS)
    return world


def test_visits_leave_exactly_when_they_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request leaves at its planned moment; the records say so, to the nanosecond."""
    world = started(World(monkeypatch))
    dues = [0, 1, 7 * NS_PER_MS, 7 * NS_PER_MS, 900 * NS_PER_MS]
    world.engine.add([arrival(ticket, due) for ticket, due in enumerate(dues)])
    world.run(NS_PER_S)
    assert [moment - T0_NS for _, moment in world.sent] == dues
    attempts = world.fold().all_attempts
    assert [(a.planned_ns, a.started_ns, a.done_ns - a.sent_ns) for a in attempts] == [(d, d, NS_PER_MS) for d in dues]
    assert world.ends == [(ticket, VisitEnd.completed) for ticket in range(len(dues))]


def test_later_steps_are_due_a_think_time_after_the_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    """Think times run from the moment the previous step was settled, on the same connection in browser mode."""
    world = started(World(monkeypatch))
    world.service_ns = 3 * NS_PER_MS
    world.engine.add([arrival(0, 10 * NS_PER_MS, (0.0, 0.1, 0.25))])
    world.run(NS_PER_S)
    assert world.sent_ms() == [10, 113, 366]
    assert len(world.connections) == 1
    counts = world.engine.take_connection_counts()
    assert (counts["opened"], counts["reused"]) == (1, 2)


def test_visits_that_come_before_the_start_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease may arrive before GO: nothing is begun, dropped or fenced until the run's start is known."""
    world = World(monkeypatch)
    world.engine.hear(world.now_ns)
    world.engine.add([arrival(0, 5 * NS_PER_MS)])
    world.run(NS_PER_S)
    assert (world.sent, world.ends, world.engine.fenced) == ([], [], False)
    world.engine.start(world.now_ns)
    world.run(2 * NS_PER_S)
    assert world.sent_ms() == [1_005]


def test_visits_dealt_again_take_their_place_in_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second batch that is due earlier than the first is played first."""
    world = started(World(monkeypatch))
    world.engine.add([arrival(0, 50 * NS_PER_MS), arrival(1, 60 * NS_PER_MS)])
    world.engine.add([arrival(2, 20 * NS_PER_MS), arrival(3, 55 * NS_PER_MS)])
    world.run(NS_PER_S)
    assert [name for name, _ in world.sent] == ["v2", "v0", "v3", "v1"]


def test_after_a_stall_visits_leave_at_twice_the_planned_rate_until_they_have_caught_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """100/s and a stall of 500 ms: the first at once, then one each 5 ms, and on time again from 1,000 ms on."""
    world = started(World(monkeypatch))
    world.engine.add([arrival(n, n * 10 * NS_PER_MS) for n in range(200)])
    world.run(99 * NS_PER_MS)
    world.stall(500 * NS_PER_MS)
    world.run(2 * NS_PER_S)
    before = [10 * n for n in range(10)]
    catching_up = [599 + 5 * n for n in range(100)]
    caught_up = [max(late, 10 * n) for late, n in zip(catching_up, range(10, 110), strict=True)]
    # The last bit of lag, below a millisecond, is jitter and not paced.
    assert world.sent_ms()[:110] == pytest.approx(before + caught_up, abs=1)
    assert world.sent_ms()[110:] == [10 * n for n in range(110, 200)]


@settings(max_examples=60, deadline=None)
@given(
    gaps_ms=st.lists(st.integers(0, 40), min_size=2, max_size=80),
    stalls=st.lists(st.tuples(st.integers(0, 1_500), st.integers(1, 900)), max_size=4),
)
def test_late_visits_never_leave_faster_than_twice_their_planned_rate(
    gaps_ms: list[int], stalls: list[tuple[int, int]]
) -> None:
    """For any plan and any stalls: in order, never early, none lost; and paced by half the planned gap when late."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        world = started(World(monkeypatch))
        dues = [sum(gaps_ms[: n + 1]) * NS_PER_MS for n in range(len(gaps_ms))]
        world.engine.add([arrival(ticket, due) for ticket, due in enumerate(dues)])
        for at_ms, for_ms in sorted(stalls):
            world.run(max(at_ms * NS_PER_MS, world.now_ns - T0_NS))
            world.stall(for_ms * NS_PER_MS)
        world.run(20 * NS_PER_S)
        # A connect takes no time here, so begun and sent are the same moment.
        begun = {int(name[1:]): moment - T0_NS for name, moment in world.sent}
    dropped = {ticket for ticket, end in world.ends if end is VisitEnd.dropped}
    assert set(begun) | dropped == set(range(len(dues)))
    assert not set(begun) & dropped
    order = sorted(begun)
    assert [begun[n] for n in order] == sorted(begun.values())
    assert all(dues[n] <= begun[n] <= dues[n] + NS_PER_S for n in order)
    for previous, n in pairwise(order):
        if n == previous + 1 and begun[previous] - dues[previous] >= NS_PER_MS:
            assert begun[n] - begun[previous] >= (dues[n] - dues[previous]) // 2


def test_visits_later_than_max_lag_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stall of 2 s at 100/s with 1 s of patience: the first hundred due in it are dropped, each with its records."""
    world = started(World(monkeypatch, max_lag_ns=NS_PER_S))
    world.engine.add([arrival(n, n * 10 * NS_PER_MS, (0.0, 1.0)) for n in range(300)])
    world.run(999 * NS_PER_MS)
    world.stall(2 * NS_PER_S)
    world.run(60 * NS_PER_S)
    dropped = [ticket for ticket, end in world.ends if end is VisitEnd.dropped]
    assert dropped == list(range(100, 200))
    records = world.fold()
    assert [(v.visit, v.end) for v in records.all_visits if v.end is VisitEnd.dropped] == [
        (f"v{n}", VisitEnd.dropped) for n in dropped
    ]
    assert sum(step.outcome.name == "dropped" for step in records.all_steps) == 200
    assert len(records.started) == 200
    assert sum(end is VisitEnd.completed for _, end in world.ends) == 200


def test_a_worker_whose_master_is_silent_starts_nothing_after_the_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    """3 s after the last word: no arrival and no further step; what is in flight is still read."""
    world = started(World(monkeypatch))
    world.engine.add([arrival(n, n * 100 * NS_PER_MS, (0.0, 0.35)) for n in range(60)])
    world.run(10 * NS_PER_S, heard=False)
    assert world.engine.fenced
    assert max(world.sent_ms()) <= FENCE_NS / NS_PER_MS
    assert max(world.sent_ms()) >= FENCE_NS / NS_PER_MS - 100
    assert world.engine.queued > 0


def test_revoked_visits_are_those_that_have_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """`revoke` gives back the tickets of the queue and leaves open visits alone."""
    world = started(World(monkeypatch))
    world.engine.add([arrival(n, n * 10 * NS_PER_MS, (0.0, 0.5)) for n in range(10)])
    world.run(45 * NS_PER_MS)
    assert world.engine.revoke() == [5, 6, 7, 8, 9]
    assert (world.engine.queued, world.engine.open_visits) == (0, 5)
    world.run(NS_PER_S)
    assert world.ends == [(n, VisitEnd.completed) for n in range(5)]


def test_the_cut_censors_what_is_open_whatever_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flying, thinking, backing off, waiting for its first step: each visit is censored once, its connection closed."""
    world = started(World(monkeypatch, retry=RETRY, timeout_ns=300 * NS_PER_MS))
    world.engine.add([arrival(0, 0, (0.0, 60.0)), arrival(1, NS_PER_MS, (60.0,)), arrival(2, 500 * NS_PER_MS)])
    world.run(400 * NS_PER_MS)
    world.service_ns = None
    world.engine.add([arrival(3, 600 * NS_PER_MS)])
    world.run(650 * NS_PER_MS)
    assert world.engine.open_visits == 4
    world.engine.cut()
    assert sorted(world.ends) == [(n, VisitEnd.censored) for n in range(4)]
    assert world.engine.open_visits == 0
    assert all(connection.closed for connection in world.connections)
    outcomes = [(step.visit, step.step, step.outcome.name) for step in world.fold().all_steps]
    assert sorted(outcomes) == [
        ("v0", 0, "not_available"),
        ("v0", 1, "censored"),
        ("v1", 0, "censored"),
        ("v2", 0, "censored"),
        ("v3", 0, "censored"),
    ]
    world.run(60 * NS_PER_S)
    assert len(world.ends) == 4


def test_requests_without_a_reply_time_out_and_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timeout ends its attempt within the sweep's grain, the retry runs from there on a new connection."""
    world = started(World(monkeypatch, retry=RETRY, timeout_ns=200 * NS_PER_MS))
    world.service_ns = None
    world.engine.add([arrival(0, 0)])
    world.run(10 * NS_PER_S)
    attempts = world.fold().all_attempts
    assert [(a.number, a.result.name) for a in attempts] == [(1, "timeout"), (2, "timeout"), (3, "timeout")]
    for attempt in attempts:
        assert 200 * NS_PER_MS <= attempt.done_ns - attempt.started_ns <= 300 * NS_PER_MS + 2 * TICK_NS
    assert [b.planned_ns - a.done_ns for a, b in pairwise(attempts)] == [50 * NS_PER_MS] * 2
    assert len(world.connections) == 3
    assert world.ends == [(0, VisitEnd.completed)]


def test_a_connect_that_takes_too_long_is_given_up_at_the_connect_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shorter of the two timeouts holds while connecting, and the attempt was never connected or sent."""
    for connect_ms, timeout_ms in ((300, 9_000), (9_000, 300)):
        config = {"connect_timeout_ns": connect_ms * NS_PER_MS, "timeout_ns": timeout_ms * NS_PER_MS}
        world = started(World(monkeypatch, **config))
        world.connect = "hang"
        world.engine.add([arrival(0, 0)])
        world.run(10 * NS_PER_S)
        (attempt,) = world.fold().all_attempts
        assert (attempt.result.name, attempt.connected_ns, attempt.sent_ns) == ("connect_error", -1, -1)
        assert 300 * NS_PER_MS <= attempt.done_ns <= 400 * NS_PER_MS + 2 * TICK_NS


def test_a_closed_loop_keeps_its_slots_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    """4 slots, 2 ms a visit: always 4 open until the queue is empty, each begun when another ends, lag 0."""
    world = started(World(monkeypatch, slots=4))
    world.service_ns = 2 * NS_PER_MS
    world.engine.add([arrival(n, -1) for n in range(20)])
    world.run(NS_PER_S)
    assert world.sent_ms() == [2 * (n // 4) for n in range(20)]
    assert all(a.planned_ns == a.started_ns for a in world.fold().all_attempts)
    world.engine.add([arrival(20, -1)])
    world.run(2 * NS_PER_S)
    assert world.sent_ms()[-1] == 1_000
    assert len(world.ends) == 21


def test_the_tick_measures_the_loop_and_closes_each_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delays are 0 on a free loop; a stall of 130 ms shows in full; seconds are closed once, in order."""
    world = started(World(monkeypatch))
    world.run(1_500 * NS_PER_MS)
    assert set(world.recorder.delays) == {0}
    assert len(world.recorder.delays) == 75
    world.stall(130 * NS_PER_MS)
    world.run(3_500 * NS_PER_MS)
    assert max(world.recorder.stalls) == 110 * NS_PER_MS
    assert world.seconds == [0, 1, 2]


def test_our_own_errors_end_the_run_instead_of_vanishing_in_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that cannot be decoded in a callback is told once through `on_crash`, and nothing more is begun."""
    world = started(World(monkeypatch))
    broken = arrival(0, 0)
    broken.line = b"{"
    world.engine.add([broken, arrival(1, NS_PER_MS)])
    world.run(NS_PER_S)
    assert len(world.crashes) == 1
    assert world.sent == []


def test_a_closed_engine_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """After `close` no alarm is set any more, whatever is added; closing again does nothing."""
    world = started(World(monkeypatch))
    world.engine.close()
    world.engine.close()
    world.engine.add([arrival(0, 0)])
    world.run(NS_PER_S)
    assert [alarm.moment_ns for alarm in world.alarms] == [None, None]
    assert world.sent == []


def test_a_visit_suffix_makes_another_visitor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Amplified visits share a line and differ by their suffix."""
    world = started(World(monkeypatch))
    copies = [arrival(0, 0), arrival(1, 0)]
    for copy, suffix in zip(copies, ("", "~1"), strict=True):
        copy.line, copy.suffix = line("same"), suffix
    world.engine.add(copies)
    world.run(NS_PER_S)
    assert [name for name, _ in world.sent] == ["same", "same~1"]
