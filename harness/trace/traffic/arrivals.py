"""Learning arrivals: the rate over the day, the burstiness, and the likelihood of moments that were held out.

The rate is counted in equal bins of a period: a day, or the whole trace when that is shorter than a day and a half.
Where the period is a day, the minutes of the hour may have factors of their own (traffic that comes by the clock). How
many bins, and whether minutes count, is decided by the Bayesian information criterion under the renewal law, so that
bursts are not taken for rates.
The burstiness is the maximum of the likelihood of the gaps in operational time, with the likelihood-ratio interval.

The likelihood is that of the conditional intensity, which can be taken over any windows: a gap that reaches into one
counts from there on, given that nothing came before. So train and held-out hours need not be contiguous, and long gaps
are not lost at their borders. Moments are known to a tick only (a second in access logs): gaps of less than two ticks
are counted as "shorter than one and a half", never as 0, which a bursty law would find infinitely likely.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from math import exp, gcd, log, sqrt

import msgspec

from harness.trace.traffic.gamma import Estimate, log_cdf, log_density, log_survival, maximise
from harness.trace.traffic.model import Arrivals, Interval
from harness.trace.traffic.renewal import RateProfile
from harness.units import NS_PER_S

DAY_S = 86_400.0
_HOUR_S = 3600.0
_MINUTES = 60
# Two statements (rate and burstiness) that hold together with 95 % hold with 97.5 % each.
_NORMAL_975 = 2.2414
_CHI2_975 = _NORMAL_975**2
_BINS = (1, 2, 3, 4, 6, 8, 12, 24)
# Every fifth block: 5 and 24 have no common divisor, so within two days every hour of the day is trained on.
HELD_OUT_EVERY = 5
_SHORT_GAP_TICKS = 2
_SHORTER_THAN_TICKS = 1.5


@dataclass(frozen=True, slots=True)
class Calendar:
    """How a trace's time is divided: a period, and blocks of which every fifth is held out.

    `block_s` is an hour where the period is a day, else a 120th of the trace. Blocks begin at whole multiples after the
    period's start, which lies `phase_s` before the trace's; `end_s` is where the trace ends.
    """

    period_s: float
    block_s: float
    phase_s: float
    end_s: float

    @classmethod
    def of(cls, span_s: float, created: str) -> Calendar:
        """The calendar of a trace of `span_s` seconds that began at `created` (ISO 8601, or empty)."""
        if span_s >= 1.5 * DAY_S:
            return cls(DAY_S, DAY_S / 24, _seconds_of_day(created), span_s)
        return cls(span_s, span_s / 120, 0.0, span_s)

    def block(self, at_s: float) -> int:
        """Number of the block that holds a moment."""
        return int((at_s + self.phase_s) / self.block_s)

    def held_out(self, block: int) -> bool:
        """Whether a block is held out."""
        return block % HELD_OUT_EVERY == HELD_OUT_EVERY - 1

    def blocks(self) -> Iterator[tuple[int, float, float]]:
        """Every block as (number, start, end) in seconds of the trace, cut at its ends."""
        for number in range(self.block(0.0), self.block(self.end_s) + 1):
            start_s = number * self.block_s - self.phase_s
            yield number, max(0.0, start_s), min(self.end_s, start_s + self.block_s)

    def windows(self, held_out: bool | None) -> list[tuple[float, float]]:
        """The stretches of the trace that are held out, or are not, or (None) all of it."""
        if held_out is None:
            return [(0.0, self.end_s)]
        found: list[tuple[float, float]] = []
        for number, start_s, end_s in self.blocks():
            if self.held_out(number) is held_out and end_s > start_s:
                if found and found[-1][1] >= start_s:
                    found[-1] = (found[-1][0], end_s)
                else:
                    found.append((start_s, end_s))
        return found


def _seconds_of_day(created: str) -> float:
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return 0.0
    return moment.hour * 3600 + moment.minute * 60 + moment.second + moment.microsecond / 1e6


def tick_s(moments_ns: Sequence[int]) -> float:
    """The resolution of recorded moments: the greatest power of ten that divides them all, at most a second."""
    common = gcd(*moments_ns, NS_PER_S)
    tick_ns = 1
    while common % (tick_ns * 10) == 0 and tick_ns < NS_PER_S:
        tick_ns *= 10
    return tick_ns / NS_PER_S


class Evidence:
    """What moments within windows say about a shape, given a rate: enough to compute its likelihood again and again."""

    def __init__(
        self, moments_s: Sequence[float], windows: Sequence[tuple[float, float]], profile: RateProfile, tick_s: float
    ) -> None:
        self.visits = 0
        self._log_rate = 0.0
        self._sum = 0.0
        self._log_sum = 0.0
        self._exact = 0
        # Gaps below the resolution, by what is expected within it; partial gaps by their (signed) operational length.
        self._short: Counter[float] = Counter()
        self._partial: list[tuple[float, float]] = []
        starts = [start_s for start_s, _ in windows]
        for before_s, at_s in pairwise(moments_s):
            self._add(before_s, at_s, windows, starts, profile, tick_s)

    def log_likelihood(self, shape: float) -> float:
        """Logarithm of the likelihood of the moments for a Gamma law of that shape."""
        total = self._log_rate
        if self._exact:
            # The sum of log_density over the exact gaps.
            at_one = log_density(shape, 1.0) + shape
            total += self._exact * at_one + (shape - 1) * self._log_sum - shape * self._sum
        total += sum(count * log_cdf(shape, expected) for expected, count in self._short.items())
        total += sum(sign * log_survival(shape, expected) for sign, expected in self._partial)
        return total

    def _add(
        self,
        before_s: float,
        at_s: float,
        windows: Sequence[tuple[float, float]],
        starts: Sequence[float],
        profile: RateProfile,
        tick_s: float,
    ) -> None:
        index = max(0, bisect_right(starts, before_s) - 1)
        short = at_s - before_s < (_SHORT_GAP_TICKS - 0.5) * tick_s
        for start_s, end_s in (windows[number] for number in range(index, len(windows))):
            if start_s > at_s:
                break
            if end_s <= before_s:
                continue
            inside = start_s <= at_s < end_s
            if inside:
                self.visits += 1
            if short:
                if inside:
                    self._short[round(profile.rate_at(at_s) * _SHORTER_THAN_TICKS * tick_s, 12)] += 1
                continue
            if start_s > before_s:
                self._partial.append((-1.0, profile.expected(start_s) - profile.expected(before_s)))
            if inside:
                gap = profile.expected(at_s) - profile.expected(before_s)
                self._exact += 1
                self._sum += gap
                self._log_sum += log(gap)
                self._log_rate += log(profile.rate_at(at_s))
            else:
                self._partial.append((1.0, profile.expected(end_s) - profile.expected(before_s)))


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates by bin of a calendar's period, and factors by minute of the hour (or none)."""

    rates_hz: list[float]
    minutes: list[float]
    calendar: Calendar

    def profile(self) -> RateProfile:
        """The rate as an operational clock."""
        return RateProfile.with_minutes(self.rates_hz, self.minutes, self.calendar.period_s, self.calendar.phase_s)

    def to_model(self, cv: float = 1.0) -> Arrivals:
        """Arrivals at these rates, with a burstiness (1 is Poisson's)."""
        calendar = self.calendar
        return Arrivals(
            rates_hz=self.rates_hz,
            minutes=self.minutes,
            period_s=calendar.period_s,
            phase_s=calendar.phase_s,
            cv=cv,
        )


