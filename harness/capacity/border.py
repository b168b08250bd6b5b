"""Where a criterion breaks: the rate at which its share of bad ones reaches what is allowed, with an interval.

The log-odds of being bad rise with the logarithm of the rate, near the border as good as in a straight line: a logistic
fit to all steps within a factor of e^WINDOW of the border, each worth as many replies as were independent
(`evidence.Shown.effect`). The interval is Fieller's: the rates at which the fitted line, give or take its own error,
could be at the limit. How often it holds a border that is known: docs/capacity.md.

A weak prior on the slope (the odds grow by a power of the rate, 20 give or take 15) matters only where steps lie so
close together that they say nothing about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log, sqrt
from typing import Final, NamedTuple

import msgspec

from harness.judge.significance import t_quantile

WINDOW: Final = 0.25
_SLOPE = 20.0
_SLOPE_ERROR = 15.0
_ROUNDS = 100
_CLOSE = 1e-9
_MIN_SLOPE = 1.0
_FARTHEST = 30.0


class Point(NamedTuple):
    """A step as a criterion saw it: `bad` of `of`, both in replies as good as independent."""

    rate_hz: float
    bad: float
    of: float


class Border(msgspec.Struct, frozen=True):
    """The rate at which a criterion breaks, and its 95 % interval; visits per second."""

    rate_hz: float
    low_hz: float
    high_hz: float


def border(points: Sequence[Point], allowed: float, near_hz: float) -> Border | None:
    """The border of a criterion that allows a share `allowed`, looked for within the window around `near_hz`.

    None where no bad one was seen in the window, or too few steps lie in it: nothing says where it breaks. What lies
    beyond the window is its edge.
    """
    places = [(log(point.rate_hz / near_hz), point.bad, point.of) for point in points if point.of > 0]
    places = [place for place in places if abs(place[0]) <= WINDOW]
    if len(places) < 2 or not any(bad for _, bad, _ in places):
        return None
    goal = log(allowed / (1 - allowed))
    level, slope, (level_2, both, slope_2) = _fit(places, goal)
    slope = max(slope, _MIN_SLOPE)
    t = t_quantile(0.95, len(places))
    off = level - goal
    a = slope * slope - t * t * slope_2
    b = 2 * (off * slope - t * t * both)
    c = off * off - t * t * level_2
    low, high = -WINDOW, WINDOW
    if a > 0:
        root = sqrt(max(b * b - 4 * a * c, 0.0))
        low, high = (-b - root) / (2 * a), (-b + root) / (2 * a)
    rate, low, high = (near_hz * exp(min(max(place, -WINDOW), WINDOW)) for place in (-off / slope, low, high))
    return Border(rate, min(low, rate), max(high, rate))


def _fit(places: Sequence[tuple[float, float, float]], level: float) -> tuple[float, float, tuple[float, float, float]]:
    """(level, slope, their variances and covariance) of the most likely line of log-odds; damped Newton steps."""
    slope = _SLOPE
    for _ in range(_ROUNDS):
        gain_level = gain_slope = level_level = level_slope = slope_slope = 0.0
        for place, bad, count in places:
            odds = min(max(level + slope * place, -_FARTHEST), _FARTHEST)
            share = 1 / (1 + exp(-odds))
            weight = count * share * (1 - share)
            gain_level += bad - count * share
            gain_slope += (bad - count * share) * place
            level_level += weight
            level_slope += weight * place
            slope_slope += weight * place * place
        gain_slope -= (slope - _SLOPE) / _SLOPE_ERROR**2
        slope_slope += _SLOPE_ERROR**-2
        level_level += _CLOSE
        whole = level_level * slope_slope - level_slope * level_slope
        up = (gain_level * slope_slope - gain_slope * level_slope) / whole
        steeper = (gain_slope * level_level - gain_level * level_slope) / whole
        part = min(1.0, 2.0 / max(abs(up), abs(steeper) / 10, _CLOSE))
        level += part * up
        slope += part * steeper
        if abs(up) < _CLOSE and abs(steeper) < _CLOSE:
            break
    return level, slope, (slope_slope / whole, -level_slope / whole, level_level / whole)
