"""Dividing the run's slots and guard-rails among its workers."""

from __future__ import annotations

import pytest

from harness.config.model import Limits
from harness.engine.ceilings import Share
from harness.fleet.shares import apportion, divide


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (10, [1, 1], [5, 5]),
        (10, [1, 1, 1, 1], [3, 3, 2, 2]),
        (9, [2, 1], [6, 3]),
        (100, [1, 2, 7], [11, 20, 69]),
        (3, [1, 1, 1], [1, 1, 1]),
        (2, [1, 1, 1], [1, 1, 0]),
        (4, [1000, 1, 1], [2, 1, 1]),
        (0, [1, 1], [0, 0]),
        (7, [], []),
    ],
)
def test_parts_of_a_whole_number_add_up_to_it(total: int, weights: list[float], parts: list[int]) -> None:
    """One for each as far as it goes, the rest in proportion, remainders to the largest."""
    assert apportion(total, weights) == parts
    assert sum(parts) == (total if weights else 0)


def test_everything_is_divided_and_what_has_no_limit_stays_without() -> None:
    """Slots and whole ceilings in whole parts, a rate below the number of workers in fractions."""
    assert divide(None, Limits(), [1, 1]) == [Share(), Share()]
    limits = Limits(max_visits_per_s=1.5, max_open_visits=5, max_new_sessions_per_min=100)
    assert divide(8, limits, [3, 1]) == [Share(6, 1.125, 3, 75.0), Share(2, 0.375, 2, 25.0)]
    assert divide(None, limits, []) == []
