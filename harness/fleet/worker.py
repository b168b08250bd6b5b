"""A worker process: lives through incarnations, one a run, and keeps itself fit for playing.

The engine runs in callbacks of gevent's hub; the greenlet of `WorkerNode.run` is the one beside it that may block:
it packs and sends slices and tells Locust what its statistics and listeners should know. While a run goes on, another
one asks DNS again.
"""

from __future__ import annotations

import gc
import os
import resource
import socket
from collections.abc import Callable
from secrets import token_hex
from time import monotonic_ns
from typing import Any

import gevent
from gevent.event import Event

from harness.config.model import RunConfig
from harness.engine.endpoint import resolve_endpoint
from harness.engine.engine import Engine
from harness.errors import ExitCode
from harness.fleet.life import TURN_S, Audience, Life, Send
from harness.fleet.messages import FromMaster, Go
from harness.fleet.renewal import Renewal
from harness.measure.recorder import Recorder
from harness.visitor.records import VisitEnd

Tell = Callable[[dict[str, Any]], None]


class WorkerNode:
    """The harness side of one worker process.

    `send` hands a message to the master; `audience` is Locust's side, which hears of attempts or closed seconds; `tell`
    takes events for whoever started the process: "playing", "over", "fenced", "refused". `capacity` is how much this
    worker takes beside others. `receive` takes the master's messages; `run` is a greenlet's body.
    """

    def __init__(self, send: Send, audience: Audience, tell: Tell = lambda _event: None, capacity: float = 1.0) -> None:
        self._send = send
        self._audience = audience
        self._tell = tell
        self._capacity = capacity
        self._renewal: Renewal | None = None
        self._kick = Event()
        # Drawn anew: a container that starts again has the name and the process number of the one before.
        self._process = f"{socket.gethostname()}-{os.getpid()}-{token_hex(4)}"
        self._lives = 0
        self._life = self._born()
        self._asked_to_leave = False
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def _born(self) -> Life:
        self._lives += 1
        incarnation = f"{self._process}-{self._lives}"
        return Life(incarnation, self._send, self._audience, self._make_engine, self._kick.set, self._capacity)

    @property
    def busy(self) -> bool:
        """Whether a run is going on."""
        return self._life.busy

    def ask_to_leave(self) -> bool:
        """Asks, from anywhere, to leave the run at the next turn; False when it was asked before."""
        before, self._asked_to_leave = self._asked_to_leave, True
        return not before

    def receive(self, message: FromMaster) -> None:
        """Takes one message of the master; those for another incarnation are ignored."""
        if message.incarnation != self._life.incarnation:
            return
        if isinstance(message, Go) and gc.isenabled():
            # The engine makes no cycles, so a collection would only stall it.
            gc.collect()
            gc.freeze()
            gc.disable()
        self._life.receive(message, monotonic_ns())
        if isinstance(message, Go):
            self._tell({"event": "playing", "run_id": self._life.run_id, "worker": self._life.worker})

    def run(self) -> ExitCode:
        """Plays run after run; returns when it was asked to leave and has left."""
        while True:
            life = self._life
            while not life.over:
                if self._asked_to_leave and not life.left and not life.leave(monotonic_ns()):
                    return ExitCode.PASS
                life.turn(monotonic_ns())
                self._kick.wait(TURN_S)
                self._kick.clear()
            visits_open, queued = life.holds()
            life.close()
            if life.fenced:
                self._tell({"event": "fenced", "open": visits_open, "queued": queued})
            elif life.refused is not None:
                code = int(life.refused.exit_code)
                self._tell({"event": "refused", "message": str(life.refused), "exit_code": code})
            elif life.run_id:
                self._tell({"event": "over", "run_id": life.run_id})
            if self._renewal is not None:
                self._renewal.stop()
            gc.unfreeze()
            gc.enable()
            if self._asked_to_leave:
                return ExitCode.PASS
            self._life = self._born()

    def _make_engine(
        self,
        config: RunConfig,
        recorder: Recorder,
        *,
        on_over: Callable[[int, VisitEnd], None],
        on_second: Callable[[int], None],
        on_crash: Callable[[BaseException], None],
    ) -> Engine:
        endpoint = resolve_endpoint(config)
        loop = gevent.get_hub().loop
        engine = Engine(config, endpoint, recorder, loop, on_over=on_over, on_second=on_second, on_crash=on_crash)
        self._renewal = Renewal(config, endpoint, on_crash)
        return engine
