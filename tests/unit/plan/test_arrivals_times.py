"""Arrival times against closed forms and, for Poisson, against scipy."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice, pairwise

import pytest
from scipy import integrate, stats

from harness.plan.arrivals import parse_arrivals

S = 1_000_000_000


def times(spec: str, seed: int = 1, most: int | None = None) -> list[int]:
    return list(islice(parse_arrivals(spec).offsets_ns(seed), most))


@pytest.mark.parametrize(("rate", "text"), [(Fraction(100), "100/s"), (Fraction(7), "7"), (Fraction(1, 3), "20/m")])
def test_constant_is_exact_and_does_not_drift(rate: Fraction, text: str) -> None:
    """Arrival k of a constant rate comes at k / rate, to the nanosecond, the 300,000th as well."""
    times_ns = times(f"constant:{text}", most=300_001)
    for k in (0, 1, 2, 3, 1000, 299_999, 300_000):
        assert abs(times_ns[k] - k * S / rate) <= Fraction(1, 2) + Fraction(1, 10)


def test_constant_ends_before_its_duration() -> None:
    """A duration of whole gaps holds one arrival for each, the end excluded."""
    assert times("constant:4/s:2s") == [n * S // 4 for n in range(8)]
    assert times("constant:4/s:100ms") == [0]


@pytest.mark.parametrize(
    "spec", ["ramp:10/s..200/s:30s", "ramp:200/s..10/s:30s", "ramp:50/s..50/s:10s", "ramp:1..9:7s"]
)
def test_ramp_is_the_inverse_of_its_integral(spec: str) -> None:
    """Arrival k of a ramp comes when the integral of the rate, done numerically, reaches k; the last before the end."""
    plan = parse_arrivals(spec)
    (segment,) = plan.segments
    assert segment.duration_ns is not None
    seconds = segment.duration_ns / S

    def rate(moment_s: float) -> float:
        return segment.rate_hz + (segment.end_rate_hz - segment.rate_hz) * moment_s / seconds

    times_ns = times(spec)
    for k in range(0, len(times_ns), 37):
        assert integrate.quad(rate, 0, times_ns[k] / S)[0] == pytest.approx(k, abs=1e-5)
    area = integrate.quad(rate, 0, seconds)[0]
    assert segment.expected() == pytest.approx(area)
    assert len(times_ns) == round(area)


def test_nearly_level_ramp_is_level() -> None:
    """A slope of almost nothing costs no precision."""
    level, nearly = times("constant:100/s:60s"), times("ramp:100/s..100.00000001/s:60s", most=6000)
    assert max(abs(a - b) for a, b in zip(level, nearly, strict=True)) <= 10


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_poisson_gaps_are_exponential(seed: int) -> None:
    """Gaps pass a Kolmogorov-Smirnov test against the exponential law, and follow one another independently."""
    times_ns = [0, *times("poisson:200/s", seed, 20_000)]
    gaps_s = [(b - a) / S for a, b in pairwise(times_ns)]
    assert stats.kstest(gaps_s, stats.expon(scale=1 / 200).cdf).pvalue > 0.01
    assert abs(stats.pearsonr(gaps_s[:-1], gaps_s[1:]).statistic) < 4 / 20_000**0.5


def test_poisson_counts_are_as_scattered_as_they_should_be() -> None:
    """Arrivals a second have the variance of their mean (index of dispersion 1)."""
    seconds = [0] * 400
    for time_ns in times("poisson:50/s:400s", seed=4):
        seconds[time_ns // S] += 1
    dispersion = stats.tvar(seconds) / stats.tmean(seconds)
    low, high = (bound / 399 for bound in stats.chi2(399).interval(0.999))
    assert low < dispersion < high
    assert abs(sum(seconds) - 20_000) < 4 * 20_000**0.5


def test_poisson_depends_on_the_seed_alone() -> None:
    """The same seed gives the same times, another seed others, and a shorter plan is the beginning of a longer one."""
    assert times("poisson:10/s:20s", 5) == times("poisson:10/s:20s", 5)
    assert times("poisson:10/s:20s", 5) != times("poisson:10/s:20s", 6)
    longer = times("poisson:10/s:60s", 5)
    assert times("poisson:10/s:20s", 5) == [time_ns for time_ns in longer if time_ns < 20 * S]


def test_segments_follow_one_another() -> None:
    """Each segment begins where the one before ends, whatever its kind; the last may go on for ever."""
    ramp = times("ramp:1/s..3/s:2s")
    assert len(ramp) == 4
    assert times("constant:2/s:1s,ramp:1/s..3/s:2s,constant:4/s", most=9) == [
        *(0, S // 2),
        *(S + time_ns for time_ns in ramp),
        *(3 * S, 3 * S + S // 4, 3 * S + S // 2),
    ]


def test_two_poisson_segments_differ() -> None:
    """Segments of one plan draw from streams of their own."""
    times_ns = times("poisson:10/s:30s,poisson:10/s:30s")
    first = [time_ns for time_ns in times_ns if time_ns < 30 * S]
    second = [time_ns - 30 * S for time_ns in times_ns if time_ns >= 30 * S]
    assert first == times("poisson:10/s:30s")
    assert second != first


def test_rate_at_a_moment() -> None:
    """The planned rate is each segment's own, interpolated on a ramp, and None after the end or without a rate."""
    plan = parse_arrivals("constant:2/s:1s,ramp:2/s..6/s:2s,poisson:9/s:1s")
    moments = (0, S - 1, S, 2 * S, 3 * S, 4 * S - 1, 4 * S)
    assert [plan.rate_at_hz(moment) for moment in moments] == [2, 2, 2, 4, 9, 9, None]
    assert plan.duration_ns() == 4 * S
    assert parse_arrivals("constant:5/s").rate_at_hz(10**15) == 5
    assert parse_arrivals("constant:5/s").duration_ns() is None
    assert [parse_arrivals(spec).rate_at_hz(0) for spec in ("recorded", "closed:3")] == [None, None]


def test_diurnal_swings_from_trough_to_peak_and_back() -> None:
    """A diurnal rate is at its trough at the start, at its peak half a period later, and brings its integral."""
    plan = parse_arrivals("diurnal(peak=120/s, trough=10/s, period=40s):100s")
    assert [plan.rate_at_hz(moment * S) for moment in (0, 10, 20, 40, 60)] == pytest.approx([10, 65, 120, 10, 120])
    (segment,) = plan.segments
    assert segment.expected() == pytest.approx(65 * 100 + 0.0, rel=1e-9)
    times_ns = times("diurnal(peak=120/s, trough=10/s, period=40s):100s")
    assert len(times_ns) == pytest.approx(6500, abs=4 * 6500**0.5)
    near_trough = sum(38 <= time_ns / S < 42 for time_ns in times_ns)
    near_peak = sum(58 <= time_ns / S < 62 for time_ns in times_ns)
    assert near_trough < 70
    assert near_peak > 400


def test_bursty_gaps_have_the_cv_that_was_asked_for() -> None:
    """The gaps of bursty arrivals have the rate's mean and the cv, which cv=1 makes those of Poisson."""
    for cv in (0.5, 1.0, 3.0):
        times_ns = times(f"bursty:50/s:400s,cv={cv:g}")
        gaps = [(after - before) / S for before, after in pairwise(times_ns)]
        mean = sum(gaps) / len(gaps)
        spread = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
        assert mean == pytest.approx(1 / 50, rel=4 * cv / 20_000**0.5)
        assert spread / mean == pytest.approx(cv, rel=0.06)
