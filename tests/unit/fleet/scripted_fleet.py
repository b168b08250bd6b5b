"""A fleet on a script: the real conductor and real worker lives, on a clock, a network and engines of the test's own.

Every message passes through a `fate`: a function that says after which delays it arrives (none: lost, two: doubled).
Processes can be stopped, cut off, killed, restarted and started at any time. The engines only keep a diary of what was
begun and how it ended; the diary is the oracle for the master's books.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import Any

from harness.config.model import Limits, RunConfig
from harness.engine.ceilings import Share
from harness.engine.engine import FENCE_NS, Arrival
from harness.fleet.life import Life
from harness.fleet.master import Conductor
from harness.fleet.messages import FromMaster, FromWorker
from harness.measure.recorder import Recorder
from harness.measure.snapshot import Snapshot
from harness.plan.schedule import PlannedVisit
from harness.units import NS_PER_S
from harness.visitor.records import Outcome, StepOutcome, VisitEnd, VisitOutcome

STEP_NS = 50_000_000
START_NS = 1_000 * NS_PER_S
Fate = Callable[[FromMaster | FromWorker], Iterable[float]]


def at_once(_message: FromMaster | FromWorker) -> Iterable[float]:
    """The fate of a message on a good network."""
    return (0.0,)


def visit(
    number: int,
    due_s: float,
    *,
    visitor: str | None = None,
    steps: int = 2,
    suffix: str = "",
    returns: bool = False,
) -> PlannedVisit:
    """A planned visit `v-number`, due `due_s` seconds after t0 (negative: closed loop)."""
    line = json.dumps({"visit": f"v-{number}", "steps": steps}).encode()
    due_ns = round(due_s * NS_PER_S) if due_s >= 0 else -1
    return PlannedVisit(due_ns, f"v-{number}", visitor or f"p-{number}", suffix, steps, line, returns)


def evenly(count: int, rate_hz: float, *, returning: int = 0) -> list[PlannedVisit]:
    """Visits at a constant rate from t0 on, by so many visitors who come again and again (0: each comes once)."""
    return [
        visit(
            number,
            number / rate_hz,
            visitor=f"p-{number % returning}" if returning else None,
            returns=number + returning < count if returning else False,
        )
        for number in range(count)
    ]


class Nobody:
    """An audience that does not listen (`harness.fleet.life.Audience`)."""

    def begin(self, _config: RunConfig) -> None:
        return None

    def slice(self, _snapshot: Snapshot) -> None:
        return


class Diary:
    """What the engines of all workers really did, by visit name."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self.begun_by: dict[str, str] = {}
        # The moment now, and of each begin, on the script's own clock.
        self.now_ns = START_NS
        self.begun_ns: dict[str, int] = {}
        self.ends: dict[str, VisitEnd] = {}


