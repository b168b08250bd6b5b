"""A target slower than the plan: what is kept of it is bounded, what cannot be begun is dropped by count.

Counted in visits, slices and messages, which are the same on any machine; tests/prove looks at real processes.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.config.model import Limits
from tests.unit.fleet.scripted_fleet import ScriptedFleet, evenly

RATE_HZ = 60
# What is dealt ahead, and a lease on its way.
AHEAD_S = 5.0 + 0.3
# How late a visit may begin, and a slice that tells of its end.
LAG_S = 1.0 + 1.2


@dataclass
class Held:
    """The most that was ever held at one moment."""

    dealt: int = 0
    lines: int = 0
    queued: int = 0
    seconds: int = 0
    unacknowledged: int = 0

    def look(self, fleet: ScriptedFleet) -> None:
        """Takes the present moment into account."""
        conductor = fleet.conductor
        hands = conductor.dealer._hands.values()
        self.dealt = max(self.dealt, conductor.dealer.open)
        visits = [visit for hand in hands for visit in (*hand.open.values(), *hand.backlog)]
        self.lines = max(self.lines, sum(bool(visit.line) for visit in visits))
        self.seconds = max(self.seconds, len(conductor._seconds))
        for process in fleet.processes.values():
            engine = process.engine
            self.queued = max(self.queued, engine.queued if engine is not None else 0)
            self.unacknowledged = max(self.unacknowledged, len(process.life._outbox._pending))


def play(fleet: ScriptedFleet) -> Held:
    """Plays to the end, looking at every tenth of a second."""
    held = Held()
    while not fleet.finished:
        assert fleet.now_s < 200, fleet.conductor.phase
        fleet.turns(0.1)
        held.look(fleet)
    fleet.check_books()
    return held


def test_a_slow_target_under_a_ceiling_costs_drops_by_count_and_holds_no_more_than_the_horizon() -> None:
    """2 s a visit, 24 open allowed, five times as many planned: never a 25th, the rest dropped, nothing piles up."""
    fleet = ScriptedFleet(evenly(1_500, RATE_HZ), workers=2, stay_s=2.0, limits=Limits(max_open_visits=24))
    held = play(fleet)
    totals = fleet.visits()
    assert fleet.peak_open == 24
    assert totals == totals | {"censored": 0, "lost": 0, "undealt": 0}
    assert totals["dropped"] == 1_500 - len(fleet.diary.begun)
    # 25 s of arrivals, 12 of which can begin in each second.
    assert 280 <= totals["completed"] <= 330
    assert held.dealt <= RATE_HZ * (AHEAD_S + LAG_S) + 24
    assert held.queued <= RATE_HZ * (AHEAD_S + LAG_S)
    assert held.seconds <= 2
    assert held.unacknowledged <= 2


def test_of_visits_that_hang_the_master_keeps_no_more_than_their_names() -> None:
    """Nothing ever ends and nothing limits it: open visits pile up at the target, the master's lines of them do not."""
    fleet = ScriptedFleet(evenly(1_500, RATE_HZ), workers=2, stay_s=1_000.0, drain_s=1.0)
    held = play(fleet)
    assert held.dealt == fleet.visits()["censored"] == 1_500
    # From five seconds before it is due to five seconds after, and as long as others of its lease: the first has five.
    assert held.lines <= RATE_HZ * (AHEAD_S + 5.0 + 5.0 + 0.5)
    assert held.queued <= RATE_HZ * AHEAD_S
