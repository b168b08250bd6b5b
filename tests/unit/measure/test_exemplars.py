"""Exemplars: which visits are kept, what is told of them, and that memory is given back."""

from __future__ import annotations

from typing import Any

from harness.measure.exemplars import KEPT, Exemplars
from harness.measure.recorder import Recorder
from harness.measure.transcript import told
from harness.visitor.records import Attempt, Chain, Outcome, Result, StepOutcome, VisitEnd, VisitOutcome

MS, S = 1_000_000, 1_000_000_000


def call(visit: str, number: int = 1, **changes: Any) -> Attempt:
    """Due 10 ms after the arrival at 1 s, begun 2 ms late, connected in 3, sent, answered 20 ms later."""
    at_ns = S + 10 * MS
    fields: dict[str, Any] = {
        "visit": visit, "cohort": "mobile", "op": "get_engagement", "step": 0, "number": number,
        "result": Result.available, "chain": Chain.started, "return_missed": False, "stale": False,
        "http_status": 200, "code": -1, "planned_ns": at_ns, "started_ns": at_ns + 2 * MS,
        "connected_ns": at_ns + 5 * MS, "sent_ns": at_ns + 5 * MS, "done_ns": at_ns + 25 * MS,
    }  # fmt: skip
    return Attempt(**(fields | changes))


def step(visit: str, took_ms: int, outcome: Outcome = Outcome.available, attempts: int = 1) -> StepOutcome:
    at_ns = S + 10 * MS
    return StepOutcome(visit, "mobile", "get_engagement", 0, outcome, at_ns, at_ns + took_ms * MS, attempts, True)


def over(visit: str, ended_ns: int = 2 * S, end: VisitEnd = VisitEnd.completed) -> VisitOutcome:
    return VisitOutcome(visit, "mobile", end, S, S, ended_ns, 1)


def play(exemplars: Exemplars, visit: str, took_ms: int, **changes: Any) -> None:
    exemplars.attempts([call(visit, **changes)])
    exemplars.steps([step(visit, took_ms)])
    exemplars.visits([over(visit)])


def test_the_slowest_visits_are_kept_over_all_takes() -> None:
    """A visit is told only if it beats the slowest kept so far, also of earlier seconds."""
    exemplars = Exemplars()
    for number in range(100):
        play(exemplars, f"v-{number}", number)
    first = exemplars.take()
    assert [each.visit for each in first] == [f"v-{number}" for number in range(99, 99 - KEPT["slowest"], -1)]
    play(exemplars, "slow", 95)
    play(exemplars, "quick", 91)
    assert [each.visit for each in exemplars.take()] == ["slow"]
    assert exemplars.take() == []


def test_kinds() -> None:
    """A spent budget beats a renewed session, which beats being slow; each kind has its own places."""
    exemplars = Exemplars()
    play(exemplars, "slow", 900)
    play(exemplars, "renewed", 5, chain=Chain.renewed)
    exemplars.attempts([call("exhausted", chain=Chain.renewed)])
    exemplars.steps([step("exhausted", 7, Outcome.exhausted)])
    exemplars.visits([over("exhausted")])
    assert [(each.kind, each.visit) for each in exemplars.take()] == [
        ("slowest", "slow"), ("exhausted", "exhausted"), ("renewed", "renewed"),
    ]  # fmt: skip


def test_warm_up_and_dropped_visits_are_no_exemplars() -> None:
    """What ended within the warm-up or never began is not told, and takes no place."""
    exemplars = Exemplars(from_ns=3 * S)
    play(exemplars, "early", 900)
    exemplars.steps([step("dropped", 900, Outcome.dropped, attempts=0)])
    exemplars.visits([over("dropped", 4 * S, VisitEnd.dropped)])
    assert exemplars.take() == []


def test_a_long_visit_keeps_its_first_and_last_records() -> None:
    """Sixteen and thirty-two attempts stay in order; what lies between is counted."""
    exemplars = Exemplars()
    exemplars.attempts([call("v", number) for number in range(1, 101)])
    exemplars.steps([step("v", 50, Outcome.exhausted, attempts=100)])
    exemplars.visits([over("v")])
    [found] = exemplars.take()
    assert [each.number for each in found.calls] == [*range(1, 17), *range(69, 101)]
    assert found.left_out == 100 - 48


def test_nothing_is_held_of_visits_that_are_over() -> None:
    """The collector's memory is that of open visits."""
    exemplars = Exemplars()
    for number in range(1000):
        play(exemplars, f"v-{number}", 1)
    assert exemplars._open == exemplars._left_out == exemplars._slow_ns == exemplars._kinds == {}


def test_what_is_told() -> None:
    """Moments are ms after the planned arrival; what was not reached is absent; ids of the service do not occur."""
    recorder = Recorder()
    silent = call("v", result=Result.timeout, chain=Chain.none, http_status=0, connected_ns=-1, sent_ns=-1, done_ns=-1,
                  message="no reply within 5 s")  # fmt: skip
    recorder.attempts([silent, call("v", 2, chain=Chain.renewed, code=3)])
    recorder.steps([step("v", 40, attempts=2)])
    recorder.visits([over("v")])
    assert [told(each) for each in recorder.take().exemplars] == [
        {
            "kind": "renewed",
            "visit": "v",
            "cohort": "mobile",
            "end": "completed",
            "took_ms": 40.0,
            "arrived_s": 1.0,
            "duration_ms": 1000.0,
            "calls": [
                {
                    "at_ms": 10.0, "op": "get_engagement", "step": 0, "number": 1, "result": "timeout", "lag_ms": 2.0,
                    "message": "no reply within 5 s",
                },
                {
                    "at_ms": 10.0, "op": "get_engagement", "step": 0, "number": 2, "result": "available",
                    "lag_ms": 2.0, "connect_ms": 3.0, "service_ms": 20.0, "response_ms": 25.0, "http_status": 200,
                    "chain": "renewed", "code": 3,
                },
            ],
            "left_out": 0,
        }
    ]  # fmt: skip
