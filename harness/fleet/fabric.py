"""Locust as the fabric: users that only park, a shape that ends when the run has ended, and our messages on its wire.

Locust moves users between workers as it likes (a late worker, a lost one), so nothing depends on which or how many a
worker has. The shape keeps Locust running until the run is finished, drained and written; only then do the workers
quit, and `test_stopping`, which Locust fires first when somebody stops it, waits for that, bounded.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from time import monotonic_ns
from typing import Any

import gevent
from gevent.event import Event
from locust import LoadTestShape, User, constant, task
from locust.runners import LocalRunner, MasterRunner

from harness.errors import ExitCode, HarnessError
from harness.fleet.locust_side import LocustSide
from harness.fleet.master import TURN_S, Conductor
from harness.fleet.messages import (
    CHANNEL,
    FromMaster,
    FromWorker,
    decode_from_worker,
    encode,
)
from harness.fleet.worker import WorkerNode

# How long a stop from outside (SIGTERM, the web UI) waits for the run to be cut off, judged and written.
STOP_LIMIT_S = 30.0

# Users a worker gets: one is enough to make Locust regard it as running.
_USERS_PER_WORKER = 1


class EngagementUser(User):
    """Carries nothing: it parks, so that Locust has a user to count. Visitors are played by the worker's engine."""

    wait_time = constant(3_600)

    @task
    def park(self) -> None:
        """Nothing to do."""


class RunShape(LoadTestShape):
    """Asks for one user a worker until the run is finished."""

    finished: Callable[[], bool] = staticmethod(lambda: False)

    def tick(self) -> tuple[int, float] | None:
        """Locust's question, once a second: how many users now, at which spawn rate; None ends the test."""
        if type(self).finished():
            return None
        # Without a worker Locust's start does nothing, and it does not try again before the answer changes.
        users = getattr(self.runner, "worker_count", 1) * _USERS_PER_WORKER
        return users, float(max(users, 1))


Begin = Callable[[Callable[[FromMaster], None]], Conductor]
Finish = Callable[[Conductor], None]


class MasterFabric:
    """The master's side: one conductor per Locust test.

    `begin(send)` makes the conductor of a run, `turn` is called after each of its turns, `finish` once when it has
    finished and must leave nothing undone: Locust ends after it. What raises on the way ends the run with that error,
    after a drain; what raises during that drain ends it at once.
    """

    def __init__(
        self,
        environment: Any,
        send: Callable[[FromMaster], None],
        *,
        begin: Begin,
        turn: Callable[[Conductor], None],
        finish: Finish,
    ) -> None:
        self._send = send
        self._begin = begin
        self._turn = turn
        self._finish = finish
        self.conductor: Conductor | None = None
        self._done = Event()
        RunShape.finished = staticmethod(self._done.is_set)
        environment.events.test_start.add_listener(self._on_start)
        environment.events.test_stopping.add_listener(self._on_stopping)
        environment.events.test_stop.add_listener(self._on_stop)

    def receive(self, message: FromWorker) -> None:
        """Takes a worker's message; between runs nobody listens."""
        conductor = self.conductor
        if conductor is not None:
            self._guarded(conductor, lambda: conductor.receive(message, monotonic_ns()))

    def interrupt(self, reason: str) -> None:
        """Ends the run early, as from outside."""
        if self.conductor is not None:
            self.conductor.interrupt(reason, monotonic_ns())

    def fail(self, message: str, exit_code: ExitCode) -> None:
        """Ends the run early because of an error; nothing changes once it has ended."""
        if self.conductor is not None and self.conductor.phase != "finished":
            self.conductor.fail(message, exit_code, monotonic_ns())

    def end_plan(self, reason: str) -> None:
        """Lets the plan of the run end now, in good order."""
        if self.conductor is not None:
            self.conductor.end_plan(reason)

    def _on_start(self, **_: Any) -> None:
        self.conductor = conductor = self._begin(self._send)
        gevent.spawn(self._conduct, conductor)

    def _conduct(self, conductor: Conductor) -> None:
        try:
            while conductor.phase != "finished":
                self._guarded(conductor, lambda: conductor.turn(monotonic_ns()))
                self._guarded(conductor, lambda: self._turn(conductor))
                gevent.sleep(TURN_S)
            self._finish(conductor)
        finally:
            self.conductor = None
            self._done.set()

    def _guarded(self, conductor: Conductor, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            if conductor.error is not None:
                conductor.abandon(monotonic_ns())
            elif isinstance(error, HarnessError):
                conductor.fail(str(error), error.exit_code, monotonic_ns())
            else:
                message = f"internal error in the master: {error!r}"
                details = "".join(traceback.format_exception(error))
                conductor.fail(message, ExitCode.INTERNAL, monotonic_ns(), details)

    def _on_stopping(self, **_: Any) -> None:
        if self.conductor is not None:
            self.interrupt("stopped from outside")
            self._done.wait(STOP_LIMIT_S)

    def _on_stop(self, **_: Any) -> None:
        # The next test asks the shape before it starts.
        self._done.clear()


def attach_master(environment: Any, runner: MasterRunner, **hooks: Any) -> MasterFabric:
    """Puts the harness on a Locust master; `hooks` are those of `MasterFabric`."""

    def send(message: FromMaster) -> None:
        # Locust knows its workers by client ids, we by incarnations; a client that Locust has dropped is not addressed.
        client = clients.get(message.incarnation)
        if client is not None and client in runner.clients:
            runner_send(CHANNEL, encode(message), client_id=client)

    def receive(msg: Any, **_: Any) -> None:
        message = decode_from_worker(msg.data)
        clients[message.incarnation] = msg.node_id
        fabric.receive(message)

    # Locust annotates a message's data as a dict, but packs whatever it is given.
    runner_send: Any = runner.send_message
    clients: dict[str, str] = {}
    fabric = MasterFabric(environment, send, **hooks)
    runner.register_message(CHANNEL, receive)
    return fabric


def attach_local(environment: Any, _runner: LocalRunner, **hooks: Any) -> MasterFabric:
    """Both sides in one process, for plain `locust -f` without workers; messages pass through the hub, as on a wire."""

    def to_worker(message: FromMaster) -> None:
        gevent.spawn(node.receive, message)

    def to_master(message: FromWorker) -> None:
        gevent.spawn(fabric.receive, message)

    fabric = MasterFabric(environment, to_worker, **hooks)
    node = WorkerNode(to_master, LocustSide(environment))
    gevent.spawn(node.run)
    return fabric
