"""The Gamma law with mean 1 and free shape, and how a shape is estimated from gaps.

Gaps between arrivals, measured in expected arrivals, have mean 1; a Gamma law of shape k then has the coefficient of
variation 1/sqrt(k). k = 1 is Poisson traffic, k < 1 is bursty, k > 1 is regular. Only the standard library is used:
the incomplete Gamma function by its power series below k + 1 and by a continued fraction above (Abramowitz and Stegun
6.5.29 and 6.5.31), the estimate by golden section on the logarithm of k.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, lgamma, log, log1p

# Beyond these the data cannot tell a shape from a constant gap or from one single burst.
SHAPE_MIN, SHAPE_MAX = 1e-3, 1e4
_GOLDEN = (5**0.5 - 1) / 2
_TINY = 1e-300


def log_density(shape: float, x: float) -> float:
    """Logarithm of the density at x > 0."""
    return shape * log(shape) - lgamma(shape) + (shape - 1) * log(x) - shape * x


def log_cdf(shape: float, x: float) -> float:
    """Logarithm of the probability of a gap up to x >= 0; `-inf` at 0."""
    if x <= 0:
        return float("-inf")
    y = shape * x
    return _log_lower(shape, y) if y < shape + 1 else log1p(-exp(_log_upper(shape, y)))


def log_survival(shape: float, x: float) -> float:
    """Logarithm of the probability of a gap above x >= 0; stays finite where the probability itself underflows."""
    if x <= 0:
        return 0.0
    y = shape * x
    if y >= shape + 1:
        return _log_upper(shape, y)
    below = exp(_log_lower(shape, y))
    # For a tiny shape nearly all mass lies below: the difference to 1 is then rounded, but never 0 or negative.
    return log1p(-min(below, 1 - 2**-53))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A maximum of a likelihood with its likelihood-ratio interval."""

    value: float
    low: float
    high: float


def maximise(likelihood: Callable[[float], float], drop: float) -> Estimate:
    """The shape with the greatest log-likelihood, and the shapes around it that lose at most `drop`.

    `likelihood` has one maximum within [SHAPE_MIN, SHAPE_MAX]; an end of the interval that lies outside is cut there.
    """
    low, high = log(SHAPE_MIN), log(SHAPE_MAX)
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = likelihood(exp(left)), likelihood(exp(right))
    while high - low > 1e-6:
        if at_left > at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = likelihood(exp(left))
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = likelihood(exp(right))
    best = (low + high) / 2
    limit = likelihood(exp(best)) - drop
    ends = [_crossing(likelihood, limit, best, log(end)) for end in (SHAPE_MIN, SHAPE_MAX)]
    return Estimate(exp(best), exp(ends[0]), exp(ends[1]))


def _crossing(likelihood: Callable[[float], float], limit: float, inside: float, outside: float) -> float:
    """Where the likelihood falls below `limit` between a point above it and one that should be below."""
    if likelihood(exp(outside)) >= limit:
        return outside
    while abs(outside - inside) > 1e-5:
        middle = (inside + outside) / 2
        if likelihood(exp(middle)) >= limit:
            inside = middle
        else:
            outside = middle
    return (inside + outside) / 2


def _log_lower(shape: float, y: float) -> float:
    """log P(shape, y) by the power series, for y < shape + 1."""
    term = total = 1 / shape
    divisor = shape
    # The terms shrink by y / divisor < 1; a large shape near its mean needs some ten times its root.
    for _ in range(100_000):
        divisor += 1
        term *= y / divisor
        total += term
        if term < total * 1e-16:
            break
    return shape * log(y) - y - lgamma(shape) + log(total)


def _log_upper(shape: float, y: float) -> float:
    """log Q(shape, y) by Lentz's method on the continued fraction, for y >= shape + 1."""
    b = y + 1 - shape
    c = 1 / _TINY
    d = 1 / b
    fraction = d
    for i in range(1, 100_000):
        a = -i * (i - shape)
        b += 2
        d = a * d + b
        d = 1 / (d if abs(d) > _TINY else _TINY)
        c = b + a / c
        c = c if abs(c) > _TINY else _TINY
        factor = d * c
        fraction *= factor
        if abs(factor - 1) < 1e-15:
            break
    return shape * log(y) - y - lgamma(shape) + log(fraction)
