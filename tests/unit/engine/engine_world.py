"""A world for engine tests without sockets, clock or loop: virtual time, alarms on a list, connections that answer.

`World` puts itself in the place of the clock, of `Alarm` and of `Connection`, and plays the run by always jumping to
the next thing that happens.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

import orjson
import pytest

from harness.config.model import RunConfig
from harness.engine import engine as engine_module
from harness.engine import lines as lines_module
from harness.engine.endpoint import Endpoint
from harness.engine.engine import Arrival, Engine
from harness.units import NS_PER_MS, NS_PER_S
from harness.visitor.records import Result, VisitEnd
from harness.visitor.retry import RetryPolicy
from tests.unit.visitor.kept_records import KeptRecords

T0_NS = 1_000 * NS_PER_S
BODY = b'{"status":"NotAvailable","sessionId":"s","visitorId":"v","pageId":"1"}'

NO_RETRY = RetryPolicy(name="none")


def line(name: str, thinks_s: tuple[float, ...] = (0.0,)) -> bytes:
    """A trace line of a visit with one getEngagement step for each think time."""
    steps = [{"op": "get_engagement", "think": think, "request": {"appType": "EXTERNAL"}} for think in thinks_s]
    return orjson.dumps({"visit": name, "visitor": name, "at": 0, "steps": steps})


def arrival(ticket: int, due_ns: int, thinks_s: tuple[float, ...] = (0.0,)) -> Arrival:
    """A visit named after its ticket, due so long after the start."""
    return Arrival(due_ns, line(f"v{ticket}", thinks_s), "", ticket)


class Reader:
    """A complete reply."""

    def __init__(self, status: int = 200, body: bytes = BODY) -> None:
        self.status = status
        self.keep_alive = True
        self._body = body

    def body(self) -> bytes:
        return self._body

    def retry_after_ns(self) -> int:
        return 0

    def reset(self) -> None:
        return


class Recorder(KeptRecords):
    """Keeps what the engine says of itself, too."""

    def __init__(self) -> None:
        super().__init__()
        self.delays: list[int] = []
        self.stalls: list[int] = []
        self.own_limits = 0
        self.all_held: list[str] = []

    def held(self, limit: str) -> None:
        self.all_held.append(limit)

    def own_limit(self) -> None:
        self.own_limits += 1

    def loop_delay(self, delay_ns: int) -> None:
        self.delays.append(delay_ns)

    def stall(self, stall_ns: int) -> None:
        self.stalls.append(stall_ns)


class World:
    """Virtual time and everything in it; `now_ns` is absolute, the run starts at `T0_NS`.

    `service_ns` is how long the peer takes to answer, None for never. `connect` says how a connect ends: "ok" at once,
    "fail" at once with an error, or "hang".
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, slots: int | None = None, **config: Any) -> None:
        self.now_ns = T0_NS
        self.service_ns: int | None = NS_PER_MS
        self.connect = "ok"
        self.recorder = Recorder()
        self.ends: list[tuple[int, VisitEnd]] = []
        self.seconds: list[int] = []
        self.crashes: list[BaseException] = []
        self.connections: list[FakeConnection] = []
        self.sent: list[tuple[str, int]] = []
        self.alarms: list[FakeAlarm] = []
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._serial = 0
        self.after_turn: Callable[[], None] = lambda: None
        monkeypatch.setattr(engine_module, "monotonic_ns", lambda: self.now_ns)
        monkeypatch.setattr(engine_module, "Alarm", lambda _loop, callback: FakeAlarm(self, callback))
        monkeypatch.setattr(lines_module, "Poller", lambda _loop, after_turn: FakePoller(self, after_turn))
        monkeypatch.setattr(lines_module, "Connection", lambda *parts: FakeConnection(self, parts[3]))
        given = {"retry": NO_RETRY, **config}
        self.engine = Engine(
            RunConfig(run_id="unit", trace="-", **given),
            Endpoint("http://127.0.0.1", "127.0.0.1", "127.0.0.1", "", []),
            self.recorder,
            None,
            on_over=lambda ticket, end: self.ends.append((ticket, end)),
            on_second=self.seconds.append,
            on_crash=self.crashes.append,
            slots=slots,
        )

    def later(self, delay_ns: int, what: Callable[[], None]) -> None:
        """Something happens after so long."""
        self._serial += 1
        heappush(self._agenda, (self.now_ns + delay_ns, self._serial, what))

    def run(self, until_ns: int, *, heard: bool = True) -> None:
        """Lets everything happen up to so long after `T0_NS`; the master is heard all the time, or not at all."""
        end_ns = T0_NS + until_ns
        while True:
            ringing = [alarm for alarm in self.alarms if alarm.moment_ns is not None]
            alarm = min(ringing, key=lambda alarm: alarm.moment_ns or 0, default=None)
            agenda_ns = self._agenda[0][0] if self._agenda else None
            moments = [moment for moment in (alarm and alarm.moment_ns, agenda_ns) if moment is not None]
            if not moments or min(moments) > end_ns:
                self.now_ns = max(self.now_ns, end_ns)
                return
            self.now_ns = max(self.now_ns, min(moments))
            if heard:
                self.engine.hear(self.now_ns)
            if alarm is not None and alarm.moment_ns == min(moments):
                alarm.ring()
            else:
                heappop(self._agenda)[2]()
                self.after_turn()

    def stall(self, duration_ns: int) -> None:
        """The process stands still: time goes on and nothing happens."""
        self.now_ns += duration_ns

    def sent_ms(self) -> list[float]:
        """When requests left, in ms after the start."""
        return [(moment - T0_NS) / NS_PER_MS for _, moment in self.sent]

    def fold(self) -> Recorder:
        """The recorder with everything folded."""
        self.engine.fold()
        return self.recorder

    def results(self) -> list[str]:
        """The attempts' results in order."""
        return [attempt.result.name for attempt in self.fold().all_attempts]


