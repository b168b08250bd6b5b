"""Laws of the Kaplan-Meier quantile, against the textbook estimator on the raw waits."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from harness.measure.histogram import Histogram
from harness.measure.survival import time_to_event_quantile

waits = st.lists(st.integers(0, 1000), max_size=40)  # below 1,024 ns a bucket is one value: exact
percents = st.integers(1, 100)


def of(values: list[int]) -> Histogram:
    histogram = Histogram()
    histogram.add_all(values)
    return histogram


def textbook(events: list[int], censored: list[int], never: int, q: Fraction) -> int | None:
    """The product-limit estimate in exact fractions over the distinct event times."""
    still = Fraction(1)
    for time in sorted(set(events)):
        at_risk = sum(t >= time for t in events) + sum(t >= time for t in censored) + never
        still *= 1 - Fraction(events.count(time), at_risk)
        if 1 - still >= q:
            return time
    return None


@given(waits, waits, st.integers(0, 20), percents)
def test_equals_the_textbook_estimator(events: list[int], censored: list[int], never: int, percent: int) -> None:
    """Every quantile equals the product-limit estimate in exact arithmetic."""
    found = time_to_event_quantile(of(events), of(censored), never, percent / 100)
    assert found == textbook(events, censored, never, Fraction(percent, 100))


@given(waits, percents)
def test_without_censoring_it_is_the_plain_quantile(events: list[int], percent: int) -> None:
    """When every wait ended, the estimate is the histogram's own quantile."""
    assert time_to_event_quantile(of(events), Histogram(), 0, percent / 100) == of(events).quantile(percent / 100)


@given(waits, st.integers(0, 20), percents)
def test_never_is_infinitely_long(events: list[int], never: int, percent: int) -> None:
    """Waits that cannot end rank as infinite ones do."""
    histogram = of(events)
    histogram.add_infinite(never)
    assert time_to_event_quantile(of(events), Histogram(), never, percent / 100) == histogram.quantile(percent / 100)
