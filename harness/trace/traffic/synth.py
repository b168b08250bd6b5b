"""Visits from a traffic model: lines of a trace, made at the rate at which they can be written.

Everything that can be known before is: moves as cumulated shares, bodies as prepared bytes, values as pools. What is
left for a visit is some twenty draws and a join. All draws come from one generator in the order of the visits, so the
same model, arrivals and seed give the same bytes.

A visitor who is to return is promised the first free arrival after the pause drawn for it. So arrivals keep their law,
`returns: true` stands on a line only if the visitor does come, and nothing has to be held back.
"""

from __future__ import annotations

from bisect import bisect, bisect_left
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

import orjson

from harness.errors import TraceError
from harness.trace.traffic.basket import BASKET_TYPES, Shelf, Shopping
from harness.trace.traffic.model import Arrivals, Cohort, Journey, Move, Sections, State, TrafficModel
from harness.trace.traffic.renewal import RateProfile, arrivals_s
from harness.trace.traffic.shapes import VARIANTS, Pool, RecordShape, between, pick, sample
from harness.wire.attributes import ATTRIBUTE_TYPES
from harness.wire.validate import check_request

# What is known of a visitor stays the same within a visit and when it comes again.
PERSONAL_TYPES = frozenset({"personal", "ctmrinfo"})
# Room for slow replies between a visit's last step and the same visitor's return.
RETURN_MARGIN_S = 5.0
_MAX_SEARCH = 1000


def clock_of(arrivals: Arrivals) -> RateProfile:
    """The rate of a model's arrivals."""
    return RateProfile.with_minutes(arrivals.rates_hz, arrivals.minutes, arrivals.period_s, arrivals.phase_s)


def model_arrivals_s(model: TrafficModel, seed: int | str) -> Iterator[float]:
    """The model's own arrivals: seconds from the trace's start, ascending, without end."""
    arrivals = model.arrivals
    return arrivals_s(clock_of(arrivals), arrivals.cv, Random(f"arrivals/{seed}/0"))


def _free_slot(arrivals: Sequence[float], ready_s: float, first: int, taken: Mapping[int, object]) -> int | None:
    """Number of the first arrival from a moment on that nobody is promised, or None when there is none near."""
    slot = bisect_left(arrivals, ready_s, first)
    for _ in range(_MAX_SEARCH):
        if slot >= len(arrivals):
            return None
        if slot not in taken:
            return slot
        slot += 1
    return None


_Moves = tuple[list[float], list[tuple["_Node", list[float], int]]]


class _Visitor:
    """Who comes: what stays the same over all visits."""

    __slots__ = ("cohort", "details", "known", "name")

    def __init__(self, name: bytes, cohort: _Cohort, details: bytes) -> None:
        self.name = name
        self.cohort = cohort
        self.details = details
        self.known: dict[str, bytes] = {}