class FakeAlarm:
    """Rings when the world's time has come."""

    def __init__(self, world: World, callback: Callable[[], None]) -> None:
        self.moment_ns: int | None = None
        self._callback = callback
        world.alarms.append(self)

    def set(self, moment_ns: int) -> None:
        self.moment_ns = moment_ns

    def ring(self) -> None:
        self.moment_ns = None
        self._callback()

    def close(self) -> None:
        self.moment_ns = None


class FakePoller:
    """Watches nothing; the world ends its turns."""

    def __init__(self, world: World, after_turn: Callable[[], None]) -> None:
        world.after_turn = after_turn

    def close(self) -> None:
        return


class FakeConnection:
    """Connects and answers as the world says."""

    def __init__(self, world: World, owner: Engine) -> None:
        self._world = world
        self._owner = owner
        self.busy = self.connecting = self.closed = False
        self.carried: Any = None
        self.serial = 0
        self.started_ns = self.connected_ns = self.sent_ns = self.idle_seen_ns = -1
        self.tls_resumed = False
        self.tls_session = None
        world.connections.append(self)

    def open(self, request: bytes, carried: Any) -> None:
        self.serial += 1
        self.busy = self.connecting = True
        self.carried = carried
        self.started_ns = self._world.now_ns
        if self._world.connect == "fail":
            self.fail(Result.connect_error)
        elif self._world.connect == "ok":
            self._world.later(0, self.connected)

    def connected(self) -> None:
        """The connect is done."""
        if self.closed or not self.connecting:
            return
        self.connecting = False
        self.connected_ns = self._world.now_ns
        self._owner.on_connected(self)  # type: ignore[arg-type]
        self._sent()

    def send(self, request: bytes, carried: Any) -> None:
        self.serial += 1
        self.busy = True
        self.carried = carried
        self.started_ns = self.connected_ns = self._world.now_ns
        self._sent()

    def _sent(self) -> None:
        self.sent_ns = self._world.now_ns
        self._world.sent.append((self.carried.name, self.sent_ns))
        if self._world.service_ns is not None:
            self._world.later(self._world.service_ns, self._answer(self.serial))

    def _answer(self, serial: int) -> Callable[[], None]:
        def answer() -> None:
            if self.busy and self.serial == serial and not self.closed:
                self.busy = False
                self._owner.on_reply(self, Reader(), self._world.now_ns)  # type: ignore[arg-type]

        return answer

    def fail(self, result: Result) -> None:
        """The request in flight gets no reply."""
        self.close()
        self.busy = self.connecting = False
        self._owner.on_fault(self, result, "as told", self._world.now_ns)  # type: ignore[arg-type]

    def expire(self) -> None:
        self.fail(Result.connect_error if self.connecting else Result.timeout)

    def drop_idle(self) -> None:
        """The peer closes the idle connection."""
        self.close()
        self._owner.on_idle_close(self)  # type: ignore[arg-type]

    @property
    def usable(self) -> bool:
        return not self.closed and not self.busy

    def close(self) -> None:
        self.closed = True
