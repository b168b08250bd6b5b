"""How waits end when some are cut off and some can never end well: survival analysis on histograms.

A wait that was cut off at c (the run's end, the retry budget) says only that it lasted longer than c. Leaving it out,
or taking c for its length, makes a service look faster the sooner one stops waiting. A wait that was refused at c
(rejected, failed, settled as not available) is no cut-off: it will never end well, however long one looks. Two ends
compete, so the share available by t is the cumulative incidence of Aalen and Johansen (1978): at each moment the share
still waiting times (ended well / still waiting), summed. Without refusals it is one minus the Kaplan-Meier estimate
(1958), without cut-offs the plain share. Ends come before the cut-offs of the same bucket.

Intervals: variance by the delta method (Marubini and Valsecchi 1995; without refusals it is Greenwood's formula), on
the scale log(-log(1 - share)), which stays inside 0 and 1; a quantile's interval holds every time at which the share's
interval holds q (Brookmeyer and Crowley 1982). They take waits for independent of each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp, log1p, sqrt
from typing import NamedTuple

from harness.measure.histogram import Histogram

_Z95 = 1.959964
_SLACK = 1e-9  # sums of shares miss round numbers by this much


class Moment(NamedTuple):
    """What is known just after `at_ns`, the time of a bucket in which a wait ended.

    `available` is the estimated share of all waits that ended well by then, within `low` and `high` (95 %; None where
    the variance is not known: everybody had ended), `never` the share that was refused by then, `waiting` how many were
    still followed just before.
    """

    at_ns: int
    available: float
    low: float | None
    high: float | None
    never: float
    waiting: int


def incidence(events: Histogram, censored: Histogram, never: Histogram) -> list[Moment]:
    """The share available over time, a `Moment` for each bucket with an end (good or refused), ascending.

    `events` holds the waits that ended well, `censored` those cut off, `never` those refused, each at its time. Empty
    when nothing ended.
    """
    moments: list[Moment] = []
    refused = 0.0
    variance = _Variance()
    for index, good, bad, waiting, still, share in _walk(events, censored, never):
        refused += still * bad / waiting
        variance.add(share, still, waiting, good, bad)
        low, high = _interval(share, variance.of(share)) if good + bad < waiting else (None, None)
        at_ns = events.value_at(index) if good else never.value_at(index)
        moments.append(Moment(at_ns, min(share, 1.0), low, high, refused, waiting))
    return moments


def _walk(
    events: Histogram, censored: Histogram, never: Histogram
) -> Iterator[tuple[int, int, int, int, float, float]]:
    """Each bucket with an end: (bucket, ended well, refused, waiting before, share of no end before, share by then)."""
    waiting = events.finite + censored.finite + never.finite
    still, share = 1.0, 0.0
    for index in sorted(events.counts.keys() | censored.counts.keys() | never.counts.keys()):
        good, bad = events.counts.get(index, 0), never.counts.get(index, 0)
        if good or bad:
            share += still * good / waiting
            yield index, good, bad, waiting, still, share
            still *= 1.0 - (good + bad) / waiting
        waiting -= good + bad + censored.counts.get(index, 0)


class _Variance:
    """The delta-method variance of the cumulative incidence as running sums, so that each moment costs the same."""

    def __init__(self) -> None:
        self._sums = [0.0] * 6

    def add(self, share: float, still: float, waiting: int, good: int, bad: int) -> None:
        ended, n = good + bad, float(waiting)
        # Where nobody is left, the share moves no more: its own weight in the sum is zero.
        weight = ended / (n * (n - ended)) if ended < waiting else 0.0
        first, risk = good * still / (n * n), still * still * good * (n - good) / n**3
        for place, term in enumerate((weight, share * weight, share * share * weight, risk, first, share * first)):
            self._sums[place] += term

    def of(self, share: float) -> float:
        weight, linear, square, risk, first, crossed = self._sums
        spread = share * share * weight - 2 * share * linear + square + risk - 2 * (share * first - crossed)
        return max(spread, 0.0)


def _interval(share: float, variance: float) -> tuple[float | None, float | None]:
    if not 0.0 < share < 1.0:
        return (0.0, None) if share <= 0.0 else (None, None)
    rest = log1p(-share)
    half = _Z95 * sqrt(variance) / ((1.0 - share) * -rest)
    return 1.0 - exp(rest * exp(-half)), 1.0 - exp(rest * exp(half))


def time_to_event_quantiles(
    events: Histogram, censored: Histogram, never: Histogram, qs: Sequence[float]
) -> list[int | None]:
    """For each `q` (above 0, to 1; ascending): the time in ns by which so many waits are estimated to have ended well.

    Without `censored` and `never` they are `events.quantiles(qs)`. None where the estimate never reaches `q`.
    """
    for q in qs:
        _check(q)
    if not censored.finite and not never.finite:
        return events.quantiles(qs)
    times: list[int | None] = []
    for index, _, _, _, _, share in _walk(events, censored, never):
        while len(times) < len(qs) and min(share, 1.0) >= qs[len(times)] - _SLACK:
            times.append(events.highest if qs[len(times)] == 1.0 else events.value_at(index))
    return times + [None] * (len(qs) - len(times))


def time_to_event_quantile(events: Histogram, censored: Histogram, never: Histogram, q: float) -> int | None:
    """The one time of `time_to_event_quantiles`."""
    return time_to_event_quantiles(events, censored, never, [q])[0]


def quantile_interval(moments: list[Moment], q: float) -> tuple[int | None, int | None]:
    """The 95 % interval in ns of the quantile `q` of an `incidence`: all times at which `q` is within the share's own.

    An end is None where it lies beyond what was followed.
    """
    _check(q)
    low = next((moment.at_ns for moment in moments if moment.high is not None and moment.high >= q), None)
    if low is None and moments and moments[-1].available >= q - _SLACK:
        low = next(moment.at_ns for moment in moments if moment.available >= q - _SLACK)
    high = next((moment.at_ns for moment in moments if moment.low is not None and moment.low > q), None)
    return low, high


def followed_ns(events: Histogram, censored: Histogram, never: Histogram) -> int:
    """How long the longest wait was followed, in ns; 0 when there was none."""
    return max((held.highest for held in (events, censored, never) if held.counts), default=0)


def _check(q: float) -> None:
    if not 0.0 < q <= 1.0:
        raise ValueError(f"a quantile lies above 0 and up to 1, not {q}")
