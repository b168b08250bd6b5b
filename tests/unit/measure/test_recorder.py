"""The recorder's rules: which record ends in which counter and histogram."""

from __future__ import annotations

from typing import Any

import pytest

from harness.measure.histogram import Histogram
from harness.measure.recorder import Recorder
from harness.measure.snapshot import Snapshot
from harness.visitor.records import Attempt, Chain, Outcome, Result, StepOutcome, VisitEnd, VisitOutcome

MS = 1_000_000
OP, COHORT = "get_engagement", "mobile"


def attempt(result: Result = Result.available, **changes: Any) -> Attempt:
    """Planned at 100 ms, begun at 102, connected at 105, sent at 106, answered at 126."""
    fields: dict[str, Any] = {
        "visit": "v", "cohort": COHORT, "op": OP, "step": 0, "number": 1, "result": result, "chain": Chain.none,
        "return_missed": False, "stale": False, "http_status": 200, "code": -1,
        "planned_ns": 100 * MS, "started_ns": 102 * MS, "connected_ns": 105 * MS, "sent_ns": 106 * MS,
        "done_ns": 126 * MS,
    }  # fmt: skip
    return Attempt(**(fields | changes))


def step(outcome: Outcome, **changes: Any) -> StepOutcome:
    """First due at 100 ms, settled at 350 ms after two attempts."""
    fields: dict[str, Any] = {
        "visit": "v", "cohort": COHORT, "op": OP, "step": 0, "outcome": outcome, "planned_ns": 100 * MS,
        "settled_ns": 350 * MS, "attempts": 2, "first_available": False,
    }  # fmt: skip
    return StepOutcome(**(fields | changes))


def recorded(*attempts: Attempt, closed: bool = False) -> Snapshot:
    recorder = Recorder(closed=closed)
    recorder.attempts(attempts)
    return recorder.take()


def times(snapshot: Snapshot) -> dict[tuple[str, str], tuple[int, int, int]]:
    """(measure, row) -> (finite values, their total in ms, infinite values), of the one op and cohort."""
    assert {key[1:3] for key in snapshot.histograms} <= {(OP, COHORT)}
    return {
        (measure, row): (histogram.finite, histogram.total_ns // MS, histogram.infinite)
        for (measure, _, _, row), histogram in snapshot.histograms.items()
    }


CONNECTED = {("connect_time", "ok"): (1, 3, 0), ("dispatch_lag", "ok"): (1, 2, 0)}
ENGAGED = {("response_time", "ok"): (1, 26, 0), ("service_time", "ok"): (1, 20, 0)}
REFUSED = {("response_time", "error"): (1, 26, 0), ("service_time", "error"): (1, 20, 0)}
SILENT = {("response_time", "ok"): (0, 0, 1), ("service_time", "ok"): (0, 0, 1)}


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (Result.available, ENGAGED),
        (Result.not_available, ENGAGED),
        (Result.accepted, ENGAGED),
        (Result.loading, REFUSED),
        (Result.throttled, REFUSED),
        (Result.rejected, REFUSED),
        (Result.client_error, REFUSED),
        (Result.server_error, REFUSED),
        (Result.redirect, REFUSED),
        (Result.timeout, SILENT),
        (Result.connect_error, SILENT),
        (Result.tls_error, SILENT),
        (Result.reset, SILENT),
        (Result.bad_reply, SILENT),
        (Result.internal_error, {}),
    ],
)
def test_every_result_has_its_row(result: Result, expected: dict[tuple[str, str], tuple[int, int, int]]) -> None:
    """Engagement replies are "ok", error replies "error", silence is infinite, our own bug has no time."""
    snapshot = recorded(attempt(result))
    assert times(snapshot) == CONNECTED | expected
    assert snapshot.counters == {("attempts", OP, COHORT, result.name): 1}


def test_kept_connection_has_no_connect_time() -> None:
    """An attempt on a kept connection counts in no connect time, nor does one that never connected."""
    kept = recorded(attempt(connected_ns=102 * MS))
    never = recorded(attempt(Result.connect_error, connected_ns=-1, sent_ns=-1))
    assert ("connect_time", "ok") not in times(kept)
    assert ("connect_time", "ok") not in times(never)


def test_early_start_is_no_negative_lag() -> None:
    """An attempt begun before its planned moment has lag 0."""
    assert times(recorded(attempt(started_ns=99 * MS)))["dispatch_lag", "ok"] == (1, 0, 0)


def test_attempt_that_never_began_has_no_lag() -> None:
    """Without a start there is neither lag nor connect time."""
    assert times(recorded(attempt(Result.connect_error, started_ns=-1, connected_ns=-1, sent_ns=-1))) == SILENT


def test_closed_loop_measures_connect_plus_service() -> None:
    """In a closed-loop run response time is connect + service, and there is no lag."""
    assert times(recorded(attempt(), closed=True)) == {
        ("connect_time", "ok"): (1, 3, 0),
        ("service_time", "ok"): (1, 20, 0),
        ("response_time", "ok"): (1, 23, 0),
    }


