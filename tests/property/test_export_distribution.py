"""A distribution that grows slice by slice says what one histogram of everything says."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.export.distribution import Distribution
from harness.measure.histogram import Histogram

EDGES_NS = (1_000, 50_000, 1_000_000, 800_000_000)
QUANTILES = {"p1": 0.01, "p50": 0.5, "p99": 0.99, "p999": 0.999, "all": 1.0}

slices = st.lists(st.tuples(st.lists(st.integers(0, 10**10), max_size=30), st.integers(0, 3)), max_size=6)


@settings(max_examples=150, deadline=None)
@given(slices)
def test_slices_add_up_to_the_whole(parts: list[tuple[list[int], int]]) -> None:
    """Quantiles, extremes, mean, classic buckets, counts and sum equal those of the merged histogram."""
    distribution, whole = Distribution(EDGES_NS), Histogram()
    for values, infinite in parts:
        histogram = Histogram()
        histogram.add_all(values)
        histogram.add_infinite(infinite)
        distribution.add(histogram)
        whole.merge(histogram)
        buckets = distribution.buckets()
        assert list(buckets.cumulative) == whole.cumulative(EDGES_NS)
        assert (buckets.count, buckets.sum_s) == (whole.count, whole.total_ns / 10**9)
        assert buckets.zeros + sum(buckets.native.values()) == whole.count
        expected: dict[str, float | None] = {}
        if whole.count:
            expected = {name: whole.quantile(q) for name, q in QUANTILES.items()}
        if whole.counts:
            expected |= {"max": whole.max_ns, "mean": whole.mean_ns}
        assert distribution.statistics_ns(QUANTILES) == expected
