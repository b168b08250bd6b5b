"""What was due until a moment, by counts of seconds."""

from __future__ import annotations

from harness.cli.planned import planned_until
from harness.units import NS_PER_S

S = NS_PER_S


def test_whole_seconds_count_whole_and_the_last_in_part() -> None:
    """Of ten visits a second until 2.5 s, 25 were due; none at the start, all after the end."""
    by_second = dict.fromkeys(range(5), 10)
    assert planned_until(int(2.5 * S), by_second) == 25
    assert planned_until(0, by_second) == 0
    assert planned_until(9 * S, by_second) == 50


def test_the_warm_up_is_left_out() -> None:
    """Seconds that began before the warm-up's end do not count, as in a run that was not cut."""
    assert planned_until(4 * S, dict.fromkeys(range(5), 10), warmup_ns=2 * S) == 20
