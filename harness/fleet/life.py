"""One life of a worker: it joins, plays what it is dealt, ships what it measured, and ends.

A `Life` is driven by `turn` (every `TURN_S`, or sooner when it asks through `wake`) and by `receive` (the master's
messages), both with the time as an argument; its engine comes from a maker that is handed in, so tests drive a life
with a clock and an engine of their own. It ends when its final slice is acknowledged, when it is fenced (the master
silent for 3 s: it forgets everything, and the process joins anew), or when something raises: the master is told, and
ends the run. What the user must mend (`HarnessError`, say a target that moved out of bounds) ends it with a drain.
A life that is asked to `leave` plays what is due very soon, gives the rest back, and ends when its visits have.
"""

from __future__ import annotations

import resource
import socket
import traceback
from collections.abc import Callable
from os import getpid
from pathlib import Path
from time import process_time_ns
from typing import Protocol

import msgspec

from harness import __version__
from harness.config.model import RunConfig
from harness.engine.ceilings import Share
from harness.engine.engine import FENCE_NS, Arrival
from harness.errors import ExitCode, HarnessError
from harness.fleet.attempt_log import AttemptLog
from harness.fleet.messages import (
    TICKET_BITS,
    Beat,
    Drain,
    FromMaster,
    FromWorker,
    Go,
    Hello,
    Hungry,
    Lease,
    LeaseAck,
    Leave,
    Pulse,
    SliceAck,
    SliceReport,
    Start,
    Trouble,
    WorkerState,
)
from harness.fleet.outbox import Outbox
from harness.fleet.telling import OnAttempts, TellingRecorder
from harness.measure.recorder import Recorder
from harness.measure.snapshot import Snapshot
from harness.units import NS_PER_MS, NS_PER_S
from harness.visitor.records import VisitEnd

TURN_S = 0.05
_HELLO_EVERY_NS = 500 * NS_PER_MS
_HUNGRY_EVERY_NS = 200 * NS_PER_MS
# Who has finished starts nothing any more and only waits for acknowledgements: it need not be fenced, but not for ever.
_FINISHED_PATIENCE_NS = 10 * NS_PER_S
# Who leaves plays what is due within this time itself: what it gives back needs that long to reach another worker.
LEAVE_MARGIN_NS = 2 * NS_PER_S
_PAGE_BYTES = resource.getpagesize()

_decode_config = msgspec.json.Decoder(RunConfig).decode

Send = Callable[[FromWorker], None]
Ends = dict[VisitEnd, list[int]]


class PlaysVisits(Protocol):
    """What a life needs of an engine; see `harness.engine.engine.Engine`."""

    t0_ns: int
    slots: int | None
    second: int
    begun: int
    fenced: bool

    @property
    def open_visits(self) -> int: ...
    @property
    def queued(self) -> int: ...
    def start(self, t0_ns: int) -> None: ...
    def hear(self, moment_ns: int) -> None: ...
    def add(self, arrivals: list[Arrival]) -> None: ...
    def take_share(self, share: Share) -> None: ...
    def revoke(self, after_ns: int = ...) -> list[int]: ...
    def cut(self) -> None: ...
    def close(self) -> None: ...
    def fold(self) -> None: ...
    def take_connection_counts(self) -> dict[str, int]: ...


class Audience(Protocol):
    """Who else learns what a worker measures; see `harness.fleet.locust_side.LocustSide`."""

    def begin(self, config: RunConfig) -> OnAttempts | None: ...
    def slice(self, snapshot: Snapshot) -> None: ...


class MakeEngine(Protocol):
    """Builds the engine of a run; raises `HarnessError` when the target cannot be used from here."""

    def __call__(
        self,
        config: RunConfig,
        recorder: Recorder,
        *,
        on_over: Callable[[int, VisitEnd], None],
        on_second: Callable[[int], None],
        on_crash: Callable[[BaseException], None],
    ) -> PlaysVisits: ...


