"""Laws of the histogram, against a sorted list and against HdrHistogram."""

from __future__ import annotations

from math import ceil
from random import Random

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.buckets import bucket_midpoint, bucket_of
from harness.measure.histogram import Histogram

values = st.one_of(st.integers(0, 3000), st.integers(0, 10**6), st.integers(0, 3600 * 10**9))
samples = st.lists(values, max_size=60)
quantiles = st.floats(0, 1)


def of(sample: list[int], infinite: int = 0) -> Histogram:
    histogram = Histogram()
    histogram.add_all(sample)
    if infinite:
        histogram.add_infinite(infinite)
    return histogram


def exact_quantile(sample: list[int], infinite: int, q: float) -> int | None:
    rank = max(ceil(q * (len(sample) + infinite) - 1e-9), 1)
    return sorted(sample)[rank - 1] if rank <= len(sample) else None


@given(values)
def test_bucket_stands_for_its_values(value: int) -> None:
    """A bucket's midpoint is within 1/1024 of every value in it, and exact below 1,024 ns."""
    midpoint = bucket_midpoint(bucket_of(value))
    assert abs(midpoint - value) * 1024 <= value
    assert value >= 1024 or midpoint == value


@given(values, values)
def test_buckets_are_ordered(one: int, other: int) -> None:
    """Greater values never fall into lower buckets, and the next value's bucket is the same or the next."""
    assert (bucket_of(one) <= bucket_of(other)) or one > other
    assert bucket_of(one + 1) - bucket_of(one) in (0, 1)


@given(samples, st.integers(0, 5), quantiles)
def test_quantile_is_that_of_the_sorted_list(sample: list[int], infinite: int, q: float) -> None:
    """Any quantile is within 0.1 % of the sorted list's; None exactly when its rank falls on infinite ones."""
    found, expected = of(sample, infinite).quantile(q), exact_quantile(sample, infinite, q)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert abs(found - expected) <= expected * 0.001


@given(samples, samples, samples, st.integers(0, 3))
def test_merge_is_addition(a: list[int], b: list[int], c: list[int], infinite: int) -> None:
    """Merging is associative and commutative, has a zero, and equals counting everything in one histogram."""
    whole = of(a + b + c, infinite)
    left = Histogram.merged([Histogram.merged([of(a, infinite), of(b)]), of(c)])
    right = Histogram.merged([of(c), Histogram.merged([of(b), Histogram(), of(a, infinite)])])
    assert left == right == whole


@given(samples, st.integers(0, 3))
def test_plain_data_round_trip(sample: list[int], infinite: int) -> None:
    """`from_obj` gives back what `to_obj` wrote."""
    histogram = of(sample, infinite)
    assert Histogram.from_obj(histogram.to_obj()) == histogram


@given(samples)
def test_batch_equals_one_by_one(sample: list[int]) -> None:
    """`add_all` counts exactly as `add` does value by value."""
    histogram = Histogram()
    for value in sample:
        histogram.add(value)
    assert histogram == of(sample)


@given(samples, st.integers(0, 3))
def test_exact_figures_are_exact(sample: list[int], infinite: int) -> None:
    """Count, total, mean, minimum and maximum are those of the list, to the nanosecond."""
    histogram = of(sample, infinite)
    assert (histogram.count, histogram.finite, histogram.total_ns) == (len(sample) + infinite, len(sample), sum(sample))
    assert (histogram.min_ns, histogram.max_ns) == (min(sample, default=None), max(sample, default=None))
    assert histogram.quantile(1.0) == (None if infinite else max(sample, default=None))
    assert histogram.mean_ns == (sum(sample) / len(sample) if sample else None)


@given(samples, st.lists(values, max_size=8).map(sorted), st.integers(0, 3))
def test_cumulative_counts_lie_between_exact_ones(sample: list[int], edges: list[int], infinite: int) -> None:
    """Each edge counts all values up to it, and none more than 0.2 % beyond; `count_above` is the rest."""
    histogram = of(sample, infinite)
    for edge, counted in zip(edges, histogram.cumulative(edges), strict=True):
        assert sum(v <= edge for v in sample) <= counted <= sum(v <= edge * 1.002 for v in sample)
        assert histogram.count_above(edge) == len(sample) + infinite - counted


@given(samples, samples, st.lists(values, max_size=8).map(sorted))
def test_cumulative_counts_add_up(a: list[int], b: list[int], edges: list[int]) -> None:
    """Cumulative counts of a merged histogram are the sums of the parts', so exported buckets never fall."""
    merged = Histogram.merged([of(a), of(b)])
    assert merged.cumulative(edges) == [
        x + y for x, y in zip(of(a).cumulative(edges), of(b).cumulative(edges), strict=True)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_hdrhistogram(seed: int) -> None:
    """On 20,000 log-normal times every usual quantile is within both errors of HdrHistogram's (3 digits)."""
    rng = Random(seed)
    sample = [int(rng.lognormvariate(17, 1.5)) for _ in range(20_000)]
    other = HdrHistogram(1, 3600 * 10**9, 3)
    for value in sample:
        other.record_value(value)
    histogram = of(sample)
    for q in (0.01, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0):
        theirs = other.get_value_at_percentile(q * 100)
        assert histogram.quantile(q) == pytest.approx(theirs, rel=0.002)
