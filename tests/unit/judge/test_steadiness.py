"""Warm-up and drift: told where they are, and not where there is only noise."""

from __future__ import annotations

from random import Random

import pytest

from harness.judge.steadiness import Steadiness, steadiness

MS = 1_000_000


def seconds(means_ms: list[float]) -> list[tuple[int, int]]:
    """Fifty replies a second with these mean service times."""
    return [(50, int(50 * mean * MS)) for mean in means_ms]


def noisy(seed: int, n: int = 60) -> list[float]:
    rng = Random(seed)
    return [20 * (1 + rng.gauss(0, 0.03)) for _ in range(n)]


def found(means_ms: list[float]) -> Steadiness:
    answer = steadiness(seconds(means_ms))
    assert answer is not None
    return answer


def test_a_slow_start_is_found_and_measured() -> None:
    """Eight seconds at double time are a warm-up of eight seconds, to the bin of two."""
    means = noisy(1)
    answer = found([2 * mean if second < 8 else mean for second, mean in enumerate(means)])
    assert answer.warmup_s == 8
    assert "the first 8 s differ from the rest" in str(answer)


def test_a_drift_is_found_and_sized() -> None:
    """Thirty per cent from start to end are told as such, within three points."""
    answer = found([mean * (1 + 0.3 * second / 59) for second, mean in enumerate(noisy(2))])
    assert answer.drifts
    # In relation to the median, which lies half-way up.
    assert answer.drift_ratio == pytest.approx(0.3 / 1.15, abs=0.03)


def test_noise_is_neither() -> None:
    """Of 200 steady runs at most 4 are said to drift (2 expected at a p of 1 %), and none to warm up."""
    answers = [found(noisy(seed)) for seed in range(200)]
    assert sum(answer.drifts for answer in answers) <= 4
    assert sum(answer.warmup_s > 0 for answer in answers) == 0
    assert str(Steadiness(warmup_s=0, drift_ratio=0.0, drift_p=1.0)) == "no warm-up and no drift to be seen"


def test_too_short_or_idle_runs_say_nothing() -> None:
    """Below twenty seconds, or with hardly a reply in them, there is no answer."""
    assert steadiness(seconds(noisy(3, 19))) is None
    assert steadiness([(0, 0)] * 60) is None
