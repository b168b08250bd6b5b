"""One run of classic visitors: which visit is next, by which rules it is played, and what was recorded of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import monotonic_ns

import msgspec
from gevent.event import Event

from harness.config.model import RunConfig
from harness.engine.accounts import Accounts
from harness.engine.endpoint import Endpoint, resolve_endpoint
from harness.errors import UsageError
from harness.fleet.attempt_log import LoggingRecorder
from harness.measure.recorder import Recorder
from harness.measure.snapshot import Snapshot
from harness.plan.schedule import PlannedVisit
from harness.trace.model import Visit
from harness.units import NS_PER_MS
from harness.visitor.identity import Identities
from harness.visitor.session import Rules, Sink, VisitorSession

_decode_visit = msgspec.json.Decoder(Visit).decode


class ClassicRun:
    """What the users of one process share: the plan, the rules of sessions, the endpoint and the records.

    `visits` is the plan; `duration_ns` ends it for a closed loop. Raises `HarnessError` when the target cannot be used
    or the guard forbids it.
    """

    def __init__(self, config: RunConfig, visits: Iterator[PlannedVisit], duration_ns: int | None) -> None:
        if config.resolve:
            # Locust's client asks DNS itself, so the guard would judge one address and the calls go to another.
            raise UsageError("target.resolve cannot be kept with Locust's own client: leave it out")
        self.config = config
        self.endpoint: Endpoint = resolve_endpoint(config)
        self.closed = config.closed_slots is not None
        self.sink = Sink()
        self._rules = Rules(config.retry, config.seed, Identities(), self.sink, config.max_think_ns, config.think_speed)
        self._accounts = Accounts(config, self.endpoint)
        self._visits = visits
        self._duration_ns = duration_ns
        self._recorder = (
            LoggingRecorder(Path(config.log_attempts), closed=self.closed)
            if config.log_attempts
            else Recorder(closed=self.closed)
        )
        self._whole = Snapshot()
        self._t0_ns = 0
        self.ready = Event()

    def begin(self) -> None:
        """All users are there: the plan's first moment is now. Once is enough."""
        if not self.ready.is_set():
            self._t0_ns = monotonic_ns()
            self.ready.set()

    def now_ns(self) -> int:
        """The run's clock."""
        return monotonic_ns() - self._t0_ns

    def next_session(self) -> VisitorSession | None:
        """The next visit of the plan, or None when there is none any more."""
        late = self.closed and self._duration_ns is not None and self.now_ns() >= self._duration_ns
        planned = None if late else next(self._visits, None)
        if planned is None:
            return None
        visit = _decode_visit(planned.line)
        due_ns = self.now_ns() if self.closed else planned.due_ns
        return VisitorSession(visit, self._rules, self._accounts.calls_of(visit.account), due_ns, planned.suffix)

    def started(self, session: VisitorSession) -> None:
        """Counts a visit that begins."""
        self._recorder.visit_started(session.arrival_ns, session.cohort)

    def fold(self) -> None:
        """Enters the records of ended visits."""
        self.sink.fold_into(self._recorder)

    def snapshot(self) -> Snapshot:
        """Everything recorded until now."""
        self.fold()
        self._whole.merge(self._recorder.take())
        if isinstance(self._recorder, LoggingRecorder):
            self._recorder.flush()
        return self._whole


def take_apart(raw: bytes) -> tuple[str, str, dict[str, str], bytes]:
    """Method, path with query, headers and body of a request as the engine would send it.

    The headers that a client makes itself (Host, Content-Length) are left out.
    """
    head, _, body = raw.partition(b"\r\n\r\n")
    line, *rest = head.decode("ascii").split("\r\n")
    method, path, _ = line.split(" ")
    headers = dict(header.split(": ", 1) for header in rest)
    return method, path, {name: headers[name] for name in headers if name not in ("Host", "Content-Length")}, body


def told(snapshot: Snapshot) -> str:
    """What was recorded, as a few lines for people."""
    lag = snapshot.histogram("dispatch_lag")
    lines = [f"visits: {_counts(snapshot.by_last('visits'))}", f"steps: {_counts(snapshot.by_last('steps'))}"]
    lines += [f"attempts: {_counts(snapshot.by_last('attempts'))}", f"chain: {_counts(snapshot.by_last('chain'))}"]
    p99_ns = lag.quantile(0.99)
    if p99_ns is not None:
        lines.append(f"dispatch lag p99: {p99_ns / NS_PER_MS:.3f} ms (users, not the engine, kept the plan)")
    return "\n".join(lines)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"
