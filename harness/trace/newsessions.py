"""How many new sessions a trace asks of the service, minute by minute.

A session begins with every get_engagement that sends no sid (`fresh`, `return`, `chain` where nothing came before in
the visit) or one that the service cannot know (`stale`). Moments come from think times alone, as if every call were
answered at once; retries are not counted. Memory grows with the length of the longest visit in minutes, not with the
trace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from harness.trace.curve import Curve
from harness.trace.model import Visit

_MINUTE_S = 60


class NewSessions:
    """Counts of new sessions by minute; visits are fed in order of `at`."""

    def __init__(self) -> None:
        # Minutes that later visits may still add to.
        self._open: Counter[int] = Counter()
        self._minute = 0
        self._curve = Curve(float(_MINUTE_S))
        self._first: int | None = None
        self._last = 0
        self.count = 0

    def add(self, visit: Visit) -> None:
        """The sessions that one visit begins."""
        minute = int(visit.at // _MINUTE_S)
        if minute != self._minute:
            self._close(minute)
            self._minute = minute
        for at_s in new_sessions_s(visit):
            self._open[int(at_s // _MINUTE_S)] += 1
            self.count += 1

    def to_obj(self) -> dict[str, Any]:
        """Ends the counting: total, mean and peak a minute, and the curve (sessions a minute in bins)."""
        self._close(None)
        minutes = self._last - self._first + 1 if self._first is not None else 0
        scale = _MINUTE_S / self._curve.bin_s
        return {
            "count": self.count,
            "mean_per_min": round(self.count / minutes, 2) if minutes else None,
            "peak_per_min": max(self._curve.peaks, default=0),
            "curve": {
                "bin_s": self._curve.bin_s,
                "mean_per_min": [round(amount * scale, 2) for amount in self._curve.sums],
            },
        }

    def bars(self) -> str:
        """The curve as a line of bars."""
        return self._curve.bars()

    def _close(self, before: int | None) -> None:
        """Count the minutes before this one, all of them for None: no later visit can add to these."""
        for minute in sorted(minute for minute in self._open if before is None or minute < before):
            self._curve.add(minute * _MINUTE_S, self._open.pop(minute))
            self._first = minute if self._first is None else min(self._first, minute)
            self._last = max(self._last, minute)


def new_sessions_s(visit: Visit) -> Iterator[float]:
    """When the visit asks for a new session, in seconds of the trace's time."""
    at_s = visit.at
    has_ids = False
    for step in visit.steps:
        at_s += step.think
        if step.op == "get_engagement":
            if step.identity != "chain" or not has_ids:
                yield at_s
            has_ids = True
