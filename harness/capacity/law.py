"""The Universal Scalability Law with its doubt: intervals and a band from seconds drawn again, and what it cannot say.

Each step's seconds are drawn again in blocks (`judge.bootstrap`), the law is fitted to what comes of it, and what
95 of 100 draws agree on is the interval. Where the steps lie farther from the law than their own seconds explain, the
law is not quite theirs, and the intervals are stretched by that much.

Where the throughput turns can be said only if it has been seen to: with an interval of kappa that touches 0, or a knee
beyond the highest concurrency measured, the peak is not identifiable, and no number is given for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from random import Random
from typing import Final

import msgspec

from harness.capacity.load_point import LoadPoint
from harness.capacity.usl import MIN_POINTS, Usl, fit_usl
from harness.judge.bootstrap import Blocks, block_length

DRAWS: Final = 400
_ENDS = (0.025, 0.975)
# Beyond this share of draws without a law the data do not have one.
_MISSING_RATIO = 0.2
_BAND_POINTS = 40

Interval = tuple[float, float]


class Law(msgspec.Struct, frozen=True, kw_only=True):
    """A fitted law; intervals are 95 %.

    `knee` (attempts in flight) and `peak_hz` (useful steps per second) are None when `why` says that they cannot be
    identified. `band` holds (concurrency, low, law, high) in steps per second.
    """

    usl: Usl
    lambda_ci95: Interval
    sigma_ci95: Interval
    kappa_ci95: Interval
    knee: float | None
    knee_ci95: Interval | None
    peak_hz: float | None
    peak_ci95: Interval | None
    why: str
    band: tuple[tuple[float, float, float, float], ...]


def fit_law(points: Sequence[LoadPoint], rng: Random) -> Law | None:
    """The law through the points, two or more seconds each; None where they do not say it (see `fit_usl`)."""
    points = [point for point in points if point.concurrency > 0 and point.goodput_hz > 0 and len(point.useful) > 1]
    usl = fit_usl([(point.concurrency, point.goodput_hz) for point in points])
    if usl is None:
        return None
    drawn = [_drawn(point, rng) for point in points]
    stretch = _stretch(points, drawn, usl)
    laws = [law for law in (fit_usl(list(each)) for each in zip(*drawn, strict=True)) if law is not None]
    if len(laws) < (1 - _MISSING_RATIO) * DRAWS:
        return None

    def interval(of: Callable[[Usl], float]) -> Interval:
        return _interval(of(usl), [of(law) for law in laws], stretch)

    kappa_ci95 = interval(lambda law: law.kappa)
    turning = [law for law in laws if law.kappa > 0 and law.sigma < 1]
    knee = usl.knee
    knee_ci95 = None if knee is None else _interval(knee, [_knee(law) for law in turning], stretch)
    why = _why_no_peak(usl, kappa_ci95, knee_ci95)
    if why:
        knee = knee_ci95 = None
    return Law(
        usl=usl,
        lambda_ci95=interval(lambda law: law.lambda_hz),
        sigma_ci95=interval(lambda law: law.sigma),
        kappa_ci95=kappa_ci95,
        knee=knee,
        knee_ci95=knee_ci95,
        peak_hz=None if knee is None else usl.throughput_hz(knee),
        peak_ci95=None
        if knee is None
        else _interval(usl.throughput_hz(knee), [law.throughput_hz(_knee(law)) for law in turning], stretch),
        why=why,
        band=tuple(_band(usl, laws, stretch)),
    )


def _knee(law: Usl) -> float:
    return sqrt((1 - law.sigma) / law.kappa)


def _why_no_peak(usl: Usl, kappa_ci95: Interval, knee_ci95: Interval | None) -> str:
    if kappa_ci95[0] <= 0:
        return "peak not identifiable: the interval of kappa touches 0, nothing shows that throughput turns"
    if knee_ci95 is None or knee_ci95[1] > usl.reach:
        # A knee inside the data whose interval is not would be a guess as well.
        return f"peak not identifiable: it may lie beyond the {usl.reach:.3g} attempts in flight that were measured"
    return ""


def _drawn(point: LoadPoint, rng: Random) -> list[tuple[float, float]]:
    """(concurrency, goodput in 1/s) of each draw; a draw without any is as near to none as can be."""
    seconds = len(point.useful)
    busy, useful = point.busy_s, [float(n) for n in point.useful]
    length = max(_dependence(busy), _dependence(useful))
    blocks = Blocks(seconds, length, rng, DRAWS)
    drawn_seconds = len(blocks.draws[0]) * blocks.length
    # A draw is a little longer than the step, so it varies less: its distance from the step is stretched to make up.
    scale = blocks.scale
    means = []
    for n_total, x_total in zip(blocks.totals(busy), blocks.totals(useful), strict=True):
        n = point.concurrency + scale * (n_total / drawn_seconds - point.concurrency)
        x = point.goodput_hz + scale * (x_total / drawn_seconds - point.goodput_hz)
        means.append((max(n, 1e-6), max(x, 1e-6)))
    return means


def _dependence(series: Sequence[float]) -> int:
    mean = sum(series) / len(series)
    return block_length([value - mean for value in series])


def _stretch(points: Sequence[LoadPoint], drawn: Sequence[Sequence[tuple[float, float]]], usl: Usl) -> float:
    """By how much the points are farther from the law than their own seconds explain; 1 at least."""
    free = len(points) - MIN_POINTS
    if free < 1:
        return 1.0
    excess = 0.0
    for point, draws in zip(points, drawn, strict=True):
        off = [x / usl.throughput_hz(n) - 1 for n, x in draws]
        middle = sum(off) / len(off)
        variance = sum((value - middle) ** 2 for value in off) / (len(off) - 1)
        excess += (point.goodput_hz / usl.throughput_hz(point.concurrency) - 1) ** 2 / max(variance, 1e-12)
    return max(1.0, sqrt(excess / free))


def _interval(value: float, draws: Sequence[float], stretch: float) -> Interval:
    """The middle 95 % of the draws, stretched away from the value itself; no parameter is below 0."""
    ordered = sorted(value + stretch * (draw - value) for draw in draws)
    low, high = (ordered[min(int(end * len(ordered)), len(ordered) - 1)] for end in _ENDS)
    return max(0.0, min(low, value)), max(high, value)


def _band(usl: Usl, laws: Sequence[Usl], stretch: float) -> list[tuple[float, float, float, float]]:
    band = []
    for at in range(1, _BAND_POINTS + 1):
        n = usl.reach * at / _BAND_POINTS
        middle = usl.throughput_hz(n)
        low, high = _interval(middle, [law.throughput_hz(n) for law in laws], stretch)
        band.append((n, low, middle, high))
    return band
