"""Laws of the trace room that hold for every input."""

from __future__ import annotations

import json
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
from harness.trace.order import Packing, in_order
from harness.trace.sessions import cut_sessions
from harness.trace.useragent import Agent
from harness.trace.writer import write_trace
from harness.units import NS_PER_S

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
    return [PageView(at_s * NS_PER_S, f"v{visitor}", Agent("desktop")) for at_s, visitor in moments]


MOMENTS = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 4)), max_size=60)
NUMBERED = Packing[tuple[int, int]](
    key=lambda pair: pair[0],
    pack=msgspec.msgpack.encode,
    unpack=msgspec.msgpack.Decoder(tuple[int, int]).decode,
)


@given(st.lists(st.integers(-50, 50), max_size=80), st.integers(1, 20))
def test_an_external_sort_is_a_stable_sort(keys: list[int], run: int) -> None:
    """However few records fit into memory, the order is that of sorted(), which is stable."""
    records = [(key, number) for number, key in enumerate(keys)]
    assert list(in_order(records, NUMBERED, run)) == sorted(records, key=lambda pair: pair[0])


@given(MOMENTS, st.integers(1, 60), st.integers(1, 200))
def test_sessions_against_cutting_each_visitor_alone(
    moments: list[tuple[int, int]], gap_s: int, longest_s: int
) -> None:
    """The sessions equal those of a simple cutter that sees one visitor at a time; starts are in order."""
    views = sorted(views_of(moments), key=lambda view: view.at_ns)
    by_visitor: defaultdict[str, list[int]] = defaultdict(list)
    for view in views:
        by_visitor[view.client].append(view.at_ns)
    gap_ns, longest_ns = gap_s * NS_PER_S, longest_s * NS_PER_S
    expected = []
    for visitor, times in by_visitor.items():
        runs = [[times[0]]]
        for before_ns, at_ns in pairwise(times):
            if at_ns - before_ns > gap_ns or at_ns - runs[-1][0] > longest_ns:
                runs.append([at_ns])
            else:
                runs[-1].append(at_ns)
        expected += [(visitor, run) for run in runs]
    found = [(session.visitor, session.views_ns) for session in cut_sessions(views, gap_ns, longest_ns)]
    assert sorted(found) == sorted(expected)
    assert [views_ns[0] for _, views_ns in found] == sorted(views_ns[0] for _, views_ns in found)
