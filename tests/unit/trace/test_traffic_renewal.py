"""Arrivals of a rate and a burstiness: clocks against integrals, the process against its law."""

from __future__ import annotations

from itertools import islice, pairwise
from random import Random
from statistics import fmean, pstdev

import pytest
from scipy import integrate, stats

from harness.trace.traffic.renewal import RateProfile, Wave, arrivals_s, operational_times

CLOCKS = [
    RateProfile([3.0], 10.0),
    RateProfile([1.0, 5.0, 0.25, 2.0], 40.0, phase_s=13.0),
    Wave(120.0, 10.0, 60.0),
    Wave(7.0, 7.0, 60.0),
    Wave(5.0, 0.001, 60.0),
]


@pytest.mark.parametrize("clock", CLOCKS)
def test_expected_is_the_integral_of_the_rate_and_moments_its_inverse(clock: RateProfile | Wave) -> None:
    """Operational time is the rate integrated (scipy's quadrature), and `moments_s` leads back."""
    moments = [0.0, 0.3, 7.0, 29.9, 30.0, 41.5, 133.3]
    for before, after in pairwise(moments):
        steps = [*(edge for edge in range(-13, 300, 10) if before < edge < after)]
        area, _ = integrate.quad(clock.rate_at, before, after, points=steps or None, limit=500)
        assert clock.expected(after) - clock.expected(before) == pytest.approx(area, rel=1e-6)
    back = list(clock.moments_s(clock.expected(moment) for moment in moments))
    assert back == pytest.approx(moments, abs=2e-6)


def test_minutes_of_the_hour_multiply_the_rates() -> None:
    """A minute's rate is that of its bin times the minute's factor, whatever the bins."""
    minutes = [0.0 + (number == 5) * 60 or 1e-6 for number in range(60)]
    profile = RateProfile.with_minutes([2.0, 4.0], minutes, 7200.0, 600.0)
    # 600 s into the hour is minute 10; minute 5 of the next hour comes 55 minutes later.
    assert profile.rate_at(0.0) == pytest.approx(2e-6)
    assert profile.rate_at(55 * 60.0) == pytest.approx(4 * 60)
    assert profile.rate_at(115 * 60.0) == pytest.approx(2 * 60)
    assert profile.rate_at(55 * 60.0 + 7200) == pytest.approx(4 * 60)


@pytest.mark.parametrize("cv", [0.25, 1.0, 3.0])
def test_gaps_have_the_law_and_the_first_arrival_is_stationary(cv: float) -> None:
    """Gaps are Gamma with mean 1 and the cv (by scipy), and on average one arrival comes per unit from 0 on."""
    shape = 1 / cv**2
    times = list(islice(operational_times(cv, Random(5)), 20_000))
    gaps = sorted(after - before for before, after in pairwise(times))
    below = stats.gamma(shape, scale=cv**2).cdf(gaps)
    # Differences of times are rounded: the law of gaps is compared where that does not matter.
    distances = [abs(rank / len(gaps) - p) for rank, (p, gap) in enumerate(zip(below, gaps, strict=True)) if gap > 1e-9]
    assert max(distances) < 1.63 / len(gaps) ** 0.5
    assert pstdev(gaps) / fmean(gaps) == pytest.approx(cv, rel=0.06)
    counts = []
    for seed in range(1000):
        process = operational_times(cv, Random(f"s{seed}"))
        count = 0
        while next(process) < 1.0:
            count += 1
        counts.append(count)
    # A renewal process begun with an arrival at 0 would have cv**2 / 2 more in the long run.
    assert fmean(counts) == pytest.approx(1.0, abs=4 * pstdev(counts) / len(counts) ** 0.5)


def test_arrivals_follow_the_rate() -> None:
    """Counts by bin are those of the profile within four standard deviations of a Poisson count."""
    profile = RateProfile([20.0, 80.0, 5.0], 30.0, phase_s=4.0)
    counts = [0, 0, 0]
    for at_s in arrivals_s(profile, 1.0, Random(3)):
        if at_s >= 300:
            break
        counts[profile.bin_at(at_s)] += 1
    for count, rate in zip(counts, profile.rates_hz, strict=True):
        assert abs(count - rate * 100) < 4 * (rate * 100) ** 0.5