class ScriptedEngine:
    """Begins what is due, keeps each visit open for `stay_ns`, obeys the fence (`harness.fleet.life.PlaysVisits`)."""

    def __init__(self, name: str, diary: Diary, stay_ns: int, max_lag_ns: int, recorder: Recorder, hooks: Any) -> None:
        self._name = name
        self._diary = diary
        self._stay_ns = stay_ns
        self._max_lag_ns = max_lag_ns
        self._recorder = recorder
        self._on_over = hooks["on_over"]
        self._on_second = hooks["on_second"]
        self.on_crash = hooks["on_crash"]
        self._arrivals: deque[Arrival] = deque()
        self._open: list[tuple[int, int, Arrival]] = []
        self._word_ns = 0
        self._running = False
        self.t0_ns = 0
        self.slots: int | None = None
        self.most_open: int | None = None
        self.shares: list[Share] = []
        self.second = 0
        self.begun = 0
        self.fenced = False

    @property
    def open_visits(self) -> int:
        return len(self._open)

    @property
    def queued(self) -> int:
        return len(self._arrivals)

    def start(self, t0_ns: int) -> None:
        assert not self._running, "GO took effect twice"
        self.t0_ns = t0_ns
        self._running = True

    def hear(self, moment_ns: int) -> None:
        self._word_ns = moment_ns

    def add(self, arrivals: list[Arrival]) -> None:
        self._arrivals = deque(sorted([*self._arrivals, *arrivals], key=lambda arrival: arrival.due_ns))

    def take_share(self, share: Share) -> None:
        self.slots, self.most_open = share.slots, share.open_visits
        self.shares.append(share)

    def revoke(self, after_ns: int = -2) -> list[int]:
        tickets = [arrival.ticket for arrival in self._arrivals if arrival.due_ns > after_ns]
        self._arrivals = deque(arrival for arrival in self._arrivals if arrival.due_ns <= after_ns)
        return tickets

    def cut(self) -> None:
        for _until_ns, _ticket, arrival in self._open:
            self._end(arrival, VisitEnd.censored, Outcome.censored)
        self._open.clear()

    def close(self) -> None:
        self._running = False

    def fold(self) -> None:
        """Records are folded at once here."""

    def take_connection_counts(self) -> dict[str, int]:
        return {}

    def advance(self, clock_ns: int) -> None:
        """What the hub's callbacks would have done until `clock_ns`, the worker's own clock."""
        now_ns = clock_ns - self.t0_ns
        if not self._running or now_ns < 0:
            return
        while self._open and self._open[0][0] <= now_ns:
            self._end(heappop(self._open)[2], VisitEnd.completed, Outcome.available)
        while self._arrivals and self._may_begin(now_ns):
            if clock_ns > self._word_ns + FENCE_NS:
                self.fenced = True
                return
            self._begin(self._arrivals.popleft(), now_ns)
        while self._arrivals and self._too_late(self._arrivals[0], now_ns):
            self._begin(self._arrivals.popleft(), now_ns)
        if now_ns // NS_PER_S > self.second:
            self._on_second(now_ns // NS_PER_S - 1)
            self.second = now_ns // NS_PER_S

    def _may_begin(self, now_ns: int) -> bool:
        if self.most_open is not None and len(self._open) >= self.most_open:
            return False
        if self.slots is not None:
            return len(self._open) < self.slots
        return self._arrivals[0].due_ns <= now_ns

    def _too_late(self, arrival: Arrival, now_ns: int) -> bool:
        return self.slots is None and now_ns - arrival.due_ns > self._max_lag_ns

    def _begin(self, arrival: Arrival, now_ns: int) -> None:
        if self._too_late(arrival, now_ns):
            self._end(arrival, VisitEnd.dropped, Outcome.dropped)
            return
        name = json.loads(arrival.line)["visit"] + arrival.suffix
        self._diary.begun[name] += 1
        self._diary.begun_by[name] = self._name
        self._diary.begun_ns[name] = self._diary.now_ns
        self.begun += 1
        heappush(self._open, (now_ns + self._stay_ns, arrival.ticket, arrival))

    def _end(self, arrival: Arrival, end: VisitEnd, outcome: Outcome) -> None:
        parsed = json.loads(arrival.line)
        name, steps = parsed["visit"] + arrival.suffix, parsed["steps"]
        assert name not in self._diary.ends, f"{name} ended twice"
        self._diary.ends[name] = end
        self._recorder.steps(
            [StepOutcome(name, "all", "get_engagement", step, outcome, 0, 0, 1, False) for step in range(steps)]
        )
        self._recorder.visits([VisitOutcome(name, "all", end, 0, 0, 0, steps)])
        self._on_over(arrival.ticket, end)


class Process:
    """A worker process: lives through lives like `WorkerNode`; `offset_ns` is its clock minus the master's."""

    def __init__(self, fleet: ScriptedFleet, name: str, offset_ns: int, capacity: float = 1.0) -> None:
        self.capacity = capacity
        self._leaving = False
        self.fleet = fleet
        self.name = name
        self.offset_ns = offset_ns
        self.alive = True
        self.stopped = False
        self.cut_off = False
        # How much its clock gains in each second.
        self.drift_ns = 0
        self.engine: ScriptedEngine | None = None
        self._inbox: list[FromMaster] = []
        self._processes = 1
        self._lives = 0
        self.life = self._born()

    def _born(self) -> Life:
        self._lives += 1
        incarnation = f"{self.name}-{self._processes}-{self._lives}"
        return Life(incarnation, self._send, Nobody(), self._make_engine, lambda: None, self.capacity)

    def _make_engine(self, config: RunConfig, recorder: Recorder, **hooks: Any) -> ScriptedEngine:
        if self.name in self.fleet.refusals:
            raise self.fleet.refusals[self.name]
        self.engine = ScriptedEngine(
            self.name, self.fleet.diary, self.fleet.stay_ns, config.max_lag_ns, recorder, hooks
        )
        return self.engine

    def _send(self, message: FromWorker) -> None:
        if not self.cut_off:
            self.fleet.post(message, None)

    def receive(self, message: FromMaster) -> None:
        if not self.cut_off:
            self._inbox.append(message)

    def restart(self) -> None:
        """Dies, and starts again at once: the same host, and as in a container the same process number."""
        self.engine = None
        self._inbox = []
        self._processes += 1
        self._lives = 0
        self.life = self._born()

    def leave(self) -> None:
        """Asks the process to end, as SIGTERM does (`harness.fleet.worker.WorkerNode`)."""
        self._leaving = True

    def turn(self, now_ns: int) -> None:
        self.offset_ns += self.drift_ns * STEP_NS // NS_PER_S
        if not self.alive or self.stopped:
            return
        clock_ns = now_ns + self.offset_ns
        # What the hub does first after a stop is the worst case: nobody has read the messages yet.
        if self.engine is not None:
            self.engine.advance(clock_ns)
        inbox, self._inbox = self._inbox, []
        for message in inbox:
            if message.incarnation == self.life.incarnation:
                self.life.receive(message, clock_ns)
        if self._leaving and not self.life.left and not self.life.leave(clock_ns):
            self.alive = False
            return
        self.life.turn(clock_ns)
        if self.life.over:
            self.life.close()
            self.engine = None
            self.alive = not self._leaving
            self.life = self._born()


class Notes:
    """The observer of the script: keeps everything."""

    def __init__(self) -> None:
        self.starts: list[tuple[int, int]] = []
        self.arrivals: list[tuple[int, Snapshot]] = []
        self.seconds: list[tuple[int, Snapshot]] = []
        self.entries: list[dict[str, Any]] = []

    def started(self, t0_ns: int, workers: int) -> None:
        self.starts.append((t0_ns, workers))

    def arrived(self, second: int, snapshot: Snapshot, now_ns: int) -> None:
        self.arrivals.append((second, snapshot))

    def second(self, second: int, snapshot: Snapshot) -> None:
        self.seconds.append((second, snapshot))

    def journal(self, entry: dict[str, object]) -> None:
        self.entries.append(entry)

    def names(self, event: str, key: str = "visits") -> list[str]:
        """The visits that entries of this kind name."""
        return [name for entry in self.entries if entry["event"] == event for name in entry.get(key, ())]


class ScriptedFleet:
    """A conductor and its workers; `turns` moves the clock, `now_s` counts seconds since the script began."""

    def __init__(
        self,
        visits: Iterable[PlannedVisit],
        *,
        workers: int = 1,
        expect_workers: int | None = None,
        arrivals: str = "recorded",
        drain_s: float = 5.0,
        stay_s: float = 0.3,
        plan_end_s: float | None = None,
        fate: Fate = at_once,
        offsets_s: Iterable[float] = (),
        capacities: Iterable[float] = (),
        limits: Limits | None = None,
    ) -> None:
        self.now_ns = START_NS
        self.diary = Diary()
        self.notes = Notes()
        self.stay_ns = round(stay_s * NS_PER_S)
        self.fate = fate
        self.refusals: dict[str, Exception] = {}
        self.sent: list[FromMaster | FromWorker] = []
        self.master_stopped = False
        self.peak_open = 0
        self._mail: list[tuple[int, int, FromMaster | FromWorker, bool]] = []
        self._posted = 0
        self._offsets_s = iter(offsets_s)
        self._capacities = iter(capacities)
        config = RunConfig(
            run_id="script",
            trace="-",
            arrivals=arrivals,
            drain_ns=round(drain_s * NS_PER_S),
            limits=limits or Limits(),
            expect_workers=workers if expect_workers is None else expect_workers,
        )
        plan_end_ns = None if plan_end_s is None else round(plan_end_s * NS_PER_S)
        self.conductor = Conductor(
            config, iter(visits), lambda message: self.post(message, message), self.notes, plan_end_ns
        )
        self.processes: dict[str, Process] = {}
        for _ in range(workers):
            self.add_worker()

    @property
    def now_s(self) -> float:
        return (self.now_ns - START_NS) / NS_PER_S

    @property
    def open_visits(self) -> int:
        """Visits open at all processes that run, as the target would see them."""
        engines = [process.engine for process in self.processes.values() if process.alive and not process.stopped]
        return sum(engine.open_visits for engine in engines if engine is not None)

    @property
    def finished(self) -> bool:
        return self.conductor.phase == "finished"

    def add_worker(self) -> Process:
        """Starts another worker process."""
        name = f"w{len(self.processes) + 1}"
        process = Process(self, name, round(next(self._offsets_s, 0.0) * NS_PER_S), next(self._capacities, 1.0))
        self.processes[name] = process
        return process

    def post(self, message: FromMaster | FromWorker, to_worker: FromMaster | None) -> None:
        """Hands a message to the network."""
        self.sent.append(message)
        for delay_s in self.fate(message):
            self._posted += 1
            arrives_ns = self.now_ns + round(delay_s * NS_PER_S)
            heappush(self._mail, (arrives_ns, self._posted, message, to_worker is not None))

    def turns(self, seconds: float) -> None:
        """Lets `seconds` pass."""
        until_ns = self.now_ns + round(seconds * NS_PER_S)
        while self.now_ns < until_ns:
            self.now_ns += STEP_NS
            self.diary.now_ns = self.now_ns
            self._deliver()
            for process in list(self.processes.values()):
                process.turn(self.now_ns)
            self.peak_open = max(self.peak_open, self.open_visits)
            self._deliver()
            if not self.master_stopped and not self.finished:
                self.conductor.turn(self.now_ns)

    def until_finished(self, limit_s: float = 120.0) -> None:
        """Lets time pass until the run is over; fails when that takes too long."""
        while not self.finished:
            assert self.now_s < limit_s, f"not over after {limit_s:.0f} s; phase {self.conductor.phase}"
            self.turns(0.5)

    def _deliver(self) -> None:
        held = []
        while self._mail and self._mail[0][0] <= self.now_ns:
            letter = heappop(self._mail)
            _, _, message, to_worker = letter
            if to_worker:
                for process in self.processes.values():
                    process.receive(message)  # type: ignore[arg-type]
            elif self.master_stopped:
                held.append(letter)
            else:
                self.conductor.receive(message, self.now_ns)  # type: ignore[arg-type]
        for letter in held:
            heappush(self._mail, letter)

    def shares(self) -> list[Share | None]:
        """What each process was last told that it may do, in the order of their names; None before a run."""
        engines = [process.engine for process in self.processes.values()]
        return [engine.shares[-1] if engine is not None and engine.shares else None for engine in engines]

    # The oracle

    def visits(self) -> dict[str, int]:
        """The master's books of visits."""
        return self.conductor.ledger.totals()["visits"]

    def check_books(self) -> None:
        """After the run: the books say what the diary says, and every visit has exactly one end."""
        conductor, diary = self.conductor, self.diary
        assert conductor.ledger.problems() == []
        totals, lost = self.visits(), self.notes.names("lost")
        assert len(lost) == len(set(lost)) == totals["lost"]
        assert all(times == 1 for times in diary.begun.values()), "a visit was begun twice"
        kept = {name: end for name, end in diary.ends.items() if name not in set(lost)}
        ends = Counter(end.name for end in kept.values())
        assert {end: totals[end] for end in ("completed", "censored", "dropped")} == {
            end: ends[end] for end in ("completed", "censored", "dropped")
        }
        begun = set(diary.begun) | set(diary.ends)
        assert begun <= set(kept) | set(lost), "what was begun has ended or is lost by name"
        assert totals["planned"] == len(kept) + len(lost) + totals["undealt"]
        for row in conductor.ledger.workers().values():
            assert row["dealt"] == sum(count for name, count in row.items() if name != "dealt")
        self._check_measurement()

    def _check_measurement(self) -> None:
        numbers = [second for second, _ in self.notes.seconds]
        assert numbers == sorted(set(numbers)), "each second comes once, in order"
        assert Snapshot.merged(snapshot for _, snapshot in self.notes.seconds).counters == self.conductor.whole.counters
        steps = self.conductor.ledger.totals()["steps"]
        measured = self.conductor.whole.by_last("steps")
        assert {name: steps[name] for name in measured} == measured
