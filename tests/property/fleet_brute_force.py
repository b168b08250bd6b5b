"""The fleet's books by brute force: what became of every single visit, told from the messages alone.

One entry a visit, everything counted anew each time: no counters, no sums that are carried on. It hears what the master
sends and what reaches it, and applies the rules of the house as they are written: a lease is dealt when it is sent
first, a slice counts once and from a member only, what a final slice does not settle was never taken, and of a lost
worker's open visits those that were due more than 5 s after the master's last word are dealt again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from harness.fleet.master import Conductor
from harness.fleet.messages import TICKET_BITS, Beat, FromMaster, FromWorker, Lease, Leave, SliceReport
from harness.plan.schedule import PlannedVisit

REDEAL_AFTER_NS = 5_000_000_000
# By so much a clock may seem to have gained: the longest round trip of a test's network.
CLOCK_NS = 1_000_000_000
ENDS = ("completed", "censored", "dropped", "lost", "revoked")
STEPS = 2


class BruteForce:
    """Watches a conductor; `check` compares its books with what must be true by now."""

    def __init__(self, visits: Iterable[PlannedVisit], *, closed: bool) -> None:
        self._visits = visits
        self._closed = closed
        self._conductor: Conductor | None = None
        self.read: list[str] = []
        # (incarnation, ticket) -> what became of this dealing of a visit; "" while it is open there.
        self._dealings: dict[tuple[str, int], str] = {}
        self._names: dict[tuple[str, int], str] = {}
        self._dues: dict[tuple[str, int], int] = {}
        self._slices: dict[str, dict[int, bool]] = {}
        self._leaving: set[str] = set()
        self._words: dict[str, int] = {}
        self._workers: dict[str, str] = {}
        self._entries = 0
        self.checked = 0

    def plan(self) -> Iterator[PlannedVisit]:
        """The visits, noted as they are read."""
        for visit in self._visits:
            self.read.append(visit.name)
            yield visit

    def watch(self, conductor: Conductor, entries: list[dict[str, Any]]) -> None:
        """Puts itself around the conductor's two ways in; `entries` is the journal."""
        self._conductor = conductor
        receive, turn = conductor.receive, conductor.turn

        def watched_receive(message: FromWorker, now_ns: int) -> None:
            self._hear(message)
            receive(message, now_ns)
            self.check(entries)

        def watched_turn(now_ns: int) -> None:
            turn(now_ns)
            self.check(entries)

        conductor.receive = watched_receive  # type: ignore[method-assign]
        conductor.turn = watched_turn  # type: ignore[method-assign]

    # What is said

    def sent(self, message: FromMaster) -> None:
        """The master sends this."""
        if isinstance(message, Beat):
            self._words[message.incarnation] = message.sent_ns
        elif isinstance(message, Lease):
            lines = message.lines.split(b"\n")
            for place, (due_ns, suffix, line) in enumerate(zip(message.dues_ns, message.suffixes, lines, strict=True)):
                key = message.incarnation, message.number << TICKET_BITS | place
                self._names[key] = json.loads(line)["visit"] + suffix
                self._dues[key] = due_ns
                self._dealings.setdefault(key, "")

    def _hear(self, message: FromWorker) -> None:
        conductor = self._conductor
        assert conductor is not None
        member = conductor.members.get(message.incarnation)
        if member is None or not member.joined or conductor.phase == "finished":
            return
        incarnation = message.incarnation
        if isinstance(message, Leave) and conductor.phase == "running" and incarnation not in self._leaving:
            self._leaving.add(incarnation)
            self._end([key for key in self._open(incarnation) if key[1] >> TICKET_BITS > message.lease], "revoked")
        elif isinstance(message, SliceReport):
            seen = self._slices.setdefault(incarnation, {})
            if message.number in seen:
                return
            seen[message.number] = message.final
            for end in ("completed", "censored", "dropped", "revoked"):
                self._end([(incarnation, ticket) for ticket in getattr(message, end)], end)
            last = next((number for number, final in seen.items() if final), None)
            if last is not None and set(seen) == set(range(1, last + 1)):
                self._end(self._open(incarnation), "revoked")

    def _journal(self, entry: dict[str, Any]) -> None:
        if entry["event"] == "joined":
            self._workers[entry["incarnation"]] = entry["worker"]
        elif entry["event"] == "lost" and "visits" in entry:
            (incarnation,) = [each for each, worker in self._workers.items() if worker == entry["worker"]]
            assert self._conductor is not None
            safe_ns = self._words[incarnation] - self._conductor.t0_ns + REDEAL_AFTER_NS
            still = self._open(incarnation)
            again = [key for key in still if self._names[key] in set(entry["revoked"])]
            lost = [key for key in still if key not in again]
            assert sorted(entry["revoked"]) == sorted(self._names[key] for key in again)
            assert sorted(entry["visits"]) == sorted(self._names[key] for key in lost)
            assert not (self._closed and again)
            assert all(self._dues[key] > safe_ns for key in again)
            assert self._closed or all(self._dues[key] <= safe_ns + CLOCK_NS for key in lost)
            self._end(again, "revoked")
            self._end(lost, "lost")

    def _open(self, incarnation: str) -> list[tuple[str, int]]:
        return [key for key, end in self._dealings.items() if key[0] == incarnation and not end]

    def _end(self, keys: list[tuple[str, int]], end: str) -> None:
        for key in keys:
            assert self._dealings[key] == "", f"{self._names[key]} has ended twice: {self._dealings[key]}, then {end}"
            self._dealings[key] = end

    # What must be true

    def check(self, entries: list[dict[str, Any]]) -> None:
        """The ledger says, row by row and in total, what counting visit by visit says, and its equations hold."""
        for entry in entries[self._entries :]:
            self._journal(entry)
        self._entries = len(entries)
        assert self._conductor is not None
        ledger = self._conductor.ledger
        rows: dict[str, dict[str, int]] = {}
        holders: dict[str, list[str]] = {}
        for key, end in self._dealings.items():
            row = rows.setdefault(self._workers[key[0]], dict.fromkeys(("dealt", *ENDS, ""), 0))
            row["dealt"] += 1
            row[end] += 1
            if end != "revoked":
                holders.setdefault(self._names[key], []).append(end)
        twice = {name: ends for name, ends in holders.items() if len(ends) > 1}
        assert twice == {}, f"in two hands at once: {twice}"
        still_open = {worker: row.pop("") for worker, row in rows.items()}
        assert ledger.workers() == dict(sorted(rows.items()))
        for worker, row in rows.items():
            assert row["dealt"] == sum(row[end] for end in ENDS) + still_open[worker]
            assert ledger.open(worker) == (still_open[worker], STEPS * still_open[worker])
        ends = [holders.get(name, ["undealt"])[0] or "open" for name in self.read]
        totals = ledger.totals()["visits"]
        assert totals["planned"] == len(self.read)
        counted = {end: ends.count(end) for end in ("completed", "censored", "dropped", "lost")}
        assert {end: totals[end] for end in counted} == counted
        assert totals["undealt"] == ends.count("undealt")
        assert totals["planned"] == sum(counted.values()) + totals["undealt"] + ends.count("open")
        self.checked += 1
