"""Virtual time: planned visits meet the behaviour model without a clock, a socket or a wait.

`rehearse` plays the visits of a plan by the very session that the engine plays (`VisitorSession`, the same seed, ids,
retries and records) against the model behind the practice target's server. Time is a heap of moments: the next thing
that happens is taken from it, does what it does at once, and puts what follows from it on the heap. So a day takes as
long as its calls take to compute, and the outcome depends on plan, scenario and seeds alone.

Modelled are connections in the three modes, each connect a round trip, the way to the service and back half of one,
the client's timeout, resets and hangs, the drain at the end. The generator is not: in virtual time it is never late,
so dispatch lag is zero. Only open visits, remembered vids and what the service must remember take memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import Any, Final, Protocol

import msgspec

from harness.config.model import IDLE_LIMIT_NS, RunConfig
from harness.errors import UsageError
from harness.plan.schedule import PlannedVisit
from harness.sim.behaviour import Behaviour, Decision
from harness.sim.loads import Burst, Level
from harness.sim.rehearsed import RehearsalEnd
from harness.sim.routed import Account
from harness.sim.wires import NO_WIRE, Wires
from harness.trace.model import Visit
from harness.units import NS_PER_S
from harness.visitor.identity import Identities
from harness.visitor.records import Result
from harness.visitor.session import Folder, Rules, Sink, VisitorSession
from harness.wire.reply import read_reply
from harness.wire.route import Call

_FOLD_PORTION = 256
_MINUTE_NS: Final = 60 * NS_PER_S
_NEVER_NS: Final = 1 << 62

# Where an actor is whose moment has come: about to act; its request reaches the service; its reply reaches it.
_ACTS: Final = 0
_ARRIVES: Final = 1
_HEARS: Final = 2

_decode_visit: Any = msgspec.json.Decoder(Visit).decode


class Recorder(Folder, Protocol):
    """Where records go (measure.recorder)."""

    def visit_started(self, planned_ns: int, cohort: str) -> None: ...
    def connection(self, event: str, n: int = 1) -> None: ...


def rehearse(
    visits: Iterable[PlannedVisit],
    behaviour: Behaviour,
    config: RunConfig,
    recorder: Recorder,
    *,
    rtt_ns: int = 0,
    plan_end_ns: int | None = None,
    on_second: Callable[[int], None] | None = None,
) -> RehearsalEnd:
    """Plays the visits, in order of their due time, from moment 0 until the last is over or the drain is.

    `config` says how the client behaves (retry policy, connections, timeout, think times, accounts, seed, closed slots,
    drain); its target is not looked at. `plan_end_ns` is when arrivals end, if not with the last visit. A round trip
    takes `rtt_ns`. `recorder` gets what it gets from an engine, in batches; `on_second(second)` is called when all
    records of a whole second were handed over, also for the last, begun one. Raises `UsageError` for an account that
    cannot stand in a request, and for a round trip so long that no reply comes within the timeout.
    """
    return _Rehearsal(behaviour, config, recorder, rtt_ns, on_second).play(visits, plan_end_ns)


class _Actor(VisitorSession):
    """A session with its connection and its call under way.

    `wire_ns` says since when its own connection is idle (`NO_WIRE`: it has none). `vids` are all that it ever held.
    """

    __slots__ = ("account", "at", "began_ns", "body", "call", "connected_ns", "decision", "sent_ns", "vids", "wire_ns")

    def __init__(self, visit: Any, rules: Rules, account: Account, due_ns: int, suffix: str) -> None:
        super().__init__(visit, rules, account.calls, due_ns, suffix)
        self.account = account
        self.at = _ACTS
        self.began_ns = self.connected_ns = self.sent_ns = -1
        self.wire_ns = NO_WIRE
        self.call: Call | None = None
        self.body = b""
        # None in flight: the client has given up by the time it is told.
        self.decision: Decision | None = None
        self.vids: list[str] = []


class _Rehearsal:
    """One rehearsal under way."""

    def __init__(
        self,
        behaviour: Behaviour,
        config: RunConfig,
        recorder: Recorder,
        rtt_ns: int,
        on_second: Callable[[int], None] | None,
    ) -> None:
        if 2 * rtt_ns >= config.timeout_ns or rtt_ns >= config.connect_timeout_ns:
            raise UsageError("with a round trip that long no reply comes within the timeouts: shorten it")
        self._behaviour = behaviour
        self._config = config
        self._recorder = recorder
        self._on_second = on_second
        self._sink = Sink()
        self._identities = Identities()
        self._rules = Rules(
            config.retry, config.seed, self._identities, self._sink, config.max_think_ns, config.think_speed
        )
        self._accounts: dict[str | None, Account] = {}
        self._timeout_ns = config.timeout_ns
        self._rtt_ns = rtt_ns
        self._there_ns = rtt_ns // 2
        self._back_ns = rtt_ns - rtt_ns // 2
        self._due: list[tuple[int, int, _Actor]] = []
        self._serial = 0
        # Insertion-ordered, so that what the end cuts off is cut in the order of arrival.
        self._open: dict[_Actor, None] = {}
        # How many open visits hold a vid, where the service may forget a visitor that nobody holds any more.
        self._holders: dict[str, int] = {}
        self._may_dismiss = behaviour.scenario.sessions.per_account is None
        self._wires = Wires(config.connections)
        self._told = (0, 0)
        self._visits_open = Level()
        self._in_flight = Level()
        self._begun = Burst(NS_PER_S)
        self._calls = Burst(NS_PER_S)
        self._sessions = Burst(_MINUTE_NS)
        self._second = 0
        self._second_ends_ns = NS_PER_S if on_second is not None else _NEVER_NS
        self._now_ns = 0

    def play(self, visits: Iterable[PlannedVisit], plan_end_ns: int | None) -> RehearsalEnd:
        """See `rehearse`."""
        slots = self._config.closed_slots
        stop_ns = _NEVER_NS if plan_end_ns is None else plan_end_ns
        for planned in visits:
            if slots is None:
                due_ns = planned.due_ns
                self._go_on(due_ns)
            else:
                while self._visits_open.now >= slots and self._due and self._due[0][0] < stop_ns:
                    self._next()
                due_ns = self._now_ns
                if self._visits_open.now >= slots:
                    break
            self._reach(due_ns)
            self._begin(planned, due_ns)
        arrivals_ns = self._now_ns if plan_end_ns is None else plan_end_ns
        self._go_on(arrivals_ns)
        during = self._spent(arrivals_ns)
        if slots is None or plan_end_ns is not None:
            self._go_on(arrivals_ns + self._config.drain_ns)
            if self._open:
                self._reach(arrivals_ns + self._config.drain_ns)
                self._cut()
        else:
            self._go_on(_NEVER_NS)
        self._fold()
        if self._on_second is not None:
            self._on_second(self._second)
        return self._end(arrivals_ns, during)

    # Time

    def _go_on(self, until_ns: int) -> None:
        """Everything that happens before that moment."""
        due = self._due
        while due and due[0][0] < until_ns:
            self._next()

    def _next(self) -> None:
        """The next thing that happens."""
        now_ns, _, actor = heappop(self._due)
        self._reach(now_ns)
        at = actor.at
        if at == _HEARS:
            self._hear(actor, now_ns)
        elif at == _ARRIVES:
            self._arrive(actor, now_ns)
        else:
            self._act(actor, now_ns)

    def _reach(self, now_ns: int) -> None:
        """It is that late now."""
        self._now_ns = now_ns
        while now_ns >= self._second_ends_ns:
            assert self._on_second is not None
            self._fold()
            self._on_second(self._second)
            self._second += 1
            self._second_ends_ns += NS_PER_S

    def _at(self, moment_ns: int, actor: _Actor) -> None:
        self._serial += 1
        heappush(self._due, (moment_ns, self._serial, actor))

    # What visitors do

    def _begin(self, planned: PlannedVisit, now_ns: int) -> None:
        visit = _decode_visit(planned.line)
        account = self._accounts.get(visit.account)
        if account is None:
            account = self._accounts[visit.account] = Account(self._config.account_of(visit.account))
        actor = _Actor(visit, self._rules, account, now_ns, planned.suffix)
        self._recorder.visit_started(now_ns, actor.cohort)
        self._open[actor] = None
        self._visits_open.enter(now_ns)
        self._begun.note(now_ns)
        self._act(actor, now_ns)

    def _act(self, actor: _Actor, now_ns: int) -> None:
        wire_ns = actor.wire_ns
        if wire_ns >= 0 and now_ns - wire_ns >= IDLE_LIMIT_NS:
            self._wires.close(now_ns)
            actor.wire_ns = wire_ns = NO_WIRE
        asks = now_ns >= actor.due_ns and actor.asks_for_session
        action = actor.next_action(now_ns)
        if isinstance(action, bytes):
            if asks:
                self._sessions.note(now_ns)
            self._send(actor, action, now_ns)
        elif action is None:
            self._over(actor, now_ns)
        else:
            actor.at = _ACTS
            idle_ns = wire_ns + IDLE_LIMIT_NS
            self._at(idle_ns if wire_ns >= 0 and idle_ns < action else action, actor)

    def _send(self, actor: _Actor, body: bytes, now_ns: int) -> None:
        self._calls.note(now_ns)
        self._in_flight.enter(now_ns)
        actor.began_ns = actor.connected_ns = now_ns
        if self._wires.take(actor.wire_ns, now_ns):
            actor.connected_ns += self._rtt_ns
        actor.sent_ns = actor.connected_ns
        actor.call = call = actor.account.renderer.call
        actor.body = body
        self._hold(actor, call.vid)
        arrives_ns = actor.sent_ns + self._there_ns
        if arrives_ns == now_ns:
            self._arrive(actor, now_ns)
        else:
            actor.at = _ARRIVES
            self._at(arrives_ns, actor)

    def _arrive(self, actor: _Actor, now_ns: int) -> None:
        assert actor.call is not None
        decision = self._behaviour.handle(now_ns, actor.call, actor.body)
        self._hold(actor, decision.vid)
        hears_ns = now_ns + decision.delay_ns + self._back_ns
        gives_up_ns = actor.began_ns + self._timeout_ns
        if decision.fault == "hang" or hears_ns >= gives_up_ns:
            actor.decision = None
            hears_ns = gives_up_ns
        else:
            actor.decision = decision
        actor.at = _HEARS
        self._at(hears_ns, actor)

    def _hear(self, actor: _Actor, now_ns: int) -> None:
        self._in_flight.leave(now_ns)
        began_ns, connected_ns, sent_ns = actor.began_ns, actor.connected_ns, actor.sent_ns
        decision = actor.decision
        if decision is None:
            self._wires.close(now_ns)
            actor.wire_ns = NO_WIRE
            actor.fault(Result.timeout, began_ns, connected_ns, sent_ns, now_ns, "timed out")
        elif decision.fault == "reset":
            self._wires.reset(now_ns)
            actor.wire_ns = NO_WIRE
            actor.fault(Result.reset, began_ns, connected_ns, sent_ns, now_ns, "Connection reset by peer")
        else:
            reply = read_reply(actor.op, decision.http_status, decision.body)
            retry_after_ns = decision.retry_after_s * NS_PER_S
            actor.resolve(reply, began_ns, connected_ns, sent_ns, now_ns, retry_after_ns)
            actor.wire_ns = self._wires.settle(now_ns)
        self._act(actor, now_ns)
        if len(self._sink.attempts) >= _FOLD_PORTION:
            self._fold()

    def _over(self, actor: _Actor, now_ns: int) -> None:
        """The visit has ended: its connection is closed, and the service may forget whom nobody will name again."""
        del self._open[actor]
        self._visits_open.leave(now_ns)
        if actor.wire_ns >= 0:
            self._wires.close(now_ns)
        for vid in actor.vids:
            others = self._holders.pop(vid) - 1
            if others:
                self._holders[vid] = others
            elif self._identities.remembered(actor.visitor) != vid:
                self._behaviour.dismiss(actor.account.name, vid)

    def _hold(self, actor: _Actor, vid: str | None) -> None:
        vids = actor.vids
        if vid is None or not self._may_dismiss or (vids and vids[-1] == vid) or vid in vids:
            return
        vids.append(vid)
        self._holders[vid] = self._holders.get(vid, 0) + 1

    # The end

    def _cut(self) -> None:
        """Censors what is still open, as the engine does when the drain is over."""
        now_ns = self._now_ns
        for actor in list(self._open):
            if actor.at != _ACTS:
                self._in_flight.leave(now_ns)
                self._wires.close(now_ns)
                actor.wire_ns = NO_WIRE
            actor.cut(now_ns)
            self._over(actor, now_ns)
        self._due.clear()

    def _fold(self) -> None:
        self._sink.fold_into(self._recorder)
        opened, reused = self._wires.opened.total, self._wires.reused
        for event, n in (("opened", opened - self._told[0]), ("reused", reused - self._told[1])):
            if n:
                self._recorder.connection(event, n)
        self._told = (opened, reused)

    def _spent(self, now_ns: int) -> tuple[int, int, int]:
        levels = (self._visits_open, self._in_flight, self._wires.open)
        visits_ns, flight_ns, wires_ns = [level.spent_ns(now_ns) for level in levels]
        return visits_ns, flight_ns, wires_ns

    def _end(self, arrivals_ns: int, during: tuple[int, int, int]) -> RehearsalEnd:
        visits_ns, flight_ns, wires_ns = during
        wires = self._wires
        return RehearsalEnd(
            visits=self._begun.total,
            arrivals_ns=arrivals_ns,
            ended_ns=self._now_ns,
            visits_open_max=self._visits_open.most,
            visits_open_ns=visits_ns,
            in_flight_max=self._in_flight.most,
            in_flight_ns=flight_ns,
            connections_max=wires.open.most,
            connections_ns=wires_ns,
            visits_per_s_max=self._begun.most,
            calls_per_s_max=self._calls.most,
            connects_per_s_max=wires.opened.most,
            ports_max=wires.ports,
            new_sessions=self._sessions.total,
            new_sessions_per_min_max=self._sessions.most,
        )
