"""The transcript of one visit, call by call, as an exemplar holds it and as summary.json tells it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from harness.visitor.records import Attempt, VisitOutcome

_NS_PER_MS: Final = 1_000_000


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


def transcribe(kind: str, took_ns: int, visit: VisitOutcome, calls: Sequence[Attempt], left_out: int) -> Exemplar:
    """The exemplar that these calls of a visit make."""
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
