"""The Universal Scalability Law's fit: recovered from its own points, bounded on others, silent where data are few."""

from __future__ import annotations

from math import sqrt
from random import Random

import pytest
from scipy.optimize import minimize

from harness.capacity.usl import Usl, fit_usl

CONCURRENCIES = (0.5, 1, 2, 4, 8, 16, 32, 64)


@pytest.mark.parametrize(("sigma", "kappa"), [(0.0, 0.0), (0.05, 0.0), (0.0, 0.002), (0.04, 0.0008)])
def test_a_law_is_found_again(sigma: float, kappa: float) -> None:
    """Points that lie on a law give back its three coefficients."""
    law = Usl(lambda_hz=120.0, sigma=sigma, kappa=kappa, reach=64)
    found = fit_usl([(n, law.throughput_hz(n)) for n in CONCURRENCIES])
    assert found is not None
    assert (found.lambda_hz, found.sigma, found.kappa) == pytest.approx((120, sigma, kappa), rel=1e-6, abs=1e-9)
    assert found.reach == 64


def test_noisy_points_are_fitted_as_scipy_fits_them() -> None:
    """With noise of 5 %, the squared relative error is that of scipy's bounded minimiser, on 20 seeds."""
    for seed in range(20):
        random = Random(seed)
        law = Usl(lambda_hz=80.0, sigma=random.uniform(0, 0.2), kappa=random.choice([0.0, 0.0005, 0.003]), reach=0)
        points = [(n, law.throughput_hz(n) * random.uniform(0.95, 1.05)) for n in CONCURRENCIES]
        found = fit_usl(points)
        assert found is not None

        def error(coefficients: tuple[float, float, float], points: list[tuple[float, float]] = points) -> float:
            a, b, c = coefficients
            return sum((((a + b * (n - 1) + c * n * (n - 1)) * x / n) - 1) ** 2 for n, x in points)

        ours = (1 / found.lambda_hz, found.sigma / found.lambda_hz, found.kappa / found.lambda_hz)
        best = minimize(error, x0=(0.01, 1e-3, 1e-5), bounds=[(1e-9, None), (0, None), (0, None)], tol=1e-14)
        assert min(ours) >= 0
        assert error(ours) <= best.fun * (1 + 1e-6)


def test_a_knee_is_told_only_where_the_data_reach_it() -> None:
    """The peak stands where the derivative vanishes; beyond the highest concurrency seen it is not told."""
    law = Usl(lambda_hz=100.0, sigma=0.1, kappa=0.01, reach=20)
    assert law.knee == pytest.approx(sqrt(0.9 / 0.01))
    around = [law.throughput_hz(law.knee + by) for by in (-0.1, 0, 0.1)]
    assert max(around) == around[1]
    assert Usl(lambda_hz=100.0, sigma=0.1, kappa=0.01, reach=9).knee is None
    assert Usl(lambda_hz=100.0, sigma=0.1, kappa=0.0, reach=1e9).knee is None


def test_few_or_senseless_points_give_no_law() -> None:
    """Fewer than three concurrencies say nothing, nor do points that only sigma above 1 would explain."""
    assert fit_usl([(1, 10), (2, 19)]) is None
    assert fit_usl([(1, 10), (1, 11), (2, 19), (2, 18)]) is None
    assert fit_usl([(n, 100 * n / (1 + 3 * (n - 1))) for n in (1, 2, 3)]) is None
