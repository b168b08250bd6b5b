"""The queue and the service times against independent models."""

from __future__ import annotations

import math
import random
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.sim.queue import SlotQueue, service_time, thaw_ns
from harness.sim.scenario import Freeze, Ns, Service

CALLS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 80)), max_size=60)


def served_by_clerks(calls: list[tuple[int, int]], slots: int) -> list[int]:
    """An oracle without a heap: each call in turn takes the clerk that is free first."""
    clerks, now, done = [0] * slots, 0, []
    for gap, work in calls:
        now += gap
        free = clerks.index(min(clerks))
        clerks[free] = max(now, clerks[free]) + work
        done.append(clerks[free])
    return done


@given(CALLS, st.integers(1, 5))
def test_replies_leave_as_from_clerks_serving_in_order_of_arrival(calls: list[tuple[int, int]], slots: int) -> None:
    """N slots answer exactly when N clerks with one queue would."""
    queue, now, done = SlotQueue(slots, None, ()), 0, []
    for gap, work in calls:
        now += gap
        done.append(queue.admit(now, work))
    assert done == served_by_clerks(calls, slots)


def test_without_slots_every_call_is_served_at_once() -> None:
    """No slots means no waiting, however many calls come."""
    queue = SlotQueue(None, None, ())
    assert [queue.admit(at, 7) for at in (0, 0, 0, 5)] == [7, 7, 7, 12]


def test_a_full_queue_refuses_until_a_waiting_call_starts() -> None:
    """`max_waiting` bounds those that wait, not those in service."""
    queue = SlotQueue(1, 2, ())
    assert [queue.admit(at, 10) for at in (0, 0, 0, 0, 9, 10, 10)] == [10, 20, 30, None, None, 40, None]


def test_replies_due_in_a_freeze_leave_at_the_thaw() -> None:
    """Inside [at, at+lasts) nothing is answered, before and after it nothing is held."""
    freezes = (Freeze(at_ns=Ns(100), lasts_ns=Ns(50)),)
    assert [thaw_ns(freezes, at) for at in (99, 100, 149, 150)] == [99, 150, 150, 150]


def test_freezes_come_again_and_join_when_they_touch() -> None:
    """`every` repeats a freeze; one that ends inside another ends with it."""
    freezes = (Freeze(at_ns=Ns(100), lasts_ns=Ns(10), every_ns=Ns(50)), Freeze(at_ns=Ns(110), lasts_ns=Ns(5)))
    assert [thaw_ns(freezes, at) for at in (100, 120, 155, 209, 210)] == [115, 120, 160, 210, 210]


def test_a_frozen_slot_is_busy_until_the_thaw() -> None:
    """After the thaw a queue works off its backlog one by one."""
    queue = SlotQueue(1, None, (Freeze(at_ns=Ns(100), lasts_ns=Ns(50)),))
    assert [queue.admit(at, 10) for at in (95, 96, 97)] == [150, 160, 170]


@pytest.mark.parametrize("distribution", ["constant", "exponential", "lognormal"])
def test_service_times_have_the_mean_and_spread_that_they_are_given(distribution: str) -> None:
    """Mean and coefficient of variation of 40,000 draws are those of the closed form, within 2 %."""
    draw = service_time(Service(distribution=distribution, mean_ns=Ns(1_000_000), cv=0.5))  # type: ignore[arg-type]
    rng = random.Random(7)
    times = [draw(rng.random()) for _ in range(40_000)]
    spread = {"constant": 0.0, "exponential": 1.0, "lognormal": 0.5}[distribution]
    assert math.isclose(fmean(times), 1_000_000, rel_tol=0.02)
    assert math.isclose(pstdev(times) / 1_000_000, spread, rel_tol=0.03)


@pytest.mark.parametrize("distribution", ["constant", "exponential", "lognormal"])
@pytest.mark.parametrize("u", [0.0, 1.0 - 2.0**-53])
def test_service_times_exist_at_the_ends_of_the_draw(distribution: str, u: float) -> None:
    """Every draw from [0, 1) gives a time of 0 or more."""
    assert service_time(Service(distribution=distribution))(u) >= 0  # type: ignore[arg-type]