def test_chain_events_are_counted_with_the_requests_rule_apart() -> None:
    """A reply's chain event counts once; a missed RETURN and a STALE request count beside it."""
    snapshot = recorded(
        attempt(chain=Chain.started, return_missed=True), attempt(chain=Chain.kept), attempt(stale=True)
    )
    assert snapshot.by_last("chain") == {"started": 1, "kept": 1, "return_missed": 1, "stale_sent": 1}


def test_errors_are_kept_with_their_text() -> None:
    """Each attempt that is no engagement reply is an error row; equal ones are counted together."""
    slow = attempt(Result.loading, http_status=500, code=20, message="Loading account")
    snapshot = recorded(slow, slow, attempt(Result.timeout, http_status=0), attempt())
    assert snapshot.errors == {
        (OP, "loading", 500, 20, "Loading account"): 2,
        (OP, "timeout", 0, -1, ""): 1,
    }


@pytest.mark.parametrize(
    ("outcome", "measure"),
    [
        (Outcome.available, "time_to_available"),
        (Outcome.exhausted, "time_to_available_censored"),
        (Outcome.censored, "time_to_available_censored"),
        (Outcome.rejected, "time_to_available_never"),
        (Outcome.failed, "time_to_available_never"),
        (Outcome.not_available, "time_to_available_never"),
        (Outcome.dropped, None),
        (Outcome.skipped, None),
    ],
)
def test_time_to_available_by_outcome(outcome: Outcome, measure: str | None) -> None:
    """Available steps have a time, cut-off ones are censored, refused ones never; others say nothing."""
    recorder = Recorder()
    recorder.steps([step(outcome)])
    assert times(recorder.take()) == ({(measure, "ok"): (1, 250, 0)} if measure else {})


def test_time_to_available_is_of_engagements_that_began() -> None:
    """Updates and steps that never began have no time to available."""
    recorder = Recorder()
    recorder.steps([step(Outcome.accepted, op="update"), step(Outcome.censored, planned_ns=-1, attempts=0)])
    assert recorder.take().histograms == {}


def test_steps_count_outcomes_and_first_attempts() -> None:
    """Outcomes are counted; a step counts among the first attempts only when it had one."""
    recorder = Recorder()
    recorder.steps(
        [
            step(Outcome.available, first_available=True),
            step(Outcome.available),
            step(Outcome.dropped, planned_ns=-1, attempts=0),
        ]
    )
    assert recorder.take().counters == {
        ("steps", OP, COHORT, "available"): 2,
        ("steps", OP, COHORT, "dropped"): 1,
        ("first_attempts", OP, COHORT): 2,
        ("first_available", OP, COHORT): 1,
    }


def test_visits_open_follow_from_starts_and_ends() -> None:
    """Open visits are those begun less those ended; a dropped visit was never begun."""
    recorder = Recorder()
    for planned in (1, 2, 3):
        recorder.visit_started(planned * MS, COHORT)
    recorder.visits(
        [
            VisitOutcome("a", COHORT, VisitEnd.completed, 1, 1, 9, 1),
            VisitOutcome("b", COHORT, VisitEnd.dropped, 2, -1, 9, 1),
        ]
    )
    snapshot = recorder.take()
    assert snapshot.visits_open == 2
    assert snapshot.by_last("visits") == {"completed": 1, "dropped": 1}
    assert snapshot.maxima == {"last_arrival_ns": 3 * MS}


def test_generator_facts() -> None:
    """Stalls, memory and CPU waits keep the largest, CPU adds up, connection events and loop delays are counted."""
    recorder = Recorder()
    recorder.stall(5)
    recorder.stall(3)
    recorder.usage(cpu_ns=10, rss_bytes=100, waited_ns=7)
    recorder.usage(cpu_ns=20, rss_bytes=90)
    recorder.connection("opened")
    recorder.connection("opened", 2)
    recorder.loop_delay(7)
    delay = Histogram()
    delay.add(7)
    assert recorder.take() == Snapshot(
        counters={("connections", "opened"): 3},
        histograms={("loop_delay", "", "", "ok"): delay},
        sums={"cpu_ns": 30},
        maxima={"loop_stall_max_ns": 5, "rss_bytes": 100, "cpu_wait_max_ns": 7},
    )
    with pytest.raises(ValueError, match="not a connection event"):
        recorder.connection("melted")


def test_take_in_parts_equals_take_at_once() -> None:
    """However often `take` cuts, the parts merge to what one take would have given, and nothing stays behind."""
    attempts = [attempt(Result(i % 15), done_ns=(126 + i) * MS, message=f"m{i % 3}") for i in range(1000)]
    whole, parts, pieces = Recorder(), Recorder(), []
    whole.attempts(attempts)
    for start in range(0, 1000, 70):
        parts.attempts(attempts[start : start + 70])
        if start % 3 == 0:
            pieces.append(parts.take())
    pieces.append(parts.take())
    assert Snapshot.merged(pieces) == whole.take()
    assert parts.take() == whole.take() == Snapshot()


def test_answer_before_the_request_is_our_bug() -> None:
    """An attempt answered before it was sent raises instead of being counted."""
    with pytest.raises(ValueError, match="negative"):
        recorded(attempt(done_ns=105 * MS))
