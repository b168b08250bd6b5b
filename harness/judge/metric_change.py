"""What became of one metric between runs: found by seconds or by pairs, judged as one of a family.

Why and how: `harness.judge.compare`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf, isfinite, log, sqrt
from random import Random
from typing import Literal

import msgspec

from harness.judge.check import Check, quantity
from harness.judge.sample import Sample, Seconds, beyond, sample
from harness.judge.significance import holm, t_quantile, two_sided_p
from harness.judge.threshold import Metric
from harness.units import NS_PER_MS

POINTS_OF_EFFECT = 0.1

Outcome = Literal["worse", "better", "same", "small", "unclear", "no_data"]

# Everything else that can be compared is the worse the more of it there is.
_MORE_IS_BETTER = frozenset({"available", "accepted", "first", "eventual", "visits", "attempts", "steps"})
_UNITS = {"ratio": "ratio", "availability": "ratio", "rate": "/s", "retry_amplification": ""}
_WORDS = {
    "worse": "worse",
    "better": "better",
    "same": "no change that matters",
    "small": "changed, but less than matters",
    "unclear": "a change that matters can neither be seen nor excluded",
}


class MetricChange(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one metric.

    `base` and `new` are in `unit` ("ms", "ratio", "/s", ""), None for "never" and for nothing; of several pairs they
    are the means (of times the geometric ones). `effect` is new / base - 1, of shares new - base; `ci95` is its
    interval; None where it is not known. `p` is corrected by Holm. `min_effect` is what matters, in the same scale.
    """

    metric: str
    unit: str
    scale: Literal["relative", "points"]
    base: float | None
    new: float | None
    effect: float | None
    ci95: tuple[float, float] | None
    p: float | None
    min_effect: float
    outcome: Outcome
    message: str

    @property
    def ratio(self) -> float | None:
        """new / base."""
        return self.new / self.base if self.base and self.new is not None else None

    def check(self) -> Check:
        """The change as a check of kind "regression"."""
        return Check(
            name=self.metric,
            kind="regression",
            ok=self.outcome != "worse",
            observed=None if self.effect is None else round(self.effect, 6),
            limit=self.min_effect,
            unit="ratio",
            message=self.message,
        )


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A change before it is judged: on the scale of `Sample.error`; `lacking` when there is none to judge."""

    metric: Metric
    base: float | None = None
    new: float | None = None
    shift: float | None = None
    error: float = 0.0
    degrees: float = 1.0
    p: float | None = None
    lacking: str = ""


def _shares(metric: Metric) -> bool:
    return metric.function in ("ratio", "availability")


def single(metric: Metric, base: Seconds, new: Seconds, rng: Random) -> Found:
    """The change of a metric between two runs, by their seconds."""
    was, now = (sample(metric, side, rng) for side in (base, new))
    lacking = [f"{name} has {each.lacking}" for name, each in (("base", was), ("new", now)) if each.lacking]
    if was.value is None or now.value is None or lacking:
        return Found(metric=metric, base=was.value, new=now.value, lacking="; ".join(lacking))
    if was.error is None or now.error is None:
        return _beyond(metric, (base, new), was, now, rng)
    shift = now.value - was.value if _shares(metric) else log(now.value / was.value)
    error, degrees = _welch(was.error, was.degrees, now.error, now.degrees)
    p = two_sided_p(shift / error, degrees)
    return Found(metric=metric, base=was.value, new=now.value, shift=shift, error=error, degrees=degrees, p=p)


def _welch(error: float, degrees: float, other: float, other_degrees: float) -> tuple[float, float]:
    squares = error * error, other * other
    total = squares[0] + squares[1]
    return sqrt(total), total * total / (squares[0] ** 2 / degrees + squares[1] ** 2 / other_degrees)


def _beyond(metric: Metric, seconds: tuple[Seconds, Seconds], was: Sample, now: Sample, rng: Random) -> Found:
    """Where "never" is near: has the share beyond the smaller percentile changed?"""
    assert was.value is not None and now.value is not None
    limit_ns = min(was.value, now.value)
    if limit_ns == inf:
        return Found(metric=metric, base=inf, new=inf, shift=0.0, p=1.0)
    shares = [beyond(metric, side, limit_ns, rng) for side in seconds]
    if shares[0] is None or shares[1] is None:
        return Found(metric=metric, base=was.value, new=now.value, lacking="nothing was measured")
    error, degrees = _welch(shares[0].error, shares[0].degrees, shares[1].error, shares[1].degrees)
    p = two_sided_p((shares[1].share - shares[0].share) / error, degrees)
    finite = isfinite(was.value) and isfinite(now.value)
    shift = log(now.value / was.value) if finite else inf if now.value == inf else -inf
    return Found(metric=metric, base=was.value, new=now.value, shift=shift, error=inf, p=p)


def paired(metric: Metric, pairs: Sequence[tuple[Seconds, Seconds]]) -> Found:
    """The mean change over pairs, with their spread as its error."""
    sides: list[tuple[float, float]] = []
    for base, new in pairs:
        was, now = (sample(metric, side, None) for side in (base, new))
        lacking = was.lacking or now.lacking
        if was.value is None or now.value is None or lacking:
            return Found(metric=metric, lacking=f"a run has {lacking or 'nothing'}")
        sides.append((was.value, now.value))
    if not all(isfinite(value) for pair in sides for value in pair):
        return _signed(metric, sides)
    flat = _shares(metric)
    scaled = [(was, now) if flat else (log(was), log(now)) for was, now in sides]
    shifts = [now - was for was, now in scaled]
    n, shift = len(shifts), sum(shifts) / len(shifts)
    error = sqrt(sum((each - shift) ** 2 for each in shifts) / (n - 1) / n)
    was, now = (sum(column) / n for column in zip(*scaled, strict=True))
    p = two_sided_p(shift / error, n - 1) if error else float(shift == 0)
    told = (was, now) if flat else (exp(was), exp(now))
    return Found(metric=metric, base=told[0], new=told[1], shift=shift, error=error, degrees=n - 1, p=p)


def _signed(metric: Metric, sides: Sequence[tuple[float, float]]) -> Found:
    """Pairs with a "never" have a direction and no size: the sign test."""
    signs = [(now > was) - (now < was) for was, now in sides]
    decided = [sign for sign in signs if sign]
    was, now = (sorted(column)[len(column) // 2] for column in zip(*sides, strict=True))
    if not decided:
        return Found(metric=metric, base=was, new=now, shift=0.0, p=1.0)
    total = sum(decided)
    p = min(1.0, 2 * 0.5 ** len(decided)) if abs(total) == len(decided) else 1.0
    shift = inf if total > 0 else -inf if total < 0 else 0.0
    return Found(metric=metric, base=was, new=now, shift=shift, error=inf, p=p)


def judged(found: Sequence[Found], min_effect: float, alpha: float) -> list[MetricChange]:
    """The changes with their outcomes, in order: each p value corrected for the whole family."""
    corrected = iter(holm([each.p for each in found if each.p is not None]))
    return [_change(each, next(corrected) if each.p is not None else None, min_effect, alpha) for each in found]


def _change(found: Found, p: float | None, min_effect: float, alpha: float) -> MetricChange:
    metric, flat = found.metric, _shares(found.metric)
    matters = min_effect * POINTS_OF_EFFECT if flat else min_effect
    effect, ci95 = None, None
    if found.shift is not None and isfinite(found.shift):
        effect = found.shift if flat else exp(found.shift) - 1
        if isfinite(found.error):
            half = t_quantile(0.95, found.degrees) * found.error
            ends = found.shift - half, found.shift + half
            ci95 = ends if flat else (exp(ends[0]) - 1, exp(ends[1]) - 1)
    outcome = _outcome(metric, found.shift, ci95, p, matters, alpha, flat)
    unit = "ms" if metric.timed else _UNITS[metric.function]
    base, new = (_in_unit(value, metric) for value in (found.base, found.new))
    change = MetricChange(
        metric=metric.text, unit=unit, scale="points" if flat else "relative", base=base, new=new, effect=effect,
        ci95=ci95, p=p, min_effect=matters, outcome=outcome, message="",
    )  # fmt: skip
    message = found.lacking if outcome == "no_data" else _message(change, found)
    return msgspec.structs.replace(change, message=message)


def _outcome(
    metric: Metric,
    shift: float | None,
    ci95: tuple[float, float] | None,
    p: float | None,
    matters: float,
    alpha: float,
    flat: bool,
) -> Outcome:
    if shift is None or p is None:
        return "no_data"
    # Ratios are symmetric on their scale: five per cent slower is undone by five per cent of a speed-up.
    bound = matters if flat else log(1 + matters)
    if p < alpha:
        if abs(shift) < bound:
            return "small"
        more = shift > 0
        return "better" if more == (metric.subject in _MORE_IS_BETTER) else "worse"
    if ci95 is None:
        return "unclear" if shift else "same"
    within = [abs(end if flat else log(1 + end)) < bound for end in ci95]
    return "same" if all(within) else "unclear"


def _in_unit(value: float | None, metric: Metric) -> float | None:
    if value is None or not isfinite(value):
        return None
    return round(value / NS_PER_MS, 6) if metric.timed else round(value, 9)


def _message(change: MetricChange, found: Found) -> str:
    was, now = (
        "never" if value == inf else "nothing" if told is None else quantity(told, change.unit)
        for value, told in ((found.base, change.base), (found.new, change.new))
    )
    text = f"{was} became {now}"
    if change.effect is not None:
        text += f", {change_text(change.effect, change.scale)}"
        if change.ci95 is not None:
            low, high = (change_text(end, change.scale) for end in change.ci95)
            text += f" ({low} to {high})"
    return f"{text}: {_WORDS[change.outcome]}"


def change_text(effect: float, scale: str) -> str:
    """An effect for people: `+7.5 %`, or `-0.31 points`."""
    return f"{effect * 100:+.2f} points" if scale == "points" else f"{effect * 100:+.1f} %"
