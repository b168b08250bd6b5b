"""A worker: joins the master, plays what it is dealt, ships what it measured, stops when told or when cut off.

The engine runs in callbacks of gevent's hub; a `Life` is the one greenlet beside it that may block: it packs and sends
slices, answers the master and feeds Locust's own statistics. A worker process lives through incarnations: each joins
with a `Hello`, plays one run, and ends when its final slice is acknowledged, or when it is fenced (the master silent
for 3 s): then it forgets everything and joins anew.
"""

from __future__ import annotations

import gc
import os
import resource
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from time import monotonic_ns, process_time_ns

import gevent
import msgspec
from gevent.event import Event

from harness import __version__
from harness.config.model import RunConfig
from harness.engine.endpoint import resolve_endpoint
from harness.engine.engine import Arrival, Engine
from harness.errors import ExitCode, HarnessError
from harness.fleet.attempt_log import LoggingRecorder
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
    Pulse,
    SliceAck,
    SliceReport,
    Start,
    Trouble,
    WorkerState,
)
from harness.fleet.outbox import Outbox
from harness.measure.recorder import Recorder
from harness.measure.snapshot import Snapshot
from harness.units import NS_PER_MS
from harness.visitor.records import VisitEnd

_TURN_S = 0.05
_HELLO_EVERY_NS = 500 * NS_PER_MS
_HUNGRY_EVERY_NS = 200 * NS_PER_MS
_PAGE_BYTES = resource.getpagesize()

_decode_config = msgspec.json.Decoder(RunConfig).decode

Send = Callable[[FromWorker], None]
OnSlice = Callable[[Snapshot], None]
Ends = dict[VisitEnd, list[int]]


class WorkerNode:
    """The harness side of one worker process.

    `send` hands a message to the master; `on_slice` sees each closed snapshot (Locust's own statistics are fed from
    it). `receive` takes the master's messages; `run` is a greenlet's body and returns only when killed.
    """

    def __init__(self, send: Send, on_slice: OnSlice) -> None:
        self._send = send
        self._on_slice = on_slice
        self._lives = 0
        self._life = self._born()
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def _born(self) -> Life:
        self._lives += 1
        return Life(f"{socket.gethostname()}-{os.getpid()}-{self._lives}", self._send, self._on_slice)

    def receive(self, message: FromMaster) -> None:
        """Takes one message of the master; those for another incarnation are ignored."""
        if message.incarnation == self._life.incarnation:
            self._life.receive(message)

    def run(self) -> None:
        """Plays run after run."""
        while True:
            self._life.run()
            self._life.close()
            self._life = self._born()


