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
from time import monotonic_ns

import gevent
from gevent.event import Event

from harness.config.model import RunConfig
from harness.engine.endpoint import resolve_endpoint
from harness.engine.engine import Engine
from harness.fleet.life import TURN_S, Audience, Life, Send
from harness.fleet.messages import FromMaster, Go
from harness.fleet.renewal import Renewal
from harness.measure.recorder import Recorder
from harness.visitor.records import VisitEnd


class WorkerNode:
    """The harness side of one worker process.

    `send` hands a message to the master; `audience` is Locust's side, which hears of attempts or closed seconds.
    `receive` takes the master's messages; `run` is a greenlet's body and returns only when killed.
    """

    def __init__(self, send: Send, audience: Audience) -> None:
        self._send = send
        self._audience = audience
        self._renewal: Renewal | None = None
        self._kick = Event()
        self._lives = 0
        self._life = self._born()
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def _born(self) -> Life:
        self._lives += 1
        incarnation = f"{socket.gethostname()}-{os.getpid()}-{self._lives}"
        return Life(incarnation, self._send, self._audience, self._make_engine, self._kick.set)

    @property
    def busy(self) -> bool:
        """Whether a run is going on."""
        return self._life.busy

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

    def run(self) -> None:
        """Plays run after run."""
        while True:
            while not self._life.over:
                self._life.turn(monotonic_ns())
                self._kick.wait(TURN_S)
                self._kick.clear()
            self._life.close()
            if self._renewal is not None:
                self._renewal.stop()
            gc.unfreeze()
            gc.enable()
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
