"""How often an engagement was available, with an interval that does not pretend the visits were independent.

An outage hits everybody at once, so the unit of resampling is a block of consecutive seconds (about the cube root of
the run's length, the usual order for block bootstraps; Künsch 1989), not the visit. Where hardly anything failed the
bootstrap collapses to a point; the interval is therefore never narrower than Wilson's for independent trials.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from random import Random

import msgspec

from harness.measure.snapshot import Snapshot

MIN_SLICES = 10
_SETTLED = ("available", "not_available", "exhausted", "rejected", "failed")
_Z95 = 1.959964


class Availability(msgspec.Struct, frozen=True):
    """A ratio of `trials`, and its 95 % interval; None where the slices are too few to tell."""

    ratio: float
    trials: int
    ci95: tuple[float, float] | None


def first_attempt_counts(snapshot: Snapshot, cohort: str | None = None) -> tuple[int, int]:
    """(available at the first attempt, steps with an attempt) of get_engagement steps."""
    return (
        snapshot.total("first_available", "get_engagement", cohort),
        snapshot.total("first_attempts", "get_engagement", cohort),
    )


def eventual_counts(snapshot: Snapshot, cohort: str | None = None) -> tuple[int, int]:
    """(available in the end, steps settled by a reply or by exhaustion) of get_engagement steps.

    Censored, dropped and lost steps say nothing about the target and are left out.
    """
    outcomes = snapshot.by_last("steps", "get_engagement", cohort)
    return outcomes.get("available", 0), sum(outcomes.get(name, 0) for name in _SETTLED)


def availability(slices: Sequence[tuple[int, int]], rng: Random, resamples: int = 1000) -> Availability | None:
    """The ratio of successes to trials over (successes, trials) per second, in order of time; None without trials.

    The interval needs `MIN_SLICES` slices. The same `rng` state gives the same interval.
    """
    successes, trials = (sum(column) for column in zip(*slices, strict=True)) if slices else (0, 0)
    if not trials:
        return None
    ci95 = _interval(slices, successes, trials, rng, resamples) if len(slices) >= MIN_SLICES else None
    return Availability(ratio=successes / trials, trials=trials, ci95=ci95)


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % score interval of a ratio of independent trials (Wilson 1927); `trials` is 1 or more."""
    ratio, z2 = successes / trials, _Z95 * _Z95
    centre = (ratio + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z95 * sqrt(ratio * (1 - ratio) / trials + z2 / (4 * trials * trials)) / (1 + z2 / trials)
    return max(centre - half, 0.0), min(centre + half, 1.0)


def _interval(
    slices: Sequence[tuple[int, int]], successes: int, trials: int, rng: Random, resamples: int
) -> tuple[float, float]:
    length = max(round(len(slices) ** (1 / 3)), 1)
    blocks = []
    for start in range(0, len(slices), length):
        block = slices[start : start + length]
        blocks.append((sum(hits for hits, _ in block), sum(tried for _, tried in block)))
    ratios = []
    for _ in range(resamples):
        drawn = rng.choices(blocks, k=len(blocks))
        tried = sum(block[1] for block in drawn)
        if tried:
            ratios.append(sum(block[0] for block in drawn) / tried)
    ratios.sort()
    tail = int(len(ratios) * 0.025)
    low, high = wilson(successes, trials)
    return min(low, ratios[tail]), max(high, ratios[-1 - tail])
