"""Laws of the trace room that hold for every input."""

from __future__ import annotations

import json
import random
import tempfile
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import TraceError
from harness.trace.accesslog import PageView
from harness.trace.codec import decode_visit, encode_visit, read_visits
from harness.trace.lines import BadLines
from harness.trace.model import IDENTITIES, OPS, Header, Step, Visit
from harness.trace.sessions import cut_sessions, in_order
from harness.trace.useragent import Agent
from harness.trace.writer import write_trace

SECONDS = st.floats(min_value=0, max_value=1e8, allow_nan=False) | st.integers(0, 10**8).map(float)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
REQUESTS = st.dictionaries(st.text(), JSON, max_size=3).map(lambda body: msgspec.Raw(msgspec.json.encode(body)))
STEPS = st.builds(Step, op=st.sampled_from(OPS), think=SECONDS, identity=st.sampled_from(IDENTITIES), request=REQUESTS)
VISITS = st.builds(
    Visit,
    id=st.text(),
    visitor=st.text(),
    at=SECONDS,
    steps=st.lists(STEPS, max_size=4),
    cohort=st.text(),
    returns=st.booleans(),
    account=st.none() | st.text(),
)


@given(VISITS)
def test_encode_then_decode_is_identity(visit: Visit) -> None:
    """Any visit survives a round trip through its line, and a standard JSON parser reads the same values."""
    line = encode_visit(visit)
    assert decode_visit(line, "x") == visit
    parsed = json.loads(line)
    assert (parsed["visit"], parsed["at"], len(parsed["steps"])) == (visit.id, visit.at, len(visit.steps))
    assert b"\n" not in line


@given(st.lists(VISITS, max_size=5), st.sampled_from(["t.jsonl", "t.jsonl.gz", "t.jsonl.zst"]))
@settings(max_examples=50)
def test_written_file_reads_back(visits: list[Visit], name: str) -> None:
    """Any visits survive a round trip through a file of any compression."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write_trace(path, Header(harness_trace=1), map(encode_visit, visits))
        assert [read.visit for read in read_visits(path)[1]] == visits


@given(st.binary(max_size=300))
def test_any_bytes_are_a_visit_or_a_trace_error(line: bytes) -> None:
    """Whatever stands in a line, decoding gives a visit or a TraceError, nothing else."""
    try:
        decode_visit(line, "f:1")
    except TraceError as error:
        assert str(error).startswith("f:1: not a visit: ")


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_any_file_is_read_or_refused(content: bytes) -> None:
    """Whatever a file holds, reading it ends well or in one TraceError."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t"
        path.write_bytes(content)
        try:
            list(read_visits(path, BadLines("skip"))[1])
        except TraceError as error:
            assert str(error).startswith(f"{path}")
            assert "\n" not in str(error)


def views_of(moments: list[tuple[int, int]]) -> list[PageView]:
    return [PageView(at_s, f"v{visitor}", Agent("desktop"), f"log:{n}") for n, (at_s, visitor) in enumerate(moments)]


MOMENTS = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 4)), max_size=60)


@given(MOMENTS, st.integers(0, 120), st.integers(0, 2**32))
def test_shuffling_within_the_window_changes_nothing(moments: list[tuple[int, int]], window_s: int, seed: int) -> None:
    """Lines displaced by at most the window come out sorted, none lost."""
    rng = random.Random(seed)
    displaced = sorted(views_of(moments), key=lambda view: view.at_s + rng.uniform(0, window_s))
    ordered = list(in_order(displaced, BadLines(), window_s))
    assert [view.at_s for view in ordered] == sorted(at_s for at_s, _ in moments)
    assert sorted(view.where for view in ordered) == sorted(view.where for view in displaced)


@given(MOMENTS, st.integers(1, 60), st.integers(1, 200))
def test_sessions_against_cutting_each_visitor_alone(
    moments: list[tuple[int, int]], gap_s: int, longest_s: int
) -> None:
    """The sessions equal those of a simple cutter that sees one visitor at a time; starts are in order."""
    views = sorted(views_of(moments), key=lambda view: view.at_s)
    by_visitor: defaultdict[str, list[int]] = defaultdict(list)
    for view in views:
        by_visitor[view.visitor].append(view.at_s)
    expected = []
    for visitor, times in by_visitor.items():
        runs = [[times[0]]]
        for before_s, at_s in pairwise(times):
            if at_s - before_s > gap_s or at_s - runs[-1][0] > longest_s:
                runs.append([at_s])
            else:
                runs[-1].append(at_s)
        expected += [(visitor, run) for run in runs]
    found = [(session.visitor, session.views_s) for session in cut_sessions(views, gap_s, longest_s)]
    assert sorted(found) == sorted(expected)
    assert [views_s[0] for _, views_s in found] == sorted(views_s[0] for _, views_s in found)
