"""The measures of a trace, computed in one pass and little memory, against the textbook over whole lists."""

from __future__ import annotations

import statistics
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.trace.arrivals import WINDOWS_S, Arrivals
from harness.trace.curve import MAX_BINS, Curve
from harness.trace.known import KnownTexts
from harness.trace.model import IDENTITIES, OPS, Step, Visit
from harness.trace.newsessions import NewSessions
from harness.trace.openvisits import OpenVisits

TIMES = st.lists(st.integers(0, 2_000_000).map(lambda ms: ms / 1000), min_size=1, max_size=60).map(sorted)


@given(st.lists(st.text(max_size=2)), st.text(max_size=2), st.integers(0, 3000))
def test_known_texts_are_a_set(texts: list[str], other: str, more: int) -> None:
    """What is new, what is held and how much, as a set would say, beyond several growths."""
    known, plain = KnownTexts(), set[str]()
    for text in [*texts, *map(str, range(more)), *texts]:
        assert known.add(text) == (text not in plain)
        plain.add(text)
    assert len(known) == len(plain)
    assert (other in known) == (other in plain)


@given(TIMES)
def test_arrivals_against_the_textbook(times: list[float]) -> None:
    """Rates, variation of gaps and dispersion at every width equal the statistics of the lists."""
    arrivals = Arrivals()
    for at_s in times:
        arrivals.add(at_s)
    found = arrivals.to_obj()
    gaps = [b - a for a, b in pairwise(times)]
    mean = statistics.fmean(gaps) if gaps else 0.0
    assert found["gap_cv"] == (pytest.approx(statistics.pstdev(gaps) / mean, abs=6e-4) if mean else None)
    assert found["peak_hz"] == max(Counter(map(int, times)).values())
    by_width = found["dispersion_by_window"]
    assert isinstance(by_width, dict)
    for width_s in WINDOWS_S:
        counts = Counter(int(at_s // width_s) for at_s in times)
        all_counts = [counts[window] for window in range(min(counts), max(counts) + 1)]
        expected = statistics.pvariance(all_counts) / statistics.fmean(all_counts)
        wanted = pytest.approx(expected, abs=6e-4) if len(all_counts) >= 5 else None
        assert by_width[f"{width_s}s"] == wanted
        if width_s == 1:
            assert found["mean_hz"] == pytest.approx(statistics.fmean(all_counts), abs=6e-5)
            assert found["dispersion"] == pytest.approx(expected, abs=6e-4)


@given(TIMES, st.data())
def test_open_visits_against_counting_at_every_moment(times: list[float], data: st.DataObject) -> None:
    """The peak is the largest number of overlapping visits, the mean their total length over the whole time."""
    visits = [(at_s, data.draw(st.integers(0, 90_000)) / 1000) for at_s in times]
    opened = OpenVisits()
    for at_s, length_s in visits:
        opened.add(at_s, length_s)
    ends = [at_s + length_s for at_s, length_s in visits]
    assert opened.peak == max(sum(a <= at_s <= a + length for a, length in visits) for at_s in times)
    mean, curve = opened.curve()
    duration_s = max(ends) - times[0]
    assert mean == (pytest.approx(sum(length for _, length in visits) / duration_s) if duration_s else None)
    assert len(curve.sums) <= MAX_BINS
    assert max(curve.peaks) == opened.peak
    for place, total in enumerate(curve.sums):
        begin_s, end_s = place * curve.bin_s, (place + 1) * curve.bin_s
        held = sum(max(0.0, min(a + length, end_s) - max(a, begin_s)) for a, length in visits)
        assert total == pytest.approx(held, abs=1e-6)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 9)), max_size=50))
def test_curve_loses_nothing(events: list[tuple[float, int]]) -> None:
    """However far the time goes, there are at most 120 bins, each with what fell into it."""
    curve = Curve(1.0)
    for at_s, amount in events:
        curve.add(at_s, amount)
    assert len(curve.sums) == len(curve.peaks) <= MAX_BINS
    for place, total in enumerate(curve.sums):
        assert total == sum(amount for at_s, amount in events if int(at_s / curve.bin_s) == place)
    assert len(curve.bars(10)) <= 10


STEPS = st.lists(
    st.builds(
        Step, op=st.sampled_from(OPS), identity=st.sampled_from(IDENTITIES), think=st.integers(0, 400).map(float)
    ),
    min_size=1,
    max_size=4,
)


@given(TIMES, st.data())
def test_new_sessions_against_a_list_of_all_calls(times: list[float], data: st.DataObject) -> None:
    """A session for each call without a known sid, in the minute of the call, whatever later visits add to it."""
    sessions, expected = NewSessions(), Counter[int]()
    for number, at_s in enumerate(times):
        steps = data.draw(STEPS)
        sessions.add(Visit(id=str(number), visitor="u", at=at_s, steps=steps))
        calls = [index for index, step in enumerate(steps) if step.op == "get_engagement"]
        for index in calls:
            if index == calls[0] or steps[index].identity != "chain":
                expected[int((at_s + sum(step.think for step in steps[: index + 1])) // 60)] += 1
    found = sessions.to_obj()
    assert found["count"] == expected.total()
    assert found["peak_per_min"] == max(expected.values(), default=0)
    if expected:
        minutes = max(expected) - min(expected) + 1
        assert found["mean_per_min"] == pytest.approx(expected.total() / minutes, abs=6e-3)
    bin_s = found["curve"]["bin_s"]
    by_bin = Counter[int]()
    for minute, count in expected.items():
        by_bin[int(minute * 60 / bin_s)] += count
    assert found["curve"]["mean_per_min"] == [
        pytest.approx(by_bin[place] * 60 / bin_s, abs=6e-3) for place in range(len(found["curve"]["mean_per_min"]))
    ]
