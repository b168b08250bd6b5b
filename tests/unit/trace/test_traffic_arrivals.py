"""Learning arrivals: windows, counts and likelihoods against plain computations of the same."""

from __future__ import annotations

from itertools import islice, pairwise
from math import log
from random import Random

import pytest
from scipy import stats

from harness.trace.traffic.arrivals import DAY_S, Calendar, Evidence, count_rates, learn_arrivals, tick_s
from harness.trace.traffic.renewal import RateProfile, arrivals_s


def test_calendar_of_days_has_hours_on_the_clock() -> None:
    """From a day and a half on, blocks are hours of the clock; every fifth is held out, every hour trained on."""
    calendar = Calendar.of(3 * DAY_S, "2015-05-17T10:05:13Z")
    assert (calendar.period_s, calendar.block_s, calendar.phase_s) == (DAY_S, 3600.0, 36313.0)
    assert (calendar.block(0.0), calendar.block(3600.0 - 313.0), calendar.block(3600.0 - 313.1)) == (10, 11, 10)
    trained = {number % 24 for number, _, _ in calendar.blocks() if not calendar.held_out(number)}
    assert trained == set(range(24))


@pytest.mark.parametrize(("span_s", "created"), [(3 * DAY_S, "2015-05-17T10:05:13Z"), (50.0, ""), (7.0, "nonsense")])
def test_windows_divide_the_trace(span_s: float, created: str) -> None:
    """Held-out windows and the others together are the whole trace, without overlap; a fifth is held out."""
    calendar = Calendar.of(span_s, created)
    out, rest = calendar.windows(True), calendar.windows(False)
    edges = sorted(out + rest)
    assert edges[0][0] == 0.0
    assert edges[-1][1] == pytest.approx(span_s)
    assert all(before[1] == pytest.approx(after[0]) for before, after in pairwise(edges))
    assert sum(end - start for start, end in out) / span_s == pytest.approx(0.2, abs=0.02)
    assert calendar.windows(None) == [(0.0, calendar.end_s)]


@pytest.mark.parametrize(
    ("moments_ns", "tick"),
    [([0, 3 * 10**9, 10**11], 1.0), ([0, 1_500_000_000], 0.1), ([0, 1_000_001_000], 1e-6), ([0, 7], 1e-9), ([0], 1.0)],
)
def test_tick(moments_ns: list[int], tick: float) -> None:
    """The resolution is the greatest power of ten that all moments keep to, at most a second."""
    assert tick_s(moments_ns) == pytest.approx(tick)


def test_rates_are_counts_over_lengths() -> None:
    """Rates by bin are visits over seconds, counted within windows only, with one visit added in all."""
    calendar = Calendar(100.0, 10.0, 20.0, 300.0)
    windows = [(0.0, 75.0), (100.0, 300.0)]
    moments = [1.0, 2.0, 35.0, 80.0, 90.0, 120.0, 199.0, 299.0]
    rates = count_rates(moments, windows, calendar, 4)
    # Bins of 25 s of the phase (at + 20) % 100: for each, visits and seconds inside the windows.
    counts, lengths = [0] * 4, [0.0] * 4
    for moment in moments:
        if moment not in (80.0, 90.0):
            counts[int((moment + 20) % 100 // 25)] += 1
    for second in range(3000):
        at_s = second / 10 + 0.05
        if not 75 <= at_s < 100:
            lengths[int((at_s + 20) % 100 // 25)] += 0.1
    overall = sum(counts) / sum(lengths)
    wanted = [(count + 0.25) / (length + 0.25 / overall) for count, length in zip(counts, lengths, strict=True)]
    assert rates.rates_hz == pytest.approx(wanted, rel=1e-3)
    assert count_rates(moments, windows, calendar, 1).rates_hz == [pytest.approx(overall, rel=1e-3)]


@pytest.mark.parametrize("shape", [0.3, 1.0, 4.0])
def test_likelihood_is_that_of_the_conditional_intensity(shape: float) -> None:
    """The log-likelihood in windows is the sum of log hazards at visits minus the hazard's integral (scipy)."""
    profile = RateProfile([0.5, 2.0, 1.0], 12.0, phase_s=5.0)
    moments = list(islice(arrivals_s(profile, 1.0, Random(2)), 40))
    moments = [moment for before, moment in pairwise([-1.0, *moments]) if moment - before > 0.05]
    windows = [(2.0, 6.5), (9.0, 15.0), (16.0, moments[-1] - 1.0)]
    law = stats.gamma(shape, scale=1 / shape)

    def hazard(at_s: float, before_s: float) -> float:
        age = profile.expected(at_s) - profile.expected(before_s)
        return float(law.pdf(age) / law.sf(age) * profile.rate_at(at_s))

    wanted = 0.0
    for before, at_s in pairwise(moments):
        for start, end in windows:
            if start <= at_s < end:
                wanted += log(hazard(at_s, before))
            low, high = max(before, start), min(at_s, end)
            if low < high:
                edges = [edge for edge in (n * 4.0 - 5.0 for n in range(40)) if low < edge < high]
                for left, right in pairwise([low, *edges, high]):
                    age = [profile.expected(moment) - profile.expected(before) for moment in (left, right)]
                    wanted -= law.logsf(age[0]) - law.logsf(age[1])
    evidence = Evidence(moments, windows, profile, 1e-9)
    assert evidence.log_likelihood(shape) == pytest.approx(wanted, rel=1e-5)
    assert evidence.visits == sum(start <= at_s < end for at_s in moments[1:] for start, end in windows)


def test_gaps_below_the_resolution_count_as_short() -> None:
    """Visits in the same or the next tick count with the probability of a gap below one and a half ticks."""
    profile = RateProfile([0.2], 100.0)
    evidence = Evidence([0.0, 0.0, 1.0, 8.0], [(0.0, 100.0)], profile, 1.0)
    law = stats.gamma(0.5, scale=2.0)
    assert evidence.log_likelihood(0.5) == pytest.approx(2 * law.logcdf(0.3) + law.logpdf(7 * 0.2) + log(0.2))


def test_traffic_by_the_clock_is_told_from_bursts() -> None:
    """Visits that come in one minute of each hour are learned as minutes, after which they are hardly bursty."""
    rng = Random(4)
    moments = sorted(hour * 3600 + 420 + rng.random() * 60 for hour in range(72) for _ in range(10))
    calendar = Calendar.of(72 * 3600.0, "")
    learned = learn_arrivals(moments, calendar.windows(None), calendar, 1e-6)
    minutes = learned.rates.minutes
    assert max(range(60), key=minutes.__getitem__) == 7
    assert minutes[7] > 50
    arrivals = learned.to_model()
    assert arrivals.cv < 1.3
    assert arrivals.burstiness is not None
    assert arrivals.burstiness.low < arrivals.cv < arrivals.burstiness.high