class Synthesiser:
    """A model made ready for drawing."""

    def __init__(self, model: TrafficModel, seed: int | str) -> None:
        """`model` must be free of problems (`read_model` sees to that).

        Raises `TraceError` when its shapes make values that the engagement contract refuses.
        """
        self._seed = seed
        self._returns = model.returns
        values = Random(f"values/{seed}")
        shapes = model.values.attributes
        self._pools = {kind: _attribute_pool(kind, shapes.get(kind, _BARE), values) for kind in ATTRIBUTE_TYPES}
        self._shelf = Shelf(model.values.basket) if model.values.basket else None
        states = [_State(state, model.values.sections) for state in model.states]
        journeys = [_Journey(journey, states, model.thinks) for journey in model.journeys]
        self._cohorts = [_Cohort(cohort, journeys[cohort.journey]) for cohort in model.cohorts]
        self._cohort_shares = pick(cohort.share for cohort in model.cohorts)

    def lines(self, arrivals: Sequence[float], number: int = 0) -> Iterator[bytes]:
        """One visit for each arrival (seconds, ascending), encoded as a line of a trace without its end.

        `number` tells several traces of one seed apart.
        """
        rng = Random(f"visits/{self._seed}/{number}")
        returns = self._returns
        promised: dict[int, _Visitor] = {}
        visitors = 0
        for index, at_s in enumerate(arrivals):
            visitor = promised.pop(index, None)
            came_before = visitor is not None
            if visitor is None:
                visitors += 1
                visitor = self._visitor(visitors, rng)
            steps, length_s = self._steps(visitor, came_before, rng)
            flag = b"false"
            if returns and rng.random() < returns.share:
                pause_s = max(RETURN_MARGIN_S, between(returns.gap_s, rng.random()))
                slot = _free_slot(arrivals, at_s + length_s + pause_s, index + 1, promised)
                if slot is not None:
                    promised[slot] = visitor
                    flag = b"true"
            yield b'{"visit":"v-%07d","visitor":"%s","at":%.6f,"cohort":"%s","returns":%s,"steps":[%s]}' % (
                index + 1, visitor.name, at_s, visitor.cohort.name, flag, b",".join(steps),
            )  # fmt: skip

    def _visitor(self, number: int, rng: Random) -> _Visitor:
        """A new visitor."""
        cohort = self._cohorts[bisect(self._cohort_shares, rng.random())]
        return _Visitor(b"u%07d" % number, cohort, cohort.draw_details(rng))

    def _steps(self, visitor: _Visitor, came_before: bool, rng: Random) -> tuple[list[bytes], float]:
        """The encoded steps of a visit and the sum of their pauses in seconds."""
        random = rng.random
        journey = visitor.cohort.journey
        shopping = Shopping(self._shelf) if self._shelf else None
        shares, moves = journey.start
        length_s = 0.0
        made: list[bytes] = []
        for position in range(journey.max_steps):
            node, table, last = moves[bisect(shares, random())]
            # The same as shapes.between: a call would cost more than the interpolation.
            place = random() * last
            index = int(place)
            think_s = table[index] + (place - index) * (table[index + 1] - table[index])
            length_s += think_s
            state = node.state
            head = state.returning if came_before and not position else state.head
            think = b"%.3f" % think_s if think_s else b"0"
            made.append(head % (think, state.request(visitor, shopping, self._pools, rng)))
            ends = node.ends
            if random() < (ends[position] if position < len(ends) else ends[-1]):
                break
            shares, moves = node.onward
        return made, length_s


class _State:
    """A state as prepared bytes: `head` is the step with its pause and its request left open."""

    def __init__(self, state: State, sections: list[Sections]) -> None:
        head = b'{"op":"%s","think":%%s,"identity":"%s","request":%%s}'
        op = state.op.encode()
        self.head = head % (op, state.identity.encode())
        self.returning = head % (op, b"return" if state.identity == "fresh" else state.identity.encode())
        self._attributes = state.attributes
        self._mixed = sorted(state.mixed.items())
        self._bare = not state.attributes and not state.mixed
        self._update = state.op == "update"
        events = orjson.dumps([{"type": kind} for kind in state.events])
        self._events = b'"impAttributes":%s' % events if state.events else b""
        sections = state.sections or sections
        self._shares = pick(each.share for each in sections) if sections else []
        self._sections = [_member("consumerSections", each.value) for each in sections] or [b""]

    def request(self, visitor: _Visitor, shopping: Shopping | None, pools: dict[str, Pool], rng: Random) -> bytes:
        """The body of one step."""
        listed = b"" if self._bare else self._listed(visitor, shopping, pools, rng)
        if self._update:
            return b"{%s%s%s}" % (self._events, b"," if listed and self._events else b"", listed)
        sections = self._sections[bisect(self._shares, rng.random())] if self._shares else self._sections[0]
        return b'{%s%s%s%s"appType":"EXTERNAL"}' % (visitor.details, sections, listed, b"," if listed else b"")

    def _listed(self, visitor: _Visitor, shopping: Shopping | None, pools: dict[str, Pool], rng: Random) -> bytes:
        """The member with the step's engagement attributes, or nothing."""
        kinds = [kind for kind, share in self._mixed if rng.random() < share] if self._mixed else self._attributes
        attributes = []
        for kind in kinds:
            if shopping is not None and kind in BASKET_TYPES:
                attributes.append(shopping.attribute(kind, rng))
            elif kind in PERSONAL_TYPES:
                if kind not in visitor.known:
                    visitor.known[kind] = pools[kind].draw(rng)
                attributes.append(visitor.known[kind])
            # Searched content cannot be reported from a mobile device (contract section 5).
            elif kind != "searchInfo" or b'"MOBILE"' not in visitor.details:
                attributes.append(pools[kind].draw(rng))
        return b'"engagementAttributes":[%s]' % b",".join(attributes) if attributes else b""


