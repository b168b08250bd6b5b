"""The immediate gate: does tonight's value lie outside what the baseline's nights scatter?

The baseline is its median; its scatter is the median absolute deviation (MAD), scaled to a standard deviation. Both are
made of few nights, so the band is a Student quantile with the degrees of freedom that a MAD of n values is worth (its
efficiency is 37 %), widened for the error of the median itself (variance pi / 2n):

    band = t(1 - alpha; 0.37 (n - 1)) * 1.4826 MAD * sqrt(1 + pi / 2n)

An alarm needs both: a change for the worse beyond the band, and one of at least `min_effect`. Median and MAD do not
follow a single bad night, which is why neither a mean nor "the previous night" stands here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import pi, sqrt
from statistics import median
from typing import Final, Literal

import msgspec

from harness.judge.significance import t_quantile

# With fewer nights than this a scatter cannot be told.
MIN_NIGHTS: Final = 5
_MAD_TO_SIGMA: Final = 1.4826
_MAD_EFFICIENCY: Final = 0.37

Worse = Literal["up", "down"]


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """Tonight against the baseline of so many `nights`: `ok`, the `limit` that was set, the median (`center`)."""

    ok: bool
    limit: float
    center: float
    nights: int


def gate(
    value: float, baseline: Sequence[float], *, worse: Worse, least: float, alpha: float, absolute: bool = False
) -> Gate | None:
    """The gate's answer to tonight's `value`; None when the baseline has fewer than `MIN_NIGHTS` nights.

    `worse` says which way is bad. `least` is the smallest change that counts, relative to the median (0.05 is 5 %) or,
    if `absolute`, in the value's own unit. `alpha` (0 to 0.5) is the chance that an unchanged night alarms.
    """
    nights = len(baseline)
    if nights < MIN_NIGHTS:
        return None
    center = median(baseline)
    sigma = _MAD_TO_SIGMA * median([abs(each - center) for each in baseline])
    quantile = _one_sided(alpha, _MAD_EFFICIENCY * (nights - 1))
    room = max(least if absolute else abs(center) * least, quantile * sigma * sqrt(1 + pi / (2 * nights)))
    limit = center + room if worse == "up" else center - room
    return Gate(
        ok=value <= limit if worse == "up" else value >= limit,
        limit=limit,
        center=center,
        nights=nights,
    )


@lru_cache
def _one_sided(alpha: float, degrees: float) -> float:
    """What Student's t with so many `degrees` exceeds with probability `alpha`."""
    return t_quantile(1 - 2 * alpha, degrees)