class Life:
    """One incarnation of a worker: joining → ready → playing → draining → finished → over."""

    def __init__(self, incarnation: str, send: Send, on_slice: OnSlice) -> None:
        self.incarnation = incarnation
        self._send = send
        self._on_slice = on_slice
        self._state: WorkerState = "joining"
        self._kick = Event()
        self._outbox = Outbox()
        self._start: Start | None = None
        self._engine: Engine | None = None
        self._recorder = Recorder()
        self._offset_ns = 0
        self._lease_number = 0
        self._held_leases: dict[int, Lease] = {}
        self._full_queue = 0
        self._hungry_ns = 0
        self._deadline_ns: int | None = None
        self._closed_seconds: list[tuple[int, Snapshot, Ends]] = []
        self._ends = _no_ends()
        self._revoked: list[int] = []
        self._cpu_ns = 0
        self._crash: BaseException | None = None

    # The greenlet

    def run(self) -> None:
        """Lives until the run is over or the incarnation is fenced."""
        hello_ns = 0
        while self._state != "over":
            now_ns = monotonic_ns()
            if self._crash is not None:
                self._report_crash(self._crash)
                return
            if self._state == "joining":
                if self._start is not None:
                    self._prepare(self._start)
                elif now_ns - hello_ns >= _HELLO_EVERY_NS:
                    hello_ns = now_ns
                    self._send(Hello(self.incarnation, socket.gethostname(), os.getpid(), __version__))
            elif self._engine is not None:
                if self._engine.fenced:
                    return
                self._turn(self._engine, now_ns)
            self._kick.wait(_TURN_S)
            self._kick.clear()

    def _prepare(self, start: Start) -> None:
        """START came: resolves the target and builds the engine; what is wrong with that is told to the master."""
        try:
            config = _decode_config(start.config)
            closed = start.slots is not None
            if config.log_attempts:
                self._recorder = LoggingRecorder(Path(config.log_attempts), closed=closed)
            else:
                self._recorder = Recorder(closed=closed)
            self._offset_ns = start.offset_ns
            self._engine = Engine(
                config,
                resolve_endpoint(config),
                self._recorder,
                gevent.get_hub().loop,
                on_over=self._on_over,
                on_second=self._close_second,
                on_crash=self._on_crash,
                slots=start.slots,
            )
            self._state = "ready"
        except HarnessError as error:
            self._send(Trouble(self.incarnation, str(error), int(error.exit_code), ""))
            self._state = "over"

    def _turn(self, engine: Engine, now_ns: int) -> None:
        if self._state == "draining":
            if self._deadline_ns is not None and now_ns - engine.t0_ns >= self._deadline_ns:
                self._revoked += engine.revoke()
                engine.cut()
            if not engine.open_visits and not engine.queued:
                self._finish(engine)
        elif self._state == "playing" and engine.slots is not None:
            self._ask_for_more(engine, now_ns)
        self._ship()
        for report in self._outbox.due(now_ns):
            self._send(report)
        if self._state == "finished" and self._outbox.empty:
            self._state = "over"

    def _ask_for_more(self, engine: Engine, now_ns: int) -> None:
        low = max(engine.slots or 0, self._full_queue // 2)
        if engine.queued < low and now_ns - self._hungry_ns >= _HUNGRY_EVERY_NS:
            self._hungry_ns = now_ns
            self._send(Hungry(self.incarnation, engine.begun))

    def _finish(self, engine: Engine) -> None:
        engine.close()
        engine.fold()
        self._close_second(engine.second)
        self._state = "finished"

    def _report_crash(self, error: BaseException) -> None:
        details = "".join(traceback.format_exception(error))
        self._send(Trouble(self.incarnation, f"internal error in a worker: {error!r}", int(ExitCode.INTERNAL), details))

    def close(self) -> None:
        """Lets go of the engine; the incarnation does nothing more."""
        if self._engine is not None:
            self._engine.close()
        gc.enable()

    # Slices

    def _ship(self) -> None:
        closed, self._closed_seconds = self._closed_seconds, []
        for place, (second, snapshot, ends) in enumerate(closed):
            self._on_slice(snapshot)
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
        if closed and isinstance(self._recorder, LoggingRecorder):
            self._recorder.flush()

    # Called in the hub

    def _on_over(self, ticket: int, end: VisitEnd) -> None:
        self._ends[end].append(ticket)

    def _on_crash(self, error: BaseException) -> None:
        self._crash = error
        self._kick.set()

    def _close_second(self, second: int) -> None:
        """Takes what the second brought; packing and sending it is the greenlet's work."""
        assert self._engine is not None
        for event, count in self._engine.take_connection_counts().items():
            if count:
                self._recorder.connection(event, count)
        cpu_ns = process_time_ns()
        self._recorder.usage(cpu_ns=cpu_ns - self._cpu_ns, rss_bytes=_rss_bytes())
        self._cpu_ns = cpu_ns
        self._closed_seconds.append((second, self._recorder.take(), self._ends))
        self._ends = _no_ends()
        self._kick.set()

    # What the master says

    def receive(self, message: FromMaster) -> None:
        """Takes a message meant for this incarnation; each kind may come twice."""
        engine = self._engine
        if isinstance(message, Beat):
            self._answer(message)
        elif isinstance(message, SliceAck):
            self._outbox.acked(message.number)
        elif isinstance(message, Start):
            self._start = message
        elif engine is None:
            return
        elif isinstance(message, Lease):
            self._take_lease(engine, message)
        elif isinstance(message, Go):
            self._go(engine, message)
        elif isinstance(message, Drain):
            self._drain(engine, message)
        self._kick.set()

    def _answer(self, beat: Beat) -> None:
        engine = self._engine
        now_ns = monotonic_ns()
        if engine is None:
            self._send(Pulse(self.incarnation, beat.sent_ns, now_ns, self._state, 0, 0, 0))
            return
        # A word counts from when it was said, not from when it was read: a stopped process finds old ones waiting.
        engine.hear(beat.sent_ns + self._offset_ns)
        self._send(
            Pulse(self.incarnation, beat.sent_ns, now_ns, self._state, engine.open_visits, engine.queued, engine.begun)
        )

    def _go(self, engine: Engine, go: Go) -> None:
        if self._state != "ready":
            return
        self._state = "playing"
        # The engine makes no cycles, so a collection would only stall it.
        gc.collect()
        gc.freeze()
        gc.disable()
        self._cpu_ns = process_time_ns()
        engine.start(go.t0_ns)

    def _take_lease(self, engine: Engine, lease: Lease) -> None:
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

    def _drain(self, engine: Engine, drain: Drain) -> None:
        if self._state not in ("ready", "playing", "draining"):
            return
        self._deadline_ns = drain.deadline_ns
        if drain.revoke:
            self._revoked += engine.revoke()
        self._state = "draining"


def _no_ends() -> Ends:
    return {end: [] for end in VisitEnd}


def _rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
