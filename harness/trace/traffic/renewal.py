"""Arrivals as a Gamma renewal process on operational time: a rate over the day, times a burstiness.

Operational time counts expected arrivals: it runs fast where the rate is high, so that gaps measured in it all have
mean 1, whatever the hour. A Gamma law for these gaps then says how bursty the traffic is (its cv: 1 is Poisson). The
process is stationary: the first gap is what is left of one that began before (a uniform part of a size-biased
gap), so no hour has more arrivals than its rate says, the first included.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from math import cos, pi, sin
from random import Random
from typing import Protocol

# Newton with bisection as its guard: each step at least halves what is left.
_STEPS = 200


def operational_times(cv: float, rng: Random) -> Iterator[float]:
    """Arrivals of a stationary Gamma renewal process with one arrival expected per unit; without end, ascending.

    `cv` is the coefficient of variation of the gaps, above 0; 1 gives a Poisson process.
    """
    shape = 1 / cv**2
    draw = rng.gammavariate
    scale = 1 / shape
    time = draw(shape + 1, scale) * rng.random()
    yield time
    while True:
        time += draw(shape, scale)
        yield time


class Clock(Protocol):
    """A rate that varies, as a clock of operational time."""

    def moments_s(self, expected: Iterable[float]) -> Iterator[float]:
        """The moments at which so many arrivals were expected, for ascending numbers."""


class RateProfile:
    """A rate that is constant in each of some equally long bins and repeats after a period.

    `rates_hz` are the bins' rates, all above 0; `phase_s` says how far into the period the moment 0 is.
    """

    def __init__(self, rates_hz: Sequence[float], period_s: float, phase_s: float = 0.0) -> None:
        self.rates_hz = tuple(rates_hz)
        self.period_s = period_s
        self.phase_s = phase_s
        self.bin_s = period_s / len(rates_hz)
        self._ends = list(accumulate(rate * self.bin_s for rate in rates_hz))
        self._starts = [0.0, *self._ends[:-1]]
        self._before = self._from_period_start(phase_s)

    @classmethod
    def with_minutes(
        cls, rates_hz: Sequence[float], minutes: Sequence[float], period_s: float, phase_s: float
    ) -> RateProfile:
        """Rates by bin of the period, times a factor for each minute of the hour (none: 1); hours divide the period."""
        if minutes:
            count = round(period_s / 60)
            rates_hz = [
                rates_hz[number * len(rates_hz) // count] * minutes[number % len(minutes)] for number in range(count)
            ]
        return cls(rates_hz, period_s, phase_s)

    @property
    def mean_hz(self) -> float:
        """Arrivals per second over a whole period."""
        return self._ends[-1] / self.period_s

    def bin_at(self, at_s: float) -> int:
        """Number of the bin that holds a moment."""
        return min(int((at_s + self.phase_s) % self.period_s / self.bin_s), len(self.rates_hz) - 1)

    def rate_at(self, at_s: float) -> float:
        """Arrivals per second at a moment."""
        return self.rates_hz[self.bin_at(at_s)]

    def expected(self, at_s: float) -> float:
        """Operational time at a moment: arrivals expected from 0 until then."""
        return self._from_period_start(at_s + self.phase_s) - self._before

    def moments_s(self, expected: Iterable[float]) -> Iterator[float]:
        """The moments at which so many arrivals were expected: the inverse of `expected`."""
        return map(self._moment_s, expected)

    def _moment_s(self, expected: float) -> float:
        periods, rest = divmod(expected + self._before, self._ends[-1])
        index = min(bisect_right(self._ends, rest), len(self._ends) - 1)
        into_bin_s = (rest - self._starts[index]) / self.rates_hz[index]
        return periods * self.period_s + index * self.bin_s + into_bin_s - self.phase_s

    def _from_period_start(self, moment_s: float) -> float:
        periods, rest_s = divmod(moment_s, self.period_s)
        index = min(int(rest_s / self.bin_s), len(self.rates_hz) - 1)
        return periods * self._ends[-1] + self._starts[index] + self.rates_hz[index] * (rest_s - index * self.bin_s)


class Wave:
    """A rate that swings like a sine between trough (at 0) and peak (half a period later)."""

    def __init__(self, peak_hz: float, trough_hz: float, period_s: float) -> None:
        self._mean_hz = (peak_hz + trough_hz) / 2
        self._swing_hz = (peak_hz - trough_hz) / 2
        self._turn = 2 * pi / period_s

    def rate_at(self, at_s: float) -> float:
        """Arrivals per second at a moment."""
        return self._mean_hz - self._swing_hz * cos(self._turn * at_s)

    def expected(self, at_s: float) -> float:
        """Arrivals expected from 0 until a moment: the integral of the rate."""
        return self._mean_hz * at_s - self._swing_hz / self._turn * sin(self._turn * at_s)

    def moments_s(self, expected: Iterable[float]) -> Iterator[float]:
        """The moments at which so many arrivals were expected, for ascending numbers; to a nanosecond or 1e-15."""
        moment = 0.0
        for wanted in expected:
            moment = self._moment_s(wanted, moment)
            yield moment

    def _moment_s(self, expected: float, after_s: float) -> float:
        """Newton's method from a moment at or before the wanted one."""
        # The sine moves the integral by no more than its amplitude, which brackets the root.
        reach = self._swing_hz / self._turn
        low, high = max(after_s, (expected - reach) / self._mean_hz), (expected + reach) / self._mean_hz
        moment = low
        for _ in range(_STEPS):
            over = self.expected(moment) - expected
            if over > 0:
                high = moment
            else:
                low = moment
            step = over / self.rate_at(moment)
            moment -= step
            if not low <= moment <= high:
                moment = (low + high) / 2
            if abs(step) < 1e-10 or high - low < max(1e-9, 1e-15 * high):
                break
        return max(moment, after_s)


def arrivals_s(clock: Clock, cv: float, rng: Random) -> Iterator[float]:
    """Arrivals in seconds from 0, ascending and without end, for a rate (its operational clock) and a burstiness."""
    return clock.moments_s(operational_times(cv, rng))
