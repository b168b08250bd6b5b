"""The law with its doubt: intervals that hold the truth, and no peak where none was seen."""

from __future__ import annotations

from math import sqrt
from random import Random

import pytest

from harness.capacity.law import fit_law
from harness.capacity.usl import Usl
from tests.unit.capacity.law_data import law_points

TRUTH = Usl(lambda_hz=100.0, sigma=0.05, kappa=0.001, reach=0)
BEYOND = (1, 2, 4, 8, 16, 24, 32, 48, 64)
BEFORE = (1, 2, 3, 4, 6, 8)


def test_intervals_hold_the_truth() -> None:
    """Of 20 data sets that reach beyond the knee, at least 18 have sigma in its interval, and 18 kappa."""
    held = [0, 0]
    for seed in range(20):
        law = fit_law(law_points(TRUTH, BEYOND, Random(seed)), Random(seed))
        assert law is not None
        held[0] += law.sigma_ci95[0] <= TRUTH.sigma <= law.sigma_ci95[1]
        held[1] += law.kappa_ci95[0] <= TRUTH.kappa <= law.kappa_ci95[1]
        assert law.sigma_ci95[0] <= law.usl.sigma <= law.sigma_ci95[1]
    assert min(held) >= 18, held


def test_a_knee_that_was_passed_is_told_with_its_interval() -> None:
    """The knee is sqrt((1 - sigma) / kappa), the peak the throughput there; both lie in their intervals."""
    law = fit_law(law_points(TRUTH, BEYOND, Random(1), seconds=120), Random(1))
    assert law is not None
    knee = sqrt((1 - TRUTH.sigma) / TRUTH.kappa)
    assert law.why == ""
    assert law.knee == pytest.approx(knee, rel=0.1)
    assert law.peak_hz == pytest.approx(TRUTH.throughput_hz(knee), rel=0.05)
    assert law.knee_ci95 is not None
    assert law.peak_ci95 is not None
    assert law.knee_ci95[0] <= knee <= law.knee_ci95[1]
    assert law.peak_ci95[0] <= TRUTH.throughput_hz(knee) <= law.peak_ci95[1]
    assert [n for n, *_ in law.band] == sorted(n for n, *_ in law.band)
    assert all(low <= middle <= high for _, low, middle, high in law.band)


@pytest.mark.parametrize("seed", range(10))
def test_data_that_stop_before_the_knee_give_no_peak(seed: int) -> None:
    """Up to a quarter of the knee nothing shows where throughput turns: no number, and the reason."""
    law = fit_law(law_points(TRUTH, BEFORE, Random(seed)), Random(seed))
    assert law is not None
    assert (law.knee, law.knee_ci95, law.peak_hz, law.peak_ci95) == (None, None, None, None)
    assert law.why.startswith("peak not identifiable: ")


def test_points_off_the_law_widen_its_intervals() -> None:
    """Steps that scatter by a fifth around the law, far more than their seconds do, are not trusted."""
    points = law_points(TRUTH, BEYOND, Random(3))
    calm = fit_law(points, Random(1))
    wild = fit_law([*law_points(TRUTH, BEYOND[::2], Random(3)), *law_points(
        Usl(lambda_hz=70, sigma=0.05, kappa=0.001, reach=0), BEYOND[1::2], Random(3)
    )], Random(1))  # fmt: skip
    assert calm is not None
    assert wild is not None
    assert wild.lambda_ci95[1] - wild.lambda_ci95[0] > 3 * (calm.lambda_ci95[1] - calm.lambda_ci95[0])


def test_too_few_rates_say_no_law() -> None:
    """Two rates fit any law, and none is told."""
    assert fit_law(law_points(TRUTH, (1, 8), Random(1)), Random(1)) is None
    assert fit_law([], Random(1)) is None
