"""Laws of traces made of traces, each against a plain computation over whole lists that the product never holds."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.trace.check import Validation
from harness.trace.lines import BadLines
from harness.trace.merge import merge_traces
from harness.trace.reshape import Kept, head_trace, sample_trace, warp_trace
from harness.trace.slice import Sliced, slice_trace

Visit = dict[str, Any]
HEADER = {"harness_trace": 1, "source": "s", "visits": 7, "span_s": 3.5, "mine": {"k": 1}}
TIMES = st.integers(0, 60_000).map(lambda ms: ms / 1000)


@st.composite
def traces(draw: st.DrawFn, least: int = 1) -> list[Visit]:
    """Visits in order of `at` by few visitors, with keys that nobody knows, in a line and in a step."""
    visits = []
    for number, at in enumerate(sorted(draw(st.lists(TIMES, min_size=least, max_size=12)))):
        steps = [
            {
                "op": "get_engagement",
                "think": draw(TIMES),
                "identity": draw(st.sampled_from(["fresh", "return", "chain"])),
                "note": draw(st.integers(0, 2**70)),
                "request": {"appType": "EXTERNAL", "x": draw(st.text(max_size=3))},
            }
            for _ in range(draw(st.integers(1, 3)))
        ]
        extra: Visit = {"mine": draw(st.text(max_size=3))} if draw(st.booleans()) else {}
        visitor = f"u{draw(st.integers(0, 3))}"
        visits.append(
            {
                "visit": f"v{number}",
                **extra,
                "visitor": visitor,
                "at": at,
                "returns": draw(st.booleans()),
                "steps": steps,
            }
        )
    return visits


def write(folder: str, name: str, visits: list[Visit]) -> Path:
    path = Path(folder) / name
    path.write_text("".join(json.dumps(line) + "\n" for line in [HEADER, *visits]))
    return path


def read(path: Path) -> tuple[Visit, list[Visit]]:
    header, *visits = map(json.loads, path.read_text().splitlines())
    return header, visits


@given(traces(), st.integers(0, 14))
@settings(max_examples=20)
def test_head_is_the_first_lines(visits: list[Visit], count: int) -> None:
    """A head has the first visits, byte for byte, and a header without totals."""
    with tempfile.TemporaryDirectory() as folder:
        source, output = write(folder, "in", visits), Path(folder) / "out"
        kept = head_trace(source, output, BadLines(), count)
        assert kept == Kept(min(count, len(visits)), min(count, len(visits)))
        assert output.read_bytes().splitlines()[1:] == source.read_bytes().splitlines()[1:][:count]
        assert read(output)[0] == {"harness_trace": 1, "source": "s", "mine": {"k": 1}}


@given(traces(), st.floats(0.01, 1), st.floats(0.01, 1), st.integers(0, 5))
@settings(max_examples=50)
def test_samples_are_nested_and_keep_visitors_whole(visits: list[Visit], a: float, b: float, seed: int) -> None:
    """A visitor is wholly in or out, a smaller fraction is within a larger one, and lines stay byte for byte."""
    with tempfile.TemporaryDirectory() as folder:
        source = write(folder, "in", visits)
        lines = source.read_bytes().splitlines()[1:]
        kept: list[list[bytes]] = []
        for number, fraction in enumerate(sorted([a, b, 1.0])):
            output = Path(folder) / str(number)
            try:
                sample_trace(source, output, BadLines(), fraction, seed)
            except Exception as error:
                assert "no visitor is in the sample" in str(error)
                assert not output.exists()
                kept.append([])
            else:
                kept.append(output.read_bytes().splitlines()[1:])
    small, large, everything = kept
    assert everything == lines
    assert [line for line in large if line in set(small)] == small
    for some in kept:
        inside = {json.loads(line)["visitor"] for line in some}
        assert some == [line for line in lines if json.loads(line)["visitor"] in inside]


@given(traces(), st.sampled_from([0.25, 0.5, 1.0, 3.0, 10.0]), st.booleans())
@settings(max_examples=50)
def test_warp_divides_times_and_nothing_else(visits: list[Visit], speed: float, think: bool) -> None:
    """Arrivals are divided to the nanosecond, think times only if asked, all else stays, unknown keys included."""
    with tempfile.TemporaryDirectory() as folder:
        source, output = write(folder, "in", visits), Path(folder) / "out"
        warped = warp_trace(source, output, BadLines(), speed, think=think)
        header, found = read(output)
    assert header == {**HEADER, "span_s": round(3.5 / speed, 9)}
    assert warped.visits == len(visits)
    divide = speed if think else 1.0
    expected = [
        {
            **visit,
            "at": round(visit["at"] / speed, 9),
            "steps": [{**step, "think": round(step["think"] / divide, 9)} for step in visit["steps"]],
        }
        for visit in visits
    ]
    assert found == expected
    assert [list(visit) for visit in found] == [list(visit) for visit in visits]
    for peak, some in ((warped.peak_before, visits), (warped.peak_after, found)):
        assert peak == max(_open_at(some, visit["at"]) for visit in some)


def _open_at(visits: list[Visit], at: float) -> int:
    """Visits that have begun by a moment and not ended before it; the last of equal starts sees all of them."""
    return sum(visit["at"] <= at <= visit["at"] + sum(step["think"] for step in visit["steps"]) for visit in visits)


@given(traces(), TIMES, TIMES)
@settings(max_examples=50)
def test_slice_against_the_whole_list(visits: list[Visit], start: float, length: float) -> None:
    """Visits within, times from zero; who comes again within keeps `returns`, who came before begins fresh."""
    end = start + length + 0.001
    inside = [visit for visit in visits if start <= visit["at"] < end]
    expected, left, came = [], 0, 0
    for visit in inside:
        earlier = [other for other in visits if other["visitor"] == visit["visitor"] and other is not visit]
        earlier, later = (
            [o for o in earlier if (visits.index(o) < visits.index(visit)) is side] for side in (True, False)
        )
        from_before = bool(earlier) and earlier[-1]["at"] < start and earlier[-1]["returns"]
        fresh = from_before and any(step["identity"] == "return" for step in visit["steps"])
        stays = any(other in inside for other in later)
        left += visit["returns"] and not stays
        came += fresh
        steps = [
            {**step, "identity": "fresh" if fresh and step["identity"] == "return" else step["identity"]}
            for step in visit["steps"]
        ]
        at = round(visit["at"] - start, 9)
        expected.append({**visit, "at": at, "returns": visit["returns"] and stays, "steps": steps})
    with tempfile.TemporaryDirectory() as folder:
        source, output = write(folder, "in", visits), Path(folder) / "out"
        if not inside:
            try:
                slice_trace(source, output, BadLines(), start, end)
            except Exception as error:
                assert "begins in the slice" in str(error)
            assert not output.exists()
            return
        assert slice_trace(source, output, BadLines(), start, end) == Sliced(len(inside), left, came)
        header, found = read(output)
        warnings = [finding for _, some in Validation(output, BadLines()) for finding in some]
        original = [finding for _, some in Validation(source, BadLines()) for finding in some]
    assert found == expected
    assert (header["visits"], header["mine"]) == (len(inside), {"k": 1})
    assert header["span_s"] == round(inside[-1]["at"] - inside[0]["at"], 9)
    if not any("no earlier visit" in finding.message for finding in original):
        assert not any("no earlier visit" in finding.message for finding in warnings)


@given(st.lists(traces(), min_size=1, max_size=3))
@settings(max_examples=30)
def test_merge_is_ordered_complete_and_without_a_meeting(inputs: list[list[Visit]]) -> None:
    """All visits of all inputs, in order of time, each under a name that says where it comes from; merged again too."""
    with tempfile.TemporaryDirectory() as folder:
        sources = [write(folder, f"in{number}", visits) for number, visits in enumerate(inputs)]
        output, twice = Path(folder) / "out", Path(folder) / "twice"
        assert merge_traces(sources, output, BadLines()) == [len(visits) for visits in inputs]
        merge_traces([output, *sources], twice, BadLines())
        assert sum(1 for _ in Validation(twice, BadLines())) == 2 * sum(map(len, inputs))
        header, found = read(output)
    expected = [
        {**visit, "visit": f"m{number}.{visit['visit']}", "visitor": f"m{number}.{visit['visitor']}"}
        for number, visits in enumerate(inputs, start=1)
        for visit in visits
    ]
    assert found == sorted(expected, key=lambda visit: visit["at"])
    assert Counter(visit["visit"] for visit in found).most_common(1)[0][1] == 1
    assert header == {"harness_trace": 1, "source": " + ".join(["s"] * len(inputs)), "anonymized": False}