def count_rates(
    moments_s: Sequence[float],
    windows: Sequence[tuple[float, float]],
    calendar: Calendar,
    bins: int,
    *,
    minutes: bool = False,
) -> Rates:
    """Visits per second in each of some bins of the period, counted within windows.

    With `minutes` the 60 minutes of the hour (all hours alike) are counted as well, and the rate of a minute of the
    period is the product. One visit is added in all, spread evenly, so that a bin nobody came in is rare, not
    impossible.
    """
    rates = _counted(moments_s, windows, calendar.period_s, calendar.phase_s, bins)
    factors: list[float] = []
    if minutes:
        of_minute = _counted(moments_s, windows, _HOUR_S, calendar.phase_s, _MINUTES)
        mean = sum(of_minute) / _MINUTES
        factors = [rate / mean for rate in of_minute]
    return Rates(rates, factors, calendar)


def _counted(
    moments_s: Sequence[float], windows: Sequence[tuple[float, float]], period_s: float, phase_s: float, bins: int
) -> list[float]:
    """Visits per second in each of some equal bins of a period."""
    even = RateProfile([1.0] * bins, period_s, phase_s)
    counts = [0] * bins
    lengths_s = [0.0] * bins
    starts = [start_s for start_s, _ in windows]
    for at_s in moments_s:
        index = bisect_right(starts, at_s) - 1
        if index >= 0 and at_s < windows[index][1]:
            counts[even.bin_at(at_s)] += 1
    for start_s, end_s in windows:
        at_s = start_s
        while at_s < end_s:
            # A window is cut where bins end; the nudge keeps rounding from standing still at a border.
            into_s = (at_s + phase_s) % even.bin_s
            until_s = min(end_s, at_s + max(even.bin_s - into_s, even.bin_s * 1e-9))
            lengths_s[even.bin_at((at_s + until_s) / 2)] += until_s - at_s
            at_s = until_s
    overall_hz = sum(counts) / sum(lengths_s)
    if bins == 1:
        return [overall_hz]
    # Perks' prior: one visit in all, spread evenly.
    prior_s = 1 / bins / overall_hz
    return [(count + 1 / bins) / (length_s + prior_s) for count, length_s in zip(counts, lengths_s, strict=True)]


