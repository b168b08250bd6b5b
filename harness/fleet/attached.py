"""The harness on a Locust worker: messages, signals, and the end of a process whose master is gone.

SIGTERM asks the worker to leave in good order: what it has not begun goes to others, what is open is finished, and only
then does the process end (a second one ends it at once). A worker that hears nothing from its master, neither from
the harness nor from Locust, stops playing within 3 s (house: fencing) and ends after its patience, with an error.

Locust's master moves users whenever a worker comes or goes, and each time every worker would build Locust's argument
parser anew for each of Locust's options: more than a second in which no visit is played (`spare_the_loop`).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from math import inf, isfinite
from types import FrameType
from typing import Any

import gevent
import msgspec
from locust import argument_parser
from locust.runners import WorkerRunner

from harness.errors import ExitCode, UsageError
from harness.fleet.locust_side import LocustSide
from harness.fleet.messages import CHANNEL, FromWorker, Go, decode_from_master, encode
from harness.fleet.worker import Tell, WorkerNode
from harness.units import NS_PER_S, parse_duration_ns

# How much a worker takes beside others, how long it waits for a silent master, and (a pipe) who hears what it does.
CAPACITY = "HARNESS_WORKER_CAPACITY"
PATIENCE = "HARNESS_WORKER_PATIENCE"
NOTES_FD = "HARNESS_WORKER_NOTES_FD"

DEFAULT_PATIENCE_S = 30.0
_LOOK_EVERY_S = 1.0


def attach_worker(environment: Any, runner: WorkerRunner) -> WorkerNode:
    """Puts the harness on a Locust worker and lets it live; raises `UsageError` for a setting that cannot be used."""

    runner_send: Any = runner.send_message

    def send(message: FromWorker) -> None:
        runner_send(CHANNEL, encode(message))

    def receive(msg: Any, **_: Any) -> None:
        message = decode_from_master(msg.data)
        if isinstance(message, Go):
            # Not before: Locust takes SIGTERM for itself late in its own start.
            signal.signal(signal.SIGTERM, terminated)
        node.receive(message)

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        # Ctrl-C in a terminal reaches the master and its workers alike; how a run ends is the master's to say.
        if not node.busy:
            interrupt_locust()

    def terminated(_number: int, _frame: FrameType | None) -> None:
        if not node.busy or not node.ask_to_leave():
            interrupt_locust()

    def live() -> None:
        _end(environment, runner, node.run())

    def watch() -> None:
        heard, silent_s = None, 0.0
        while silent_s < patience_s:
            # Counted in looks, not by the clock: whoever was stopped himself must not blame the master for it.
            gevent.sleep(_LOOK_EVERY_S)
            silent_s = silent_s + _LOOK_EVERY_S if runner.last_heartbeat_timestamp == heard is not None else 0.0
            heard = runner.last_heartbeat_timestamp
        sys.stderr.write(f"harness: error: the master has been silent for {patience_s:g} s: this worker ends\n")
        _end(environment, runner, ExitCode.INVALID)

    spare_the_loop()
    patience_s = patience(os.environ)
    tell = _notes(os.environ.get(NOTES_FD))
    node = WorkerNode(send, LocustSide(environment), tell, capacity(os.environ))
    runner.register_message(CHANNEL, receive)
    signal.signal(signal.SIGINT, interrupted)
    gevent.spawn(live)
    gevent.spawn(watch)
    tell({"event": "joined"})
    return node


def interrupt_locust() -> None:
    """Ctrl-C where Locust expects it, in the greenlet that waits for the end of everything.

    Raised in the handler it would come up in whichever greenlet runs, or in the hub, which prints it with a traceback.
    """
    hub: Any = gevent.get_hub()
    hub.loop.run_callback_threadsafe(hub.parent.throw, KeyboardInterrupt)


def spare_the_loop() -> None:
    """Lets Locust find out its own options once, now, and not some eighty times with every message about users."""
    defaults = argument_parser.default_args_dict()
    argument_parser.default_args_dict = lambda: dict(defaults)


def capacity(environment: Mapping[str, str]) -> float:
    """The worker's capacity by its environment, 1 unless it says otherwise; raises `UsageError`."""
    text = environment.get(CAPACITY, "1")
    try:
        value = float(text)
    except ValueError:
        value = inf
    if not isfinite(value) or value <= 0:
        raise UsageError(f"{CAPACITY}: '{text}' is not a capacity: write a number above 0, such as 1 or 2.5")
    return value


def patience(environment: Mapping[str, str]) -> float:
    """How long, in seconds, the worker waits for a silent master by its environment; raises `UsageError`."""
    text = environment.get(PATIENCE)
    return DEFAULT_PATIENCE_S if text is None else parse_duration_ns(text) / NS_PER_S


def _end(environment: Any, runner: WorkerRunner, code: ExitCode) -> None:
    """Ends the process by Locust's own way out, which tells the master."""
    environment.process_exit_code = int(code)
    runner.quit()


def _notes(descriptor: str | None) -> Tell:
    """Writes events, one JSON line each, to a pipe; a few short ones a run, so that it never fills."""
    if descriptor is None:
        return lambda _event: None

    def tell(event: dict[str, Any]) -> None:
        # The command that started this worker may have ended without it; then nobody needs to know.
        with suppress(BrokenPipeError):
            os.write(int(descriptor), msgspec.json.encode(event) + b"\n")

    return tell
