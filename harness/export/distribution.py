"""`Distribution`: a run's times as the metrics page shows them, kept up to date slice by slice.

Merging whole histograms anew for each page costs milliseconds that grow with the run; adding a slice costs by what is
new in it. Own buckets (0.1 %) give the exact statistics, and each of them falls into one classic and one native bucket.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import ceil

from harness.export.families import Buckets
from harness.export.protobuf import INFINITE_BUCKET, native_bucket
from harness.measure.buckets import bucket_midpoint, bucket_of
from harness.measure.histogram import Histogram
from harness.units import NS_PER_S


class Distribution:
    """All times of one measure (and operation) so far; `add` merges a slice's histogram into it."""

    def __init__(self, edges_ns: Sequence[int] | None) -> None:
        """`edges_ns`: the upper edges of the classic buckets, ascending; None where only statistics are asked for."""
        self._bucketed = edges_ns is not None
        edges_ns = edges_ns or ()
        self._edges_s = [edge / NS_PER_S for edge in edges_ns]
        self._last_of_edge = [bucket_of(edge) for edge in edges_ns]
        self._classic = [0] * (len(edges_ns) + 1)
        self._native: dict[int, int] = {}
        self._zeros = 0
        self._ordered: list[int] = []
        self._whole = Histogram()
        self._places: dict[int, tuple[int, int | None]] = {}

    @property
    def count(self) -> int:
        """How many values there are, the infinite ones included."""
        return self._whole.count

    def add(self, histogram: Histogram) -> None:
        """Adds all values of `histogram`, which stays as it is."""
        if not self._bucketed:
            for index in histogram.counts.keys() - self._whole.counts.keys():
                insort(self._ordered, index)
            self._whole.merge(histogram)
            return
        for index, n in histogram.counts.items():
            place = self._places.get(index)
            if place is None:
                place = self._places[index] = self._place(index)
                insort(self._ordered, index)
            classic, native = place
            self._classic[classic] += n
            if native is None:
                self._zeros += n
            else:
                self._native[native] = self._native.get(native, 0) + n
        self._whole.merge(histogram)

    def _place(self, index: int) -> tuple[int, int | None]:
        """Where an own bucket belongs: which classic bucket, and which native one (None: zero)."""
        middle_ns = bucket_midpoint(index)
        return bisect_left(self._last_of_edge, index), native_bucket(middle_ns / NS_PER_S) if middle_ns else None

    def buckets(self) -> Buckets:
        """The distribution as Prometheus takes it; only where edges were given."""
        infinite = self._whole.infinite
        native = {**self._native, INFINITE_BUCKET: infinite} if infinite else self._native
        cumulative = list(accumulate(self._classic))
        return Buckets(
            edges_s=self._edges_s,
            cumulative=cumulative[:-1],
            count=cumulative[-1] + infinite,
            sum_s=self._whole.total_ns / NS_PER_S,
            native=native,
            zeros=self._zeros,
        )

    def statistics_ns(self, quantiles: Mapping[str, float]) -> dict[str, float | None]:
        """Exact quantiles by name, `max` and `mean`, as `Histogram` gives them; empty without a value.

        None is a quantile that falls on values that are infinitely slow.
        """
        whole, ordered = self._whole, self._ordered
        total = self.count
        if not total:
            return {}
        cumulative = list(accumulate(map(whole.counts.__getitem__, ordered)))
        finite = cumulative[-1] if cumulative else 0
        found: dict[str, float | None] = {}
        for name, q in quantiles.items():
            rank = max(ceil(q * total - 1e-9), 1)
            if rank > finite:
                found[name] = None
            elif rank == finite:
                found[name] = whole.highest
            else:
                found[name] = whole.value_at(ordered[bisect_left(cumulative, rank)])
        if finite:
            found |= {"max": whole.highest, "mean": whole.total_ns / finite}
        return found
