"""The master: gathers workers, sets one start for all, deals the plan, merges what comes back, and ends the run.

A `Conductor` conducts one run: gathering → starting → running → draining → finished. It is driven by `receive`
(messages of workers) and `turn` (every `TURN_S`), both with the time as an argument, and talks through `send`; it
neither waits nor touches sockets, so tests drive it with a clock of their own. What it learns goes to an `Observer`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, Protocol

import msgspec

from harness import __version__
from harness.config.model import RunConfig
from harness.errors import ExitCode
from harness.fleet.dealer import REDEAL_AFTER_NS, Dealer
from harness.fleet.handover import Handover
from harness.fleet.member import Member
from harness.fleet.messages import (
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
    process_of,
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
_START_AHEAD_NS = 500 * NS_PER_MS
# A lost GO must be made good before the first visits are late, a lost DRAIN before a target is hurt.
_RESEND_SOON_NS = 250 * NS_PER_MS
# All expected workers have joined Locust before a run begins; what may still take time is the target's name.
GATHER_LIMIT_NS = 60 * NS_PER_S
# A worker is given up when it has been silent for longer than it needs to fence itself.
LOST_AFTER_NS = 4 * NS_PER_S
# After the drain's deadline a worker may still be busy sending its final slice.
_FINAL_GRACE_NS = 10 * NS_PER_S

Phase = Literal["gathering", "starting", "running", "draining", "finished"]


class Observer(Protocol):
    """Who wants to know how the run goes; called by the conductor."""

    def started(self, t0_ns: int, workers: int) -> None:
        """All expected workers are ready; the run starts at this moment of the master's clock."""

    def arrived(self, second: int, snapshot: Snapshot, now_ns: int) -> None:
        """What one worker measured in one second, as soon as it is here."""

    def second(self, second: int, snapshot: Snapshot) -> None:
        """What one second brought, merged over all workers; each second comes once, in ascending order."""

    def journal(self, entry: dict[str, object]) -> None:
        """Something for the journal: leases dealt, settled, revoked, lost."""


