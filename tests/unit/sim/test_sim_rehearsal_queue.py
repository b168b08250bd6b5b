"""Waiting in virtual time: exactly that of clerks who serve in order of arrival, and on average Erlang's."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapreplace

import pytest

from harness.config.model import RunConfig
from harness.plan.arrivals import parse_arrivals
from harness.plan.schedule import PlannedVisit
from harness.sim.behaviour import Behaviour
from harness.sim.rehearsal import rehearse
from harness.sim.scenario import Ns, Scenario, Service
from harness.units import NS_PER_MS, NS_PER_S
from harness.visitor.records import Attempt
from tests.unit.sim.test_sim_rehearsal import Kept

MEAN_NS = 40 * NS_PER_MS


def _visits(rate_hz: float, count: int) -> Iterator[PlannedVisit]:
    """Poisson arrivals of one call each."""
    for number, due_ns in zip(range(count), parse_arrivals(f"poisson:{rate_hz}/s").offsets_ns(5), strict=False):
        line = b'{"visit":"%d","visitor":"p%d","at":0,"steps":[{"op":"get_engagement"}]}' % (number, number)
        yield PlannedVisit(due_ns, str(number), f"p{number}", "", 1, line)


def _attempts(slots: int | None, rate_hz: float, count: int) -> list[Attempt]:
    """What a rehearsal with exponential service made of them, by visit."""
    scenario = Scenario(service=Service(distribution="exponential", mean_ns=Ns(MEAN_NS), slots=slots))
    kept = Kept()
    rehearse(_visits(rate_hz, count), Behaviour(scenario, 5), RunConfig(run_id="r", trace="", seed=5), kept)
    return sorted(kept.all_attempts, key=lambda attempt: int(attempt.visit))


@pytest.mark.parametrize(("slots", "load"), [(1, 0.5), (3, 0.9), (8, 0.85)])
def test_every_wait_is_that_of_a_first_come_first_served_queue(slots: int, load: float) -> None:
    """Kiefer and Wolfowitz's recursion over the same arrivals and services, to the nanosecond.

    The service time of a call is what it takes where nobody ever waits: draws belong to calls, not to moments.
    """
    rate_hz = slots * load / (MEAN_NS / NS_PER_S)
    alone, queued = _attempts(None, rate_hz, 3_000), _attempts(slots, rate_hz, 3_000)
    free_ns = [0] * slots
    expected = []
    for attempt in alone:
        start_ns = max(attempt.sent_ns, free_ns[0])
        done_ns = start_ns + attempt.done_ns - attempt.sent_ns
        heapreplace(free_ns, done_ns)
        expected.append(done_ns)
    assert [attempt.done_ns for attempt in queued] == expected
    assert sum(done > attempt.done_ns for done, attempt in zip(expected, alone, strict=True)) > 500


def test_the_mean_wait_comes_near_erlangs() -> None:
    """M/M/1 at half load waits one mean service; 20,000 visits are good for some per cent (the proof: 1 %)."""
    rate_hz = 0.5 / (MEAN_NS / NS_PER_S)
    alone, queued = _attempts(None, rate_hz, 20_000), _attempts(1, rate_hz, 20_000)
    waits = [after.done_ns - before.done_ns for before, after in zip(alone, queued, strict=True)]
    assert sum(waits) / len(waits) == pytest.approx(MEAN_NS, rel=0.08)
