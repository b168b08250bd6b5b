"""What the master keeps of visits that have ended: nothing."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator

import pytest

from harness.config.model import RunConfig
from harness.fleet.master import Conductor
from harness.fleet.messages import (
    TICKET_BITS,
    Beat,
    FromMaster,
    Hello,
    Lease,
    LeaseAck,
    Pulse,
    SliceReport,
    Start,
    WorkerState,
)
from harness.measure.recorder import Recorder
from harness.measure.snapshot import Snapshot
from harness.plan.schedule import PlannedVisit
from harness.units import NS_PER_S
from harness.visitor.records import Outcome, StepOutcome, VisitEnd, VisitOutcome
from tests.unit.fleet.scripted_fleet import START_NS, visit

VISITS_A_SECOND = 500


class Deaf:
    """An observer that keeps nothing (`harness.fleet.master.Observer`)."""

    def started(self, _t0_ns: int, _workers: int) -> None: ...
    def arrived(self, _second: int, _snapshot: Snapshot, _now_ns: int) -> None: ...
    def second(self, _second: int, _snapshot: Snapshot) -> None: ...
    def journal(self, _entry: dict[str, object]) -> None: ...


class Master:
    """A conductor with one worker that plays whatever it gets within a second and keeps nothing of it either."""

    def __init__(self, arrivals: str) -> None:
        config = RunConfig(run_id="memory", trace="-", arrivals=arrivals, expect_workers=1)
        self.conductor = Conductor(config, self._plan(arrivals == "recorded"), self._hear, Deaf(), None)
        self.now_ns = START_NS
        self.ended = 0
        self._state: WorkerState = "joining"
        self._slices = 0
        self._tickets: list[int] = []
        self._said(Hello("w-1", "host", 1, _version()))

    def _plan(self, scheduled: bool) -> Iterator[PlannedVisit]:
        number = 0
        while True:
            yield visit(number, number / VISITS_A_SECOND if scheduled else -1, steps=1)
            number += 1

    def _said(self, message: Hello | Pulse | LeaseAck | SliceReport) -> None:
        self.conductor.receive(message, self.now_ns)

    def _hear(self, message: FromMaster) -> None:
        if isinstance(message, Beat):
            begun = self.ended + len(self._tickets)
            self._said(Pulse("w-1", message.sent_ns, self.now_ns, self._state, len(self._tickets), 0, begun))
        elif isinstance(message, Start):
            self._state = "ready"
        elif isinstance(message, Lease):
            self._state = "playing"
            self._tickets += [message.number << TICKET_BITS | place for place in range(len(message.dues_ns))]
            self._said(LeaseAck("w-1", message.number))

    def play(self, visits: int) -> None:
        """Goes on until so many visits more have ended, and nothing is under way but what is dealt ahead."""
        until = self.ended + visits
        while self.ended < until:
            for _ in range(10):
                self.now_ns += NS_PER_S // 10
                self.conductor.turn(self.now_ns)
            if self._state == "playing":
                self._close_second()

    def _close_second(self) -> None:
        recorder = Recorder()
        ended, self._tickets = self._tickets, []
        for ticket in ended:
            name = f"v-{ticket}"
            recorder.steps([StepOutcome(name, "all", "get_engagement", 0, Outcome.available, 0, 0, 1, False)])
            recorder.visits([VisitOutcome(name, "all", VisitEnd.completed, 0, 0, 0, 1)])
        self.ended += len(ended)
        self._slices += 1
        blob = recorder.take().pack()
        self._said(SliceReport("w-1", self._slices, self._slices - 1, blob, ended, [], [], [], False))


def _version() -> str:
    from harness import __version__

    return __version__


@pytest.mark.parametrize("arrivals", ["recorded", "closed:50"])
def test_the_master_keeps_nothing_of_a_visit_that_has_ended(arrivals: str) -> None:
    """10,000 visits more leave its memory where it was: not a byte for each of them."""
    master = Master(arrivals)
    tracemalloc.start()
    try:
        sizes = []
        # The first of them bring what is kept for some seconds to its level.
        for visits in (15_000, 10_000):
            master.play(visits)
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert master.conductor.phase == "running"
    assert sizes[1] - sizes[0] < 10_000
