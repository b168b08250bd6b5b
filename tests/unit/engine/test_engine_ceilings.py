"""Guard-rails of one worker: windows and what may begin when."""

from __future__ import annotations

from random import Random

import pytest

from harness.engine.ceilings import Ceilings, Share, Window
from harness.units import NS_PER_MS, NS_PER_S
from harness.visitor.records import VisitEnd
from harness.visitor.retry import RetryPolicy
from tests.unit.engine.engine_world import T0_NS, World, arrival


def begins(window: Window, wanted_ns: list[int]) -> list[int]:
    """When events that are wanted at these moments happen, each as soon as the window allows, in order."""
    happened: list[int] = []
    for wanted in wanted_ns:
        moment = max(wanted, window.free_ns(), happened[-1] if happened else 0)
        window.note(moment)
        happened.append(moment)
    return happened


def busiest(moments: list[int], stretch_ns: int) -> int:
    """The most events in any half-open stretch: counted by trying every event as its first."""
    return max(sum(first <= moment < first + stretch_ns for moment in moments) for first in moments)


@pytest.mark.parametrize("most", [1, 2, 5.7, 40])
def test_no_stretch_has_more_than_is_allowed(most: float) -> None:
    """Whatever is wanted, however it bunches: any second has at most so many, and no room is wasted."""
    rng = Random(str(most))
    wanted = sorted(int(rng.random() ** 2 * 20 * NS_PER_S) for _ in range(300))
    happened = begins(Window(most, NS_PER_S), wanted)
    assert busiest(happened, NS_PER_S) == int(most)
    for index, (moment, due) in enumerate(zip(happened, wanted, strict=True)):
        # Held back only by a window that was full: so many events less than a stretch before.
        full = index >= int(most) and moment == happened[index - int(most)] + NS_PER_S
        assert moment == due or full or moment == happened[index - 1]


def test_below_one_in_a_stretch_there_is_one_in_a_longer_one() -> None:
    """A quarter of an event a second is one in four seconds."""
    assert begins(Window(0.25, NS_PER_S), [0, 0, 0]) == [0, 4 * NS_PER_S, 8 * NS_PER_S]


def test_another_size_counts_what_has_happened() -> None:
    """Shrunk, the window holds what is too much already; grown, it gives no more than the difference."""
    window = Window(4, NS_PER_S)
    assert begins(window, [0, 10, 20, 30]) == [0, 10, 20, 30]
    window.resize(2)
    assert window.free_ns() == 20 + NS_PER_S
    window.note(20 + NS_PER_S)
    window.resize(4)
    assert begins(window, [20 + NS_PER_S] * 3) == [20 + NS_PER_S, 20 + NS_PER_S, 30 + NS_PER_S]


def test_a_window_that_shrinks_and_grows_again_forgets_nothing() -> None:
    """A late worker was promised half and never came: what was begun before still counts when the room is back."""
    window = Window(4, NS_PER_S)
    happened = begins(window, [0, 10, 20, 30])
    window.resize(2)
    window.resize(4)
    happened += begins(window, [40, 50, 60, 70, 80])
    assert happened[4:] == [NS_PER_S, 10 + NS_PER_S, 20 + NS_PER_S, 30 + NS_PER_S, 2 * NS_PER_S]
    assert busiest(happened, NS_PER_S) == 4


def test_ceilings_say_when_a_visit_may_begin_and_what_held_it() -> None:
    """The strictest limit decides, open visits first; without any limit nothing is held."""
    ceilings = Ceilings()
    ceilings.take(Share())
    assert (ceilings.any, ceilings.arrival_ns(1_000_000), ceilings.holding(0, 1_000_000)) == (False, -1, None)
    ceilings.take(Share(None, 1, 3, 60))
    assert ceilings.visits is not None and ceilings.sessions is not None
    ceilings.visits.note(5)
    assert ceilings.arrival_ns(2) == 5 + NS_PER_S
    assert ceilings.arrival_ns(3) is None
    assert [ceilings.holding(due, 2) for due in (4, 5 + NS_PER_S)] == ["max_visits_per_s", None]
    assert ceilings.holding(5 + NS_PER_S, 3) == "max_open_visits"
    for moment in range(60):
        ceilings.sessions.note(moment)
    assert ceilings.arrival_ns(0) == 60 * NS_PER_S
    assert ceilings.holding(5 + NS_PER_S, 0) == "max_new_sessions_per_min"
    ceilings.take(Share())
    assert not ceilings.any


def limited(world: World, share: Share) -> World:
    """A world whose run begins now, under these guard-rails."""
    world.engine.take_share(share)
    world.engine.start(T0_NS)
    return world


