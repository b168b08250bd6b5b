"""One visitor's visit as a state machine without I/O: it says what to do next and is told what came of it.

The caller asks `next_action(now_ns)` and gets one of three things: bytes (send these now), an int (ask again at this
moment) or None (the visit is over). After sending it calls `resolve` with the reply, or `fault` with the reason why
there is none. Each call appends flat records to the three lists of a `Sink`. Moves stand in `TRANSITIONS`;
an illegal one raises `IllegalMoveError` and changes nothing. All times are integer ns on the run's clock.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from harness.trace.model import Step, Visit
from harness.units import NS_PER_S
from harness.visitor.calls import Calls
from harness.visitor.identity import Identities, stale_ids
from harness.visitor.records import Attempt, Chain, Outcome, Result, StepOutcome, VisitEnd, VisitOutcome
from harness.visitor.retry import RetryPolicy, jitter_draw
from harness.wire.render import safe_id
from harness.wire.reply import Reply

Action = bytes | int | None

# A visit that has not begun; one that waits, thinking or backing off; one with a request in flight; one that is over.
NEW: Final = "new"
WAITING: Final = "waiting"
FLYING: Final = "flying"
OVER: Final = "over"

# (state, event) -> next state. Whatever is not listed is illegal.
TRANSITIONS: Final[dict[tuple[str, str], str]] = {
    (NEW, "send"): FLYING,
    (WAITING, "send"): FLYING,
    (FLYING, "retry"): WAITING,
    (FLYING, "settle"): WAITING,
    (FLYING, "settle_last"): OVER,
    (NEW, "skip"): WAITING,
    (NEW, "skip_last"): OVER,
    (WAITING, "skip"): WAITING,
    (WAITING, "skip_last"): OVER,
    (NEW, "cut"): OVER,
    (WAITING, "cut"): OVER,
    (FLYING, "cut"): OVER,
    (NEW, "drop"): OVER,
}


def _after(event: str) -> dict[str, str]:
    return {state: after for (state, name), after in TRANSITIONS.items() if name == event}


# The same by event: the usual moves are looked up at each attempt.
_AFTER: Final = {event: _after(event) for _, event in TRANSITIONS}
_AFTER_SEND: Final = _AFTER["send"]

# How a result settles its step when the policy does not try it again. One that it would try again, but for its spent
# budget, settles as `exhausted`.
SETTLES: Final[dict[Result, Outcome]] = {
    Result.available: Outcome.available,
    Result.not_available: Outcome.not_available,
    Result.accepted: Outcome.accepted,
    Result.loading: Outcome.failed,
    Result.throttled: Outcome.failed,
    Result.rejected: Outcome.rejected,
    Result.client_error: Outcome.failed,
    Result.server_error: Outcome.failed,
    Result.redirect: Outcome.failed,
    Result.timeout: Outcome.failed,
    Result.connect_error: Outcome.failed,
    Result.tls_error: Outcome.failed,
    Result.reset: Outcome.failed,
    Result.bad_reply: Outcome.failed,
    Result.internal_error: Outcome.failed,
}

# Reply kinds carry the names of results (wire.reply).
RESULT_OF: Final[dict[str, Result]] = {result.name: result for result in Result}
# The same by index: an enum member hashes slowly, and this is asked once per attempt.
_SETTLES_AS: Final[list[Outcome]] = [SETTLES[result] for result in Result]
# So are these looked up on their classes slowly.
_AVAILABLE = Result.available
_REJECTED = Result.rejected
_NONE = Chain.none
_KEPT = Chain.kept
# Stands for a step that is behind a visit.
_SETTLED = Step(op="get_engagement")


class IllegalMoveError(Exception):
    """Our own code misused a session; nothing was changed."""


class Folder(Protocol):
    """Where records are folded (measure.recorder)."""

    def attempts(self, batch: list[Attempt]) -> None: ...
    def steps(self, batch: list[StepOutcome]) -> None: ...
    def visits(self, batch: list[VisitOutcome]) -> None: ...


class Sink:
    """Where sessions put their records: three plain lists, handed on in batches."""

    __slots__ = ("attempts", "steps", "visits")

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.steps: list[StepOutcome] = []
        self.visits: list[VisitOutcome] = []

    def fold_into(self, folder: Folder) -> None:
        """Hands on what is here, visits after their steps after their attempts, and begins anew."""
        if self.attempts:
            attempts, self.attempts = self.attempts, []
            folder.attempts(attempts)
        if self.steps:
            steps, self.steps = self.steps, []
            folder.steps(steps)
        if self.visits:
            visits, self.visits = self.visits, []
            folder.visits(visits)


class Rules:
    """What all sessions of a run share: retry policy, seed, think times' cap and speed, identities and the sink."""

    __slots__ = (
        "budget_ns",
        "identities",
        "keep_ids",
        "max_think_ns",
        "policy",
        "retries",
        "seed",
        "sink",
        "take_hints",
        "think_scale",
    )

    def __init__(
        self,
        policy: RetryPolicy,
        seed: int,
        identities: Identities,
        sink: Sink,
        max_think_ns: int | None = None,
        think_speed: float = 1.0,
    ) -> None:
        self.policy = policy
        self.seed = seed
        self.identities = identities
        self.sink = sink
        self.max_think_ns = max_think_ns
        # Nanoseconds of think time in this run for each second of it in the trace.
        self.think_scale = NS_PER_S / think_speed
        self.budget_ns = policy.budget_ns()
        self.retries = [policy.retries(result) for result in Result]
        self.keep_ids = policy.ids_on_retry != "none"
        self.take_hints = policy.ids_on_retry == "hint"


