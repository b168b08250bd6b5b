"""Exemplars: a few whole visits, told call by call, beside the counts of all of them.

A worker keeps the attempts of open visits and decides when a visit ends, by one number: how long its slowest step took.
Only a visit that is slower than the worst kept so far (of its kind, over the worker's whole life) becomes an exemplar,
so the number that is ever shipped grows with the logarithm of the visits. Merging keeps the slowest few of each kind
under a total order, which makes it associative, commutative and bounded.

Kinds, the first that applies: `exhausted` (a step spent its retry budget), `renewed` (the service replaced a live
session), `slowest` (any other). A transcript holds moments, results and chain events, never an id of the service;
messages were redacted when the reply was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from heapq import heappush, heapreplace
from typing import Any, Final

import msgspec

from harness.visitor.records import Attempt, Chain, Outcome, StepOutcome, VisitOutcome

# How many of each kind are kept: 20 in all.
KEPT: Final[Mapping[str, int]] = {"slowest": 8, "exhausted": 6, "renewed": 6}
# Of a visit's attempts the first and the last are kept; what lies between is counted.
_FIRST: Final = 16
_LAST: Final = 32

_NS_PER_MS: Final = 1_000_000

# Looked up on their classes slowly.
_RENEWED: Final = Chain.renewed
_EXHAUSTED: Final = Outcome.exhausted


class Call(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One attempt of an exemplar; the fields are those of `Attempt`, names instead of numbers."""

    op: str
    step: int
    number: int
    result: str
    chain: str
    http_status: int
    code: int
    planned_ns: int
    started_ns: int
    connected_ns: int
    sent_ns: int
    done_ns: int
    message: str


