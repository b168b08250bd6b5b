"""The Gamma law of the traffic models, against scipy."""

from __future__ import annotations

from math import inf, isfinite

import pytest
from scipy import optimize, stats

from harness.trace.traffic.gamma import SHAPE_MAX, SHAPE_MIN, log_cdf, log_density, log_survival, maximise

SHAPES = [1e-3, 0.01, 0.11, 0.5, 1.0, 2.0, 10.0, 100.0, 1e4]
POINTS = [1e-9, 1e-6, 1e-3, 0.1, 0.5, 0.9, 1.0, 1.1, 2.0, 5.0, 20.0, 100.0]


@pytest.mark.parametrize("shape", SHAPES)
def test_laws_agree_with_scipy(shape: float) -> None:
    """Density, distribution and survival are scipy's to 1e-8 of their logarithm, wherever scipy has a finite one."""
    law = stats.gamma(shape, scale=1 / shape)
    compared = 0
    for x in POINTS:
        for ours, theirs in (
            (log_density(shape, x), law.logpdf(x)),
            (log_cdf(shape, x), law.logcdf(x)),
            (log_survival(shape, x), law.logsf(x)),
        ):
            if isfinite(theirs):
                assert ours == pytest.approx(theirs, rel=1e-8, abs=1e-8), (x, ours, theirs)
                compared += 1
            else:
                assert ours < -600
    assert compared >= 2 * len(POINTS)


def test_the_edge_at_zero() -> None:
    """No gap is shorter than 0, and every gap is longer."""
    assert (log_cdf(0.5, 0.0), log_survival(0.5, 0.0)) == (-inf, 0.0)


@pytest.mark.parametrize("shape", [0.1, 1.0, 7.5])
def test_the_maximum_and_its_interval_are_those_of_scipy(shape: float) -> None:
    """A shape's estimate and likelihood-ratio interval are what scipy's optimisers find for the same sample."""
    sample = stats.gamma(shape, scale=1 / shape).rvs(300, random_state=1)

    def likelihood(value: float) -> float:
        return float(stats.gamma(value, scale=1 / value).logpdf(sample).sum())

    best = optimize.minimize_scalar(lambda value: -likelihood(value), bounds=(shape / 5, shape * 5), method="bounded")

    def above(value: float) -> float:
        return likelihood(value) - (-best.fun - 2.0)

    found = maximise(lambda value: sum(log_density(value, x) for x in sample), 2.0)
    assert found.value == pytest.approx(best.x, rel=1e-3)
    assert found.low == pytest.approx(optimize.brentq(above, shape / 5, best.x), rel=1e-3)
    assert found.high == pytest.approx(optimize.brentq(above, best.x, shape * 5), rel=1e-3)


def test_a_likelihood_without_an_end_gives_the_limits() -> None:
    """Where every shape up to the limit is as good, the interval ends at the limits, not beyond."""
    found = maximise(lambda value: 0.0, 1.0)
    assert (found.low, found.high) == (pytest.approx(SHAPE_MIN), pytest.approx(SHAPE_MAX))
