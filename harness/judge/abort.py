"""The abort conditions of `[limits]`: thresholds that must hold over the last seconds, or the run ends at once.

They protect the target, so they are asked of what happened just now, not of the run so far: the mean of a good hour
would hide a bad minute. They hold from the first second, warm-up included. As for any threshold, too few values for an
answer are no answer, unless enough of them are plainly wrong (`judge.evaluate`).
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.judge.evaluate import evaluate
from harness.judge.threshold import Threshold
from harness.measure.snapshot import Snapshot

WINDOW_S = 10


class AbortGuard:
    """Takes what workers measured, second by second in any order, and says when a condition fails."""

    def __init__(self, conditions: Sequence[Threshold]) -> None:
        self._conditions = conditions
        self._seconds: dict[int, Snapshot] = {}
        self._newest = -1

    def add(self, second: int, snapshot: Snapshot) -> str | None:
        """Takes what one worker measured in one second; one line that says which condition fails now, or None."""
        if not self._conditions:
            return None
        self._newest = max(self._newest, second)
        oldest = self._newest - WINDOW_S + 1
        if second >= oldest:
            self._seconds.setdefault(second, Snapshot()).merge(snapshot)
        for gone in [kept for kept in self._seconds if kept < oldest]:
            del self._seconds[gone]
        span_s = float(min(self._newest + 1, WINDOW_S))
        window = Snapshot.merged(self._seconds.values())
        for check in evaluate(self._conditions, window, arrivals_s=span_s, measured_s=span_s):
            if not check.ok and check.enough_data:
                return f"abort_on {check.name}: {check.message} in the last {span_s:.0f} s"
        return None
