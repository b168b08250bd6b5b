"""Student's t, binomial tails and Holm's correction, with the standard library alone.

P(|T| > t) with d degrees of freedom is the regularised incomplete beta function I_x(d/2, 1/2) at x = d / (d + t²)
(Abramowitz and Stegun 26.7.1). It is summed as a continued fraction from its far end (26.5.8), on the side where that
converges fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf, lgamma, log, log1p

_TERMS = 200


def two_sided_p(t: float, degrees: float) -> float:
    """The probability of a value as far from 0 as `t` or farther, of Student's t with `degrees` (above 0)."""
    if abs(t) == inf:
        return 0.0
    return _beta(degrees / 2, 0.5, degrees / (degrees + t * t), t * t / (degrees + t * t))


def t_quantile(confidence: float, degrees: float) -> float:
    """How far from 0 Student's t with `degrees` (above 0) stays with probability `confidence` (above 0, below 1)."""
    low, high = 0.0, 1.0
    while two_sided_p(high, degrees) > 1 - confidence:
        low, high = high, high * 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided_p(middle, degrees) > 1 - confidence else (low, middle)
    return high


def binomial_tails(k: float, n: float, p: float) -> tuple[float, float]:
    """(P(X <= k), P(X >= k)) of a binomial X of `n` trials with probability `p` (above 0, below 1).

    `k` and `n` need not be whole (0 <= k <= n, n above 0): between whole numbers the incomplete beta function leads.
    """
    least = 1.0 if k >= n else _beta(n - k, k + 1, 1 - p, p)
    most = 1.0 if k <= 0 else _beta(k, n - k + 1, p, 1 - p)
    return least, most


def _beta(a: float, b: float, x: float, rest: float) -> float:
    """I_x(a, b), `rest` being 1 - x without its rounding error."""
    if x <= 0.0 or rest <= 0.0:
        return 0.0 if x <= 0.0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _beta(b, a, rest, x)
    fraction = 1.0
    for m in range(_TERMS, 0, -1):
        odd = -(a + m - 1) * (a + b + m - 1) * x / ((a + 2 * m - 2) * (a + 2 * m - 1))
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        fraction = 1.0 + odd / (1.0 + even / fraction)
    log_front = a * log(x) + b * log1p(-x) + lgamma(a + b) - lgamma(a) - lgamma(b)
    return exp(log_front) / (a * fraction)


def holm(ps: Sequence[float]) -> list[float]:
    """The p values of one family, corrected so that a single false alarm is as rare as promised (Holm 1979)."""
    order = sorted(range(len(ps)), key=ps.__getitem__)
    corrected, largest = [1.0] * len(ps), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, ps[index] * (len(ps) - place)))
        corrected[index] = largest
    return corrected