class Life:
    """One incarnation of a worker: joining → ready → playing (→ leaving) → draining → finished → over.

    `send` hands a message to the master, `audience` hears of each attempt or closed second, `wake` asks for a turn at
    once. `capacity` is how much this worker takes beside others.
    """

    def __init__(
        self,
        incarnation: str,
        send: Send,
        audience: Audience,
        make_engine: MakeEngine,
        wake: Callable[[], None],
        capacity: float = 1.0,
    ) -> None:
        self.incarnation = incarnation
        self.worker = ""
        self.run_id = ""
        self.left = False
        self._capacity = capacity
        self._send = send
        self._audience = audience
        self._make_engine = make_engine
        self._wake = wake
        self._state: WorkerState = "joining"
        self._hello_ns: int | None = None
        self._start: Start | None = None
        self._engine: PlaysVisits | None = None
        self._recorder = Recorder()
        self._word_ns = 0
        self._beat_ns = 0
        self._leave_ns = 0
        self._drain_ns = 0
        self._lease_number = 0
        self._held_leases: dict[int, Lease] = {}
        self._full_queue = 0
        self._hungry_ns = 0
        self._deadline_ns: int | None = None
        self._outbox = Outbox()
        self._closed_seconds: list[tuple[int, Snapshot, Ends]] = []
        self._ends = _no_ends()
        self._revoked: list[int] = []
        self._cpu_ns = self._waited_ns = 0
        self._crash: BaseException | None = None
        # What keeps it from playing at all, and what ends its play.
        self.refused: HarnessError | None = None
        self._refusal: HarnessError | None = None
        self._refusal_ns = 0
        self._fenced = False

    @property
    def busy(self) -> bool:
        """Whether a run is going on."""
        return self._state not in ("joining", "over")

    @property
    def over(self) -> bool:
        """Whether this life has ended: close it, and begin another."""
        return self._state == "over"

    @property
    def fenced(self) -> bool:
        """Whether it ended because the master had been silent."""
        return self._fenced

    def holds(self) -> tuple[int, int]:
        """How many visits are (open, not begun) here."""
        engine = self._engine
        return (0, 0) if engine is None else (engine.open_visits, engine.queued)

    def leave(self, now_ns: int) -> bool:
        """Begins to leave the run, at a turn; False when there is nothing to leave, and the process may just end."""
        engine = self._engine
        if engine is None or self._state in ("finished", "over"):
            return False
        if self._state in ("ready", "playing"):
            offset_ns = now_ns - engine.t0_ns
            scheduled = self._state == "playing" and engine.slots is None
            self._revoked += engine.revoke(offset_ns + LEAVE_MARGIN_NS) if scheduled else engine.revoke()
            self._deadline_ns = offset_ns + LEAVE_MARGIN_NS + self._drain_ns
            self._state = "leaving"
            self.left = True
            self._leave_ns = now_ns - _HELLO_EVERY_NS
        return True

    def close(self) -> None:
        """Lets go of the engine; the incarnation does nothing more."""
        if self._engine is not None:
            self._engine.close()

    # Turns

    def turn(self, now_ns: int) -> None:
        """Does what is due at `now_ns` (the worker's clock).

        May block while it finds the target's address, and lets others run while it tells of attempts one by one.
        """
        try:
            self._act(now_ns)
        except Exception as error:
            self._crash = error
        if self._crash is not None:
            self._report_crash(self._crash)

    def _act(self, now_ns: int) -> None:
        engine = self._engine
        if engine is not None:
            if engine.fenced or self._abandoned(now_ns):
                self._fenced = self._state != "finished"
                self._state = "over"
            else:
                self._play(engine, now_ns)
        elif self._start is not None:
            self._prepare(self._start, now_ns)
        elif self._hello_ns is None or now_ns - self._hello_ns >= _HELLO_EVERY_NS:
            self._hello_ns = now_ns
            self._send(Hello(self.incarnation, socket.gethostname(), getpid(), __version__, self._capacity))

    def _abandoned(self, now_ns: int) -> bool:
        patience_ns = _FINISHED_PATIENCE_NS if self._state == "finished" else FENCE_NS
        return now_ns - self._word_ns > patience_ns

    def _prepare(self, start: Start, now_ns: int) -> None:
        """START came: builds the engine; what is wrong with the target from here is told to the master."""
        config = _decode_config(start.config)
        closed = config.closed_slots is not None
        listeners = [self._audience.begin(config)]
        if config.log_attempts:
            listeners.append(AttemptLog(Path(config.log_attempts)).write)
        told = [listener for listener in listeners if listener is not None]
        warmup_ns = config.warmup_ns
        self._recorder = (
            TellingRecorder(told, closed=closed, warmup_ns=warmup_ns)
            if told
            else Recorder(closed=closed, warmup_ns=warmup_ns)
        )
        try:
            self._engine = self._make_engine(
                config, self._recorder, on_over=self._on_over, on_second=self._close_second, on_crash=self._on_crash
            )
        except HarnessError as error:
            self._send(Trouble(self.incarnation, str(error), int(error.exit_code), ""))
            self.refused = error
            self._state = "over"
            return
        self.worker, self.run_id = start.worker, config.run_id
        self._drain_ns = config.drain_ns
        self._word_ns = max(self._word_ns, now_ns)
        self._state = "ready"

    def _play(self, engine: PlaysVisits, now_ns: int) -> None:
        if self._state in ("draining", "leaving"):
            if self._deadline_ns is not None and now_ns - engine.t0_ns >= self._deadline_ns:
                self._revoked += engine.revoke()
                engine.cut()
            if not engine.open_visits and not engine.queued:
                self._finish(engine)
        elif self._state == "playing" and engine.slots is not None:
            self._ask_for_more(engine, now_ns)
        if self.left and now_ns - self._leave_ns >= _HELLO_EVERY_NS:
            self._leave_ns = now_ns
            self._send(Leave(self.incarnation, self._lease_number))
        if self._refusal is not None and self._state in ("ready", "playing"):
            self._ask_for_the_end(self._refusal, now_ns)
        if isinstance(self._recorder, TellingRecorder):
            # Before the slices leave: with the last one acknowledged the run is over, and nobody listens any more.
            self._recorder.tell(engine.t0_ns)
        self._ship()
        for report in self._outbox.due(now_ns):
            self._send(report)
        if self._state == "finished" and self._outbox.empty:
            self._state = "over"

    def _ask_for_more(self, engine: PlaysVisits, now_ns: int) -> None:
        low = max(engine.slots or 0, self._full_queue // 2)
        if engine.queued < low and now_ns - self._hungry_ns >= _HUNGRY_EVERY_NS:
            self._hungry_ns = now_ns
            self._send(Hungry(self.incarnation, engine.begun))

    def _ask_for_the_end(self, refusal: HarnessError, now_ns: int) -> None:
        if now_ns - self._refusal_ns >= _HELLO_EVERY_NS:
            self._refusal_ns = now_ns
            self._send(Trouble(self.incarnation, str(refusal), int(refusal.exit_code), "", stays=True))

    def _finish(self, engine: PlaysVisits) -> None:
        engine.close()
        engine.fold()
        self._close_second(engine.second)
        self._state = "finished"

    def _report_crash(self, error: BaseException) -> None:
        details = "".join(traceback.format_exception(error))
        self._send(Trouble(self.incarnation, f"internal error in a worker: {error!r}", int(ExitCode.INTERNAL), details))
        self._state = "over"

    def _ship(self) -> None:
        closed, self._closed_seconds = self._closed_seconds, []
        for place, (second, snapshot, ends) in enumerate(closed):
            self._audience.slice(snapshot)
            final = self._state == "finished" and place == len(closed) - 1
            revoked, self._revoked = self._revoked, []
            self._outbox.put(
                SliceReport(
                    self.incarnation,
                    self._outbox.next_number(),
                    second,
                    snapshot.pack(),
                    ends[VisitEnd.completed],
                    ends[VisitEnd.censored],
                    ends[VisitEnd.dropped],
                    revoked,
                    final,
                )
            )

    # What the engine tells, in the hub

    def _on_over(self, ticket: int, end: VisitEnd) -> None:
        self._ends[end].append(ticket)

    def _on_crash(self, error: BaseException) -> None:
        if isinstance(error, HarnessError):
            # Not a fault of ours: the run must end, but in good order, with what was measured.
            self._refusal = error
        else:
            self._crash = error
        self._wake()

    def _close_second(self, second: int) -> None:
        """Takes what the second brought; packing and sending it is the turn's work."""
        assert self._engine is not None
        for event, count in self._engine.take_connection_counts().items():
            if count:
                self._recorder.connection(event, count)
        cpu_ns = process_time_ns()
        waited_ns = _waited_ns()
        self._recorder.usage(
            cpu_ns=cpu_ns - self._cpu_ns, rss_bytes=_rss_bytes(), waited_ns=waited_ns - self._waited_ns
        )
        self._cpu_ns, self._waited_ns = cpu_ns, waited_ns
        self._closed_seconds.append((second, self._recorder.take(), self._ends))
        self._ends = _no_ends()
        self._wake()

    # What the master says

    def receive(self, message: FromMaster, now_ns: int) -> None:
        """Takes a message meant for this incarnation; each kind may come twice."""
        try:
            self._receive(message, now_ns)
        except Exception as error:
            self._crash = error
        self._wake()

    def _receive(self, message: FromMaster, now_ns: int) -> None:
        engine = self._engine
        if isinstance(message, Beat):
            self._answer(message, now_ns)
        elif isinstance(message, SliceAck):
            self._outbox.acked(message.number)
        elif isinstance(message, Start):
            self._start = self._start or message
        elif engine is None:
            return
        elif isinstance(message, Lease):
            self._take_lease(engine, message)
        elif isinstance(message, Go):
            self._go(engine, message, now_ns)
        elif isinstance(message, Drain):
            self._drain(engine, message)

    def _answer(self, beat: Beat, now_ns: int) -> None:
        engine = self._engine
        if engine is None:
            self._send(Pulse(self.incarnation, beat.sent_ns, now_ns, self._state, 0, 0, 0))
            return
        # A word counts from when it was said, not from when it was read: a stopped process finds old ones waiting.
        self._word_ns = max(self._word_ns, beat.sent_ns + beat.offset_ns)
        engine.hear(self._word_ns)
        if beat.share is not None and beat.sent_ns > self._beat_ns and self._state != "ready":
            self._beat_ns = beat.sent_ns
            engine.take_share(beat.share)
        self._send(
            Pulse(self.incarnation, beat.sent_ns, now_ns, self._state, engine.open_visits, engine.queued, engine.begun)
        )

    def _go(self, engine: PlaysVisits, go: Go, now_ns: int) -> None:
        if self._state != "ready":
            return
        self._state = "playing"
        self._cpu_ns, self._waited_ns = process_time_ns(), _waited_ns()
        engine.take_share(go.share)
        engine.start(go.t0_ns)
        # A late worker begins with the second that it came in. GO may have waited in a stopped process: it is no word.
        engine.second = max(0, (now_ns - go.t0_ns) // NS_PER_S)
        engine.hear(self._word_ns)

    def _take_lease(self, engine: PlaysVisits, lease: Lease) -> None:
        self._send(LeaseAck(self.incarnation, lease.number))
        if lease.number <= self._lease_number or self._state not in ("ready", "playing"):
            return
        self._held_leases[lease.number] = lease
        while (held := self._held_leases.pop(self._lease_number + 1, None)) is not None:
            self._lease_number = held.number
            base = held.number << TICKET_BITS
            lines = held.lines.split(b"\n")
            engine.add(
                [
                    Arrival(due_ns, line, suffix, base | place)
                    for place, (due_ns, suffix, line) in enumerate(zip(held.dues_ns, held.suffixes, lines, strict=True))
                ]
            )
        self._full_queue = max(self._full_queue, engine.queued)
        self._hungry_ns = 0

    def _drain(self, engine: PlaysVisits, drain: Drain) -> None:
        # Before GO there is nothing to finish: the master sends that again first.
        if self._state not in ("playing", "leaving", "draining") and not (self._state == "ready" and drain.revoke):
            return
        if self._state == "leaving":
            assert self._deadline_ns is not None
            self._deadline_ns = min(self._deadline_ns, drain.deadline_ns)
        else:
            self._deadline_ns = drain.deadline_ns
        if drain.revoke:
            self._revoked += engine.revoke()
        self._state = "draining"


def _no_ends() -> Ends:
    return {end: [] for end in VisitEnd}


def _waited_ns() -> int:
    """How long this thread was ready to run and others ran instead; 0 where the kernel does not count it."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1])
    except FileNotFoundError:
        return 0


def _rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
