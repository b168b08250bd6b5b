"""The master: gathers workers, sets one start for all, deals the plan, merges what comes back, and ends the run.

A `Conductor` conducts one run: gathering → starting → running → draining → finished. It is driven by `receive`
(messages of workers) and `turn` (every `TURN_S`), both with the time as an argument, and talks through `send`; it
neither waits nor touches sockets, so tests drive it with a clock of their own. What it learns goes to an `Observer`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Literal, Protocol

import msgspec

from harness.config.model import RunConfig
from harness.errors import ExitCode
from harness.fleet.dealer import Dealer
from harness.fleet.messages import (
    Beat,
    Drain,
    FromMaster,
    FromWorker,
    Go,
    Hello,
    Hungry,
    LeaseAck,
    Pulse,
    SliceAck,
    SliceReport,
    Start,
    Trouble,
)
from harness.measure.ledger import Ledger
from harness.measure.snapshot import Snapshot
from harness.plan.schedule import PlannedVisit
from harness.units import NS_PER_MS, NS_PER_S

TURN_S = 0.1
BEAT_EVERY_NS = 500 * NS_PER_MS
# Before the start beats come faster: the clock offset is taken from the one that returned soonest.
_GREETING_BEAT_NS = 25 * NS_PER_MS
_GREETING_PULSES = 8
_RESEND_NS = NS_PER_S
_START_AHEAD_NS = NS_PER_S
# A worker is given up when it has been silent for longer than it needs to fence itself.
LOST_AFTER_NS = 4 * NS_PER_S
# After the drain's deadline a worker may still be busy sending its final slice.
_FINAL_GRACE_NS = 10 * NS_PER_S

# A worker's CPU ratio is that of its busiest stretch of so many slices (seconds).
_CPU_WINDOW = 5

Phase = Literal["gathering", "starting", "running", "draining", "finished"]


class Member:
    """What the master knows of one incarnation."""

    def __init__(self, incarnation: str, worker: str, host: str, pid: int, now_ns: int) -> None:
        self.incarnation = incarnation
        self.worker = worker
        self.host = host
        self.pid = pid
        self.state = "joining"
        self.heard_ns = now_ns
        self.beat_ns = 0
        self.sent_ns = 0
        self.pulses = 0
        self.best_rtt_ns: int | None = None
        self.offset_ns = 0
        self.open_visits = 0
        self.slots: int | None = None
        self.joined = False
        self.slices: set[int] = set()
        self.last_second = -1
        self.final = False
        self.missing_slices = 0
        self.cpu_ns = 0
        self.rss_max_bytes = 0
        self.cpu_window_ns: deque[int] = deque(maxlen=_CPU_WINDOW)
        self.cpu_max_ratio = 0.0


class Observer(Protocol):
    """Who wants to know how the run goes; called by the conductor, must not raise."""

    def started(self, t0_ns: int, workers: int) -> None:
        """All expected workers are ready; the run starts at this moment of the master's clock."""

    def second(self, second: int, snapshot: Snapshot) -> None:
        """What one second brought, merged over all workers; called once per second unless a worker was late."""

    def journal(self, entry: dict[str, object]) -> None:
        """Something for the journal: leases dealt, settled, revoked, lost."""


