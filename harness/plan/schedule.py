"""From trace lines to planned visits: who comes, under which name, and when.

One pass over the trace in constant memory. Only the head of a line is read (`visit`, `visitor`, `at`, the number of
steps); the line itself travels on as bytes. Clones (`amplify`) and rounds (`loop`) get new identities through a suffix
that is the same for all visits of a visitor, so returning visitors stay returning visitors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush

from harness.plan.arrivals import ArrivalPlan
from harness.plan.head import decode_head
from harness.record import Record
from harness.trace.share import share
from harness.units import NS_PER_S, seconds_to_ns


class PlannedVisit(Record):
    """A visit with its due time (ns from the run's start; -1 in closed-loop runs) and identity suffix.

    `returns`: its visitor comes again.
    """

    __slots__ = ("due_ns", "line", "returns", "steps", "suffix", "visit", "visitor")

    def __init__(
        self, due_ns: int, visit: str, visitor: str, suffix: str, steps: int, line: bytes, returns: bool = False
    ) -> None:
        self.due_ns = due_ns
        self.visit = visit
        self.visitor = visitor
        self.suffix = suffix
        self.steps = steps
        self.line = line
        self.returns = returns

    @property
    def name(self) -> str:
        """The visit's id in this run."""
        return self.visit + self.suffix


class Supply:
    """Whether the visits gave out before the plan's time was over; known once the plan has been read to its end."""

    __slots__ = ("gave_out",)

    def __init__(self) -> None:
        self.gave_out = False


def _copies(visitor: str, amplify: float) -> int:
    """How many times a visitor comes: the fraction is decided per visitor, so its visits stay together."""
    whole = int(amplify)
    return whole + (share(f"amplify/{visitor}") < amplify - whole)


def plan_visits(
    read_lines: Callable[[], Iterable[bytes]],
    arrivals: ArrivalPlan,
    *,
    seed: int,
    speed: float = 1.0,
    amplify: float = 1.0,
    loop: int = 1,
    duration_ns: int | None = None,
    limit_visits: int | None = None,
    supply: Supply | None = None,
) -> Iterator[PlannedVisit]:
    """Yields the run's visits in order of their due time.

    `read_lines` opens the trace anew for each round and gives its visit lines in order of `at`. A recorded plan
    uses `at / speed`; another plan takes the trace's visits in their order at its own times. `duration_ns` cuts the
    plan (visits due at or after it are not planned). Clones are shifted by up to one second, each by its own fixed
    amount, so that they do not arrive in step. The trace's end ends the plan, whatever the rate says; `supply` is told
    when that, or `limit_visits`, came before the plan's time was over.
    """
    supply = supply or Supply()
    identified = _identify(read_lines, amplify=amplify, loop=loop, speed=speed)
    if arrivals.closed_slots is not None:
        timed: Iterator[PlannedVisit] = identified
    elif arrivals.recorded:
        timed = _cut(_to_the_last(identified, supply), duration_ns)
    else:
        timed = _cut(_retime(identified, arrivals.offsets_ns(seed), supply, duration_ns), duration_ns)
    for number, visit in enumerate(timed):
        if limit_visits is not None and number >= limit_visits:
            supply.gave_out = True
            return
        if arrivals.closed_slots is not None:
            visit.due_ns = -1
        yield visit


def _cut(visits: Iterator[PlannedVisit], duration_ns: int | None) -> Iterator[PlannedVisit]:
    for visit in visits:
        if duration_ns is not None and visit.due_ns >= duration_ns:
            return
        yield visit


def _to_the_last(visits: Iterator[PlannedVisit], supply: Supply) -> Iterator[PlannedVisit]:
    yield from visits
    supply.gave_out = True


def _retime(
    visits: Iterator[PlannedVisit], offsets_ns: Iterator[int], supply: Supply, duration_ns: int | None
) -> Iterator[PlannedVisit]:
    # The offsets come second: the last visit must not consume a time that nobody uses.
    for visit in visits:
        due_ns = next(offsets_ns, None)
        if due_ns is None:
            return
        visit.due_ns = due_ns
        yield visit
    missed_ns = next(offsets_ns, None)
    supply.gave_out = missed_ns is not None and (duration_ns is None or missed_ns < duration_ns)


def _identify(
    read_lines: Callable[[], Iterable[bytes]], *, amplify: float, loop: int, speed: float
) -> Iterator[PlannedVisit]:
    """All visits of all rounds and clones, in order of time."""
    pending: list[tuple[int, int, PlannedVisit]] = []
    serial = 0
    round_start_ns = 0
    for round_number in range(loop):
        tag = f"@{round_number}" if round_number else ""
        last_ns = 0
        count = 0
        for line in read_lines():
            head = decode_head(line)
            at_ns = seconds_to_ns(head.at)
            at_ns = round_start_ns + (at_ns if speed == 1.0 else round(at_ns / speed))
            last_ns = max(last_ns, at_ns)
            count += 1
            if amplify == 1 and not pending:
                # The usual case, and the trace is in order of time already.
                yield PlannedVisit(at_ns, head.visit, head.visitor, tag, len(head.steps), line, head.returns)
                continue
            while pending and pending[0][0] <= at_ns:
                yield heappop(pending)[2]
            for copy in range(_copies(head.visitor, amplify)):
                suffix = f"~{copy}{tag}" if copy else tag
                shift_ns = int(share(f"shift/{head.visitor}/{suffix}") * NS_PER_S) if copy else 0
                due_ns = at_ns + shift_ns
                visit = PlannedVisit(due_ns, head.visit, head.visitor, suffix, len(head.steps), line, head.returns)
                serial += 1
                heappush(pending, (visit.due_ns, serial, visit))
        if not count:
            break
        # The next round begins one mean gap after the last arrival, so that the seam is like any other gap.
        round_start_ns = last_ns + (last_ns - round_start_ns) // count
    while pending:
        yield heappop(pending)[2]
