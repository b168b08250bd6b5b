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

from collections.abc import Iterable, Mapping
from heapq import heappush, heapreplace
from typing import Final

import msgspec

from harness.measure.transcript import Exemplar, transcribe
from harness.visitor.records import Attempt, Chain, Outcome, StepOutcome, VisitOutcome

# How many of each kind are kept: 20 in all.
KEPT: Final[Mapping[str, int]] = {"slowest": 8, "exhausted": 6, "renewed": 6}
# Of a visit's attempts the first and the last are kept; what lies between is counted.
_FIRST: Final = 16
_LAST: Final = 32

# Looked up on their classes slowly.
_RENEWED: Final = Chain.renewed
_EXHAUSTED: Final = Outcome.exhausted


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

    def attempts(self, batch: list[Attempt]) -> None:
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

    def steps(self, batch: list[StepOutcome]) -> None:
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

    def visits(self, batch: list[VisitOutcome]) -> None:
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
        self._new.append(transcribe(kind, took_ns, visit, calls, left_out))
