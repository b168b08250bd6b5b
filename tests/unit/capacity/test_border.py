"""Where a share reaches what is allowed: found again from noisy steps, with an interval that holds it."""

from __future__ import annotations

from math import exp, log
from random import Random

import pytest

from harness.capacity.border import WINDOW, Point, border

BORDER_HZ, SLOPE, ALLOWED = 180.0, 25.0, 0.05


def share(rate_hz: float) -> float:
    """The share of bad ones at a rate: its log-odds rise with the logarithm of the rate, 5 % at the border."""
    return 1 / (1 + exp(-(log(ALLOWED / (1 - ALLOWED)) + SLOPE * log(rate_hz / BORDER_HZ))))


def points(rng: Random, count: int = 400) -> list[Point]:
    """Steps as a search makes them, each worth `count` independent replies."""
    rates = (20, 80, 160, 226, 190, 174, 182, 178)
    return [Point(rate, sum(rng.random() < share(rate) for _ in range(count)), count) for rate in rates]


def test_the_border_is_found_and_its_interval_holds_it() -> None:
    """Of 60 sets of steps at most 6 have an interval without the border, and none is off by more than 5 %."""
    missed, worst = 0, 0.0
    for seed in range(60):
        found = border(points(Random(seed)), ALLOWED, 180)
        assert found is not None
        missed += not found.low_hz <= BORDER_HZ <= found.high_hz
        worst = max(worst, abs(found.rate_hz / BORDER_HZ - 1))
        assert found.low_hz <= found.rate_hz <= found.high_hz
    assert (missed <= 6, worst < 0.05) == (True, True), (missed, worst)


def test_more_evidence_narrows_the_interval() -> None:
    """Sixteen times as many replies give an interval at most half as wide."""
    few, many = (border(points(Random(1), count), ALLOWED, 180) for count in (400, 6400))
    assert few is not None
    assert many is not None
    assert many.high_hz - many.low_hz <= (few.high_hz - few.low_hz) / 2


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [Point(180, 5, 100)],
        [Point(170, 0, 100), Point(180, 0, 100)],
        [Point(20, 5, 100), Point(40, 50, 100)],
        [Point(170, 0, 0), Point(180, 0, 0)],
    ],
)
def test_where_nothing_tells_there_is_no_border(steps: list[Point]) -> None:
    """No step, one, none with a bad one, none in the window, none with a value."""
    assert border(steps, ALLOWED, 180) is None


def test_a_sharp_edge_lies_between_its_steps() -> None:
    """All good below, all bad above: the border is between the two, and not beyond the window."""
    found = border([Point(100, 0, 1e6), Point(105, 1e6, 1e6)], ALLOWED, 102)
    assert found is not None
    assert 99 < found.rate_hz < 105
    assert 102 * exp(-WINDOW) <= found.low_hz <= found.high_hz <= 102 * exp(WINDOW)