class Conductor:
    """Conducts one run of `config` over the visits of `visits`.

    Raises nothing: what ends a run early is kept in `error` (a line and an exit code) and the books stay balanced.
    """

    def __init__(
        self,
        config: RunConfig,
        visits: Iterator[PlannedVisit],
        send: Callable[[FromMaster], None],
        observer: Observer,
        plan_end_ns: int | None,
    ) -> None:
        self._config = config
        self._send = send
        self._observer = observer
        self._plan_end_ns = plan_end_ns
        self._closed_slots = config.closed_slots
        self.ledger = Ledger()
        self.dealer = Dealer(visits, self.ledger, closed=self._closed_slots is not None)
        self.members: dict[str, Member] = {}
        self.gone: list[Member] = []
        self._names = 0
        self.phase: Phase = "gathering"
        self.t0_ns = 0
        self._deadline_ns = 0
        self._revoking = False
        self._seconds: dict[int, Snapshot] = {}
        self._emitted = -1
        self.whole = Snapshot()
        self.workers_lost = 0
        self.interrupted: str | None = None
        self.error: tuple[str, ExitCode] | None = None
        self.error_details = ""
        self.ended_ns = 0

    # Driven from outside

    def turn(self, now_ns: int) -> None:
        """Does what is due at `now_ns` (the master's clock)."""
        if self.phase == "finished":
            return
        self._beat(now_ns)
        if self.phase in ("gathering", "starting"):
            self._gather(now_ns)
            return
        self._check_silence(now_ns)
        self._admit(now_ns)
        if self.phase == "running":
            self._deal(now_ns)
        if self.phase == "draining":
            self._drain(now_ns)
        self._emit(now_ns)

    def interrupt(self, reason: str, now_ns: int) -> None:
        """Ends the run early: what has not begun is given back, what is open is cut off."""
        if self.phase == "finished":
            return
        self.interrupted = self.interrupted or reason
        if self.phase in ("gathering", "starting"):
            self._finish(now_ns)
        elif not self._revoking:
            self.dealer.stop()
            self._begin_drain(now_ns, deadline_ns=0, revoke=True)

    def receive(self, message: FromWorker, now_ns: int) -> None:
        """Takes a worker's message; those of an unknown or fenced incarnation change nothing."""
        if isinstance(message, Hello):
            self._hello(message, now_ns)
            return
        member = self.members.get(message.incarnation)
        if member is None:
            return
        member.heard_ns = now_ns
        if isinstance(message, Pulse):
            self._pulse(member, message, now_ns)
        elif isinstance(message, SliceReport):
            self._slice(member, message)
        elif isinstance(message, LeaseAck):
            if member.joined:
                self.dealer.acked(member.incarnation, message.number)
        elif isinstance(message, Hungry):
            self.dealer.hungry(member.incarnation, message.begun)
            self._deal(now_ns)
        elif isinstance(message, Trouble):
            self._trouble(member, message, now_ns)

    # Gathering and starting

    def _hello(self, hello: Hello, now_ns: int) -> None:
        if hello.incarnation in self.members or self.phase in ("draining", "finished"):
            return
        for member in list(self.members.values()):
            if (member.host, member.pid) == (hello.host, hello.pid):
                # The process has fenced itself and comes back: its former life is over.
                self._lose(member, now_ns, "it came back as a new incarnation")
        self._names += 1
        member = Member(hello.incarnation, f"worker-{self._names}", hello.host, hello.pid, now_ns)
        self.members[hello.incarnation] = member
        self._observer.journal({"event": "joined", "worker": member.worker, "incarnation": member.incarnation})

    def _beat(self, now_ns: int) -> None:
        for member in self.members.values():
            every_ns = BEAT_EVERY_NS if member.pulses >= _GREETING_PULSES else _GREETING_BEAT_NS
            if now_ns - member.beat_ns >= every_ns and now_ns - member.heard_ns < LOST_AFTER_NS:
                member.beat_ns = now_ns
                self._send(Beat(member.incarnation, now_ns))

    def _gather(self, now_ns: int) -> None:
        expected = self._config.expect_workers
        if self.phase == "gathering":
            if sum(member.pulses >= _GREETING_PULSES for member in self.members.values()) < expected:
                return
            self.phase = "starting"
            self._share_slots()
        self._send_starts(now_ns)
        if sum(member.state == "ready" for member in self.members.values()) >= expected:
            self.t0_ns = now_ns + _START_AHEAD_NS
            self.phase = "running"
            for member in self.members.values():
                if member.state == "ready":
                    self._join(member, now_ns)
            self._observer.started(self.t0_ns, len(self.members))
            self._deal(now_ns)

    def _share_slots(self) -> None:
        if self._closed_slots is None:
            return
        members = list(self.members.values())
        share, rest = divmod(self._closed_slots, len(members))
        for place, member in enumerate(members):
            member.slots = share + (place < rest)

    def _send_starts(self, now_ns: int) -> None:
        for member in self.members.values():
            if member.state == "joining" and member.pulses >= _GREETING_PULSES and self._due(member, now_ns):
                config = msgspec.json.encode(self._config)
                self._send(Start(member.incarnation, member.worker, config, member.offset_ns, member.slots))

    def _due(self, member: Member, now_ns: int) -> bool:
        """Whether a message that is repeated until it shows effect is due."""
        if now_ns - member.sent_ns < _RESEND_NS:
            return False
        member.sent_ns = now_ns
        return True

    def _join(self, member: Member, now_ns: int) -> None:
        member.joined = True
        member.sent_ns = now_ns
        self.dealer.join(member.incarnation, member.worker, member.slots)
        self._send(Go(member.incarnation, self.t0_ns + member.offset_ns))

    def _admit(self, now_ns: int) -> None:
        """Lets late workers in, and repeats START and GO to those that seem not to have got them."""
        if self.phase == "running" and self._closed_slots is None:
            self._send_starts(now_ns)
            for member in self.members.values():
                if member.state == "ready" and not member.joined:
                    self._join(member, now_ns)
        for member in self.members.values():
            if member.joined and member.state == "ready" and self._due(member, now_ns):
                self._send(Go(member.incarnation, self.t0_ns + member.offset_ns))

    # Running

    def _deal(self, now_ns: int) -> None:
        if self.phase != "running":
            return
        offset_ns = now_ns - self.t0_ns
        over = self._closed_slots is not None and self._plan_end_ns is not None and offset_ns >= self._plan_end_ns
        if over:
            self.dealer.stop()
            self._begin_drain(now_ns, self._plan_end_ns or 0, revoke=True)
            return
        for _incarnation, lease in self.dealer.deal(offset_ns):
            self._send(lease)
        if self.dealer.exhausted:
            end_ns = self._plan_end_ns
            if end_ns is None:
                end_ns = offset_ns if self._closed_slots is not None else self.dealer.last_due_ns
            if self._closed_slots is None or self.dealer.open == 0:
                self._begin_drain(now_ns, end_ns, revoke=False)

    def _pulse(self, member: Member, pulse: Pulse, now_ns: int) -> None:
        rtt_ns = now_ns - pulse.echo_ns
        member.pulses += 1
        member.state = pulse.state
        member.open_visits = pulse.open_visits
        if member.best_rtt_ns is None or rtt_ns < member.best_rtt_ns:
            member.best_rtt_ns = rtt_ns
            member.offset_ns = pulse.worker_ns - (pulse.echo_ns + now_ns) // 2
        if member.joined:
            self.dealer.pulse(member.incarnation, pulse.begun)

    def _slice(self, member: Member, report: SliceReport) -> None:
        self._send(SliceAck(member.incarnation, report.number))
        if report.number in member.slices or not member.joined:
            return
        member.slices.add(report.number)
        member.last_second = max(member.last_second, report.second)
        snapshot = Snapshot.unpack(report.snapshot)
        self._weigh(member, snapshot)
        ends = {"completed": report.completed, "censored": report.censored, "dropped": report.dropped}
        self.dealer.settled(member.incarnation, ends, snapshot.by_last("steps"))
        revoked = self.dealer.revoked(member.incarnation, report.revoked)
        self._observer.journal(
            {"event": "settled", "worker": member.worker, "slice": report.number, "second": report.second}
            | {end: len(tickets) for end, tickets in ends.items() if tickets}
        )
        if revoked:
            self._observer.journal({"event": "revoked", "worker": member.worker, "visits": revoked})
        self.whole.merge(snapshot)
        self._seconds.setdefault(report.second, Snapshot()).merge(snapshot)
        if report.final:
            member.final = True
            member.missing_slices = report.number - len(member.slices)

    def _weigh(self, member: Member, snapshot: Snapshot) -> None:
        cpu_ns = snapshot.sums.get("cpu_ns", 0)
        member.cpu_ns += cpu_ns
        member.cpu_window_ns.append(cpu_ns)
        if len(member.cpu_window_ns) == _CPU_WINDOW:
            member.cpu_max_ratio = max(member.cpu_max_ratio, sum(member.cpu_window_ns) / (_CPU_WINDOW * NS_PER_S))
        member.rss_max_bytes = max(member.rss_max_bytes, snapshot.maxima.get("rss_bytes", 0))

    # Losing workers

    def _check_silence(self, now_ns: int) -> None:
        for member in list(self.members.values()):
            if now_ns - member.heard_ns >= LOST_AFTER_NS and not member.final:
                self._lose(member, now_ns, f"silent for {LOST_AFTER_NS // NS_PER_S} s")

    def _lose(self, member: Member, now_ns: int, reason: str) -> None:
        del self.members[member.incarnation]
        if not member.joined:
            return
        self.gone.append(member)
        self.workers_lost += 1
        lost = self.dealer.lose(member.incarnation, member.beat_ns - self.t0_ns)
        self._observer.journal({"event": "lost", "worker": member.worker, "reason": reason, "visits": lost})
        if not any(other.joined for other in self.members.values()):
            self.dealer.stop()
            self.error = self.error or (f"no worker is left: {member.worker} is lost ({reason})", ExitCode.INVALID)
            self._finish(now_ns)

    def _trouble(self, member: Member, trouble: Trouble, now_ns: int) -> None:
        self.error = self.error or (trouble.message, ExitCode(trouble.exit_code))
        self.error_details = self.error_details or trouble.details
        del self.members[member.incarnation]
        if member.joined:
            self.gone.append(member)
            lost = self.dealer.lose(member.incarnation, now_ns - self.t0_ns)
            self._observer.journal({"event": "lost", "worker": member.worker, "reason": "trouble", "visits": lost})
        self.interrupt("trouble", now_ns)

    # Draining

    def _begin_drain(self, now_ns: int, deadline_ns: int, *, revoke: bool) -> None:
        self.phase = "draining"
        self._revoking = revoke
        self._deadline_ns = deadline_ns + (0 if self.interrupted else self._config.drain_ns)
        for member in self.members.values():
            member.sent_ns = 0
        self._drain(now_ns)

    def _drain(self, now_ns: int) -> None:
        for member in self.members.values():
            if not member.final and self._due(member, now_ns):
                self._send(Drain(member.incarnation, self._deadline_ns, self._revoking))
        overdue = now_ns - self.t0_ns > max(self._deadline_ns, self._drain_began(now_ns)) + _FINAL_GRACE_NS
        for member in list(self.members.values()):
            if member.joined and not member.final and overdue:
                self._lose(member, now_ns, "no final slice came")
        if all(member.final or not member.joined for member in self.members.values()):
            self._finish(now_ns)

    def _drain_began(self, now_ns: int) -> int:
        if not self.ended_ns:
            self.ended_ns = now_ns
        return self.ended_ns - self.t0_ns

    def _finish(self, now_ns: int) -> None:
        if self.phase == "finished":
            return
        self.ended_ns = now_ns
        self.phase = "finished"
        for second in sorted(self._seconds):
            self._observer.second(second, self._seconds[second])
        self._seconds.clear()

    def _emit(self, now_ns: int) -> None:
        """Hands on the seconds that every member has reported."""
        joined = [member for member in self.members.values() if member.joined]
        reported = min((member.last_second for member in joined), default=-1)
        for second in sorted(self._seconds):
            if second <= reported:
                self._observer.second(second, self._seconds.pop(second))

    # Where things stand

    @property
    def open_visits(self) -> int:
        """Visits open at all workers by their last word."""
        return sum(member.open_visits for member in self.members.values())

    def everyone(self) -> list[Member]:
        """All incarnations that took part, lost ones included."""
        return [*self.gone, *(member for member in self.members.values() if member.joined)]
