"""Change points: against apache-otava on the same series, against the definition, and where nothing can be found."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import pytest

from harness.judge.changes import Change, _best_split, find_changes

ORACLE = json.loads(Path(__file__).with_name("otava_changes.json").read_text())
SERIES: list[dict[str, Any]] = ORACLE["series"]


def by_definition(values: list[float], min_stretch: int) -> tuple[int, float]:
    """The best split straight from the formula of Q, every pair of values looked at for every split."""

    def pairs(part: list[float]) -> float:
        return sum(abs(a - b) for at, a in enumerate(part) for b in part[:at])

    best, best_q = 0, 0.0
    for at in range(min_stretch, len(values) - min_stretch + 1):
        for end in range(at + min_stretch, len(values) + 1):
            left, right = values[:at], values[at:end]
            n, m = len(left), len(right)
            q = 2 / (m + n) * sum(abs(a - b) for a in left for b in right)
            q -= 2 * m / (m + n) / (n - 1) * pairs(left) if n > 1 else 0
            q -= 2 * n / (m + n) / (m - 1) * pairs(right) if m > 1 else 0
            if q > best_q:
                best, best_q = at, q
    return best, best_q


@pytest.mark.parametrize("case", SERIES, ids=lambda case: f"{case['kind']} {case['seed']}")
def test_agrees_with_otava(case: dict[str, Any]) -> None:
    """The same first split with the same Q, and the same change points (permutation test of the same size)."""
    assert _best_split(case["values"], 1) == (case["split"], pytest.approx(case["q"], rel=1e-9))
    found = find_changes(case["values"], alpha=ORACLE["alpha"], rng=Random(1), orders=ORACLE["orders"])
    assert [change.index for change in found] == case["changes"]


def test_the_oracle_has_something_to_say() -> None:
    """Its series have no, one and two change points."""
    assert {len(case["changes"]) for case in SERIES} >= {0, 1, 2}


@pytest.mark.parametrize("min_stretch", [1, 2, 3])
def test_the_best_split_is_that_of_the_definition(min_stretch: int) -> None:
    """Sums by columns give what the formula gives, for many small series with ties."""
    rng = Random(5)
    for size in range(2, 14):
        values = [float(rng.randrange(8)) for _ in range(size)]
        at, q = _best_split(values, min_stretch)
        expected = by_definition(values, min_stretch)
        assert q == pytest.approx(expected[1], abs=1e-9)
        # Equal maxima may be told apart by rounding.
        if at != expected[0]:
            assert by_definition(values[: max(at, expected[0])] + values[max(at, expected[0]) :], min_stretch)[
                1
            ] == pytest.approx(q, abs=1e-9)


def test_levels_are_medians_of_the_stretches_beside_a_change() -> None:
    """Each change tells the median before it (since the one before) and after it (until the next)."""
    values = [100.0, 101, 99, 100, 102, 98] * 4 + [120.0, 121, 119] * 5
    [change] = find_changes(values, alpha=0.01, rng=Random(1))
    assert change == Change(index=24, before=median(values[:24]), after=median(values[24:]), p=0.005)
    assert change.effect == pytest.approx(0.2)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 9.0], [1.0, 1.0, 9.0, 9.0, 9.0], [5.0] * 40])
def test_nothing_is_found_where_nothing_can_be_told(values: list[float]) -> None:
    """Too few values, or values that never differ, have no change point."""
    assert find_changes(values, alpha=0.01, rng=Random(1)) == []


def test_the_false_alarm_rate_is_alpha() -> None:
    """Of 300 unchanged series of 20 values at alpha 5 %, between 2 % and 8.5 % have a change point (3 sigma)."""
    rng = Random(3)
    found = sum(
        bool(find_changes([rng.gauss(100, 5) for _ in range(20)], alpha=0.05, rng=rng, orders=99)) for _ in range(300)
    )
    assert 0.02 <= found / 300 <= 0.088, found


def test_too_strict_an_alpha_finds_nothing() -> None:
    """No p-value can be below 1 / (orders + 1): then nothing is tested and nothing stands."""
    values = [1.0] * 20 + [9.0] * 20
    assert find_changes(values, alpha=0.001, rng=Random(1), orders=199) == []
    assert [change.index for change in find_changes(values, alpha=0.005, rng=Random(1), orders=199)] == [20]
