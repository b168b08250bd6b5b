"""Change points of a series: the nights at which its level moved (E-divisive; Matteson and James 2014, JASA 109:505).

A series is split where two neighbouring stretches differ most in their energy distance

    Q(X, Y) = 2/(m+n) S(X,Y) - 2m/((m+n)(n-1)) S(X) - 2n/((m+n)(m-1)) S(Y)

with n = |X|, m = |Y| and S the sums of |difference| between two stretches, or over the pairs within one. The split
stands if Q is larger than in all but a share `alpha` of random orders of the same values; then each part is searched
again.
Nothing is assumed of the values' distribution, and a drift shows as a change once it has gone far enough.

The test stops as soon as its outcome is certain: with R orders a split stands iff at most alpha (R + 1) - 1 of them
reach its Q, so an unremarkable series costs a dozen orders, not all. An order costs O(N^2) steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from random import Random
from statistics import median
from typing import Final

import msgspec

ORDERS: Final = 199
# A change is no earlier or later than this many values from the next one, or from an end of the series.
MIN_STRETCH: Final = 3


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """The level moved from `before` to `after` (medians of the stretches beside it) at `index`, the first value after.

    `p` is the share of random orders that split as clearly, at least 1 / (ORDERS + 1).
    """

    index: int
    before: float
    after: float
    p: float

    @property
    def effect(self) -> float:
        """The relative change of the level; infinite when it was zero before."""
        if self.before:
            return self.after / self.before - 1
        return float("inf") if self.after else 0.0


def find_changes(
    values: Sequence[float], *, alpha: float, rng: Random, orders: int = ORDERS, min_stretch: int = MIN_STRETCH
) -> list[Change]:
    """The change points of `values`, in order; empty where there are too few values to tell.

    `alpha` (0 to 1, at least 1 / (orders + 1) to find anything) is the chance that a split of an unchanged series
    stands. `min_stretch` is 1 or more.
    """
    found: dict[int, float] = {}
    pending = [(0, len(values))]
    while pending:
        start, end = pending.pop()
        part = values[start:end]
        split, q = _best_split(part, min_stretch)
        if split == 0:
            continue
        p = _chance(part, q, alpha=alpha, rng=rng, orders=orders, min_stretch=min_stretch)
        if p is not None:
            found[start + split] = p
            pending += [(start, start + split), (start + split, end)]
    cuts = [0, *sorted(found), len(values)]
    return [
        Change(index=at, before=median(values[left:at]), after=median(values[at:right]), p=found[at])
        for left, at, right in zip(cuts, cuts[1:], cuts[2:], strict=False)
    ]


def _chance(
    part: Sequence[float], q: float, *, alpha: float, rng: Random, orders: int, min_stretch: int
) -> float | None:
    """The p-value of a split with this Q, or None as soon as it cannot be `alpha` or less."""
    allowed = int(alpha * (orders + 1) + 1e-9) - 1
    reached = 0
    if reached > allowed:
        return None
    order = list(part)
    # Sums of the same values in another order differ in their last digits.
    bar = q * (1 - 1e-12)
    for _ in range(orders):
        rng.shuffle(order)
        if _best_split(order, min_stretch)[1] >= bar:
            reached += 1
            if reached > allowed:
                return None
    return (1 + reached) / (orders + 1)


def _best_split(values: Sequence[float], min_stretch: int) -> tuple[int, float]:
    """(where, Q) of the best split into values[:where] and values[where:k] for any k; (0, 0.0) when there is none."""
    size = len(values)
    best, best_q = 0, 0.0
    if size < 2 * min_stretch or size < 2:
        return best, best_q
    # reach[j][t]: sum of distances from value j to the first t + 1 values, for t < j.
    reach = [list(accumulate([abs(value - other) for other in values[:j]])) for j, value in enumerate(values)]
    # within[k]: sum over all pairs among the first k values.
    within = [0.0, *accumulate(row[-1] if row else 0.0 for row in reach)]
    for at in range(min_stretch, size - min_stretch + 1):
        left = within[at]
        left_share = 2 * left / (at - 1) if at > 1 else 0.0
        twice = 2 * at
        between = accumulate([row[at - 1] for row in reach[at:]])
        qs = [
            (2 * cross - m * left_share - (twice * (both - left - cross) / (m - 1) if m > 1 else 0.0)) / (at + m)
            for m, cross, both in zip(range(1, size - at + 1), between, within[at + 1 :], strict=True)
        ]
        q = max(qs[min_stretch - 1 :])
        if q > best_q:
            best, best_q = at, q
    return best, best_q
