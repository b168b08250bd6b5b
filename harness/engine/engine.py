"""The engine of one worker: a schedule, a heap of sessions, connections, and records folded in small portions.

Everything happens in callbacks of gevent's hub, so nothing here blocks, logs or talks to ZeroMQ; visitors are data, not
greenlets. An alarm on a timerfd wakes the engine when the next arrival or session is due; a second one ticks every
`TICK_NS` to measure the loop's own delay, expire deadlines, fold records and close the second. Times inside are ns
after the run's start (`t0_ns`, absolute on `monotonic_ns`).

Late arrivals are sent at once, but never faster than twice the planned rate, and dropped beyond `max_lag_ns` (house:
load model). A worker whose master has been silent for `FENCE_NS` starts nothing any more (house: fencing). What the
guard-rails (`take_share`) hold back waits, and is dropped when that makes it too late.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from time import monotonic_ns
from typing import Any, Protocol

import msgspec

from harness.config.model import RunConfig
from harness.engine.accounts import Accounts
from harness.engine.ceilings import Ceilings, Share
from harness.engine.clock import Alarm
from harness.engine.connection import Connection, Owner
from harness.engine.endpoint import Endpoint
from harness.engine.http import BadReplyError, ReplyReader
from harness.engine.lines import Lines
from harness.engine.player import Player
from harness.record import Record
from harness.trace.model import Visit
from harness.units import NS_PER_MS, NS_PER_S
from harness.visitor.identity import Identities
from harness.visitor.records import Result, VisitEnd
from harness.visitor.session import Folder, Rules, Sink
from harness.wire.reply import read_reply

TICK_NS = 20 * NS_PER_MS
# How often the open connections are looked over for what took too long: timeouts and the idle limit are exact to this.
_SWEEP_NS = 100 * NS_PER_MS
# A loop turn begins at most so many visits or steps and folds at most so many records: replies must be read in time.
_BEGIN_PORTION = 64
_FOLD_PORTION = 256
# Below this lag a late arrival is ordinary jitter and is not paced.
_PACED_LAG_NS = NS_PER_MS
FENCE_NS = 3 * NS_PER_S
# Who waits longer than this is made small meanwhile: there may be a hundred thousand of them.
_LONG_WAIT_NS = 3 * NS_PER_S
# Where calls are due closer together than this on average, a wake-up serves those of at least `_REST_NS`.
_CROWDED_NS = NS_PER_MS // 10
_REST_NS = NS_PER_MS // 5

_decode_visit = msgspec.json.Decoder(Visit).decode


class Recorder(Folder, Protocol):
    """Where folded records go, and what else the engine counts (measure.recorder)."""

    def visit_started(self, planned_ns: int, cohort: str) -> None: ...
    def loop_delay(self, delay_ns: int) -> None: ...
    def stall(self, stall_ns: int) -> None: ...
    def own_limit(self) -> None: ...
    def held(self, limit: str) -> None: ...


class Arrival(Record):
    """A visit that a lease brought: when it is due (-1: when a slot is free), its line, suffix and ticket."""

    __slots__ = ("due_ns", "line", "suffix", "ticket")

    def __init__(self, due_ns: int, line: bytes, suffix: str, ticket: int) -> None:
        self.due_ns = due_ns
        self.line = line
        self.suffix = suffix
        self.ticket = ticket


class Engine(Owner):
    """Plays the visits it is given against one endpoint.

    `on_over(ticket, end)` is called in the hub for each visit that ended, `on_second(second)` after the records of each
    whole second have been folded, `on_crash(error)` when our own code raised. `slots` makes it a closed loop: that many
    visits are kept open and due times are ignored.
    """

    def __init__(
        self,
        config: RunConfig,
        endpoint: Endpoint,
        recorder: Recorder,
        loop: Any,
        *,
        on_over: Callable[[int, VisitEnd], None],
        on_second: Callable[[int], None],
        on_crash: Callable[[BaseException], None],
        slots: int | None = None,
    ) -> None:
        self._config = config
        self._recorder = recorder
        self._on_over = on_over
        self._on_second = on_second
        self._on_crash = on_crash
        self._sink = Sink()
        self._rules = Rules(
            config.retry, config.seed, Identities(), self._sink, config.max_think_ns, config.think_speed
        )
        self._lines = Lines(loop, endpoint, config.connections, self, self._after_turn)
        self._shares_lines = config.connections != "browser"
        self._accounts = Accounts(config, endpoint)
        self._arrivals: deque[Arrival] = deque()
        self._due: list[tuple[int, int, Player]] = []
        self._serial = 0
        self._open: set[Player] = set()
        self.slots = slots
        self._ceilings: Ceilings | None = None
        self._last_due_ns = self._last_paced_ns = 0
        self._rang_ns = self._rest_ns = 0
        self._gap_ns = NS_PER_MS
        self._running = False
        self._filling = False
        self._vacant = False
        self.t0_ns = 0
        self._fence_ns = 0
        self.fenced = False
        self.begun = 0
        self.second = 0
        self._alarm = Alarm(loop, self._ring)
        self._ticker = Alarm(loop, self._tick)
        self._next_tick_ns = self._next_sweep_ns = 0

    # Life

    def start(self, t0_ns: int) -> None:
        """Begins to tick; `t0_ns` (absolute) is the run's start and may lie ahead."""
        self.t0_ns = t0_ns
        self._running = True
        now_ns = monotonic_ns()
        self.hear(now_ns)
        self._next_tick_ns = max(t0_ns, now_ns) + TICK_NS
        self._ticker.set(self._next_tick_ns)
        self._wake()

    def hear(self, moment_ns: int) -> None:
        """The master's word came at this moment (absolute ns): visits may be started for `FENCE_NS` more."""
        self._fence_ns = moment_ns + FENCE_NS - self.t0_ns

    def add(self, arrivals: list[Arrival]) -> None:
        """Takes more visits, in order of their due time."""
        unordered = self._arrivals and arrivals and arrivals[0].due_ns < self._arrivals[-1].due_ns
        self._arrivals.extend(arrivals)
        if unordered:
            # Dealt again after another worker's loss: due before what is here already.
            self._arrivals = deque(sorted(self._arrivals, key=lambda arrival: arrival.due_ns))
        self._wake()

    def take_share(self, share: Share) -> None:
        """Keeps to this part of the run's slots and guard-rails from now on."""
        self.slots = share.slots
        ceilings = self._ceilings or Ceilings()
        ceilings.take(share)
        self._ceilings = ceilings if ceilings.any else None
        self._wake()

    def revoke(self, after_ns: int = -2) -> list[int]:
        """Gives back the visits that have not begun and are due after that moment; returns their tickets."""
        kept = [arrival for arrival in self._arrivals if arrival.due_ns <= after_ns]
        tickets = [arrival.ticket for arrival in self._arrivals if arrival.due_ns > after_ns]
        self._arrivals = deque(kept)
        return tickets

    def cut(self) -> None:
        """Censors every open visit and drops nothing: the run's end."""
        now_ns = monotonic_ns() - self.t0_ns
        for player in list(self._open):
            player.cut(now_ns)
            self._end(player, VisitEnd.censored)
        self._due.clear()

    def close(self) -> None:
        """Stops ticking and closes every connection; what was recorded can still be folded."""
        self._running = False
        self._alarm.close()
        self._ticker.close()
        self._lines.close_all()
        self._open.clear()
        self._due.clear()

    @property
    def open_visits(self) -> int:
        """Visits that have begun and are not over."""
        return len(self._open)

    @property
    def queued(self) -> int:
        """Visits that have not begun."""
        return len(self._arrivals)

    def take_connection_counts(self) -> dict[str, int]:
        """Connections opened, reused, closed by the peer, TLS handshakes in full and resumed, since the last call."""
        return self._lines.take_counts()

    # What is due

    def _wake(self) -> None:
        """Sets the alarm to the next moment at which something is due."""
        if not self._running:
            return  # before the start no moment is known
        moment_ns = self._next_due_ns()
        if moment_ns is not None:
            self._alarm.set(self.t0_ns + max(moment_ns, self._rest_ns))

    def _next_due_ns(self) -> int | None:
        due_ns = self._due[0][0] if self._due else None
        arrival_ns = self._next_arrival_ns()
        if arrival_ns is not None and (due_ns is None or arrival_ns < due_ns):
            return arrival_ns
        return due_ns

    def _next_arrival_ns(self) -> int | None:
        if not self._arrivals or self.fenced:
            return None
        if self.slots is not None:
            moment_ns = 0 if len(self._open) < self.slots else None
        else:
            moment_ns = self._paced_ns(self._arrivals[0].due_ns)
        if self._ceilings is None or moment_ns is None:
            return moment_ns
        free_ns = self._ceilings.arrival_ns(len(self._open))
        return None if free_ns is None else max(moment_ns, free_ns)

    def _paced_ns(self, due_ns: int) -> int:
        """When the arrival due next may begin: when it is due, or at twice the planned rate when catching up."""
        if self._last_paced_ns - self._last_due_ns < _PACED_LAG_NS:
            return due_ns
        return max(due_ns, self._last_paced_ns + (due_ns - self._last_due_ns) // 2)

    def _ring(self) -> None:
        try:
            now_ns = monotonic_ns() - self.t0_ns
            due = self._due
            if now_ns > self._fence_ns:
                self.fenced = True
                return
            done = 0
            while done < _BEGIN_PORTION:
                arrival_ns = self._next_arrival_ns()
                if arrival_ns is not None and arrival_ns <= now_ns and (not due or arrival_ns <= due[0][0]):
                    self._begin(self._arrivals.popleft(), now_ns)
                elif due and due[0][0] <= now_ns:
                    self._advance(heappop(due)[2], now_ns)
                else:
                    break
                done += 1
                now_ns = monotonic_ns() - self.t0_ns
            if done:
                self._rest(done, now_ns)
            self._wake()
        except Exception as error:
            self.crash(error)

    def _rest(self, done: int, now_ns: int) -> None:
        """Lets what is due within `_REST_NS` wait for one wake-up, where more would come than a core has time for.

        A wake-up for each call costs about as much again as the call. What waits is late by up to that time, which the
        lag shows; below 10,000 a second nothing waits.
        """
        gap_ns = min((now_ns - self._rang_ns) // done, NS_PER_MS)
        self._gap_ns += (gap_ns - self._gap_ns) // 16
        self._rang_ns = now_ns
        self._rest_ns = now_ns + _REST_NS if self._gap_ns < _CROWDED_NS and self.slots is None else 0

    def _begin(self, arrival: Arrival, now_ns: int) -> None:
        visit = _decode_visit(arrival.line)
        closed = self.slots is not None
        due_ns = now_ns if closed else arrival.due_ns
        calls = self._accounts.calls_of(visit.account)
        player = Player(visit, self._rules, calls, due_ns, arrival.suffix, arrival.ticket)
        ceilings = self._ceilings
        if ceilings is not None and not closed:
            limit = ceilings.holding(due_ns, len(self._open))
            if limit is not None:
                self._recorder.held(limit)
        if now_ns - due_ns > self._config.max_lag_ns:
            player.drop(now_ns)
            self._on_over(player.ticket, VisitEnd.dropped)
            self._last_due_ns, self._last_paced_ns = due_ns, max(self._last_paced_ns, due_ns)
            return
        # Counted from when it might begin, not from when it did: the loop's own jitter must not slow the catching up.
        paced_ns = self._paced_ns(due_ns)
        self._last_due_ns = due_ns
        self._last_paced_ns = paced_ns if now_ns - paced_ns < _PACED_LAG_NS else now_ns
        self.begun += 1
        if ceilings is not None and ceilings.visits is not None:
            ceilings.visits.note(now_ns)
        self._recorder.visit_started(due_ns, player.cohort)
        self._open.add(player)
        self._advance(player, now_ns)

    def _advance(self, player: Player, now_ns: int) -> None:
        if now_ns > self._fence_ns:
            self.fenced = True
            return
        if self._ceilings is not None and self._must_wait(player, now_ns):
            return
        action = player.next_action(now_ns)
        if isinstance(action, bytes):
            self._lines.carry(action, player)
        elif action is None:
            self._end(player, VisitEnd.completed)
        else:
            if action - now_ns > _LONG_WAIT_NS:
                player.lie_down()
            self._serial += 1
            heappush(self._due, (action, self._serial, player))
            if self._due[0][2] is player:
                self._wake()

    def _must_wait(self, player: Player, now_ns: int) -> bool:
        """Whether the ceiling of new sessions keeps this request back; if so, it is on the schedule again."""
        assert self._ceilings is not None
        sessions = self._ceilings.sessions
        if sessions is None or now_ns < player.due_ns or not player.asks_for_session:
            return False
        free_ns = sessions.free_ns()
        if free_ns <= now_ns:
            sessions.note(now_ns)
            return False
        if player.held_ns != player.due_ns:
            player.held_ns = player.due_ns
            self._recorder.held("max_new_sessions_per_min")
        self._serial += 1
        heappush(self._due, (free_ns, self._serial, player))
        if self._due[0][2] is player:
            self._wake()
        return True

    def _end(self, player: Player, end: VisitEnd) -> None:
        ceilings = self._ceilings
        if ceilings is not None and len(self._open) == ceilings.open_visits:
            ceilings.room_ns = monotonic_ns() - self.t0_ns
        self._open.discard(player)
        self._lines.over(player)
        self._on_over(player.ticket, end)
        self._vacant = self.slots is not None
        if ceilings is not None:
            self._wake()

    def _after_turn(self) -> None:
        """A closed loop's slot that became free is filled in the same turn of the loop."""
        if self._vacant:
            self._vacant = False
            self._ring()

    # What the connections tell (hub callbacks)

    def on_connected(self, connection: Connection) -> None:
        """See `connection.Owner`."""
        self._lines.connected(connection)
        self._connect_waiting()

    def on_reply(self, connection: Connection, reader: ReplyReader, done_ns: int) -> None:
        """See `connection.Owner`."""
        player: Player = connection.carried
        try:
            body = reader.body()
        except BadReplyError as error:
            connection.close()
            self.on_fault(connection, Result.bad_reply, str(error), done_ns)
            return
        status = reader.status
        reply = read_reply(player.op, status, body)
        retry_after_ns = reader.retry_after_ns() if status >= 429 else 0
        keep_alive = reader.keep_alive
        reader.reset()
        t0_ns = self.t0_ns
        player.resolve(
            reply,
            connection.started_ns - t0_ns,
            connection.connected_ns - t0_ns,
            connection.sent_ns - t0_ns,
            done_ns - t0_ns,
            retry_after_ns,
        )
        if self._shares_lines or not keep_alive:
            self._lines.settled(connection, player, keep_alive)
        self._advance(player, monotonic_ns() - t0_ns)
        if len(self._sink.attempts) >= _FOLD_PORTION:
            self._fold()

    def on_fault(self, connection: Connection, result: Result, message: str, done_ns: int) -> None:
        """See `connection.Owner`."""
        player: Player = connection.carried
        t0_ns = self.t0_ns
        connected_ns = connection.connected_ns - t0_ns if connection.connected_ns >= 0 else -1
        sent_ns = connection.sent_ns - t0_ns if connection.sent_ns >= 0 else -1
        self._lines.failed(connection)
        player.fault(result, connection.started_ns - t0_ns, connected_ns, sent_ns, done_ns - t0_ns, message)
        # Through the schedule, not at once: a connect that fails inside `carry` must not recurse.
        self._serial += 1
        due_ns = player.due_ns if player.state == "waiting" else done_ns - t0_ns
        heappush(self._due, (due_ns, self._serial, player))
        self._wake()
        self._connect_waiting()

    def _connect_waiting(self) -> None:
        """Begins connects that wait for their turn; what there is no time for is left to the next tick."""
        if self._filling:
            return  # one of them failed at once; the loop below goes on
        self._filling = True
        for _ in range(_BEGIN_PORTION):
            if not self._lines.next_waiting():
                break
        self._filling = False

    def on_idle_close(self, connection: Connection) -> None:
        """See `connection.Owner`."""
        self._lines.closed_idle(connection)

    def on_own_limit(self) -> None:
        """See `connection.Owner`."""
        self._recorder.own_limit()

    def crash(self, error: BaseException) -> None:
        """Our own code raised in a callback: gevent would print it and go on; the run ends instead."""
        self._running = False
        self._on_crash(error)

    # The tick

    def _tick(self) -> None:
        try:
            now_ns = monotonic_ns()
            delay_ns = now_ns - self._next_tick_ns
            self._recorder.loop_delay(delay_ns)
            self._recorder.stall(delay_ns)
            self._next_tick_ns += TICK_NS * (1 + delay_ns // TICK_NS)
            if now_ns >= self._next_sweep_ns:
                self._next_sweep_ns = now_ns + _SWEEP_NS
                self._lines.sweep(now_ns, self._config.timeout_ns, self._config.connect_timeout_ns)
            self._connect_waiting()
            if self._ceilings is not None and self.slots is None:
                self._drop_overdue(now_ns - self.t0_ns)
            self._fold()
            second = (now_ns - self.t0_ns) // NS_PER_S
            if second > self.second:
                self._on_second(second - 1)
                self.second = second
            if self._running:
                self._ticker.set(self._next_tick_ns)
        except Exception as error:
            self.crash(error)

    def _drop_overdue(self, now_ns: int) -> None:
        """Drops what a ceiling has made too late: it must not wait for room to be told so."""
        arrivals = self._arrivals
        for _ in range(_FOLD_PORTION):
            if not arrivals or now_ns - arrivals[0].due_ns <= self._config.max_lag_ns:
                return
            self._begin(arrivals.popleft(), now_ns)

    def _fold(self) -> None:
        self._sink.fold_into(self._recorder)

    def fold(self) -> None:
        """Folds whatever is left; for the run's end, after `cut`."""
        self._fold()
