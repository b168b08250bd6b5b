"""Headroom: how much more than an expected peak the target takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from harness.capacity.load_point import LoadPoint

_MINUTE_S = 60.0


def busiest_minute_hz(at_s: Iterable[float]) -> float:
    """Visits per second in the busiest minute, wherever it begins; `at_s` are arrivals in ascending order."""
    minute: deque[float] = deque()
    most = 0
    for moment in at_s:
        minute.append(moment)
        while minute[0] <= moment - _MINUTE_S:
            minute.popleft()
        most = max(most, len(minute))
    return most / _MINUTE_S


def highest_held_hz(points: Sequence[LoadPoint]) -> float | None:
    """The highest rate whose thresholds all held, no lower one being broken; None when none is known."""
    judged = [point.result for point in points if point.result.ok]
    broken = min((result.rate_hz for result in judged if not all(result.ok.values())), default=float("inf"))
    held = [result.rate_hz for result in judged if all(result.ok.values()) and result.rate_hz < broken]
    return max(held, default=None)
