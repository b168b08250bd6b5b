"""Dividing what the run may do among its workers, by their capacity: slots of a closed loop, and the guard-rails.

The parts of a whole number add up to it exactly, and nobody gets nothing while there is enough for all; so the workers
together never do more than the run may, without asking each other.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.config.model import Limits
from harness.engine.ceilings import Share


def apportion(total: int, weights: Sequence[float]) -> list[int]:
    """Parts of `total` in proportion to `weights` (above 0): one for each as far as it goes, the rest by remainders."""
    parts = [1 if place < total else 0 for place in range(len(weights))]
    rest = total - sum(parts)
    if rest <= 0:
        return parts
    exact = [rest * weight / sum(weights) for weight in weights]
    parts = [part + int(more) for part, more in zip(parts, exact, strict=True)]
    by_remainder = sorted(range(len(weights)), key=lambda place: int(exact[place]) - exact[place])
    for place in by_remainder[: total - sum(parts)]:
        parts[place] += 1
    return parts


def divide(slots: int | None, limits: Limits, weights: Sequence[float]) -> list[Share]:
    """The share of each worker, in the order of `weights`, its capacities."""
    nothing = [None] * len(weights)
    return [
        Share(*parts)
        for parts in zip(
            nothing if slots is None else apportion(slots, weights),
            nothing if limits.max_visits_per_s is None else _rates(limits.max_visits_per_s, weights),
            nothing if limits.max_open_visits is None else apportion(limits.max_open_visits, weights),
            nothing if limits.max_new_sessions_per_min is None else _rates(limits.max_new_sessions_per_min, weights),
            strict=True,
        )
    ]


def _rates(limit: float, weights: Sequence[float]) -> list[float]:
    if limit >= len(weights):
        return [float(part) for part in apportion(int(limit), weights)]
    return [limit * weight / sum(weights) for weight in weights]