def test_visits_beyond_the_rate_wait_and_are_dropped_when_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight at once under 2/s and a second's patience: two now, two a second later, four dropped just after that."""
    world = limited(World(monkeypatch), Share(visits_per_s=2))
    world.engine.add([arrival(ticket, 100 * NS_PER_MS) for ticket in range(8)])
    world.run(4 * NS_PER_S)
    assert world.sent_ms() == [100, 100, 1_100, 1_100]
    assert [end for _, end in world.ends] == [VisitEnd.completed] * 4 + [VisitEnd.dropped] * 4
    assert world.recorder.all_held == ["max_visits_per_s"] * 6
    assert world.engine.queued == 0


def test_no_more_visits_are_open_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow target under a ceiling of 3: never a fourth open; those that waited too long are dropped, and counted."""
    world = limited(World(monkeypatch), Share(open_visits=3))
    world.service_ns = 400 * NS_PER_MS
    world.engine.add([arrival(ticket, ticket * 10 * NS_PER_MS) for ticket in range(40)])
    peaks = []
    for step in range(1, 400):
        world.run(step * 10 * NS_PER_MS)
        peaks.append(world.engine.open_visits)
    assert max(peaks) == 3
    assert world.engine.queued == 0
    ends = [end for _, end in world.ends]
    # Three each 0.4 s, the last of them due 0.39 s after the start and begun within a second of that.
    assert (ends.count(VisitEnd.completed), ends.count(VisitEnd.dropped)) == (12, 28)
    assert world.recorder.all_held == ["max_open_visits"] * 37


def test_new_sessions_are_counted_by_request_and_chained_calls_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under 2 a minute: a third fresh visit is held, calls that carry a session id are not."""
    world = limited(World(monkeypatch, max_lag_ns=120 * NS_PER_S), Share(new_sessions_per_min=2))
    world.engine.add([arrival(ticket, ticket * NS_PER_S, (0.0, 0.1, 0.1)) for ticket in range(3)])
    world.run(90 * NS_PER_S)
    assert [(name, (moment - T0_NS) // NS_PER_S) for name, moment in world.sent] == [
        *[("v0", 0)] * 3, *[("v1", 1)] * 3, *[("v2", 60)] * 3,
    ]  # fmt: skip
    assert world.recorder.all_held == ["max_new_sessions_per_min"]


def test_retries_without_ids_are_new_sessions_and_wait_inside_the_visit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A visit whose first calls time out asks anew each time: the third within the minute is held, once, then sent."""
    again = RetryPolicy(name="again", retry_on=frozenset({"timeout"}), first_ms=10.0, max_retries=5)
    world = limited(World(monkeypatch, retry=again, timeout_ns=NS_PER_S), Share(new_sessions_per_min=2))
    world.service_ns = None
    world.engine.add([arrival(0, 0)])
    world.run(59 * NS_PER_S)
    assert len(world.sent) == 2
    world.service_ns = NS_PER_MS
    world.run(62 * NS_PER_S)
    assert [(moment - T0_NS) // NS_PER_S for _, moment in world.sent] == [0, 1, 60]
    assert world.recorder.all_held == ["max_new_sessions_per_min"]
    assert world.ends == [(0, VisitEnd.completed)]


def test_another_share_is_in_force_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raised, the ceiling lets go what waited; a closed loop opens as many slots as it has now."""
    world = limited(World(monkeypatch), Share(open_visits=1))
    world.service_ns = None
    world.engine.add([arrival(ticket, 0) for ticket in range(3)])
    world.run(500 * NS_PER_MS)
    assert world.engine.open_visits == 1
    world.engine.take_share(Share(open_visits=2))
    world.run(600 * NS_PER_MS)
    assert world.engine.open_visits == 2
    world.engine.take_share(Share())
    world.run(700 * NS_PER_MS)
    assert world.engine.open_visits == 3

    closed = limited(World(monkeypatch), Share(slots=2, visits_per_s=10))
    closed.service_ns = None
    closed.engine.add([arrival(ticket, -1) for ticket in range(9)])
    closed.run(100 * NS_PER_MS)
    assert closed.engine.open_visits == 2
    closed.engine.take_share(Share(slots=4, visits_per_s=10))
    closed.run(200 * NS_PER_MS)
    assert closed.engine.open_visits == 4


def test_what_is_due_soon_stays_when_the_rest_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """`revoke(after)`: tickets of what is due later, in order; the others are played."""
    world = limited(World(monkeypatch), Share())
    world.engine.add([arrival(ticket, ticket * NS_PER_S) for ticket in range(6)])
    assert world.engine.revoke(2 * NS_PER_S) == [3, 4, 5]
    world.run(9 * NS_PER_S)
    assert [ticket for ticket, _ in world.ends] == [0, 1, 2]