class VisitorSession:
    """One visit being played.

    `visit` comes from the trace; `name` and `visitor` are its identities in this run; `calls` renders the
    account's requests; `arrival_ns` is when the visit is due.
    """

    __slots__ = (
        "_given",
        "_holds_stale",
        "_index",
        "_last_update",
        "_made",
        "_number",
        "_offer",
        "_planned_ns",
        "_retries",
        "_return_missed",
        "_rules",
        "_sent_sid",
        "_sent_vid",
        "_sid",
        "_stale",
        "_state",
        "_step_due_ns",
        "_steps",
        "_vid",
        "_wants_fresh",
        "arrival_ns",
        "calls",
        "cohort",
        "due_ns",
        "name",
        "op",
        "returns",
        "started_ns",
        "visitor",
    )

    def __init__(self, visit: Visit, rules: Rules, calls: Calls, arrival_ns: int, suffix: str = "") -> None:
        self.name = visit.id + suffix
        self.visitor = visit.visitor + suffix
        self.cohort = visit.cohort
        self.returns = visit.returns
        self.calls = calls
        self.arrival_ns = arrival_ns
        self.started_ns = -1
        self._rules = rules
        self._steps: list[Step] = visit.steps
        self._state = NEW
        self._index = 0
        self._number = 0
        self._retries = 0
        self._made = 0
        self._vid: str | None = None
        self._sid: str | None = None
        self._sent_vid: str | None = None
        self._sent_sid: str | None = None
        self._offer: Reply | None = None
        # Nobody asks for an offer after the last update, so none is kept for it.
        self._last_update = -1
        for index, step in enumerate(self._steps):
            if step.op == "update":
                self._last_update = index
        self._wants_fresh = False
        self._stale = False
        self._holds_stale = False
        self._given = False
        self._return_missed = False
        first = self._steps[0]
        self.op: str = first.op
        self.due_ns = arrival_ns + self._think_ns(first)
        self._step_due_ns = self.due_ns
        self._planned_ns = -1

    # What to do next

    def next_action(self, now_ns: int) -> Action:
        """Bytes to send now, the moment (ns) to ask again, or None when the visit is over.

        An update without a preceding Available reply is skipped on the way. Raises `IllegalMoveError` while a request
        is in flight.
        """
        while True:
            state = self._state
            if state is OVER:
                return None
            if state is FLYING:
                raise IllegalMoveError(f"visit {self.name}: asked for the next action with a request in flight")
            if now_ns < self.due_ns:
                return self.due_ns
            if self.started_ns < 0:
                self.started_ns = now_ns
            step = self._steps[self._index]
            if step.op == "update" and self._offer is None:
                self._settle(Outcome.skipped, now_ns, "skip", "skip_last")
                continue
            return self._send(step)

    def _send(self, step: Step) -> bytes:
        if self._number == 0:
            self._step_due_ns = self.due_ns
            self._choose_ids(step)
        elif not self._given and not self._rules.keep_ids:
            self._hold(None, None)
        self._number += 1
        self._planned_ns = self.due_ns
        self._stale = self._holds_stale
        vid = self._sent_vid = self._vid
        sid = self._sent_sid = self._sid
        self._state = _AFTER_SEND[self._state]
        attempt = f"{self.name}/{self._index}/{self._number}"
        if step.op == "update":
            assert self._offer is not None
            return self.calls.update(step.request, vid, sid, attempt, self._offer)
        return self.calls.engagement(step.request, vid, sid, attempt)

    def _choose_ids(self, step: Step) -> None:
        self._return_missed = False
        identity = step.identity
        if identity == "chain" and not self._wants_fresh:
            return
        if step.op != "update":
            # An offer holds in the session it was made in, and that one is left behind.
            self._offer = None
        if identity == "fresh" or self._wants_fresh:
            self._wants_fresh = False
            self._hold(None, None)
        elif identity == "return":
            vid = self._rules.identities.remembered(self.visitor)
            self._return_missed = vid is None
            self._hold(vid, None)
        else:
            # Neither claimed nor remembered: nobody owns ids that were made up.
            self._hold(None, None)
            self._vid, self._sid = stale_ids(self._rules.seed, self.name, self._index)
            self._holds_stale = True

    def _hold(self, vid: str | None, sid: str | None) -> bool:
        """Makes these the visit's newest ids; False when the vid belongs to an open visit of another visitor."""
        identities = self._rules.identities
        if self._vid is not None and self._vid != vid:
            identities.release(self._vid, self.name)
        self._vid = vid
        self._sid = sid
        self._holds_stale = self._given = False
        if vid is None:
            return True
        if self.returns:
            identities.remember(self.visitor, vid)
        return identities.claim(vid, self.name, self.visitor)

    # What came of it

    def resolve(
        self,
        reply: Reply,
        started_ns: int,
        connected_ns: int,
        sent_ns: int,
        done_ns: int,
        retry_after_ns: int = 0,
    ) -> None:
        """Takes the reply to the request in flight: judges the chain, records the attempt, settles or plans a retry.

        Raises `IllegalMoveError` when nothing is in flight.
        """
        if self._state is not FLYING:
            raise IllegalMoveError(f"visit {self.name}: a reply came with no request in flight")
        result = RESULT_OF[reply.kind]
        if self._given and reply.vid == self._sent_vid and reply.sid == self._sent_sid:
            chain = _KEPT
        else:
            chain = self._judge_chain(reply, result)
        if result is _AVAILABLE and self._index < self._last_update:
            self._offer = reply
        rules = self._rules
        number = self._number
        code = reply.code
        rules.sink.attempts.append(
            Attempt(
                self.name,
                self.cohort,
                self.op,
                self._index,
                number,
                result,
                chain,
                self._return_missed and number == 1,
                self._stale,
                reply.http_status,
                -1 if code is None else code,
                self._planned_ns,
                started_ns,
                connected_ns,
                sent_ns,
                done_ns,
                reply.message,
            )
        )
        if rules.retries[result]:
            self._retry(result, done_ns, retry_after_ns)
        else:
            self._settle(_SETTLES_AS[result], done_ns, "settle", "settle_last", result is _AVAILABLE)

    def fault(
        self, result: Result, started_ns: int, connected_ns: int, sent_ns: int, done_ns: int, message: str = ""
    ) -> None:
        """Takes the news that the request in flight has no readable reply.

        `result` is one of timeout, connect_error, tls_error, reset, bad_reply, internal_error; moments that were
        not reached are -1. Raises `IllegalMoveError` when nothing is in flight.
        """
        kind: Any = result.name
        self.resolve(Reply(kind, 0, message=message), started_ns, connected_ns, sent_ns, done_ns)

    def _judge_chain(self, reply: Reply, result: Result) -> Chain:
        if result is _REJECTED:
            return _NONE if self._stale else Chain.rejected
        vid, sid = reply.vid, reply.sid
        if vid is None and sid is None:
            if reply.hint_vid is not None and self._vid is None and self._rules.take_hints:
                # The service made a visitor for us and named it only in the message: the next attempt asks as that one.
                self._hold(safe_id(reply.hint_vid), None)
            return _NONE
        sent_vid, sent_sid = self._sent_vid, self._sent_sid
        vid = sent_vid if vid is None else safe_id(vid)
        sid = sent_sid if sid is None else safe_id(sid)
        claimed = self._hold(vid, sid)
        self._given = True
        if not claimed:
            return Chain.crossed
        if self._stale:
            # Asked as nobody on purpose: the reply starts a chain, but says nothing about the service's keeping one.
            return _NONE
        if sent_vid is None and sent_sid is None:
            return Chain.started
        if vid != sent_vid:
            return Chain.revid
        if sent_sid is not None and sid != sent_sid:
            return Chain.renewed
        return _KEPT

    def _retry(self, result: Result, done_ns: int, retry_after_ns: int) -> None:
        """Plans another attempt, or settles the step as exhausted when the budget is spent."""
        rules = self._rules
        policy = rules.policy
        used = self._made if policy.scope == "visit" else self._retries
        jitter = jitter_draw(rules.seed, self.name, self._index, self._number) if policy.jitter else 0.0
        due_ns = done_ns + policy.delay_ns(self._retries + 1, result, retry_after_ns, jitter)
        spent = policy.max_retries is not None and used >= policy.max_retries
        late = rules.budget_ns is not None and due_ns > self._step_due_ns + rules.budget_ns
        if spent or late:
            self._settle(Outcome.exhausted, done_ns, "settle", "settle_last")
            return
        self._retries += 1
        self._made += 1
        self.due_ns = due_ns
        self._state = TRANSITIONS[FLYING, "retry"]

    def _settle(self, outcome: Outcome, now_ns: int, more: str, last: str, available: bool = False) -> None:
        """Settles the current step and moves to the next, or ends the visit."""
        steps = self._steps
        self._rules.sink.steps.append(
            StepOutcome(
                self.name,
                self.cohort,
                self.op,
                self._index,
                outcome,
                self._step_due_ns if self._number else self.due_ns,
                now_ns,
                self._number,
                available and self._number == 1,
            )
        )
        if outcome is Outcome.rejected:
            # The service does not know these ids (any more), so neither the chain nor the offer made to them goes on.
            self._wants_fresh = True
            self._offer = None
        self._index += 1
        self._number = 0
        self._retries = 0
        if self._index < len(steps):
            step = steps[self._index]
            self._state = _AFTER[more][self._state]
            self.op = step.op
            self.due_ns = now_ns + self._think_ns(step)
            return
        self._state = _AFTER[last][self._state]
        self._end(VisitEnd.completed, now_ns)

    def _think_ns(self, step: Step) -> int:
        rules = self._rules
        think_ns = int(step.think * rules.think_scale + 0.5)
        cap_ns = rules.max_think_ns
        return think_ns if cap_ns is None or think_ns < cap_ns else cap_ns

    def lie_down(self) -> None:
        """Gives back the memory that a long wait does not need: the trace's line, and the steps that are settled.

        To be called while the visit waits; nothing that it does afterwards changes.
        """
        to_come = [
            Step(op=step.op, think=step.think, identity=step.identity, request=step.request.copy())
            for step in self._steps[self._index :]
        ]
        self._steps = [_SETTLED] * self._index + to_come

    # How it ends early

    def cut(self, now_ns: int) -> None:
        """The run ends first: the current step and those after it are censored. Raises `IllegalMoveError` when over."""
        self._end_early("cut", Outcome.censored, VisitEnd.censored, now_ns)

    def drop(self, now_ns: int) -> None:
        """The visit came up too late to be begun. Raises `IllegalMoveError` when it has begun."""
        self._end_early("drop", Outcome.dropped, VisitEnd.dropped, now_ns)

    def _end_early(self, event: str, outcome: Outcome, end: VisitEnd, now_ns: int) -> None:
        state = TRANSITIONS.get((self._state, event))
        if state is None:
            raise IllegalMoveError(f"visit {self.name}: cannot {event} in state {self._state}")
        self._state = state
        for index in range(self._index, len(self._steps)):
            begun = index == self._index and self._number > 0
            self._rules.sink.steps.append(
                StepOutcome(
                    self.name,
                    self.cohort,
                    self._steps[index].op,
                    index,
                    outcome,
                    self._step_due_ns if begun else -1,
                    now_ns,
                    self._number if begun else 0,
                    False,
                )
            )
        self._end(end, now_ns)

    def _end(self, end: VisitEnd, now_ns: int) -> None:
        identities = self._rules.identities
        if self._vid is not None:
            identities.release(self._vid, self.name)
        if not self.returns:
            identities.forget(self.visitor)
        self._rules.sink.visits.append(
            VisitOutcome(self.name, self.cohort, end, self.arrival_ns, self.started_ns, now_ns, len(self._steps))
        )

    # What others may look at

    @property
    def state(self) -> str:
        """`new`, `waiting`, `flying` or `over`."""
        return self._state

    @property
    def asks_for_session(self) -> bool:
        """Whether the next request carries no session id that the service gave, so that it makes a new session."""
        if self._state is OVER or self.op == "update":
            return False
        step = self._steps[self._index]
        if self._number == 0 and (step.identity != "chain" or self._wants_fresh):
            return True
        dropped = self._number > 0 and not self._given and not self._rules.keep_ids
        return dropped or self._sid is None or self._holds_stale

    @property
    def planned_ns(self) -> int:
        """When the request in flight was due."""
        return self._planned_ns

    @property
    def ids(self) -> tuple[str | None, str | None]:
        """The newest (vid, sid) of this visit."""
        return self._vid, self._sid