def _member(name: str, value: object) -> bytes:
    """A member of a JSON object with its comma, or nothing for an empty value."""
    return b'"%s":%s,' % (name.encode(), orjson.dumps(value)) if value else b""


class _Node:
    """A state within a journey: where visits end there, and what follows."""

    __slots__ = ("ends", "onward", "state")

    def __init__(self, state: _State, ends: list[float]) -> None:
        self.state = state
        self.ends = ends
        self.onward: _Moves = ([], [])


class _Journey:
    """A journey with cumulated shares."""

    def __init__(self, journey: Journey, states: list[_State], thinks: list[list[float]]) -> None:
        nodes = [_Node(state, ends) for state, ends in zip(states, journey.ends, strict=True)]

        def ready(moves: list[Move]) -> _Moves:
            shares = pick(move.share for move in moves) if moves else []
            return shares, [(nodes[move.to], thinks[move.think], len(thinks[move.think]) - 1) for move in moves]

        for node, moves in zip(nodes, journey.moves, strict=True):
            node.onward = ready(moves)
        self.start = ready(journey.start)
        self.max_steps = journey.max_steps


class _Cohort:
    """A cohort with its devices as prepared bytes."""

    def __init__(self, cohort: Cohort, journey: _Journey) -> None:
        for number, each in enumerate(cohort.details):
            _require({"appDetails": each.value}, f"details[{number}] of cohort {cohort.name}")
        self.name = cohort.name.encode()
        self.journey = journey
        self._address = cohort.address
        self._shares = pick(each.share for each in cohort.details) if cohort.details else []
        self._details = [orjson.dumps(each.value)[1:-1] for each in cohort.details]

    def draw_details(self, rng: Random) -> bytes:
        """The `appDetails` member of a new visitor's calls, with a comma, or nothing."""
        known = self._details[bisect(self._shares, rng.random())] if self._details else b""
        if self._address and rng.random() < self._address:
            # The block that is reserved for documentation (RFC 5737).
            known += b'%s"ipAddress":"192.0.2.%d"' % (b"," if known else b"", 1 + int(rng.random() * 254))
        return b'"appDetails":{%s},' % known if known else b""


# An attribute of which nothing is known has its type, and what the contract requires of it.
_BARE = RecordShape(fields={})
_REQUIRED: dict[str, dict[str, Any]] = {"cart": {"total": 0, "numItems": 0}}


def _attribute_pool(kind: str, shape: RecordShape, rng: Random) -> Pool:
    """Variants of an attribute that the contract accepts."""
    values = [{"type": kind, **_REQUIRED.get(kind, {}), **sample(shape, rng)} for _ in range(VARIANTS)]
    for value in values:
        _require({"engagementAttributes": [value]}, f"values.attributes.{kind}")
    return Pool(values)


def _require(request: dict[str, Any], place: str) -> None:
    """Raises `TraceError` when a request made from a part of the model is one that the contract refuses."""
    for problem in check_request("get_engagement", {"appType": "EXTERNAL", **request}):
        if problem.severity == "error":
            raise TraceError(f"the model's {place} gives requests that the contract refuses: {problem}")
