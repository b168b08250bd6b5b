"""Retry policies as data: pauses, limits and jitter."""

from __future__ import annotations

import statistics

import pytest

from harness.visitor.records import Result
from harness.visitor.retry import POLICIES, RetryPolicy, jitter_draw
from tests.unit.visitor.play import MS, S


def test_growth_reaches_the_cap_however_slow() -> None:
    """A pause grows by its factor until `max_ms`, after any number of retries, and never overflows."""
    slow = RetryPolicy(name="x", first_ms=100, factor=1.01, max_ms=5_000)
    assert slow.delay_ns(2, Result.loading, 0, 0.0) == 101 * MS
    assert slow.delay_ns(394, Result.loading, 0, 0.0) < 5 * S
    assert slow.delay_ns(395, Result.loading, 0, 0.0) == slow.delay_ns(10**9, Result.loading, 0, 0.0) == 5 * S
    steep = RetryPolicy(name="x", first_ms=100, factor=1e6, max_ms=5_000)
    assert steep.delay_ns(10**6, Result.loading, 0, 0.0) == 5 * S


@pytest.mark.parametrize(("draw", "pause_ms"), [(-1.0, 80), (0.0, 100), (0.5, 110), (1.0, 120)])
def test_jitter_is_a_share_of_the_pause(draw: float, pause_ms: int) -> None:
    """± 20 % of the pause, by the draw."""
    assert POLICIES["until-available"].delay_ns(1, Result.loading, 0, draw) == pause_ms * MS


def test_listed_delays_repeat_the_last() -> None:
    """More retries than listed pauses wait as long as the last one."""
    policy = RetryPolicy(name="x", delays_ms=(5, 10))
    assert [policy.delay_ns(n, Result.reset, 0, 0.0) // MS for n in (1, 2, 3, 9)] == [5, 10, 10, 10]


def test_floor_comes_after_jitter() -> None:
    """A throttled attempt never waits less than its floor, whatever the draw."""
    assert POLICIES["until-available"].delay_ns(6, Result.throttled, 0, -1.0) == 1 * S
    assert POLICIES["until-available"].delay_ns(9, Result.throttled, 0, -1.0) == int(100 * 1.5**8 * MS * 0.8)


def test_budget() -> None:
    """The time budget in ns, None without one."""
    assert POLICIES["until-available"].budget_ns() == 60 * S
    assert [POLICIES[name].budget_ns() for name in ("sdk-sample", "rest-guide", "none")] == [None] * 3


def test_jitter_is_a_pure_function() -> None:
    """The draw depends on each of its four arguments and on nothing else."""
    draw = jitter_draw(1, "v", 2, 3)
    assert draw == jitter_draw(1, "v", 2, 3) == 0.8385411170406791
    others = [
        jitter_draw(2, "v", 2, 3),
        jitter_draw(1, "w", 2, 3),
        jitter_draw(1, "v", 3, 3),
        jitter_draw(1, "v", 2, 4),
    ]
    assert len({draw, *others}) == 5


def test_jitter_is_uniform() -> None:
    """Over many attempts the draws have the mean, spread and range of a uniform variable on [-1, 1)."""
    draws = [jitter_draw(5, f"v{n}", 0, 1) for n in range(20_000)]
    assert -1 <= min(draws) < -0.999
    assert 0.999 < max(draws) < 1
    assert abs(statistics.fmean(draws)) < 4 * (1 / 3 / 20_000) ** 0.5
    assert abs(statistics.pvariance(draws) - 1 / 3) < 0.01
