"""Connections in their three modes and the bound on half-open ones, without a socket."""

from __future__ import annotations

import pytest

from harness.engine.lines import MAX_HALF_OPEN
from harness.units import NS_PER_MS, NS_PER_S
from harness.visitor.records import Result, VisitEnd
from tests.unit.engine.engine_world import FakeConnection, World, arrival
from tests.unit.engine.test_engine_schedule import started


def _flying(world: World) -> list[FakeConnection]:
    return [connection for connection in world.connections if connection.busy]


@pytest.mark.parametrize(("mode", "opened"), [("browser", 6), ("pooled", 2), ("fresh", 18)])
def test_each_mode_opens_as_many_connections_as_it_says(
    monkeypatch: pytest.MonkeyPatch, mode: str, opened: int
) -> None:
    """6 visits of 3 steps, at most 2 at a time: one connection a visit, one a simultaneous call, one a call."""
    world = started(World(monkeypatch, connections=mode))
    for n in range(6):
        world.engine.add([arrival(n, (n // 2) * 100 * NS_PER_MS, (0.0, 0.01, 0.01))])
    world.run(NS_PER_S)
    counts = world.engine.take_connection_counts()
    assert (len(world.connections), counts["opened"], counts["reused"]) == (opened, opened, 18 - opened)
    assert sum(not connection.closed for connection in world.connections) == (2 if mode == "pooled" else 0)
    assert world.ends == [(n, VisitEnd.completed) for n in range(6)]


def test_counts_are_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """`take_connection_counts` empties the counters."""
    world = started(World(monkeypatch))
    world.engine.add([arrival(0, 0, (0.0, 0.01))])
    world.run(NS_PER_S)
    assert sum(world.engine.take_connection_counts().values()) == 2
    assert sum(world.engine.take_connection_counts().values()) == 0


@pytest.mark.parametrize("mode", ["browser", "pooled"])
def test_a_connection_closed_while_idle_is_replaced_and_counted(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """The peer leaves between two steps: no attempt suffers, the next step opens another connection."""
    world = started(World(monkeypatch, connections=mode))
    world.engine.add([arrival(0, 0, (0.0, 0.1))])
    world.run(50 * NS_PER_MS)
    world.connections[0].drop_idle()
    world.run(NS_PER_S)
    counts = world.engine.take_connection_counts()
    assert (counts["opened"], counts["reused"], counts["closed_by_peer"]) == (2, 0, 1)
    assert world.results() == ["not_available", "not_available"]


def test_a_pooled_connection_that_failed_is_not_given_to_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a reset in flight the pool is empty: the next visit connects anew."""
    world = started(World(monkeypatch, connections="pooled"))
    world.service_ns = None
    world.engine.add([arrival(0, 0)])
    world.run(NS_PER_MS)
    world.connections[0].fail(Result.reset)
    world.service_ns = NS_PER_MS
    world.engine.add([arrival(1, 10 * NS_PER_MS)])
    world.run(NS_PER_S)
    assert len(world.connections) == 2
    assert world.results() == ["reset", "not_available"]


def test_at_most_256_connects_are_under_way_and_the_rest_wait_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """300 visits at once on a peer that accepts slowly: each place that comes free goes to the next in line."""
    world = started(World(monkeypatch))
    world.connect = "hang"
    world.engine.add([arrival(n, 0) for n in range(300)])
    world.run(NS_PER_MS)
    assert len(_flying(world)) == MAX_HALF_OPEN == 256
    world.run(100 * NS_PER_MS)
    for connection in world.connections[:3]:
        connection.connected()
    assert [connection.carried.name for connection in world.connections[256:]] == ["v256", "v257", "v258"]
    # Those that waited have started late: the wait is our lag.
    assert {connection.started_ns for connection in world.connections[256:]} == {world.now_ns}
    while waiting := [connection for connection in world.connections if connection.connecting]:
        assert len(waiting) <= MAX_HALF_OPEN
        for connection in waiting:
            connection.connected()
    world.run(NS_PER_S)
    lags = [a.started_ns - a.planned_ns for a in world.fold().all_attempts]
    assert sorted(lags) == [0] * 256 + [100 * NS_PER_MS] * 44
    assert len(world.ends) == 300


def test_connects_that_fail_at_once_give_their_places_on_without_recursion(monkeypatch: pytest.MonkeyPatch) -> None:
    """5,000 wait while every further connect fails inside the call that makes it: all are told so, a portion a tick."""
    world = started(World(monkeypatch, max_lag_ns=60 * NS_PER_S))
    world.connect = "hang"
    world.engine.add([arrival(n, 0) for n in range(5_256)])
    world.run(NS_PER_MS)
    assert len(world.connections) == 256
    world.connect = "fail"
    world.connections[0].connected()
    assert len(world.connections) <= 256 + 64
    world.run(9 * NS_PER_S)
    results = world.results()
    assert results.count("connect_error") == 5_000
    assert world.crashes == []


def test_a_cut_visit_that_waits_for_its_connect_never_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cut empties the line in front of the half-open bound too."""
    world = started(World(monkeypatch))
    world.connect = "hang"
    world.engine.add([arrival(n, 0) for n in range(300)])
    world.run(NS_PER_MS)
    world.engine.cut()
    world.connect = "ok"
    world.run(NS_PER_S)
    assert len(world.connections) == 256
    assert sorted(world.ends) == [(n, VisitEnd.censored) for n in range(300)]
    assert world.sent == []


@pytest.mark.parametrize(("think_s", "connections"), [(299.0, 1), (301.0, 2)])
@pytest.mark.parametrize("mode", ["browser", "pooled"])
def test_a_connection_idle_for_five_minutes_is_closed(
    monkeypatch: pytest.MonkeyPatch, mode: str, think_s: float, connections: int
) -> None:
    """Up to the limit a thinking visitor keeps the connection; beyond it the next call opens one, and nobody fails."""
    world = started(World(monkeypatch, connections=mode))
    world.engine.add([arrival(0, 0, (0.0, think_s))])
    world.run(320 * NS_PER_S)
    counts = world.engine.take_connection_counts()
    reused = 2 - connections
    assert (counts["opened"], counts["reused"], counts["closed_by_peer"]) == (connections, reused, 0)
    assert world.results() == ["not_available", "not_available"]
    left = sum(not connection.closed for connection in world.connections)
    assert left == (1 if mode == "pooled" else 0)


def test_idle_time_begins_with_the_reply_and_ends_with_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply that took six minutes leaves a fresh connection; calls every four minutes keep one for ever."""
    world = started(World(monkeypatch, timeout_ns=400 * NS_PER_S))
    world.service_ns = 360 * NS_PER_S
    world.engine.add([arrival(0, 0, (0.0, 240.0))])
    world.run(400 * NS_PER_S)
    world.service_ns = NS_PER_MS
    world.engine.add([arrival(1, 400 * NS_PER_S, (0.0, 240.0, 240.0))])
    world.run(1_000 * NS_PER_S)
    counts = world.engine.take_connection_counts()
    assert (counts["opened"], counts["reused"]) == (2, 3)


def test_of_a_pool_only_what_lies_idle_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two connections for two calls at once; later calls take the last used one, so the other one goes."""
    world = started(World(monkeypatch, connections="pooled"))
    world.engine.add([arrival(0, 0), arrival(1, 0)])
    world.engine.add([arrival(n, n * 100 * NS_PER_S) for n in range(2, 7)])
    world.run(650 * NS_PER_S)
    first, last = world.connections
    assert (first.closed, last.closed) == (True, False)
    assert len(world.results()) == 7
