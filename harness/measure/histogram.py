"""`Histogram`: latencies in ns, counted exactly in buckets narrow enough for a 0.1 % error, mergeable by addition.

Log-linear buckets (`buckets`) answer with their midpoints; minimum, maximum and total are exact.

A reply that never came is infinitely slow: it counts in the rank and has no bucket; a quantile that falls there is
None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from math import ceil
from typing import Any

import msgspec

from harness.measure.buckets import bucket_midpoint, bucket_of, count_into

_EMPTY_LOWEST = 2**63 - 1


class Histogram(msgspec.Struct):
    """A mergeable distribution of times in ns (0 or more), plus the infinitely slow ones.

    `counts` maps bucket to count; `lowest` and `highest` are the exact extremes (`min_ns`, `max_ns` for readers).
    """

    counts: dict[int, int] = {}
    infinite: int = 0
    total_ns: int = 0
    lowest: int = _EMPTY_LOWEST
    highest: int = -1

    def add(self, value_ns: int, n: int = 1) -> None:
        """Count `value_ns` (0 or more) `n` times (1 or more). Raises `ValueError` below zero, changing nothing."""
        if value_ns < 0:
            raise ValueError(f"a time cannot be negative: {value_ns} ns")
        index = bucket_of(value_ns)
        self.counts[index] = self.counts.get(index, 0) + n
        self.total_ns += value_ns * n
        self.lowest = min(self.lowest, value_ns)
        self.highest = max(self.highest, value_ns)

    def add_all(self, values_ns: list[int]) -> None:
        """Count each value once; a third of the cost of `add` for each. Raises as `add` does, changing nothing."""
        if not values_ns:
            return
        lowest = min(values_ns)
        if lowest < 0:
            raise ValueError(f"a time cannot be negative: {lowest} ns")
        count_into(self.counts, values_ns)
        self.total_ns += sum(values_ns)
        self.lowest = min(self.lowest, lowest)
        self.highest = max(self.highest, max(values_ns))

    def add_infinite(self, n: int = 1) -> None:
        """Count `n` that never came."""
        self.infinite += n

    def merge(self, other: Histogram) -> None:
        """Add all of `other`, which stays as it is; the order of merges does not matter."""
        counts = self.counts
        for index, n in other.counts.items():
            counts[index] = counts.get(index, 0) + n
        self.infinite += other.infinite
        self.total_ns += other.total_ns
        self.lowest = min(self.lowest, other.lowest)
        self.highest = max(self.highest, other.highest)

    @classmethod
    def merged(cls, histograms: Iterable[Histogram]) -> Histogram:
        """A new histogram that holds all of `histograms`."""
        whole = cls()
        for histogram in histograms:
            whole.merge(histogram)
        return whole

    @property
    def finite(self) -> int:
        """How many values have a time."""
        return sum(self.counts.values())

    @property
    def count(self) -> int:
        """How many values were counted, the infinite ones included."""
        return self.finite + self.infinite

    @property
    def min_ns(self) -> int | None:
        """The smallest finite value, exact; None when there is none."""
        return self.lowest if self.counts else None

    @property
    def max_ns(self) -> int | None:
        """The largest finite value, exact; None when there is none."""
        return self.highest if self.counts else None

    @property
    def mean_ns(self) -> float | None:
        """The mean of the finite values, exact; None when there is none."""
        return self.total_ns / self.finite if self.counts else None

    def value_at(self, index: int) -> int:
        """What bucket `index` of this histogram stands for: its midpoint, kept within the exact extremes."""
        return min(max(bucket_midpoint(index), self.lowest), self.highest)

    def quantile(self, q: float) -> int | None:
        """The smallest value that at least `q` (0 to 1) of all values do not exceed, within 0.1 %; extremes are exact.

        None when there is no value, or when the rank falls on the infinite ones.
        """
        return self.quantiles([q])[0]

    def quantiles(self, qs: Sequence[float]) -> list[int | None]:
        """The `quantile` of each of `qs`, which ascend, at the cost of one."""
        answer: list[int | None] = []
        finite, count = self.finite, self.count
        indexes = iter(sorted(self.counts))
        index, seen = 0, 0
        for q in qs:
            if not 0.0 <= q <= 1.0:
                raise ValueError(f"a quantile lies between 0 and 1, not {q}")
            rank = max(ceil(q * count - 1e-9), 1)
            if rank >= finite:
                answer.append(self.highest if rank == finite else None)
                continue
            while seen < rank:
                index = next(indexes)
                seen += self.counts[index]
            answer.append(self.value_at(index))
        return answer

    def cumulative(self, edges_ns: Sequence[int]) -> list[int]:
        """For each edge (ascending), how many values do not exceed it.

        A value that equals an edge is always counted; so are those above it in the same bucket (0.2 % at most).
        The answer for merged histograms is the sum of the answers, hence it never falls while a run goes on.
        """
        if list(edges_ns) != sorted(edges_ns):
            raise ValueError("edges must ascend")
        indexes = sorted(self.counts)
        below = [0, *accumulate(self.counts[index] for index in indexes)]
        answer, position = [], 0
        for edge in edges_ns:
            last = bucket_of(edge)
            while position < len(indexes) and indexes[position] <= last:
                position += 1
            answer.append(below[position])
        return answer

    def count_above(self, value_ns: int) -> int:
        """How many values exceed `value_ns`, the infinite ones included; what shares its bucket does not exceed it."""
        return self.count - self.cumulative([value_ns])[0]

    def to_obj(self) -> dict[str, Any]:
        """Plain data for JSON: bucket counts in ascending order, and the exact figures beside them."""
        plain: dict[str, Any] = {"counts": [[index, self.counts[index]] for index in sorted(self.counts)]}
        if self.counts:
            plain |= {"total_ns": self.total_ns, "min_ns": self.lowest, "max_ns": self.highest}
        if self.infinite:
            plain["infinite"] = self.infinite
        return plain

    @classmethod
    def from_obj(cls, plain: Mapping[str, Any]) -> Histogram:
        """The histogram that `to_obj` wrote. Raises `ValueError`, `KeyError` or `TypeError` on anything else."""
        return cls(
            counts={int(index): int(n) for index, n in plain["counts"]},
            infinite=int(plain.get("infinite", 0)),
            total_ns=int(plain.get("total_ns", 0)),
            lowest=int(plain.get("min_ns", _EMPTY_LOWEST)),
            highest=int(plain.get("max_ns", -1)),
        )
