"""Student's t and Holm's correction against scipy and a worked example."""

from __future__ import annotations

import pytest
from scipy import stats

from harness.judge.significance import holm, t_quantile, two_sided_p


@pytest.mark.parametrize("degrees", [1, 2, 3, 4.5, 10, 19, 200, 5000])
@pytest.mark.parametrize("p", [0.9, 0.2, 0.05, 0.001, 1e-9])
def test_student_agrees_with_scipy(degrees: float, p: float) -> None:
    """Probabilities and quantiles are scipy's to eight digits, far out in the tail too."""
    t = float(stats.t.isf(p / 2, degrees))
    assert two_sided_p(t, degrees) == pytest.approx(p, rel=1e-8)
    assert two_sided_p(-t, degrees) == two_sided_p(t, degrees)
    assert t_quantile(1 - p, degrees) == pytest.approx(t, rel=1e-6)


def test_extremes() -> None:
    """No distance is no evidence, an infinite one is proof."""
    assert (two_sided_p(0.0, 5), two_sided_p(float("inf"), 5)) == (1.0, 0.0)


def test_holm_by_hand() -> None:
    """Sorted values times 4, 3, 2, 1, never falling, never above 1, back in their places."""
    assert holm([0.04, 0.01, 0.9, 0.02]) == pytest.approx([0.08, 0.04, 0.9, 0.06])
    assert holm([]) == []
    assert holm([0.6, 0.5]) == [1.0, 1.0]
