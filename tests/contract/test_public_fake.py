"""The public fake, `harness.testing`: the examples of its page run, and what it refuses it refuses with a reason."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import TraceError, UsageError
from harness.testing import FakeService, running_simulator, write_trace
from harness.trace.codec import read_visits
from harness.visitor.records import Outcome, Result, VisitEnd

ROOT = Path(__file__).resolve().parents[2]
PAGE_EXAMPLES = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/testing.md").read_text(), re.DOTALL | re.MULTILINE)
VISIT = {"visit": "v1", "visitor": "p1", "at": 0, "steps": [{"op": "get_engagement"}, {"op": "update", "think": 2}]}
AVAILABLE = (
    b'{"status":"Available","visitorId":"V1","sessionId":"S1","pageId":"7",'
    b'"engagementDetails":{"campaignId":1,"engagementId":2,"engagementRevision":3,"contextId":"c"}}'
)


@pytest.mark.system
def test_the_example_with_the_simulator_passes(tmp_path: Path) -> None:
    """The test that docs/testing.md shows is a test that passes."""
    example = tmp_path / "test_example.py"
    example.write_text(PAGE_EXAMPLES[0])
    # The command as an installation would put it there: of this tree, whether it is installed or not.
    command = tmp_path / "bin" / "harness"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m harness "$@"\n')
    command.chmod(0o755)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HARNESS_")}
    environ |= {"PATH": f"{command.parent}{os.pathsep}{environ['PATH']}", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:locust", "-p", "no:cacheprovider", str(example)],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.returncode, "1 passed" in ran.stdout) == (0, True), ran.stdout + ran.stderr


def test_the_example_with_the_fake_service_holds() -> None:
    """The assertions about `FakeService` on the page are true."""
    assert len(PAGE_EXAMPLES) == 2
    exec(compile(PAGE_EXAMPLES[1], "docs/testing.md", "exec"), {})


def test_the_fake_service_plays_a_visit_from_the_first_call_to_the_update() -> None:
    """Ids of the reply are carried on, think time passes on the fake clock, and the records say how it ended."""
    service = FakeService([(200, AVAILABLE), (200, b"")], service_ms=5)
    service.play(VISIT)
    first, second = (request.partition(b"\r\n")[0] for request in service.requests)
    assert first == b"POST /api/account/12345678/app/engagement/visitors/?v=1.0 HTTP/1.1"
    assert second == b"PUT /api/account/12345678/app/engagement/visitors/V1?v=1.0&sid=S1 HTTP/1.1"
    assert [step.outcome for step in service.records.steps] == [Outcome.available, Outcome.accepted]
    assert [visit.end for visit in service.records.visits] == [VisitEnd.completed]
    assert service.now_ns == 2_010_000_000


def test_a_call_beyond_the_script_is_an_error() -> None:
    """A visit that calls more often than its script answers fails loudly, naming the call."""
    service = FakeService([Result.reset])
    with pytest.raises(LookupError, match="no answer to call 2"):
        service.play(VISIT)


def test_a_trace_is_written_in_order_and_read_back(tmp_path: Path) -> None:
    """Visits may be given in any order; the file holds them by time, whatever its compression."""
    late, early = {**VISIT, "visit": "late", "at": 2}, {**VISIT, "visit": "early", "visitor": "p2", "at": 1}
    for name in ("t.jsonl", "t.jsonl.gz", "t.jsonl.zst"):
        header, visits = read_visits(write_trace(tmp_path / name, [late, early]))
        assert (header.visits, [read.visit.id for read in visits]) == (2, ["early", "late"])


def test_a_trace_that_could_not_be_replayed_is_refused(tmp_path: Path) -> None:
    """All bad lines are named at once."""
    wrong = [{**VISIT, "visit": "a", "steps": []}, {**VISIT, "visit": "b", "at": 1, "cohort": "no blanks"}, VISIT]
    with pytest.raises(TraceError, match="2 of 3 visits") as raised:
        write_trace(tmp_path / "t.jsonl", wrong)
    assert len(raised.value.problems) == 2


def test_a_scenario_that_does_not_exist_is_refused_before_anything_starts() -> None:
    """The mistake is the caller's and is told as such."""
    with pytest.raises(UsageError, match="nowhere"), running_simulator("nowhere.toml"):
        pass


@pytest.mark.system
def test_the_simulator_keeps_its_log_and_ends_with_the_block(tmp_path: Path) -> None:
    """The log file is there, and after the block nobody answers at the URL."""
    with running_simulator("cold-account", log=tmp_path / "calls.jsonl") as sim:
        assert sim.url.startswith("http://127.0.0.1:")
        assert sim.truth()["scenario"] == "cold-account"
    assert (tmp_path / "calls.jsonl").exists()
    with pytest.raises(OSError, match="refused"):
        sim.truth()
