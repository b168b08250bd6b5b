"""The guard-rails of one worker: how many visits and new sessions it may begin, and how many visits it may hold open.

The run's ceilings are divided among its workers, by the master; each keeps its own `Share`, so that together they stay
below the whole whatever they know of each other. A ceiling holds what comes too early back: nothing is sent faster
because of it, and what it makes too late is dropped and counted like everything that is late.
"""

from __future__ import annotations

from collections import deque

import msgspec

from harness.units import NS_PER_S

_MINUTE_NS = 60 * NS_PER_S


class Share(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one worker may do of what the run may; None means no limit (`slots`: an open loop).

    `slots` visits are kept open in a closed loop; at most `visits_per_s` begin in any second, `open_visits` are open,
    `new_sessions_per_min` are asked for in any minute.
    """

    slots: int | None = None
    visits_per_s: float | None = None
    open_visits: int | None = None
    new_sessions_per_min: float | None = None


class Window:
    """At most `most` events in any stretch of `stretch_ns`; below one event, one in a stretch as much longer.

    Begins are noted in ascending order of time. The last `most` of them are remembered, and those of the last
    `unit_ns`: a window that has shrunk may grow again while they count.
    """

    __slots__ = ("_count", "_moments", "_stretch_ns", "_unit_ns")

    def __init__(self, most: float, unit_ns: int) -> None:
        self._moments: deque[int] = deque()
        self._unit_ns = unit_ns
        self.resize(most)

    def resize(self, most: float) -> None:
        """Allows another number from now on; what has happened still counts."""
        self._count = max(1, int(most))
        self._stretch_ns = self._unit_ns if most >= 1 else round(self._unit_ns / most)

    def free_ns(self) -> int:
        """The first moment at which another event is allowed; a moment long past when there is room."""
        if len(self._moments) < self._count:
            return -(1 << 62)
        return self._moments[-self._count] + self._stretch_ns

    def note(self, now_ns: int) -> None:
        """An event happens now."""
        moments = self._moments
        moments.append(now_ns)
        while len(moments) > self._count and moments[0] <= now_ns - self._unit_ns:
            moments.popleft()


class Ceilings:
    """One worker's guard-rails in force; `visits`, `sessions` and `open_visits` are None where there is no limit."""

    __slots__ = ("open_visits", "room_ns", "sessions", "visits")

    def __init__(self) -> None:
        self.visits: Window | None = None
        self.sessions: Window | None = None
        self.open_visits: int | None = None
        # When there last was room for another open visit after there had been none.
        self.room_ns = -1

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return self.visits is not None or self.sessions is not None or self.open_visits is not None

    def take(self, share: Share) -> None:
        """Puts another share in force."""
        self.open_visits = share.open_visits
        self.visits = _resized(self.visits, share.visits_per_s, NS_PER_S)
        self.sessions = _resized(self.sessions, share.new_sessions_per_min, _MINUTE_NS)

    def arrival_ns(self, open_visits: int) -> int | None:
        """The first moment at which a visit may begin beside so many open ones; None: not before one of them ends."""
        if self.open_visits is not None and open_visits >= self.open_visits:
            return None
        free_ns = -1
        if self.visits is not None:
            free_ns = self.visits.free_ns()
        if self.sessions is not None:
            # A visit begins with a session, as a rule; begun without one to come, it would only wait half-way.
            free_ns = max(free_ns, self.sessions.free_ns())
        return free_ns

    def holding(self, due_ns: int, open_visits: int) -> str | None:
        """Which limit, if any, kept a visit that was due at `due_ns` from beginning then."""
        full = self.open_visits is not None and open_visits >= self.open_visits
        if full or (self.open_visits is not None and due_ns < self.room_ns):
            return "max_open_visits"
        if self.visits is not None and due_ns < self.visits.free_ns():
            return "max_visits_per_s"
        if self.sessions is not None and due_ns < self.sessions.free_ns():
            return "max_new_sessions_per_min"
        return None


def _resized(window: Window | None, most: float | None, unit_ns: int) -> Window | None:
    if most is None:
        return None
    if window is None:
        return Window(most, unit_ns)
    window.resize(most)
    return window
