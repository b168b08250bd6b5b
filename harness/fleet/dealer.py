"""The dealer: reads the plan once, deals it to workers in leases, and keeps the books. Pure: no clock, no socket.

Each worker has a hand: visits assigned to it and not yet leased, leases sent and not acknowledged, visits leased and
not settled. In an open loop a visitor always goes to the same worker (`placement`); in a closed loop the next visit
goes to whoever has room for it, because keeping the slots full is what a closed loop promises. A worker that leaves
gives back what it has not begun, and that is dealt again. Memory is bounded by the horizon and by what is open: nothing
is read before its time, and of a visit that would be too late for anybody only the names are kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from harness.fleet.messages import TICKET_BITS, Lease
from harness.fleet.placement import Placement
from harness.measure.ledger import Ledger
from harness.plan.schedule import PlannedVisit
from harness.units import NS_PER_S

HORIZON_NS = 5 * NS_PER_S
RESEND_NS = NS_PER_S
MAX_UNACKED = 4
MAX_LEASE_VISITS = 2_000
MAX_LEASE_BYTES = 1 << 20
# A plan that was cut short is counted on for so many visits, about a second's work: a long one is not read to its end.
MAX_REST = 200_000
# Closed loop: visits that may wait at a worker. More than the fastest worker begins between two words of it (it asks
# every 0.2 s), and little enough that the master, which holds their lines, stays small whatever the pace.
MAX_CREDIT = 20_000
# What was due this long after the master's last word to a silent worker was not started by it: it stops 3 s after it.
REDEAL_AFTER_NS = 5 * NS_PER_S

Tickets = list[int]


class Hand:
    """What one incarnation holds."""

    __slots__ = ("backlog", "begun", "credit", "leased", "number", "open", "retired", "unacked", "whole", "worker")

    def __init__(self, worker: str, slots: int | None) -> None:
        self.worker = worker
        # It was asked to go: nothing more for it, and what it gives back is dealt to others.
        self.retired = False
        # Leases whose lines are still here, oldest first, with the moment at which their last visit is due.
        self.whole: deque[tuple[int, list[PlannedVisit]]] = deque()
        self.backlog: deque[PlannedVisit] = deque()
        self.unacked: dict[int, tuple[Lease, int]] = {}
        self.open: dict[int, PlannedVisit] = {}
        self.number = 0
        self.leased = 0
        self.begun = 0
        self.credit = 2 * slots if slots else 0

    @property
    def room(self) -> int:
        """Closed loop: how many more visits may wait at the worker by its credit."""
        return 0 if self.retired else max(0, self.credit - len(self.backlog) - (self.leased - self.begun))


class Loss(NamedTuple):
    """What an incarnation took along, by visit name, and what it cannot have begun and is dealt again."""

    lost: list[str]
    again: list[str]


class Dealer:
    """Deals the visits of a plan to incarnations; every move is entered in `ledger`.

    `closed` says that visits have no due time and are dealt as credit for free slots; a visit later than `max_lag_ns`
    is dropped by whoever gets it.
    """

    def __init__(
        self, visits: Iterator[PlannedVisit], ledger: Ledger, *, closed: bool = False, max_lag_ns: int = NS_PER_S
    ) -> None:
        self._visits = visits
        self._ledger = ledger
        self._closed = closed
        self._keep_ns = max(REDEAL_AFTER_NS, max_lag_ns)
        self._stale: list[str] = []
        self._next: PlannedVisit | None = None
        self._redeal: deque[PlannedVisit] = deque()
        self._hands: dict[str, Hand] = {}
        self._placement = Placement()
        self._unbooked = [0, 0]
        self._read_all = False
        self._stopped = False
        self.planned_by_second: dict[int, int] = {}
        self.last_due_ns = 0

    # Members

    def join(self, incarnation: str, worker: str, slots: int | None = None, capacity: float = 1.0) -> None:
        """A new incarnation takes part from now on; `worker` is its name in the books.

        It gets its share by `capacity`, in a closed loop by what it asks for, at first enough for `slots`.
        """
        self._hands[incarnation] = Hand(worker, slots)
        self._placement.join(incarnation, capacity)

    def knows(self, incarnation: str) -> bool:
        """Whether the incarnation is a member."""
        return incarnation in self._hands

    def lose(self, incarnation: str, word_ns: int) -> Loss:
        """The incarnation is gone; `word_ns` (after t0) is when the master last spoke to it.

        What it cannot have begun is dealt again (stays undealt once dealing has stopped), the rest is lost.
        """
        hand = self._hands.pop(incarnation)
        self._placement.leave(incarnation)
        safe_ns = word_ns + REDEAL_AFTER_NS
        again = [visit for visit in hand.open.values() if not self._closed and visit.due_ns > safe_ns]
        lost = [visit.name for visit in hand.open.values() if self._closed or visit.due_ns <= safe_ns]
        self._give_back(hand, again)
        if hand.number:
            self._ledger.lose(hand.worker)
        self._deal_again([*again, *hand.backlog])
        return Loss(lost, [visit.name for visit in again])

    def retire(self, incarnation: str, lease: int) -> list[str]:
        """The incarnation was asked to go and takes no lease after this one: others get what it was to get.

        Returns the names of the visits in the leases that it did not take.
        """
        hand = self._hands[incarnation]
        if hand.retired:
            return []
        hand.retired = True
        self._placement.leave(incarnation)
        hand.unacked.clear()
        names = self.revoked(incarnation, [ticket for ticket in hand.open if ticket >> TICKET_BITS > lease])
        self._deal_again(hand.backlog)
        hand.backlog.clear()
        return names

    def depart(self, incarnation: str) -> None:
        """The incarnation has accounted for everything and is gone."""
        del self._hands[incarnation]
        self._placement.leave(incarnation)

    def spoke(self, incarnation: str, word_ns: int) -> None:
        """The master's last word to it is of `word_ns` (after t0): what was due long before is its own for good.

        It would be lost with the worker, and too late for another if this one gave it back: its line is forgotten.
        """
        whole = self._hands[incarnation].whole
        while whole and whole[0][0] < word_ns - self._keep_ns:
            for visit in whole.popleft()[1]:
                visit.line = b""

    def _deal_again(self, visits: Iterable[PlannedVisit]) -> None:
        if self._stopped:
            return
        again = list(visits)
        self._stale += [visit.name for visit in again if not visit.line]
        self._redeal = _by_due([*self._redeal, *(visit for visit in again if visit.line)])

    def take_stale(self) -> list[str]:
        """The visits that came back unbegun too late for anybody since the last call: they stay undealt."""
        stale, self._stale = self._stale, []
        return stale

    def _give_back(self, hand: Hand, visits: list[PlannedVisit]) -> None:
        if visits:
            self._ledger.revoke(hand.worker, len(visits), sum(visit.steps for visit in visits))

    # Dealing

    def deal(self, now_ns: int) -> list[tuple[str, Lease]]:
        """The leases to send now, new ones and those that were not acknowledged in time, with their incarnations."""
        if any(not hand.retired for hand in self._hands.values()):
            (self._assign_credit if self._closed else self._assign_due)(now_ns)
            self._book()
        sends: list[tuple[str, Lease]] = []
        for incarnation, hand in self._hands.items():
            for number, (lease, sent_ns) in hand.unacked.items():
                if now_ns - sent_ns >= RESEND_NS:
                    hand.unacked[number] = (lease, now_ns)
                    sends.append((incarnation, lease))
            while hand.backlog and len(hand.unacked) < MAX_UNACKED:
                lease = self._lease(incarnation, hand)
                hand.unacked[lease.number] = (lease, now_ns)
                sends.append((incarnation, lease))
        return sends

    def _assign_credit(self, _now_ns: int) -> None:
        # One visit a round to each: near the plan's end the slots of all workers stay as full as can be.
        while wanting := [hand for hand in self._hands.values() if hand.room]:
            for _ in range(min([hand.room for hand in wanting])):
                for hand in wanting:
                    visit = self._take()
                    if visit is None:
                        return
                    hand.backlog.append(visit)

    def _assign_due(self, now_ns: int) -> None:
        hands, place = self._hands, self._placement.place
        until_ns = now_ns + HORIZON_NS
        again = bool(self._redeal)
        while (visit := self._peek()) is not None and visit.due_ns <= until_ns:
            self._take()
            hands[place(visit.visitor + visit.suffix, visit.returns)].backlog.append(visit)
        if again:
            for hand in hands.values():
                hand.backlog = _by_due(hand.backlog)

    def _lease(self, incarnation: str, hand: Hand) -> Lease:
        hand.number += 1
        visits: list[PlannedVisit] = []
        size = 0
        backlog = hand.backlog
        while backlog and len(visits) < MAX_LEASE_VISITS and size < MAX_LEASE_BYTES:
            visit = backlog.popleft()
            visits.append(visit)
            size += len(visit.line)
        first = hand.number << TICKET_BITS
        hand.open.update(zip(range(first, first + len(visits)), visits, strict=True))
        hand.leased += len(visits)
        if not self._closed:
            hand.whole.append((visits[-1].due_ns, visits))
        self._ledger.deal(hand.worker, len(visits), sum([visit.steps for visit in visits]))
        return Lease(
            incarnation,
            hand.number,
            [visit.due_ns for visit in visits],
            [visit.suffix for visit in visits],
            b"\n".join([visit.line for visit in visits]),
        )

    def _peek(self) -> PlannedVisit | None:
        if self._stopped:
            return None
        if self._redeal:
            return self._redeal[0]
        if self._next is None and not self._read_all:
            self._read()
        return self._next

    def _read(self) -> None:
        self._next = next(self._visits, None)
        if self._next is None:
            self._read_all = True
        else:
            self._enter(self._next)

    def _take(self) -> PlannedVisit | None:
        visit = self._peek()
        if self._redeal:
            self._redeal.popleft()
        else:
            self._next = None
        return visit

    def _book(self) -> None:
        """Enters what was read since the last time as planned."""
        if self._unbooked[0]:
            self._ledger.plan(*self._unbooked)
            self._unbooked = [0, 0]

    def _enter(self, visit: PlannedVisit) -> None:
        self._unbooked[0] += 1
        self._unbooked[1] += visit.steps
        if visit.due_ns >= 0:
            second = visit.due_ns // NS_PER_S
            self.planned_by_second[second] = self.planned_by_second.get(second, 0) + 1
            self.last_due_ns = max(self.last_due_ns, visit.due_ns)

    # What workers report

    def acked(self, incarnation: str, number: int) -> None:
        """The lease arrived."""
        self._hands[incarnation].unacked.pop(number, None)

    def hungry(self, incarnation: str, begun: int) -> None:
        """The incarnation has few visits left to begin: its credit doubles."""
        self.pulse(incarnation, begun)
        hand = self._hands[incarnation]
        if hand.leased - hand.begun < hand.credit // 2:
            hand.credit = min(2 * hand.credit, MAX_CREDIT)

    def pulse(self, incarnation: str, begun: int) -> None:
        """The incarnation has begun so many visits by now."""
        hand = self._hands[incarnation]
        hand.begun = max(hand.begun, begun)

    def settled(self, incarnation: str, ends: Mapping[str, Tickets], steps: Mapping[str, int]) -> None:
        """Visits ended, by visit end; `steps` counts the step outcomes of the same slice."""
        hand = self._hands[incarnation]
        for tickets in ends.values():
            for ticket in tickets:
                del hand.open[ticket]
        if hand.number:
            self._ledger.settle(hand.worker, {end: len(tickets) for end, tickets in ends.items()}, steps)

    def revoked(self, incarnation: str, tickets: Tickets) -> list[str]:
        """The incarnation gave visits back unbegun, to be dealt again; returns their names."""
        hand = self._hands[incarnation]
        visits = [hand.open.pop(ticket) for ticket in tickets]
        self._give_back(hand, visits)
        self._deal_again(visits)
        return [visit.name for visit in visits]

    def ended(self, incarnation: str) -> list[str]:
        """The incarnation has accounted for all that reached it: the rest never did, and is given back by name."""
        hand = self._hands[incarnation]
        hand.retired = True
        hand.unacked.clear()
        self._deal_again(hand.backlog)
        hand.backlog.clear()
        return self.revoked(incarnation, list(hand.open))

    # Where things stand

    @property
    def exhausted(self) -> bool:
        """Whether every planned visit has been leased and every lease acknowledged."""
        nothing = self._peek() is None
        self._book()
        return nothing and all(not hand.backlog and not hand.unacked for hand in self._hands.values())

    @property
    def open(self) -> int:
        """Visits leased and not settled."""
        return sum(len(hand.open) for hand in self._hands.values())

    def stop(self) -> None:
        """Nothing more is dealt or sent again: what has not been leased stays undealt."""
        self._stopped = True
        self._book()
        self._redeal.clear()
        for hand in self._hands.values():
            hand.backlog.clear()
            hand.unacked.clear()

    def end_plan(self) -> None:
        """The plan ends with what was read of it: that is still dealt, the rest was never planned."""
        self._read_all = True

    def read_rest(self) -> bool:
        """After `stop`: reads on in an open-loop plan, so that what was not dealt counts as planned.

        False when the plan is longer than `MAX_REST` visits from here: what lies behind is not counted.
        """
        left = MAX_REST
        while not (self._closed or self._read_all) and left:
            self._read()
            left -= 1
        self._book()
        return self._closed or self._read_all


def _by_due(visits: Iterable[PlannedVisit]) -> deque[PlannedVisit]:
    return deque(sorted(visits, key=lambda visit: visit.due_ns))
