"""The fleet's protocol under bad luck: the real conductor and worker lives against the diary of what was really done.

Messages are lost, doubled, delayed and reordered; processes stop, are cut off, die, start again and join; the master
stands still; somebody interrupts; workers are asked to go. Whatever happens, the books say after every message what a
brute-force count of every single visit says, no visit is begun twice, no more are open than there are slots, and in the
end every visit of the plan has exactly one end: what the diary says, or lost by name, or undealt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.fleet.messages import FromMaster, FromWorker
from tests.property.fleet_brute_force import BruteForce
from tests.unit.fleet.scripted_fleet import Fate, Process, ScriptedFleet, evenly, visit

SECONDS = st.floats(0.0, 14.0).map(lambda value: round(value, 1))


@dataclass(frozen=True)
class Network:
    """How bad it is: shares of messages lost and doubled, the longest delay."""

    seed: int
    loss: float
    double: float
    delay_s: float

    def fate(self, heard: Callable[[FromMaster], None]) -> Fate:
        """The fate of each message, from the seed; `heard` gets what the master says, whatever becomes of it."""
        rng = Random(self.seed)

        def decide(message: FromMaster | FromWorker) -> Iterable[float]:
            if isinstance(message, FromMaster):
                heard(message)
            if rng.random() < self.loss:
                return ()
            times = 2 if rng.random() < self.double else 1
            return [rng.random() * self.delay_s for _ in range(times)]

        return decide


NETWORKS = st.builds(
    Network,
    seed=st.integers(0, 10_000),
    loss=st.sampled_from([0.0, 0.05, 0.3]),
    double=st.sampled_from([0.0, 0.3]),
    delay_s=st.sampled_from([0.0, 0.1, 0.5]),
)
# (what, when in seconds, which worker, for how long in seconds)
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["stop", "cut off", "kill", "restart", "join", "leave", "stop master", "interrupt"]),
        SECONDS,
        st.integers(0, 3),
        st.sampled_from([0.5, 2.0, 3.2, 4.5, 7.0]),
    ),
    max_size=4,
)
OFFSETS = st.lists(st.floats(-500.0, 500.0), min_size=8, max_size=8)


def play(fleet: ScriptedFleet, events: list[tuple[str, float, int, float]], end_s: float) -> None:
    """Plays the script to its end, the books checked after every tenth of a second."""
    wakes: list[tuple[float, Process | None]] = []
    todo = sorted(events, key=lambda event: event[1])
    while not fleet.finished:
        assert fleet.now_s < end_s, f"not over after {end_s} s, phase {fleet.conductor.phase}"
        while todo and todo[0][1] <= fleet.now_s:
            what, at_s, index, for_s = todo.pop(0)
            process = list(fleet.processes.values())[index % len(fleet.processes)]
            if what == "stop":
                process.stopped = True
                wakes.append((at_s + for_s, process))
            elif what == "cut off":
                process.cut_off = True
                wakes.append((at_s + for_s, process))
            elif what == "kill":
                process.alive = False
            elif what == "restart":
                process.restart()
            elif what == "join":
                fleet.add_worker()
            elif what == "leave":
                process.leave()
            elif what == "stop master":
                fleet.master_stopped = True
                wakes.append((at_s + for_s, None))
            else:
                fleet.conductor.interrupt("enough", fleet.now_ns)
        for wake in [wake for wake in wakes if wake[0] <= fleet.now_s]:
            wakes.remove(wake)
            if wake[1] is None:
                fleet.master_stopped = False
            else:
                wake[1].stopped = wake[1].cut_off = False
        fleet.turns(0.1)


SLOW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SLOW
@given(
    network=NETWORKS,
    workers=st.integers(1, 3),
    events=EVENTS,
    offsets=OFFSETS,
    stay_s=st.sampled_from([0.2, 2.5]),
    returning=st.sampled_from([0, 30]),
)
def test_every_visit_of_an_open_loop_has_exactly_one_end(
    network: Network,
    workers: int,
    events: list[tuple[str, float, int, float]],
    offsets: list[float],
    stay_s: float,
    returning: int,
) -> None:
    """Open loop: begun at most once, settled as the diary says or lost by name, all of the plan accounted for."""
    books = BruteForce(evenly(100, 8, returning=returning), closed=False)
    fleet = ScriptedFleet(
        books.plan(), workers=workers, stay_s=stay_s, drain_s=4.0, fate=network.fate(books.sent), offsets_s=offsets
    )
    books.watch(fleet.conductor, fleet.notes.entries)
    play(fleet, events, end_s=90.0)
    fleet.check_books()
    if fleet.conductor.t0_ns:
        assert books.checked > 10
        assert fleet.visits()["planned"] == 100
    if not events and network.loss < 0.1:
        assert fleet.visits()["completed"] + fleet.visits()["dropped"] == 100
        assert fleet.conductor.workers_lost == 0


@SLOW
@given(
    network=NETWORKS,
    workers=st.integers(1, 3),
    events=EVENTS,
    offsets=OFFSETS,
    ends=st.booleans(),
    slots=st.sampled_from([1, 5]),
)
def test_every_visit_of_a_closed_loop_has_exactly_one_end(
    network: Network,
    workers: int,
    events: list[tuple[str, float, int, float]],
    offsets: list[float],
    ends: bool,
    slots: int,
) -> None:
    """Closed loop, ended by its plan or by its duration: begun at most once, and accounted for like the open one."""
    books = BruteForce([visit(n, -1) for n in range(60)], closed=True)
    fleet = ScriptedFleet(
        books.plan(),
        workers=workers,
        arrivals=f"closed:{slots}",
        stay_s=0.8,
        drain_s=4.0,
        plan_end_s=6.0 if ends else None,
        fate=network.fate(books.sent),
        offsets_s=offsets,
    )
    books.watch(fleet.conductor, fleet.notes.entries)
    play(fleet, events, end_s=150.0)
    fleet.check_books()
    assert fleet.peak_open <= slots, "more visits open than there are slots"
    assert books.checked > 10 or not fleet.conductor.t0_ns
