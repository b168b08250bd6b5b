"""One pass over a trace: what a fit needs of each visit, in some sixty bytes, and the tallies of what calls carried.

A step becomes the number of its signature: operation, identity, types of attributes and events. Sequences of numbers
are shared between visits. Pauses lie in one array. What requests held goes into collectors at once and is not
remembered.
"""

from __future__ import annotations

from array import array
from collections import Counter
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from harness.trace.model import Op, Step, Visit
from harness.trace.privacy.scrub import lets_through
from harness.trace.traffic.harvest import Tally, attribute_collectors, mask_of
from harness.wire.attributes import ATTRIBUTE_TYPES
from harness.wire.events import EVENT_TYPES
from harness.wire.schema import Record
from harness.wire.validate import ENGAGEMENT, check_request, has_errors

_MOST_OF_A_KIND = 3
_APP_DETAILS = ENGAGEMENT.fields["appDetails"]
assert isinstance(_APP_DETAILS, Record)
_DETAILS = {
    key: lets_through(f"appDetails.{key}", _APP_DETAILS.fields[key])
    for key in ("appVersion", "deviceFamily", "os", "osVersion")
}


class Signature(NamedTuple):
    """What kind of step it is; `attributes` and `events` are sorted, at most three of a kind.

    `identity` is never `return`: the first step of a returning visitor counts as `fresh`, a later one as `chain`.
    """

    op: Op
    identity: str
    attributes: tuple[str, ...]
    events: tuple[str, ...]


class Gathered:
    """The visits of a trace, in columns; fed in the order of `at`."""

    def __init__(self, kept_from: int, *, values: bool = True, anonymized: bool = False) -> None:
        """`values` false leaves what requests hold alone, but for types: for traces that are only compared.

        Of a trace that is not `anonymized` no value is remembered that anonymizing it would replace: sections count
        with their masks, devices without versions of an odd form.
        """
        self.steps = 0
        # Requests that the contract refuses: their steps count, their values do not.
        self.refused = 0
        self.at_ns: array[int] = array("q")
        self.cohorts: list[str] = []
        self.sequences: list[tuple[int, ...]] = []
        self.thinks_s: array[float] = array("d")
        self.signatures: list[Signature] = []
        self.return_gaps_s: array[float] = array("d")
        self.returning: list[bool] = []
        self.collectors = attribute_collectors(kept_from, anonymized=anonymized)
        self.sections: dict[int, Tally] = {}
        self.details: dict[str, Tally] = {}
        self.addresses: Counter[str] = Counter()
        self.visitors_of: dict[int, set[int]] = {}
        self.cohort_tally = Tally(kept_from)
        self._kept_from = kept_from
        self._values = values
        self._anonymized = anonymized
        self._numbers: dict[Signature, int] = {}
        self._interned: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._ends_s: dict[str, float] = {}

    def add(self, visit: Visit) -> None:
        """Take one visit."""
        visitor = int.from_bytes(blake2b(visit.visitor.encode(), digest_size=8).digest(), "big")
        numbers = []
        for position, step in enumerate(visit.steps):
            numbers.append(self._step(position, step, visitor, visit.cohort))
            self.thinks_s.append(step.think)
        self.steps += len(numbers)
        sequence = tuple(numbers)
        self.at_ns.append(visit.offset_ns)
        self.cohorts.append(visit.cohort)
        self.cohort_tally.add(visit.cohort, visitor)
        self.sequences.append(self._interned.setdefault(sequence, sequence))
        end_s = visit.at + sum(step.think for step in visit.steps)
        before_s = self._ends_s.pop(visit.visitor, None)
        self.returning.append(before_s is not None)
        if before_s is not None:
            self.return_gaps_s.append(max(0.0, visit.at - before_s))
        if visit.returns:
            self._ends_s[visit.visitor] = end_s

    def thinks_by_visit(self) -> list[array[float]]:
        """The pauses of each visit, one for each step."""
        found, start = [], 0
        for sequence in self.sequences:
            found.append(self.thinks_s[start : start + len(sequence)])
            start += len(sequence)
        return found

    def _step(self, position: int, step: Step, visitor: int, cohort: str) -> int:
        try:
            request: Any = orjson.loads(bytes(step.request))
        except orjson.JSONDecodeError:
            request = None
        if not isinstance(request, dict):
            self.refused += 1
            request = {}
        attributes = _types(request.get("engagementAttributes"), ATTRIBUTE_TYPES)
        events = _types(request.get("impAttributes"), EVENT_TYPES) if step.op == "update" else ()
        identity = ("chain" if position else "fresh") if step.identity == "return" else step.identity
        signature = Signature(step.op, identity, attributes, events)
        number = self._numbers.get(signature)
        if number is None:
            number = self._numbers[signature] = len(self.signatures)
            self.signatures.append(signature)
            self.visitors_of[number] = set()
        seen = self.visitors_of[number]
        if len(seen) < self._kept_from:
            seen.add(visitor)
        if self._values:
            self._look_into(number, position, step.op, request, visitor, cohort)
        return number

    def _look_into(
        self, number: int, position: int, op: str, request: dict[str, Any], visitor: int, cohort: str
    ) -> None:
        if has_errors(check_request(op, request)):
            self.refused += 1
            return
        for attribute in request.get("engagementAttributes", ()):
            self.collectors[attribute["type"]].add(attribute, visitor)
        if op != "get_engagement":
            return
        sections = request.get("consumerSections", ())
        shown = sections if self._anonymized else map(mask_of, sections)
        self.sections.setdefault(number, Tally(self._kept_from)).add(tuple(shown), visitor)
        if not position:
            details = request.get("appDetails", {})
            known = {
                key: details[key]
                for key, stays in _DETAILS.items()
                if key in details and (self._anonymized or stays(details[key]))
            }
            self.details.setdefault(cohort, Tally(self._kept_from)).add(tuple(known.items()), visitor)
            self.addresses[cohort] += "ipAddress" in details


def _types(items: object, known: dict[str, Any]) -> tuple[str, ...]:
    """The known types among attributes or events, sorted."""
    if not isinstance(items, list):
        return ()
    kinds = (item.get("type") for item in items if isinstance(item, dict))
    counts = Counter(kind for kind in kinds if isinstance(kind, str))
    return tuple(kind for kind in sorted(known) for _ in range(min(_MOST_OF_A_KIND, counts[kind])))