@dataclass(frozen=True, slots=True)
class LearnedArrivals:
    """Rates and the shape of the gaps, with the number of visits they come from."""

    rates: Rates
    shape: Estimate
    visits: int

    def to_model(self) -> Arrivals:
        """The arrivals of a traffic model, with intervals."""
        cv = 1 / sqrt(self.shape.value)
        # The count of a renewal process scatters like that of Poisson's, times cv.
        factor = exp(_NORMAL_975 * cv / sqrt(self.visits))
        mean_hz = self.rates.profile().mean_hz
        return msgspec.structs.replace(
            self.rates.to_model(cv),
            mean_hz=Interval(value=mean_hz, low=mean_hz / factor, high=mean_hz * factor),
            burstiness=Interval(value=cv, low=1 / sqrt(self.shape.high), high=1 / sqrt(self.shape.low)),
        )


def learn_arrivals(
    moments_s: Sequence[float], windows: Sequence[tuple[float, float]], calendar: Calendar, tick_s: float
) -> LearnedArrivals:
    """The arrivals of greatest likelihood within windows, with as many bins as the visits there can bear."""
    best: tuple[float, LearnedArrivals] | None = None
    # Minutes of the hour exist only where the period is the day; 59 numbers say how they differ.
    for minutes in (False, True) if calendar.period_s == DAY_S else (False,):
        for bins in _BINS:
            rates = count_rates(moments_s, windows, calendar, bins, minutes=minutes)
            evidence = Evidence(moments_s, windows, rates.profile(), tick_s)
            shape = maximise(evidence.log_likelihood, _CHI2_975 / 2)
            numbers = bins + (_MINUTES - 1) * minutes
            score = evidence.log_likelihood(shape.value) - numbers * log(max(evidence.visits, 2)) / 2
            if best is None or score > best[0]:
                best = score, LearnedArrivals(rates, shape, evidence.visits)
    assert best is not None
    return best[1]
