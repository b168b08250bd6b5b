"""Laws of the plan that hold for every spec and trace."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.plan.arrivals import parse_arrivals
from harness.plan.schedule import plan_visits

S = 1_000_000_000

RATES = st.integers(1, 50).map(lambda rate: f"{rate}/s")
LENGTHS = st.integers(1, 3000).map(lambda length: f"{length}ms")
SEGMENTS = st.one_of(
    st.builds("constant:{}:{}".format, RATES, LENGTHS),
    st.builds("poisson:{}:{}".format, RATES, LENGTHS),
    st.builds("ramp:{}..{}:{}".format, RATES, RATES, LENGTHS),
    st.builds("bursty:{}:{},cv={}".format, RATES, LENGTHS, st.sampled_from(["0.3", "1", "4.5"])),
    st.builds("diurnal(peak=50/s, trough={}, period=2s, cv=2):{}".format, RATES, LENGTHS),
)
HEADS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4000)), max_size=12).map(
    lambda heads: sorted(heads, key=lambda head: head[1])
)


def lines(heads: list[tuple[int, int]]) -> list[bytes]:
    return [
        json.dumps({"visit": f"v{n}", "visitor": f"u{who}", "at": at_ms / 1000, "steps": []}).encode()
        for n, (who, at_ms) in enumerate(heads)
    ]


@given(st.lists(SEGMENTS, min_size=1, max_size=4), st.integers(0, 9))
def test_times_ascend_within_the_plan(segments: list[str], seed: int) -> None:
    """Any plan's times ascend and stay inside it; each segment's are those it has alone, but for those drawn."""
    plan = parse_arrivals(",".join(segments))
    times_ns = list(plan.offsets_ns(seed))
    duration_ns = plan.duration_ns()
    assert duration_ns is not None
    assert times_ns == sorted(times_ns)
    assert all(0 <= time_ns < duration_ns for time_ns in times_ns)
    start_ns = 0
    for segment, spec in zip(plan.segments, segments, strict=True):
        assert segment.duration_ns is not None
        own = [time_ns - start_ns for time_ns in times_ns if start_ns <= time_ns < start_ns + segment.duration_ns]
        if segment.kind in ("constant", "ramp"):
            assert own == list(parse_arrivals(spec).offsets_ns(seed))
            expected = segment.expected()
            assert expected is not None
            assert expected - 1e-6 <= len(own) < expected + 1 + 1e-6
        start_ns += segment.duration_ns


@given(st.text(alphabet="recodtansplimgbuykv=(): /.,0123456789hm", max_size=30))
def test_any_text_is_a_plan_or_one_line(text: str) -> None:
    """Any text is read, or refused in one line; what is read gives ascending times from the start."""
    try:
        plan = parse_arrivals(text)
    except UsageError as error:
        assert "\n" not in str(error)
        return
    if not plan.recorded and plan.closed_slots is None:
        times_ns = list(islice(plan.offsets_ns(1), 3))
        assert times_ns == sorted(times_ns)


@given(
    HEADS,
    st.sampled_from([0.0001, 0.5, 1.0, 1.5, 3.0]),
    st.integers(1, 3),
    st.sampled_from([0.5, 1.0, 4.0]),
    st.none() | st.integers(0, 9 * S),
    st.none() | st.integers(0, 20),
)
def test_every_plan_is_ordered_unique_and_true_to_its_visitors(
    heads: list[tuple[int, int]], amplify: float, loop: int, speed: float, duration_ns: int | None, limit: int | None
) -> None:
    """Any plan ascends, names nobody twice, copies whole visitors, and a cut or limit only takes its beginning."""
    trace = lines(heads)
    options: dict[str, Any] = {"seed": 1, "amplify": amplify, "loop": loop, "speed": speed}
    recorded = parse_arrivals("recorded")
    whole = list(plan_visits(lambda: trace, recorded, **options))
    dues = [visit.due_ns for visit in whole]
    assert dues == sorted(dues)
    assert max(Counter(visit.name for visit in whole).values(), default=1) == 1
    # Each visitor, clone by clone and round by round, comes with all its visits in the recorded rhythm.
    visits_of = Counter(who for who, _ in heads)
    came = Counter((visit.visitor, visit.suffix) for visit in whole)
    assert all(count == visits_of[int(visitor[1:])] for (visitor, _), count in came.items())
    for visitor, suffix in came:
        own = [visit for visit in whole if (visit.visitor, visit.suffix) == (visitor, suffix)]
        recorded_ns = [round(heads[int(visit.visit[1:])][1] * 1_000_000 / speed) for visit in own]
        shifts = {visit.due_ns - at_ns for visit, at_ns in zip(own, recorded_ns, strict=True)}
        assert len(shifts) == 1
    cut = list(plan_visits(lambda: trace, recorded, duration_ns=duration_ns, limit_visits=limit, **options))
    kept = [visit for visit in whole if duration_ns is None or visit.due_ns < duration_ns]
    assert cut == kept[:limit]
