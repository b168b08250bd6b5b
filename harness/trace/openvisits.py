"""How many visits overlap: from their starts, in order, and their lengths, as if every call were answered at once.

A real run has at least as many visits open. Memory grows with the visits that are open at one moment.
"""

from __future__ import annotations

import heapq

from harness.trace.curve import Curve


class OpenVisits:
    """The number of open visits over time: its peak, its mean and its curve."""

    def __init__(self) -> None:
        self._ends_s: list[float] = []
        self._level_since_s = 0.0
        self._curve = Curve(1.0)
        self._first_s: float | None = None
        self.peak = 0
        self.last_end_s = 0.0

    def add(self, at_s: float, length_s: float) -> None:
        """The next visit; `at_s` is never before the one of the visit added last."""
        if self._first_s is None:
            self._first_s = self._level_since_s = at_s
        while self._ends_s and self._ends_s[0] < at_s:
            self._hold(self._ends_s[0])
            heapq.heappop(self._ends_s)
        self._hold(at_s)
        heapq.heappush(self._ends_s, at_s + length_s)
        self.peak = max(self.peak, len(self._ends_s))
        self.last_end_s = max(self.last_end_s, at_s + length_s)

    def curve(self) -> tuple[float | None, Curve]:
        """Ends the counting: the mean from the first start to the last end (None without duration), and the curve."""
        while self._ends_s:
            self._hold(self._ends_s[0])
            heapq.heappop(self._ends_s)
        duration_s = self.last_end_s - (self._first_s or 0.0)
        return (self._curve.total / duration_s if duration_s else None), self._curve

    def _hold(self, until_s: float) -> None:
        """The number of open visits stood as it is until now."""
        self._curve.hold(self._level_since_s, until_s, len(self._ends_s))
        self._level_since_s = until_s
