"""The dealer: reads the plan once, deals it to workers in leases, and keeps the books. Pure: no clock, no socket.

Each worker has a hand: visits assigned to it and not yet leased, leases sent and not acknowledged, visits leased and
not settled. A visitor always goes to the same worker (rendezvous hashing over the live workers, so a worker's loss
moves only its own visitors). Memory is bounded by the horizon and by what is open; nothing is read before its time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from zlib import crc32

from harness.fleet.messages import TICKET_BITS, Lease
from harness.measure.ledger import Ledger
from harness.plan.schedule import PlannedVisit
from harness.units import NS_PER_S

HORIZON_NS = 5 * NS_PER_S
RESEND_NS = NS_PER_S
MAX_UNACKED = 4
MAX_LEASE_VISITS = 2_000
MAX_LEASE_BYTES = 1 << 20
MAX_CREDIT = 50_000
# What was due this long after the master's last word to a silent worker was not started by it: it stops 3 s after it.
REDEAL_AFTER_NS = 5 * NS_PER_S

Tickets = list[int]


class Hand:
    """What one incarnation holds."""

    __slots__ = ("backlog", "begun", "credit", "leased", "number", "open", "slots", "unacked", "worker")

    def __init__(self, worker: str, slots: int | None) -> None:
        self.worker = worker
        self.slots = slots
        self.backlog: deque[PlannedVisit] = deque()
        self.unacked: dict[int, tuple[Lease, int]] = {}
        self.open: dict[int, PlannedVisit] = {}
        self.number = 0
        self.leased = 0
        self.begun = 0
        self.credit = 2 * slots if slots else 0


class Dealer:
    """Deals the visits of a plan to incarnations; every move is entered in `ledger`.

    `closed` says that visits have no due time and are dealt as credit for free slots.
    """

    def __init__(self, visits: Iterator[PlannedVisit], ledger: Ledger, *, closed: bool = False) -> None:
        self._visits = visits
        self._ledger = ledger
        self._closed = closed
        self._next: PlannedVisit | None = None
        self._redeal: deque[PlannedVisit] = deque()
        self._hands: dict[str, Hand] = {}
        self._read_all = False
        self.planned_by_second: dict[int, int] = {}
        self.last_due_ns = 0

    # Members

    def join(self, incarnation: str, worker: str, slots: int | None = None) -> None:
        """A new incarnation takes part from now on; `worker` is its name in the books."""
        self._hands[incarnation] = Hand(worker, slots)

    def knows(self, incarnation: str) -> bool:
        """Whether the incarnation is a member."""
        return incarnation in self._hands

    def lose(self, incarnation: str, word_ns: int) -> list[str]:
        """The incarnation is gone; `word_ns` (after t0) is when the master last spoke to it.

        What it cannot have begun is dealt again, the rest is lost: returns the names of the lost visits.
        """
        hand = self._hands.pop(incarnation)
        safe_ns = word_ns + REDEAL_AFTER_NS
        again = [visit for visit in hand.open.values() if not self._closed and visit.due_ns > safe_ns]
        lost = [visit.name for visit in hand.open.values() if self._closed or visit.due_ns <= safe_ns]
        if hand.number:
            self._ledger.revoke(hand.worker, len(again), sum(visit.steps for visit in again))
            self._ledger.lose(hand.worker)
        self._redeal.extend(sorted([*again, *hand.backlog], key=lambda visit: visit.due_ns))
        return lost

    # Dealing

    def deal(self, now_ns: int) -> list[tuple[str, Lease]]:
        """The leases to send now, new ones and those that were not acknowledged in time, with their incarnations."""
        if self._hands:
            self._assign(now_ns)
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

    def _assign(self, now_ns: int) -> None:
        if self._closed:
            for hand in self._hands.values():
                while hand.leased - hand.begun + len(hand.backlog) < hand.credit:
                    visit = self._take()
                    if visit is None:
                        return
                    hand.backlog.append(visit)
            return
        incarnations = list(self._hands)
        until_ns = now_ns + HORIZON_NS
        while True:
            visit = self._peek()
            if visit is None or visit.due_ns > until_ns:
                return
            self._take()
            self._hands[_chosen(visit.visitor + visit.suffix, incarnations)].backlog.append(visit)

    def _lease(self, incarnation: str, hand: Hand) -> Lease:
        hand.number += 1
        visits: list[PlannedVisit] = []
        size = 0
        while hand.backlog and len(visits) < MAX_LEASE_VISITS and size < MAX_LEASE_BYTES:
            visit = hand.backlog.popleft()
            hand.open[hand.number << TICKET_BITS | len(visits)] = visit
            visits.append(visit)
            size += len(visit.line)
        hand.leased += len(visits)
        self._ledger.deal(hand.worker, len(visits), sum(visit.steps for visit in visits))
        return Lease(
            incarnation,
            hand.number,
            [visit.due_ns for visit in visits],
            [visit.suffix for visit in visits],
            b"\n".join(visit.line for visit in visits),
        )

    def _peek(self) -> PlannedVisit | None:
        if self._redeal:
            return self._redeal[0]
        if self._next is None and not self._read_all:
            self._next = next(self._visits, None)
            if self._next is None:
                self._read_all = True
            else:
                self._enter(self._next)
        return self._next

    def _take(self) -> PlannedVisit | None:
        visit = self._peek()
        if self._redeal:
            self._redeal.popleft()
        else:
            self._next = None
        return visit

    def _enter(self, visit: PlannedVisit) -> None:
        self._ledger.plan(1, visit.steps)
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
        hand = self._hands[incarnation]
        hand.begun = max(hand.begun, begun)
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
        """The incarnation gave visits back unbegun; returns their names."""
        hand = self._hands[incarnation]
        visits = [hand.open.pop(ticket) for ticket in tickets]
        if visits:
            self._ledger.revoke(hand.worker, len(visits), sum(visit.steps for visit in visits))
        return [visit.name for visit in visits]

    # Where things stand

    @property
    def exhausted(self) -> bool:
        """Whether every planned visit has been leased and every lease acknowledged."""
        return self._peek() is None and all(not hand.backlog and not hand.unacked for hand in self._hands.values())

    @property
    def open(self) -> int:
        """Visits leased and not settled."""
        return sum(len(hand.open) for hand in self._hands.values())

    def stop(self) -> None:
        """Nothing more is dealt: what is left of an open-loop plan is read to its end and stays undealt."""
        for hand in self._hands.values():
            hand.backlog.clear()
            hand.unacked.clear()
        if not self._closed:
            while not self._read_all:
                self._next = None
                self._peek()
        self._next = None
        self._redeal.clear()
        self._read_all = True


def _chosen(visitor: str, incarnations: list[str]) -> str:
    """The incarnation that this visitor always meets while the membership stays."""
    if len(incarnations) == 1:
        return incarnations[0]
    key = crc32(visitor.encode())
    return max(incarnations, key=lambda incarnation: _mix(key ^ crc32(incarnation.encode()) << 16))


def _mix(number: int) -> int:
    """Spreads a number over 64 bits: checksums alone are linear, and would share out unevenly."""
    number = (number ^ number >> 29) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    return (number ^ number >> 32) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
