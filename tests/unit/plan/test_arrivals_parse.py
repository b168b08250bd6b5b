"""Arrivals specs: what each means, and one clear line for what means nothing."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.plan.arrivals import Segment, parse_arrivals

S = 1_000_000_000


@pytest.mark.parametrize(
    ("spec", "segments"),
    [
        ("recorded", [Segment("recorded")]),
        ("constant:50/s", [Segment("constant", 50, 50)]),
        ("constant:120/m:1m30s", [Segment("constant", 2, 2, 90 * S)]),
        ("poisson:36/h:2h", [Segment("poisson", 0.01, 0.01, 7200 * S)]),
        ("poisson:0.5", [Segment("poisson", 0.5, 0.5)]),
        ("ramp:10/s..200/s:5m", [Segment("ramp", 10, 200, 300 * S)]),
        ("closed:200", [Segment("closed", slots=200)]),
        ("bursty:50/s,cv=3", [Segment("bursty", 50, 50, cv=3)]),
        ("bursty:120/m:2m , cv = 0.5", [Segment("bursty", 2, 2, 120 * S, cv=0.5)]),
        ("diurnal(peak=120/s, trough=10/s)", [Segment("diurnal", 10, 120, period_ns=86_400 * S)]),
        (
            "diurnal(trough=1/s,peak=2/s,period=10m,cv=2):1h,bursty:5/s:1m,cv=2,poisson:1/s",
            [
                Segment("diurnal", 1, 2, 3600 * S, cv=2, period_ns=600 * S),
                Segment("bursty", 5, 5, 60 * S, cv=2),
                Segment("poisson", 1, 1),
            ],
        ),
        ("closed:7:30s", [Segment("closed", slots=7, duration_ns=30 * S)]),
        (
            " constant:1/s:1s , poisson:2/s:2s,ramp:2/s..1/s:3s",
            [Segment("constant", 1, 1, S), Segment("poisson", 2, 2, 2 * S), Segment("ramp", 2, 1, 3 * S)],
        ),
    ],
)
def test_meaning(spec: str, segments: list[Segment]) -> None:
    """Each form of the interfaces page is read as it says."""
    plan = parse_arrivals(spec)
    assert list(plan.segments) == segments
    assert plan.recorded is (spec == "recorded")
    assert plan.closed_slots == (segments[0].slots if spec.startswith("closed") else None)


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("", "'' is not an arrivals spec: write recorded, poisson:50/s,"),
        ("uniform:3/s", "'uniform:3/s' is not an arrivals spec: write recorded"),
        ("recorded:3/s", "'recorded:3/s' is not an arrivals spec"),
        ("constant", "'constant' is not an arrivals spec"),
        ("constant:fast", "'fast' is not a rate: write 50/s, 120/m or 10/h"),
        ("constant:0/s", "'0/s' is not a rate"),
        ("constant:-5/s", "'-5/s' is not a rate"),
        ("constant:5/s:soon", "'soon' is not a duration: write 250ms"),
        ("constant:5/s:0s", "'0s' is not a duration above zero"),
        ("constant:5/s:", "'' is not a duration"),
        ("constant:5/s:1s:2s", "'constant:5/s:1s:2s' is not an arrivals spec"),
        ("ramp:1/s..2/s", "'ramp:1/s..2/s' is not an arrivals spec"),
        ("ramp:1/s:5s", "'ramp:1/s:5s' is not an arrivals spec"),
        ("ramp:0/s..2/s:5s", "'0/s' is not a rate"),
        ("bursty:50/s", "'bursty:50/s' is not an arrivals spec"),
        ("bursty,cv=2", "'bursty' is not an arrivals spec"),
        ("bursty:50/s,cv=0", "'0' is not a cv: a number from 0.01 to 30"),
        ("bursty:50/s,cv=x", "'x' is not a cv"),
        ("diurnal", "'diurnal' is not an arrivals spec: write diurnal(peak=120/s, trough=10/s"),
        ("diurnal(peak=1/s)", "'diurnal(peak=1/s)' is not an arrivals spec: write diurnal("),
        (
            "diurnal(peak=1/s, trough=1/s, top=2/s)",
            "'diurnal(peak=1/s, trough=1/s, top=2/s)' is not an arrivals spec: write diurnal(",
        ),
        ("diurnal(peak=1/s, trough=1/s, cv=2, cv=2)", "'diurnal(peak=1/s, trough=1/s, cv=2, cv=2)' is not an arr"),
        ("diurnal(peak=1/s, trough=2/s)", "'diurnal(peak=1/s, trough=2/s)': the peak is below the trough"),
        ("diurnal(peak=2/s, trough=0/s)", "'0/s' is not a rate"),
        ("diurnal(peak=2/s, trough=1/s, period=0s)", "'0s' is not a duration above zero"),
        ("diurnal(peak=2/s, trough=1/s, cv=99)", "'99' is not a cv"),
        ("closed:0", "'closed:0' is not an arrivals spec"),
        ("closed:1.5", "'closed:1.5' is not an arrivals spec"),
        ("closed:²", "'closed:²' is not an arrivals spec"),
        ("constant:1/s:1s,", "'' is not an arrivals spec"),
        ("constant:1/s,constant:2/s", "arrivals 'constant:1/s' needs a duration, as another segment follows"),
        ("recorded,constant:2/s", "arrivals 'recorded' stands alone"),
        ("constant:2/s:1s,closed:3", "arrivals 'closed:3' stands alone"),
    ],
)
def test_nonsense(spec: str, line: str) -> None:
    """Each mistake is one line that names the part that is wrong."""
    with pytest.raises(UsageError) as caught:
        parse_arrivals(spec)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_expected_visits() -> None:
    """A segment with a rate and an end says how many visits it will bring; others say nothing."""
    specs = ("constant:5/s:3s", "poisson:4/s:1m", "ramp:1/s..3/s:4s", "constant:5/s", "recorded", "closed:3:1m")
    assert [parse_arrivals(spec).segments[0].expected() for spec in specs] == [15, 240, 8, None, None, None]
