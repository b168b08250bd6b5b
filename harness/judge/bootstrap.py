"""Resampling a run by blocks of consecutive seconds: how far a figure of it would move if it were played again.

Seconds are not independent: a slow moment lasts. The circular block bootstrap (Politis and Romano 1992) draws whole
blocks, wrapping round the end. How long they must be is read off the figure's own influence on each second (Politis and
White 2004, corrected by Patton, Politis and White 2009), never shorter than the usual cube root; then twice as long,
since blocks that are just long enough still cut dependences at their edges, and the interval would be too narrow.

Sums over blocks are looked up in running sums, so a draw costs the number of blocks, not of seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import ceil, log10, sqrt
from random import Random

RESAMPLES = 1000
_STRETCH = 2.0


class Blocks:
    """The draws of blocks for a run of `seconds`, each about `length` seconds long; the same `rng` gives the same."""

    def __init__(self, seconds: int, length: int, rng: Random, resamples: int = RESAMPLES) -> None:
        self.seconds = seconds
        self.length = min(max(length, 1), seconds)
        count = ceil(seconds / self.length)
        everywhere = range(seconds)
        self.draws = [rng.choices(everywhere, k=count) for _ in range(resamples)]
        # A draw holds a little more than the run when the length does not divide it: its figures vary less.
        self.scale = sqrt(count * self.length / seconds)

    @property
    def degrees(self) -> float:
        """Degrees of freedom of a standard error from these draws, 1 or more."""
        return max(self.seconds / self.length - 1.0, 1.0)

    def sums(self, series: Sequence[float]) -> list[float]:
        """For each second the sum of `series` over the block that begins there."""
        length = self.length
        running = [0.0, *accumulate((*series, *series[: length - 1]))]
        return [after - before for before, after in zip(running, running[length:], strict=False)]

    def totals(self, series: Sequence[float]) -> list[float]:
        """The sum of `series` (one value a second) in each draw."""
        at = self.sums(series).__getitem__
        return [sum(map(at, draw)) for draw in self.draws]

    def error(self, replicates: Sequence[float]) -> float:
        """The standard error of a figure from its value in each draw."""
        middle = sum(replicates) / len(replicates)
        return self.scale * sqrt(sum((value - middle) ** 2 for value in replicates) / (len(replicates) - 1))


def block_length(influence: Sequence[float]) -> int:
    """How many seconds a block should hold, given what each second added to or took from the figure."""
    n = len(influence)
    wanted: float = max(n ** (1 / 3), min(_politis_white(influence), n / 6))
    return max(1, round(_STRETCH * wanted))


def _politis_white(series: Sequence[float]) -> float:
    n = len(series)
    mean = sum(series) / n
    centred = [value - mean for value in series]
    spread = sum(value * value for value in centred) / n
    if spread <= 0.0 or n < 8:
        return 1.0

    def correlation(lag: int) -> float:
        return sum(map(float.__mul__, centred[lag:], centred[: n - lag])) / n / spread

    run = max(5, ceil(sqrt(log10(n))))
    noise = 2.0 * sqrt(log10(n) / n)
    known = [correlation(lag) for lag in range(min(ceil(sqrt(n)) + 2 * run, n - 1))]
    # The first lag after which `run` correlations in a row are noise.
    last = next(
        (lag for lag in range(len(known) - run) if all(abs(each) < noise for each in known[lag + 1 : lag + 1 + run])),
        len(known) - run,
    )
    if last <= 0:
        return 1.0
    window = 2 * last
    weighted = [
        (lag, min(1.0, 2.0 * (1.0 - lag / window)) * known[lag]) for lag in range(1, min(window + 1, len(known)))
    ]
    bias = 2.0 * sum(lag * value for lag, value in weighted)
    total = 1.0 + 2.0 * sum(value for _, value in weighted)
    if total <= 0.0:
        return 1.0
    return float((1.5 * (bias / total) ** 2) ** (1 / 3) * n ** (1 / 3))
