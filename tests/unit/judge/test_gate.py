"""The immediate gate: its band against scipy, its false alarms."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from scipy.stats import median_abs_deviation
from scipy.stats import t as student

from harness.judge.gate import MIN_NIGHTS, Gate, gate


@pytest.mark.parametrize("alpha", [0.01, 0.05])
@pytest.mark.parametrize("nights", [5, 8, 14])
def test_the_band_is_that_of_the_formula(nights: int, alpha: float) -> None:
    """Median plus scipy's t quantile times the scaled MAD, widened for the median's own error."""
    values = [100.0 + (-1) ** at * at for at in range(nights)]
    found = gate(1.0, values, worse="up", least=0.0, alpha=alpha)
    assert found is not None
    quantile = float(student.ppf(1 - alpha, 0.37 * (nights - 1)))
    mad = float(median_abs_deviation(values))
    assert found.limit == pytest.approx(np.median(values) + quantile * 1.4826 * mad * (1 + np.pi / 2 / nights) ** 0.5)


def test_too_short_a_history_gives_no_answer() -> None:
    """Below five nights there is no scatter to speak of."""
    assert gate(200.0, [100.0] * (MIN_NIGHTS - 1), worse="up", least=0.05, alpha=0.01) is None


def test_the_least_effect_counts_where_nights_do_not_scatter() -> None:
    """Equal nights have no band: 5 % up is the limit, and down is never refused."""
    nights = [100.0] * 10
    assert gate(104.9, nights, worse="up", least=0.05, alpha=0.01) == Gate(ok=True, limit=105, center=100, nights=10)
    assert gate(105.1, nights, worse="up", least=0.05, alpha=0.01) == Gate(ok=False, limit=105, center=100, nights=10)
    assert gate(10.0, nights, worse="up", least=0.05, alpha=0.01) == Gate(ok=True, limit=105, center=100, nights=10)


def test_what_is_better_high_is_refused_low() -> None:
    """An availability half a point below a steady one is the limit; `absolute` counts in points."""
    nights = [0.99] * 8
    found = gate(0.9849, nights, worse="down", least=0.005, alpha=0.01, absolute=True)
    assert found == Gate(ok=False, limit=pytest.approx(0.985), center=0.99, nights=8)


def test_one_wild_night_does_not_move_the_band() -> None:
    """Median and MAD of nights with one ten-fold outlier stay nearly where they were."""
    steady = [98.0, 99, 100, 100, 101, 102, 99.5, 100.5, 98.5, 101.5]
    plain = gate(1.0, steady, worse="up", least=0.0, alpha=0.01)
    wild = gate(1.0, [*steady[:-1], 1000.0], worse="up", least=0.0, alpha=0.01)
    assert plain is not None
    assert wild is not None
    assert wild.limit == pytest.approx(plain.limit, rel=0.01)


@pytest.mark.parametrize("nights", [7, 14])
def test_false_alarms_are_as_rare_as_alpha_says(nights: int) -> None:
    """Of 4,000 unchanged nights at alpha 1 %, at most 1.5 % are refused, and not none."""
    rng = Random(11)
    refused = 0
    for _ in range(4000):
        values = [rng.gauss(100, 5) for _ in range(nights)]
        found = gate(rng.gauss(100, 5), values, worse="up", least=0.0, alpha=0.01)
        refused += found is not None and not found.ok
    assert 4 <= refused <= 60, refused
