"""How much of something there is at once, and how much of it comes in a stretch of time: what a plan is sized by.

Both are fed in order of time and know their peak exactly. All times are integer ns.
"""

from __future__ import annotations

from collections import deque


class Level:
    """How many there are now, the most there ever were, and the time they have spent together."""

    __slots__ = ("_spent_ns", "most", "now")

    def __init__(self) -> None:
        self.now = 0
        self.most = 0
        self._spent_ns = 0

    def enter(self, now_ns: int) -> None:
        """One more from now on."""
        self._spent_ns -= now_ns
        self.now += 1
        if self.now > self.most:
            self.most = self.now

    def leave(self, now_ns: int) -> None:
        """One less from now on."""
        self._spent_ns += now_ns
        self.now -= 1

    def spent_ns(self, now_ns: int) -> int:
        """The time that all have spent until now, added up: over the time that passed it is the mean level."""
        return self._spent_ns + self.now * now_ns


class Burst:
    """The most events in any stretch of `stretch_ns`; remembers those of the last stretch only."""

    __slots__ = ("_moments", "_stretch_ns", "most", "total")

    def __init__(self, stretch_ns: int) -> None:
        self._moments: deque[int] = deque()
        self._stretch_ns = stretch_ns
        self.most = 0
        self.total = 0

    def note(self, now_ns: int) -> None:
        """An event happens now."""
        self.total += 1
        self._moments.append(now_ns)
        recent = self.recent(now_ns)
        if recent > self.most:
            self.most = recent

    def recent(self, now_ns: int) -> int:
        """Events within the stretch that ends now; one exactly a stretch ago is over."""
        moments = self._moments
        begin_ns = now_ns - self._stretch_ns
        while moments and moments[0] <= begin_ns:
            moments.popleft()
        return len(moments)
