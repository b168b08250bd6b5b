"""Levels and bursts: what is at once, and what comes in a stretch of time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.sim.loads import Burst, Level

MOMENTS = st.lists(st.integers(0, 60), min_size=1, max_size=40).map(sorted)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), min_size=1, max_size=30), st.integers(0, 80))
def test_a_level_knows_peak_and_time_of_overlapping_stays(stays: list[tuple[int, int]], until: int) -> None:
    """Peak and time spent are those of a count at each whole moment."""
    level = Level()
    now = most = 0
    for moment, change in _in_order(stays):
        if moment > until:
            break
        if change > 0:
            level.enter(moment)
        else:
            level.leave(moment)
        now += change
        most = max(most, now)
    spent = sum(max(0, min(begin + stay, until) - min(begin, until)) for begin, stay in stays)
    assert (level.now, level.most, level.spent_ns(until)) == (now, most, spent)


def _in_order(stays: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Comings and goings by time, each visitor's coming before its own going."""
    events = [(begin, number, 1) for number, (begin, _) in enumerate(stays)]
    events += [(begin + stay, number, -1) for number, (begin, stay) in enumerate(stays)]
    return [(moment, change) for moment, _, change in sorted(events, key=lambda e: (e[0], e[1], -e[2]))]


@given(MOMENTS, st.integers(1, 20))
def test_a_burst_knows_the_fullest_stretch_wherever_it_begins(moments: list[int], stretch: int) -> None:
    """The most events of any stretch, which holds its begin but not its end, found by looking at each."""
    burst = Burst(stretch)
    for moment in moments:
        burst.note(moment)
    most = max(sum(begin <= moment < begin + stretch for moment in moments) for begin in moments)
    assert (burst.most, burst.total) == (most, len(moments))
    end = moments[-1]
    assert burst.recent(end + 3) == sum(end + 3 - stretch < moment for moment in moments)
