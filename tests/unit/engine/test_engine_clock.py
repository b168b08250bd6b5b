"""The alarm on a loop that exists only in the test: with a timerfd behind it and without one."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import Any

import pytest

from harness.engine import clock
from harness.engine.clock import Alarm
from harness.units import NS_PER_S


class Watcher:
    """A watcher that fires when told."""

    def __init__(self, after_s: float | None = None) -> None:
        self.after_s = after_s
        self.fire: Callable[[], None] | None = None
        self.closed = False

    def start(self, callback: Callable[[], None]) -> None:
        self.fire = callback

    def stop(self) -> None:
        self.fire = None

    def close(self) -> None:
        self.closed = True


class Loop:
    """Hands out watchers."""

    def __init__(self) -> None:
        self.watchers: list[Watcher] = []

    def io(self, _fd: int, _events: int) -> Watcher:
        self.watchers.append(Watcher())
        return self.watchers[-1]

    def timer(self, after_s: float) -> Watcher:
        self.watchers.append(Watcher(after_s))
        return self.watchers[-1]


@pytest.fixture
def timerfd(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """An eventless stand-in for timerfd: what it was set to, as (seconds, nanoseconds); reading it says "not yet"."""
    settings: list[tuple[int, int]] = []

    def settime(_fd: int, flags: int, spec: Any, _old: None) -> int:
        value = spec._obj.it_value
        assert flags == 1, "absolute"
        settings.append((value.tv_sec, value.tv_nsec))
        return 0

    monkeypatch.setattr(clock, "_create", lambda _clock, _flags: os.open(os.devnull, os.O_RDONLY))
    monkeypatch.setattr(clock, "_settime", settime)
    return settings


def test_the_timerfd_is_set_to_absolute_moments(timerfd: list[tuple[int, int]]) -> None:
    """Seconds and nanoseconds add up to the moment; the past becomes 1 ns, as 0 would disarm; the same is set once."""
    loop = Loop()
    alarm = Alarm(loop, lambda: None)
    for moment_ns in (5 * NS_PER_S + 7, 5 * NS_PER_S + 7, 0, -5):
        alarm.set(moment_ns)
    assert alarm.exact
    assert timerfd == [(5, 7), (0, 1), (0, 1)]
    alarm.close()


def test_ringing_clears_the_moment_and_allows_the_same_again(timerfd: list[tuple[int, int]]) -> None:
    """One ring a setting; within the callback the next moment, even an equal one, can be set."""
    loop = Loop()
    rung: list[int | None] = []
    alarm = Alarm(loop, lambda: (rung.append(alarm.moment_ns), alarm.set(9))[0])
    alarm.set(9)
    for _ in range(2):
        assert loop.watchers[0].fire is not None
        loop.watchers[0].fire()
    assert rung == [None, None]
    assert alarm.moment_ns == 9
    assert timerfd == [(0, 9)] * 3
    alarm.close()


def test_a_ring_that_was_overtaken_by_a_new_setting_is_ignored(timerfd: list[tuple[int, int]]) -> None:
    """The descriptor was readable, but has been set anew since: the callback waits for the new moment."""
    loop = Loop()
    alarm = Alarm(loop, lambda: pytest.fail("rang"))
    later_ns = clock.monotonic_ns() + 60 * NS_PER_S
    alarm.set(9)
    alarm.set(later_ns)
    assert loop.watchers[0].fire is not None
    loop.watchers[0].fire()
    assert alarm.moment_ns == later_ns
    alarm.close()


@pytest.mark.parametrize("next_ns", [None, 60 * NS_PER_S])
def test_what_rang_is_silent_until_its_next_moment(next_ns: int | None) -> None:
    """A real timerfd is readable no more after its ring, whether the callback set another moment or none."""
    loop = Loop()
    descriptor = -1
    rung: list[int] = []

    def ring() -> None:
        rung.append(1)
        if next_ns is not None:
            alarm.set(clock.monotonic_ns() + next_ns)

    def create(which: int, flags: int) -> int:
        nonlocal descriptor
        descriptor = clock._libc.timerfd_create(which, flags)
        return descriptor

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "_create", create)
        alarm = Alarm(loop, ring)
    alarm.set(1)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    assert poll.poll(10_000) == [(descriptor, select.POLLIN)]
    assert loop.watchers[0].fire is not None
    loop.watchers[0].fire()
    assert poll.poll(0) == []
    assert rung == [1]
    alarm.close()


def test_closing_twice_releases_the_descriptor_once(timerfd: list[tuple[int, int]]) -> None:
    """After `close` the watcher is gone and the descriptor invalid; a second `close` does nothing."""
    loop = Loop()
    alarm = Alarm(loop, lambda: None)
    alarm.close()
    alarm.close()
    assert loop.watchers[0].closed
    assert loop.watchers[0].fire is None


def test_without_a_timerfd_a_loop_timer_serves_and_is_never_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timer gets the remaining time; one that fires early is set again for the rest."""
    now_ns = 100 * NS_PER_S
    monkeypatch.setattr(clock, "_create", None)
    monkeypatch.setattr(clock, "monotonic_ns", lambda: now_ns)
    loop = Loop()
    rung: list[int] = []
    alarm = Alarm(loop, lambda: rung.append(now_ns))
    alarm.set(now_ns + 2 * NS_PER_S)
    now_ns += NS_PER_S
    assert loop.watchers[0].fire is not None
    loop.watchers[0].fire()
    now_ns += NS_PER_S
    assert loop.watchers[1].fire is not None
    loop.watchers[1].fire()
    alarm.close()
    assert not alarm.exact
    assert [watcher.after_s for watcher in loop.watchers] == [2.0, 1.0]
    assert rung == [102 * NS_PER_S]
    assert all(watcher.closed for watcher in loop.watchers)