class Exemplar(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One visit, `kind` as above; `took_ns` is its slowest step from first planned moment to settled.

    `left_out` counts attempts between the first and the last ones that were not kept.
    """

    kind: str
    took_ns: int
    visit: str
    cohort: str
    end: str
    planned_ns: int
    ended_ns: int
    calls: tuple[Call, ...]
    left_out: int


def best(exemplars: Iterable[Exemplar]) -> list[Exemplar]:
    """The slowest few of each kind, kinds in the order of `KEPT`, slowest first."""
    pool = list(exemplars)
    chosen: list[Exemplar] = []
    for kind, size in KEPT.items():
        alike = [exemplar for exemplar in pool if exemplar.kind == kind]
        chosen += sorted(alike, key=_rank)[:size]
    return chosen


def _rank(exemplar: Exemplar) -> tuple[int, str, bytes]:
    # The bytes make the order total: equal ranks are equal exemplars, whichever is kept.
    return -exemplar.took_ns, exemplar.visit, msgspec.msgpack.encode(exemplar)


class Exemplars:
    """Collects at one worker; `take` hands over what was added since the last time.

    Visits that ended before `from_ns` (the warm-up) are not considered.
    """

    def __init__(self, from_ns: int = 0) -> None:
        self._from_ns = from_ns
        self._open: dict[str, list[Attempt]] = {}
        self._left_out: dict[str, int] = {}
        # Open visits that may be told: the slowest step so far, and those that are so by their kind.
        self._slow_ns: dict[str, int] = {}
        self._kinds: dict[str, str] = {}
        self._kept: dict[str, list[int]] = {kind: [] for kind in KEPT}
        self._new: list[Exemplar] = []

    def attempts(self, batch: Sequence[Attempt]) -> None:
        """Keeps the attempts of visits that are not over, in order."""
        kept = self._open
        find = kept.get
        for attempt in batch:
            visit = attempt.visit
            calls = find(visit)
            if calls is None:
                kept[visit] = [attempt]
            else:
                calls.append(attempt)
                if len(calls) > _FIRST + _LAST:
                    del calls[_FIRST]
                    self._left_out[visit] = self._left_out.get(visit, 0) + 1
            if attempt.chain is _RENEWED:
                self._kinds.setdefault(visit, "renewed")

    def steps(self, batch: Sequence[StepOutcome]) -> None:
        """Marks the visits of steps that are slow or exhausted; the others cost a comparison."""
        slowest = self._kept["slowest"]
        bar_ns = slowest[0] if len(slowest) == KEPT["slowest"] else -1
        for step in batch:
            exhausted = step.outcome is _EXHAUSTED
            if exhausted:
                self._kinds[step.visit] = "exhausted"
            took_ns = step.settled_ns - step.planned_ns
            if (took_ns > bar_ns or exhausted) and step.attempts:
                self._slow_ns[step.visit] = max(took_ns, self._slow_ns.get(step.visit, 0))

    def visits(self, batch: Sequence[VisitOutcome]) -> None:
        """Judges visits that ended, after all their attempts and steps."""
        for visit in batch:
            calls = self._open.pop(visit.visit, None)
            left_out = self._left_out.pop(visit.visit, 0) if self._left_out else 0
            if visit.visit in self._slow_ns or visit.visit in self._kinds:
                self._judge(visit, calls or [], left_out)

    def take(self) -> list[Exemplar]:
        """The new exemplars, at most as many of each kind as are kept."""
        new, self._new = self._new, []
        return best(new) if new else new

    def _judge(self, visit: VisitOutcome, calls: list[Attempt], left_out: int) -> None:
        kind = self._kinds.pop(visit.visit, "slowest")
        took_ns = self._slow_ns.pop(visit.visit, 0)
        if visit.ended_ns < self._from_ns:
            return
        kept = self._kept[kind]
        if len(kept) < KEPT[kind]:
            heappush(kept, took_ns)
        elif took_ns > kept[0]:
            heapreplace(kept, took_ns)
        else:
            return
        self._new.append(_exemplar(kind, took_ns, visit, calls, left_out))


def _exemplar(kind: str, took_ns: int, visit: VisitOutcome, calls: Sequence[Attempt], left_out: int) -> Exemplar:
    kept = tuple(
        Call(
            call.op, call.step, call.number, call.result.name, call.chain.name, call.http_status, call.code,
            call.planned_ns, call.started_ns, call.connected_ns, call.sent_ns, call.done_ns, call.message,
        )
        for call in calls
    )  # fmt: skip
    return Exemplar(
        kind, took_ns, visit.visit, visit.cohort, visit.end.name, visit.planned_ns, visit.ended_ns, kept, left_out
    )


def told(exemplar: Exemplar) -> dict[str, Any]:
    """An exemplar as summary.json holds it: ms after the visit's planned arrival; what was not reached is absent.

    Per call: `at_ms` (planned), `lag_ms`, `connect_ms`, `service_ms`, `response_ms`, result, chain, status, code,
    message.
    """
    return {
        "kind": exemplar.kind,
        "visit": exemplar.visit,
        "cohort": exemplar.cohort,
        "end": exemplar.end,
        "took_ms": _ms(exemplar.took_ns),
        "arrived_s": round(exemplar.planned_ns / 1e9, 3),
        "duration_ms": _ms(exemplar.ended_ns - exemplar.planned_ns),
        "calls": [_told_call(call, exemplar.planned_ns) for call in exemplar.calls],
        "left_out": exemplar.left_out,
    }


def _told_call(call: Call, arrival_ns: int) -> dict[str, Any]:
    line: dict[str, Any] = {
        "at_ms": _ms(call.planned_ns - arrival_ns),
        "op": call.op,
        "step": call.step,
        "number": call.number,
        "result": call.result,
    }
    if call.started_ns >= 0:
        line["lag_ms"] = _ms(max(0, call.started_ns - call.planned_ns))
        if call.connected_ns > call.started_ns:
            line["connect_ms"] = _ms(call.connected_ns - call.started_ns)
    if call.http_status and call.sent_ns >= 0:
        line |= {"service_ms": _ms(call.done_ns - call.sent_ns), "response_ms": _ms(call.done_ns - call.planned_ns)}
        line["http_status"] = call.http_status
    if call.chain != "none":
        line["chain"] = call.chain
    if call.code >= 0:
        line["code"] = call.code
    if call.message:
        line["message"] = call.message
    return line


def _ms(ns: int) -> float:
    return round(ns / _NS_PER_MS, 3)
