"""Was the run steady? Its service time second by second: where the start differs, and whether there is a drift.

Neither makes a run INVALID by itself: what warms up or drifts may be the target. But a mean over both halves of a
drift describes neither, so it is said. The start to leave out is that of MSER (White 1997): the cut that makes the
rest's mean surest, looked for in the first half, and told only if it is worth telling. The drift is the Theil-Sen slope
over the run, in relation to its median, with the Mann-Kendall test for a trend (Kendall 1975).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist, median

import msgspec

MIN_SECONDS = 20
_BINS = 30
_WORTH_TELLING = 0.1


class Steadiness(msgspec.Struct, frozen=True, kw_only=True):
    """`warmup_s` seconds at the start that differ from the rest (0: none do); the drift over the whole, with its p."""

    warmup_s: int
    drift_ratio: float
    drift_p: float

    def __str__(self) -> str:
        told = []
        if self.drifts:
            told.append(f"service time moved by {self.drift_ratio * 100:+.3g} % from start to end")
        if self.warmup_s:
            told.append(f"the first {self.warmup_s} s differ from the rest: see --warmup")
        return "; ".join(told) or "no warm-up and no drift to be seen"

    @property
    def drifts(self) -> bool:
        """Whether there is a trend that is surely one and large enough to speak of."""
        return self.drift_p < 0.01 and abs(self.drift_ratio) >= _WORTH_TELLING / 2


def steadiness(seconds: Sequence[tuple[int, int]]) -> Steadiness | None:
    """What (replies, their service time in ns in all) of each measured second tell; None when they are too few."""
    if len(seconds) < MIN_SECONDS:
        return None
    width = -(-len(seconds) // _BINS)
    bins = [seconds[start : start + width] for start in range(0, len(seconds), width)]
    sums = [(sum(n for n, _ in held), sum(total for _, total in held)) for held in bins]
    means = [total / n for n, total in sums if n]
    if len(means) < MIN_SECONDS // 2 or not median(means):
        return None
    drift, p = trend(means)
    return Steadiness(warmup_s=_warmup(means) * width, drift_ratio=round(drift / median(means), 6), drift_p=round(p, 6))


def _warmup(means: Sequence[float]) -> int:
    """How many of the first means MSER leaves out; 0 unless they differ by a tenth, and by more than noise."""

    def unsureness(cut: int) -> float:
        rest = means[cut:]
        middle = sum(rest) / len(rest)
        return sum((value - middle) ** 2 for value in rest) / len(rest) ** 2

    cut = min(range(len(means) // 2 + 1), key=unsureness)
    if not cut:
        return 0
    rest = means[cut:]
    middle = sum(rest) / len(rest)
    spread = sqrt(sum((value - middle) ** 2 for value in rest) / (len(rest) - 1))
    off = abs(sum(means[:cut]) / cut - middle)
    return cut if off > _WORTH_TELLING * middle and off > 3 * spread / sqrt(cut) else 0


def trend(values: Sequence[float]) -> tuple[float, float]:
    """(Theil-Sen slope times length, two-sided p of Mann and Kendall's test) of two values or more."""
    n = len(values)
    slopes = [(values[j] - values[i]) / (j - i) for i in range(n) for j in range(i + 1, n)]
    score = sum((slope > 0) - (slope < 0) for slope in slopes)
    spread = sqrt(n * (n - 1) * (2 * n + 5) / 18)
    z = (abs(score) - 1) / spread if score else 0.0
    return median(slopes) * (n - 1), 2 * NormalDist().cdf(-max(z, 0.0))
