"""`Criterion`: a threshold as a share that may be bad, which is what a search can count second by second.

"p99 < 200 ms" says that less than 1 % of the values may be slower than 200 ms; "availability > 99.5 %", that less than
0.5 % of the steps may end otherwise. Counts of bad ones add up, so evidence of any length can be judged; a mean cannot.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from harness.errors import UsageError
from harness.judge.evaluate import share_counts
from harness.judge.sample import slower_counts
from harness.judge.threshold import Threshold
from harness.measure.snapshot import Snapshot


class Criterion(msgspec.Struct, frozen=True):
    """A threshold that holds while less than `allowed` (above 0, below 1) of what it counts is bad."""

    threshold: Threshold
    allowed: float

    @property
    def name(self) -> str:
        """The threshold as it was written."""
        return self.threshold.text

    def counts(self, measured: Snapshot) -> tuple[int, int]:
        """(bad ones, all that were counted) of what was measured in some time."""
        threshold = self.threshold
        if threshold.function == "quantile":
            return slower_counts(threshold, measured, int(threshold.limit))
        hits, base = share_counts(threshold, measured)
        return (hits if threshold.operator in ("<", "<=") else base - hits), base


def criteria_of(thresholds: Iterable[Threshold]) -> list[Criterion]:
    """The thresholds that are shares, as criteria; others are judged at a step's end, by the run itself.

    Raises `UsageError` for a mean, and when no threshold is a share: then there is nothing to search by.
    """
    thresholds = list(thresholds)
    means = [threshold.text for threshold in thresholds if threshold.function == "mean"]
    if means:
        raise UsageError(f"threshold '{means[0]}': a search judges no means, which hide the slow: write a percentile")
    found = [criterion for criterion in map(_criterion, thresholds) if criterion is not None]
    if not found:
        raise UsageError(
            "a search needs a percentile or a share to judge by: give --slo FILE, or for example "
            "--threshold 'p99(response_time) < 800ms'"
        )
    return found


def _criterion(threshold: Threshold) -> Criterion | None:
    allowed = 0.0
    if threshold.function == "quantile" and threshold.operator in ("<", "<="):
        allowed = 1 - (threshold.q or 0.5)
    elif threshold.function in ("ratio", "availability") and threshold.operator in ("<", "<="):
        allowed = threshold.limit
    elif threshold.function in ("ratio", "availability") and threshold.operator in (">", ">="):
        allowed = 1 - threshold.limit
    return Criterion(threshold, round(allowed, 9)) if 0 < allowed < 1 else None