class Conductor:
    """Conducts one run of `config` over the visits of `visits`.

    `plan_end_ns` (after t0) is where the plan ends, or None when its last visit says so. What ends a run early is kept
    in `error` (a line and an exit code) or `interrupted` (a line), what let its plan end sooner in `plan_ended`. Raises
    what `visits` or the observer raise, and `LedgerError` for a bug of ours; whoever drives it calls `fail` then.
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
        self._handover = Handover(self._closed_slots, config.limits)
        self.ledger = Ledger()
        self.dealer = Dealer(visits, self.ledger, closed=self._closed_slots is not None, max_lag_ns=config.max_lag_ns)
        self.members: dict[str, Member] = {}
        self.gone: list[Member] = []
        self._left: set[str] = set()
        self._names = 0
        self._refused: set[str] = set()
        self._gather_until_ns: int | None = None
        self.phase: Phase = "gathering"
        self.t0_ns = 0
        self._deadline_ns = 0
        self._drain_began_ns = 0
        self._revoking = False
        self._seconds: dict[int, Snapshot] = {}
        self._emitted = -1
        self.whole = Snapshot()
        self.workers_lost = 0
        self.plan_counted = True
        self.interrupted: str | None = None
        self.plan_ended: str | None = None
        self.error: tuple[str, ExitCode] | None = None
        self.ended_ns = 0
        self._cut_ns: int | None = None

    # Driven from outside

    def turn(self, now_ns: int) -> None:
        """Does what is due at `now_ns` (the master's clock)."""
        if self.phase == "finished":
            return
        if self.phase in ("running", "draining"):
            # Before the beats, which bring the shares.
            self._admit(now_ns)
        self._beat(now_ns)
        self._check_silence(now_ns)
        if self.phase in ("gathering", "starting"):
            self._gather(now_ns)
        elif self.phase in ("running", "draining"):
            self._deal(now_ns)
            if self.phase == "draining":
                self._drain(now_ns)
            self._emit()

    def interrupt(self, reason: str, now_ns: int) -> None:
        """Ends the run early: what has not begun is given back, what is open is cut off. Once is enough."""
        if self.phase == "finished" or self.interrupted is not None:
            return
        self.interrupted = reason
        self._cut(now_ns)
        if self.phase in ("gathering", "starting"):
            self._finish(now_ns)
        else:
            self.dealer.stop()
            self._begin_drain(now_ns, 0, revoke=True)

    def end_plan(self, reason: str) -> None:
        """Lets the plan of an open-loop run end soon, as if it were no longer: what was read of it is still played.

        The run comes to its ordinary end then. Before the start and in a closed loop nothing changes.
        """
        if self.phase == "running" and self._closed_slots is None and self.plan_ended is None:
            self.plan_ended = reason
            self._plan_end_ns = None
            self.dealer.end_plan()

    def fail(self, message: str, exit_code: ExitCode, now_ns: int, details: str = "") -> None:
        """Ends the run early because of an error; the first one is kept, `details` go to the journal."""
        self.error = self.error or (message, exit_code)
        self._observer.journal({"event": "failed", "message": message, "details": details})
        self.interrupt(message, now_ns)

    def abandon(self, now_ns: int) -> None:
        """Ends the run at once, without a drain: for when even that raises."""
        self._cut(now_ns)
        self.phase = "finished"
        self.ended_ns = max(now_ns, self.t0_ns)

    def receive(self, message: FromWorker, now_ns: int) -> None:
        """Takes a worker's message; those of an unknown or fenced incarnation change nothing."""
        if isinstance(message, Hello):
            self._hello(message, now_ns)
            return
        member = self.members.get(message.incarnation)
        if member is None:
            if isinstance(message, SliceReport) and message.incarnation in self._left:
                # It has left in good order and only has not heard that its last slice is here.
                self._send(SliceAck(message.incarnation, message.number))
            return
        member.heard_ns = now_ns
        if isinstance(message, SliceReport):
            self._slice(member, message, now_ns)
        elif self.phase == "finished":
            return
        elif isinstance(message, Leave):
            self._leave(member, message)
        elif isinstance(message, Trouble):
            self._trouble(member, message, now_ns)
        elif isinstance(message, Pulse):
            member.pulse(message, now_ns)
            if member.joined:
                self.dealer.pulse(member.incarnation, message.begun)
        elif member.joined and isinstance(message, LeaseAck):
            self.dealer.acked(member.incarnation, message.number)
        elif member.joined and isinstance(message, Hungry):
            self.dealer.hungry(member.incarnation, message.begun)
            self._deal(now_ns)

    # Gathering and starting

    def _hello(self, hello: Hello, now_ns: int) -> None:
        process = process_of(hello.incarnation)
        known = hello.incarnation in self.members or process in self._refused
        if known or self.phase in ("draining", "finished"):
            return
        if hello.version != __version__:
            self._refuse_version(hello, now_ns)
            return
        former = [member for member in self.members.values() if member.process == process]
        self._names += 1
        member = Member(hello, f"worker-{self._names}", now_ns)
        self.members[hello.incarnation] = member
        self._observer.journal({"event": "joined", "worker": member.worker, "incarnation": member.incarnation})
        for old in former:
            # The process has fenced itself and comes back: its former life is over.
            self._lose(old, now_ns, "it came back as a new incarnation", over_ns=now_ns)

    def _refuse_version(self, hello: Hello, now_ns: int) -> None:
        self._refused.add(process_of(hello.incarnation))
        message = (
            f"the worker on {hello.host} (pid {hello.pid}) runs harness {hello.version}, the master {__version__}: "
            "install the same version on both"
        )
        if self.phase in ("gathering", "starting"):
            self.fail(message, ExitCode.USAGE, now_ns)
        else:
            self._observer.journal({"event": "refused", "message": message})

    def _beat(self, now_ns: int) -> None:
        for member in self.members.values():
            every_ns = BEAT_EVERY_NS if member.pulses >= _GREETING_PULSES else _GREETING_BEAT_NS
            due = member.part.uninformed or now_ns - member.beat_ns >= every_ns
            if due and now_ns - member.heard_ns < LOST_AFTER_NS:
                member.beat_ns = now_ns
                member.part.told(now_ns)
                if member.joined:
                    self.dealer.spoke(member.incarnation, now_ns - self.t0_ns)
                self._send(Beat(member.incarnation, now_ns, member.word_offset_ns, member.share))

    def _gather(self, now_ns: int) -> None:
        expected = self._config.expect_workers
        if self.phase == "gathering":
            greeted = sum(member.pulses >= _GREETING_PULSES for member in self.members.values())
            if greeted < expected:
                self._check_patience(0, now_ns)
                return
            self.phase = "starting"
        self._send_starts(now_ns)
        ready = [member for member in self.members.values() if member.state == "ready"]
        if len(ready) < expected:
            self._check_patience(len(ready), now_ns)
            return
        self.t0_ns = now_ns + _START_AHEAD_NS
        self.phase = "running"
        # Where there are fewer slots or open visits than workers, the others stand by for the room of who goes.
        playing = ready[: self._room()]
        self._handover.begin([member.part for member in playing])
        for member in playing:
            self._join(member, now_ns)
        self._observer.started(self.t0_ns, len(playing))
        self._deal(now_ns)

    def _check_patience(self, ready: int, now_ns: int) -> None:
        if self._gather_until_ns is None:
            self._gather_until_ns = now_ns + GATHER_LIMIT_NS
        if now_ns >= self._gather_until_ns:
            expected, limit_s = self._config.expect_workers, GATHER_LIMIT_NS // NS_PER_S
            message = f"{ready} of {expected} workers were ready within {limit_s} s: see the workers' logs"
            self.fail(message, ExitCode.INVALID, now_ns)

    def _send_starts(self, now_ns: int) -> None:
        for member in self.members.values():
            if member.state == "joining" and member.pulses >= _GREETING_PULSES and self._due(member, now_ns):
                config = msgspec.json.encode(self._config)
                self._send(Start(member.incarnation, member.worker, config))

    def _due(self, member: Member, now_ns: int) -> bool:
        """Whether a message that is repeated until it shows effect is due."""
        if now_ns - member.sent_ns < _RESEND_NS:
            return False
        member.sent_ns = now_ns
        return True

    def _join(self, member: Member, now_ns: int) -> None:
        assert member.share is not None
        member.joined = True
        self.dealer.join(member.incarnation, member.worker, member.share.slots, member.part.capacity)
        self._send_go(member, now_ns)

    def _send_go(self, member: Member, now_ns: int) -> None:
        assert member.share is not None
        member.sent_ns = now_ns
        self._send(Go(member.incarnation, self.t0_ns + member.offset_ns, member.share))

    def _admit(self, now_ns: int) -> None:
        """Lets late workers in as room for them becomes free, and repeats GO to those that seem not to have got it."""
        late: list[Member] = []
        if self.phase == "running":
            self._send_starts(now_ns)
            late = [member for member in self.members.values() if member.state == "ready" and not member.joined]
            late = late[: self._room()]
        joined = [member for member in self.members.values() if member.joined]
        self._handover.settle([member.part for member in (*joined, *late)], now_ns)
        for member in late:
            if self._handover.complete(member.part):
                self._join(member, now_ns)
        for member in joined:
            waiting = member.state == "ready" and not self._revoking
            if waiting and now_ns - member.sent_ns >= _RESEND_SOON_NS:
                self._send_go(member, now_ns)

    def _room(self) -> int | None:
        """How many more workers can have a part of the slots and open visits that are allowed; None: any number."""
        wholes = [self._closed_slots, self._config.limits.max_open_visits]
        most = min((whole for whole in wholes if whole is not None), default=None)
        return None if most is None else max(0, most - sum(member.joined for member in self.members.values()))

    # Running

    def _deal(self, now_ns: int) -> None:
        if self.phase != "running":
            return
        offset_ns = now_ns - self.t0_ns
        closed = self._closed_slots is not None
        if closed and self._plan_end_ns is not None and offset_ns >= self._plan_end_ns:
            self.dealer.stop()
            self._begin_drain(now_ns, self._plan_end_ns, revoke=True)
            return
        for incarnation, lease in self.dealer.deal(offset_ns):
            self._journal_lease(self.members[incarnation], lease)
            self._send(lease)
        # Until the last visit was due, what a lost worker had not begun can still be dealt again.
        if self.phase == "running" and self.dealer.exhausted:
            if closed and not self.dealer.open:
                self._begin_drain(now_ns, offset_ns, revoke=False)
            elif not closed and offset_ns >= self.dealer.last_due_ns:
                end_ns = self.dealer.last_due_ns if self._plan_end_ns is None else self._plan_end_ns
                self._begin_drain(now_ns, end_ns, revoke=False)

    def _journal_lease(self, member: Member, lease: Lease) -> None:
        if lease.number <= member.leases:
            return
        member.leases = lease.number
        entry = {"event": "dealt", "worker": member.worker, "lease": lease.number, "visits": len(lease.dues_ns)}
        self._observer.journal(entry)

    def _slice(self, member: Member, report: SliceReport, now_ns: int) -> None:
        if self.phase != "finished" and member.joined and not member.has(report.number):
            self._enter(member, report, now_ns)
        self._send(SliceAck(member.incarnation, report.number))

    def _enter(self, member: Member, report: SliceReport, now_ns: int) -> None:
        snapshot = Snapshot.unpack(report.snapshot)
        ends = {"completed": report.completed, "censored": report.censored, "dropped": report.dropped}
        self.dealer.settled(member.incarnation, ends, snapshot.by_last("steps"))
        revoked = self.dealer.revoked(member.incarnation, report.revoked)
        member.note(report, snapshot)
        if member.final:
            revoked += self.dealer.ended(member.incarnation)
        self._observer.journal(
            {"event": "settled", "worker": member.worker, "slice": report.number, "second": report.second}
            | {end: len(tickets) for end, tickets in ends.items() if tickets}
        )
        if revoked:
            self._observer.journal({"event": "revoked", "worker": member.worker, "visits": revoked})
            self._journal_stale(member)
        self.whole.merge(snapshot)
        # A second that was handed on already is closed: what comes later counts for the next.
        self._seconds.setdefault(max(report.second, self._emitted + 1), Snapshot()).merge(snapshot)
        self._observer.arrived(report.second, snapshot, now_ns)
        if member.final and self.phase == "running":
            self._depart(member, now_ns)

    def _journal_stale(self, member: Member) -> None:
        """Visits that came back too late to be dealt again stay undealt, by name."""
        if stale := self.dealer.take_stale():
            self._observer.journal({"event": "undealt", "worker": member.worker, "visits": stale})

    # Workers that leave in good order

    def _leave(self, member: Member, leave: Leave) -> None:
        if not member.joined:
            # It has not been dealt anything; its empty slice must be acknowledged all the same.
            del self.members[member.incarnation]
            self._left.add(member.incarnation)
            return
        if member.leaving:
            return
        member.leaving = True
        revoked = [] if self.phase == "draining" else self.dealer.retire(member.incarnation, leave.lease)
        self._observer.journal({"event": "leaving", "worker": member.worker, "revoked": revoked})
        self._journal_stale(member)

    def _depart(self, member: Member, now_ns: int) -> None:
        """A worker that was asked to go has accounted for everything: it is not lost, and others get what it had."""
        del self.members[member.incarnation]
        self.gone.append(member)
        self._left.add(member.incarnation)
        self.dealer.depart(member.incarnation)
        self._handover.gone(member.part, now_ns)
        self._observer.journal({"event": "left", "worker": member.worker})
        if not self._somebody_left():
            self._end_alone(f"{member.worker} has left", now_ns)

    # Losing workers

    def _check_silence(self, now_ns: int) -> None:
        for member in list(self.members.values()):
            if now_ns - member.heard_ns >= LOST_AFTER_NS and not member.final:
                self._lose(member, now_ns, f"silent for {LOST_AFTER_NS // NS_PER_S} s")

    def _trouble(self, member: Member, trouble: Trouble, now_ns: int) -> None:
        if trouble.stays and member.joined:
            if self.error is None:
                self.fail(trouble.message, ExitCode(trouble.exit_code), now_ns, trouble.details)
            return
        self._refused.add(member.process)
        # What a worker lacks (a file, a variable, a way to the target) is to be mended on its own machine.
        message = f"{member.worker} on {member.host}: {trouble.message}"
        # A late worker that cannot take part leaves the others alone.
        if member.joined or self.phase in ("gathering", "starting"):
            self.fail(message, ExitCode(trouble.exit_code), now_ns, trouble.details)
        self._lose(member, now_ns, trouble.message, over_ns=now_ns)

    def _lose(self, member: Member, now_ns: int, reason: str, *, over_ns: int | None = None) -> None:
        """Gives a worker up; from `over_ns` on it certainly does nothing (None: when its fence must have closed)."""
        if self.phase == "finished":
            return
        del self.members[member.incarnation]
        entry: dict[str, object] = {"event": "lost", "worker": member.worker, "reason": reason}
        if member.joined:
            self.gone.append(member)
            self.workers_lost += 1
            # By a clock that gained, the fence lets begin what is due so much later.
            loss = self.dealer.lose(member.incarnation, member.beat_ns + member.gained_ns - self.t0_ns)
            self._handover.gone(member.part, over_ns or member.beat_ns + REDEAL_AFTER_NS)
            entry |= {"visits": loss.lost, "revoked": loss.again}
        self._observer.journal(entry)
        if self.phase in ("running", "draining") and not self._somebody_left():
            self._end_alone(f"{member.worker} is lost ({reason})", now_ns)

    def _somebody_left(self) -> bool:
        return any(member.joined or self.phase == "running" for member in self.members.values())

    def _end_alone(self, reason: str, now_ns: int) -> None:
        self.dealer.stop()
        self._cut(now_ns)
        message = f"no worker is left: {reason}; see its log in the run folder"
        self.error = self.error or (message, ExitCode.INVALID)
        self._finish(now_ns)

    # Draining

    def _begin_drain(self, now_ns: int, end_ns: int, *, revoke: bool) -> None:
        self.phase = "draining"
        self._revoking = revoke
        self._deadline_ns = end_ns + (0 if self.interrupted else self._config.drain_ns)
        self._drain_began_ns = now_ns - self.t0_ns
        for member in self.members.values():
            member.sent_ns = 0
        self._drain(now_ns)

    def _drain(self, now_ns: int) -> None:
        for member in self.members.values():
            again = now_ns - member.sent_ns >= _RESEND_SOON_NS
            if member.joined and not member.final and again:
                member.sent_ns = now_ns
                self._send(Drain(member.incarnation, self._deadline_ns, self._revoking))
        late_ns = now_ns - self.t0_ns - max(self._deadline_ns, self._drain_began_ns)
        for member in list(self.members.values()):
            if late_ns > _FINAL_GRACE_NS and member.joined and not member.final:
                self._lose(member, now_ns, "no final slice came")
        if all(member.final or not member.joined for member in self.members.values()):
            self._finish(now_ns)

    def _finish(self, now_ns: int) -> None:
        if self.phase == "finished":
            return
        self.ended_ns = max(now_ns, self.t0_ns)
        self.phase = "finished"
        for second in sorted(self._seconds):
            self._observer.second(second, self._seconds.pop(second))
        if self.t0_ns:
            self.dealer.stop()
            self.plan_counted = self.dealer.read_rest()

    def _emit(self) -> None:
        """Hands on the seconds that every member has reported."""
        reported = min((member.reported_second for member in self.members.values() if member.joined), default=-1)
        for second in sorted(self._seconds):
            if second <= reported:
                self._emitted = second
                self._observer.second(second, self._seconds.pop(second))

    def _cut(self, now_ns: int) -> None:
        if self._cut_ns is None:
            self._cut_ns = max(0, now_ns - self.t0_ns) if self.t0_ns else 0

    # Where things stand

    @property
    def cut_short(self) -> str | None:
        """Why the run was ended before its plan was, in one line, or None.

        Locust may notice the loss of the last worker first, and stop; what is the matter we know better.
        """
        return self.error[0] if self.error is not None else self.interrupted

    @property
    def cut_ns(self) -> int | None:
        """When it was cut short, after t0, or None; no visit begins after that."""
        return self._cut_ns

    @property
    def open_visits(self) -> int:
        """Visits open at all workers by their last word."""
        return sum(member.open_visits for member in self.members.values())

    def everyone(self) -> list[Member]:
        """All incarnations that took part, lost ones included."""
        return [*self.gone, *(member for member in self.members.values() if member.joined)]
