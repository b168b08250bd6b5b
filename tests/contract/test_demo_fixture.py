"""The demo's trace: what it must hold, that it gives nothing of its log away, and that its recipe makes it again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.trace.accesslog import AccessLog
from harness.trace.check import Validation
from harness.trace.codec import encode_header, encode_visit
from harness.trace.demo import LAST_STEP_S, LONGEST_THINK_S, RETURN_MARGIN_S, SEED, demo_trace
from harness.trace.lines import BadLines, read_chunks, read_lines
from harness.trace.model import Visit
from harness.trace.sessions import cut_sessions, in_time
from harness.trace.stat import TraceStat
from harness.wire.attributes import ATTRIBUTE_TYPES

ROOT = Path(__file__).parents[2]
FIXTURE = ROOT / "fixtures" / "demo.jsonl.gz"


def access_log() -> Path:
    """The sample log, or a skip that says where it was looked for."""
    path = Path(os.environ.get("HARNESS_ACCESS_LOG") or ROOT.parent / "shared" / "data" / "access-combined.log.gz")
    if not path.exists():
        pytest.skip(f"the sample access log is not at hand: {path} (set HARNESS_ACCESS_LOG)")
    return path


@pytest.fixture(scope="module")
def visits() -> list[Visit]:
    """The fixture's visits, after a check that nothing is wrong or odd about any."""
    validation = Validation(FIXTURE, BadLines())
    visits = [read.visit for read, findings in validation if findings == []]
    assert (validation.finish(), len(visits)) == ([], validation.visits)
    assert (validation.header.seed, validation.header.anonymized) == (SEED, True)
    return visits


def test_it_holds_what_the_demo_needs(visits: list[Visit]) -> None:
    """Enough visits, several steps, returns, stale ids, updates, all ten attribute types, three cohorts, a crowd."""
    numbers = TraceStat()
    for visit in visits:
        numbers.add(visit)
    several = sum(sum(step.op == "get_engagement" for step in visit.steps) > 1 for visit in visits)
    assert numbers.visits >= 1300
    assert several / numbers.visits >= 0.35
    assert numbers.returns >= 50
    assert numbers.identities["return"] == numbers.returns
    assert 5 <= numbers.identities["stale"] <= 30
    assert numbers.ops["update"] >= 300
    assert set(ATTRIBUTE_TYPES) <= set(numbers.attribute_types)
    assert set(numbers.attribute_types) - set(ATTRIBUTE_TYPES) == {"impDisplay", "impAccept"}
    assert set(numbers.cohorts) == {"desktop", "mobile", "tablet"}
    result = numbers.to_obj()
    assert result["peak_open_visits"] >= 50
    assert 45 <= result["span_s"] < 60
    assert result["last_step_s"] <= LAST_STEP_S
    assert result["think_s"]["max"] <= LONGEST_THINK_S


def test_returning_visitors_keep_a_distance(visits: list[Visit]) -> None:
    """A visitor comes again only when its earlier visit was over for the margin, and only if that one was marked."""
    over_s: dict[str, float] = {}
    marked: dict[str, bool] = {}
    for visit in visits:
        came_before = visit.visitor in over_s
        assert (visit.steps[0].identity == "return") == came_before == marked.get(visit.visitor, False)
        assert not came_before or visit.at >= over_s[visit.visitor] + RETURN_MARGIN_S
        over_s[visit.visitor] = visit.at + sum(step.think for step in visit.steps)
        marked[visit.visitor] = visit.returns


def test_the_recipe_makes_it_again() -> None:
    """The committed recipe, run on the log, gives the fixture's content byte for byte, whatever key groups the log."""
    # Content, not packed bytes: zlib's builds differ from machine to machine.
    log = AccessLog([access_log()], os.urandom(16), BadLines())
    header, visits = demo_trace(cut_sessions(in_time(log)))
    derived = b"".join(line + b"\n" for line in (encode_header(header), *map(encode_visit, visits)))
    assert derived == b"".join(read_chunks(FIXTURE))


def test_nothing_of_the_log_is_in_it() -> None:
    """No address, user agent, path or referer of the log stands anywhere in the fixture."""
    content = b"".join(read_chunks(FIXTURE))
    secrets: set[bytes] = set()
    for _, line in read_lines(access_log(), BadLines(), encoding="any"):
        address, request, referer, agent = line.split(b" ", 1)[0], *line.split(b'"')[1:6:2]
        secrets |= {address, agent, referer, *request.split(b" ")[1:2]}
    assert [secret for secret in secrets if len(secret) > 3 and secret in content] == []


def test_small_fixture_is_sound() -> None:
    """The hand-written trace has about twenty visits and nothing to remark."""
    validation = Validation(ROOT / "fixtures" / "small.jsonl", BadLines())
    assert [findings for _, findings in validation] == [[]] * 20
    assert validation.finish() == []
