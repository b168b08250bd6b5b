"""Laws of survival on histograms: against the textbook estimator on the raw waits, and against scipy."""

from __future__ import annotations

import warnings
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from pytest import approx
from scipy import stats

from harness.measure.histogram import Histogram
from harness.measure.survival import incidence, quantile_interval, time_to_event_quantile

waits = st.lists(st.integers(0, 1000), max_size=40)  # below 1,024 ns a bucket is one value: exact
percents = st.integers(1, 100)


def of(values: list[int]) -> Histogram:
    histogram = Histogram()
    histogram.add_all(values)
    return histogram


def textbook(events: list[int], censored: list[int], never: list[int]) -> list[tuple[int, Fraction, Fraction]]:
    """(time, share available, share refused) in exact fractions at each distinct time of an end, from the raw waits."""
    still, share, refused, rows = Fraction(1), Fraction(0), Fraction(0), []
    for time in sorted({*events, *never}):
        at_risk = sum(t >= time for t in (*events, *censored, *never))
        share += still * Fraction(events.count(time), at_risk)
        refused += still * Fraction(never.count(time), at_risk)
        still *= 1 - Fraction(events.count(time) + never.count(time), at_risk)
        rows.append((time, share, refused))
    return rows


@given(waits, waits, waits)
def test_equals_the_textbook_estimator(events: list[int], censored: list[int], never: list[int]) -> None:
    """Both shares equal the cumulative incidence in exact arithmetic at every end, and their interval holds them."""
    moments = incidence(of(events), of(censored), of(never))
    expected = textbook(events, censored, never)
    assert [moment.at_ns for moment in moments] == [time for time, _, _ in expected]
    for moment, (_, share, refused) in zip(moments, expected, strict=True):
        assert (moment.available, moment.never) == approx((float(share), float(refused)), abs=1e-9)
        assert (moment.low or 0.0) - 1e-9 <= moment.available <= (1.0 if moment.high is None else moment.high + 1e-9)


@given(waits, waits, waits, percents)
def test_quantile_is_where_the_share_reaches_it(
    events: list[int], censored: list[int], never: list[int], percent: int
) -> None:
    """Every quantile is the first time at which the exact share reaches it, or None."""
    found = time_to_event_quantile(of(events), of(censored), of(never), percent / 100)
    reached = [time for time, share, _ in textbook(events, censored, never) if share >= Fraction(percent, 100)]
    assert found == min(reached, default=None)


@given(waits, percents)
def test_without_censoring_it_is_the_plain_quantile(events: list[int], percent: int) -> None:
    """When every wait ended, the estimate is the histogram's own quantile."""
    found = time_to_event_quantile(of(events), Histogram(), Histogram(), percent / 100)
    assert found == of(events).quantile(percent / 100)


@given(waits, waits, percents)
def test_refused_is_infinitely_long(events: list[int], never: list[int], percent: int) -> None:
    """Without cut-offs, waits that were refused rank as infinite ones do."""
    histogram = of(events)
    histogram.add_infinite(len(never))
    found = time_to_event_quantile(of(events), Histogram(), of(never), percent / 100)
    assert found == histogram.quantile(percent / 100)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=40), waits)
def test_agrees_with_scipy_on_censored_data(events: list[int], censored: list[int]) -> None:
    """Shares and 95 % intervals without refusals are those of scipy.stats.ecdf (Kaplan-Meier, log-log intervals)."""
    oracle = stats.ecdf(stats.CensoredData(uncensored=events, right=censored)).cdf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where the interval is not known
        interval = oracle.confidence_interval(0.95, method="log-log")
    for moment in incidence(of(events), of(censored), Histogram()):
        assert moment.available == approx(float(oracle.evaluate(moment.at_ns)), abs=1e-9)
        if moment.low is not None and moment.high is not None:
            low, high = (float(side.evaluate(moment.at_ns)) for side in (interval.low, interval.high))
            assert (moment.low, moment.high) == approx((low, high), abs=1e-6)


def test_quantile_interval_by_hand() -> None:
    """The interval of the median is every time at which the share's interval holds one half."""
    moments = incidence(of(list(range(1, 101))), Histogram(), Histogram())
    known = [moment for moment in moments if moment.low is not None and moment.high is not None]
    held = [moment.at_ns for moment in known if moment.low <= 0.5 <= moment.high]
    low, high = quantile_interval(moments, 0.5)
    assert (low, high) == (min(held), max(held) + 1)
    assert quantile_interval(moments, 1.0)[1] is None
    assert quantile_interval([], 0.5) == (None, None)
