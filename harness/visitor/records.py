"""The flat records where doing and measuring meet, and their closed sets (interfaces section 3).

Everything that happens to a visitor becomes one of three records: an `Attempt` for each request sent (or meant to be
sent), a `StepOutcome` when a step is settled, a `VisitOutcome` when a visit ends. Times are integer nanoseconds on the
run's clock (offsets from the run's start). A time that was never reached is -1.
"""

from __future__ import annotations

from enum import IntEnum

from harness.record import Record


class Result(IntEnum):
    """What one attempt came to."""

    available = 0
    not_available = 1
    accepted = 2
    loading = 3
    throttled = 4
    rejected = 5
    client_error = 6
    server_error = 7
    redirect = 8
    timeout = 9
    connect_error = 10
    tls_error = 11
    reset = 12
    bad_reply = 13
    internal_error = 14


class Outcome(IntEnum):
    """How a step was settled; `undealt` exists only in the master's books."""

    available = 0
    not_available = 1
    accepted = 2
    exhausted = 3
    rejected = 4
    failed = 5
    skipped = 6
    censored = 7
    dropped = 8
    lost = 9
    undealt = 10


class Chain(IntEnum):
    """What a reply did to the visit's ids; `none` when the attempt says nothing about the chain."""

    none = 0
    started = 1
    kept = 2
    renewed = 3
    revid = 4
    crossed = 5
    rejected = 6
    return_missed = 7
    stale_sent = 8


class VisitEnd(IntEnum):
    """How a visit ended."""

    completed = 0
    censored = 1
    dropped = 2
    lost = 3


# Results that are an engagement reply (or an accepted update): their times are the latency the SLOs speak of.
ENGAGED = frozenset({Result.available, Result.not_available, Result.accepted})
# Results without any reply: infinitely slow in the percentiles of service and response time.
NO_REPLY = frozenset({Result.timeout, Result.connect_error, Result.tls_error, Result.reset, Result.bad_reply})


class Attempt(Record):
    """One request: when it was planned, begun, connected, sent and answered, and what it came to.

    `chain` is what the reply did to the ids; `return_missed` and `stale` say how the request's identity rule turned
    out. `http_status` is 0 without a reply, `code` the error body's internalCode or -1. `message` is short and
    redacted, and empty unless the result is an error.
    """

    __slots__ = (
        "chain",
        "code",
        "cohort",
        "connected_ns",
        "done_ns",
        "http_status",
        "message",
        "number",
        "op",
        "planned_ns",
        "result",
        "return_missed",
        "sent_ns",
        "stale",
        "started_ns",
        "step",
        "visit",
    )

    def __init__(
        self,
        visit: str,
        cohort: str,
        op: str,
        step: int,
        number: int,
        result: Result,
        chain: Chain,
        return_missed: bool,
        stale: bool,
        http_status: int,
        code: int,
        planned_ns: int,
        started_ns: int,
        connected_ns: int,
        sent_ns: int,
        done_ns: int,
        message: str = "",
    ) -> None:
        self.visit = visit
        self.cohort = cohort
        self.op = op
        self.step = step
        self.number = number
        self.result = result
        self.chain = chain
        self.return_missed = return_missed
        self.stale = stale
        self.http_status = http_status
        self.code = code
        self.planned_ns = planned_ns
        self.started_ns = started_ns
        self.connected_ns = connected_ns
        self.sent_ns = sent_ns
        self.done_ns = done_ns
        self.message = message


class StepOutcome(Record):
    """One step settled: `planned_ns` is its first planned moment, `settled_ns` when it was decided.

    `attempts` counts requests of this step; `first_available` says that the very first one was available.
    A step that never began (cut off, dropped, lost) has `planned_ns` -1 and 0 attempts.
    """

    __slots__ = (
        "attempts",
        "cohort",
        "first_available",
        "op",
        "outcome",
        "planned_ns",
        "settled_ns",
        "step",
        "visit",
    )

    def __init__(
        self,
        visit: str,
        cohort: str,
        op: str,
        step: int,
        outcome: Outcome,
        planned_ns: int,
        settled_ns: int,
        attempts: int,
        first_available: bool,
    ) -> None:
        self.visit = visit
        self.cohort = cohort
        self.op = op
        self.step = step
        self.outcome = outcome
        self.planned_ns = planned_ns
        self.settled_ns = settled_ns
        self.attempts = attempts
        self.first_available = first_available


class VisitOutcome(Record):
    """One visit ended; `planned_ns` is its planned arrival, `started_ns` -1 when it never began."""

    __slots__ = (
        "cohort",
        "end",
        "ended_ns",
        "planned_ns",
        "started_ns",
        "steps",
        "visit",
    )

    def __init__(
        self,
        visit: str,
        cohort: str,
        end: VisitEnd,
        planned_ns: int,
        started_ns: int,
        ended_ns: int,
        steps: int,
    ) -> None:
        self.visit = visit
        self.cohort = cohort
        self.end = end
        self.planned_ns = planned_ns
        self.started_ns = started_ns
        self.ended_ns = ended_ns
        self.steps = steps
