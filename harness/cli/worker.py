"""`harness worker`: worker processes of this machine join a run that another one conducts.

Each is a Locust worker of its own, as `harness run --workers` starts them; this process only watches. The first Ctrl-C
or SIGTERM makes them leave in good order (what they have not begun goes to other workers, what is open is finished),
the second ends them at once.
"""

from __future__ import annotations

import json
import math
import os
import select
import signal
import socket
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

import click

from harness.cli.children import Child
from harness.cli.supervise import POLL_S, Interrupts
from harness.config.files import packaged
from harness.errors import ExitCode, InstrumentError, UsageError
from harness.units import NS_PER_S, parse_duration_ns

# The same names as in harness.fleet.attached, which this process must not import: it patches the standard library.
CAPACITY = "HARNESS_WORKER_CAPACITY"
PATIENCE = "HARNESS_WORKER_PATIENCE"
NOTES_FD = "HARNESS_WORKER_NOTES_FD"

_END_LIMIT_S = 10.0


def _duration_s(_context: click.Context, parameter: click.Parameter, value: str) -> float:
    try:
        duration_ns = parse_duration_ns(value)
    except UsageError as error:
        raise UsageError(f"--{parameter.name}: {error}") from None
    if duration_ns <= 0:
        raise UsageError(f"--{parameter.name} {value}: must be longer than nothing")
    return duration_ns / NS_PER_S


def _finite(_context: click.Context, parameter: click.Parameter, value: float) -> float:
    # Beside every other number, and so inside any range; found out by the worker only once a master answers.
    if not math.isfinite(value):
        raise UsageError(f"--{parameter.name} {value}: write a number above 0, such as 1 or 2.5")
    return value


@click.command("worker", short_help="Join a run on another machine.")
@click.argument("master", metavar="HOST:PORT")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes here: one a core.")
@click.option(
    "--capacity",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    callback=_finite,
    help="What each takes beside others: twice another's capacity, twice its share.",
)
@click.option("--wait", default="5m", show_default=True, callback=_duration_s, help="Give up without a master.")
@click.option(
    "--patience", default="30s", show_default=True, callback=_duration_s, help="Give up when the master falls silent."
)
def worker(master: str, workers: int, capacity: float, wait: float, patience: float) -> int:
    """Join the run that `harness run --bind` conducts at HOST:PORT (PORT is 5557 unless the run says otherwise).

    The run's configuration comes from the master; files that it names must be here under the same paths. Ends with the
    run. Exit code 0: it played to the end, or left when it was asked to; 5: no master, or none any more; what kept it
    from playing (2: a file or variable that is missing here, 6: a target that this machine must not load, 7: that does
    not resolve here) is said, and is its exit code.
    """
    host, port = _address(master)
    command = [sys.executable, "-m", "locust", "-f", str(packaged("locustfiles/engagement.py")), "--worker"]
    command += ["--master-host", host, "--master-port", str(port), "--loglevel", "ERROR"]
    environment = {CAPACITY: repr(capacity), PATIENCE: f"{patience:.3f}s"}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="harness-worker-")))
        interrupts = stack.enter_context(Interrupts().heard())
        crew = _Crew(folder, sys.stderr)
        stack.callback(crew.close)
        for number in range(1, workers + 1):
            crew.start(f"worker-{number}", command, environment)
        crew.say(f"waiting for the run at {host}:{port}")
        return crew.attend(interrupts, join_limit_s=wait, where=f"{host}:{port}")


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = text, "5557"
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise UsageError(f"'{text}' is not where a run can be: write HOST:PORT, as the run's --bind says")
    host = host.strip("[]")
    try:
        socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        raise UsageError(f"{host}: no such host: {error.strerror}; write the name or address of the run") from None
    return host, int(port)


class _Crew:
    """The worker processes of this command; `people` hears what they do."""

    def __init__(self, folder: Path, people: TextIO) -> None:
        self._folder = folder
        self._people = people
        self._children: dict[int, Child] = {}
        self._pending: dict[int, bytes] = {}
        self._joined: set[int] = set()
        self._refused = int(ExitCode.PASS)

    def start(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        """Starts one process; what it tells comes through a pipe."""
        notes, notes_write = os.pipe()
        try:
            child = Child(
                name,
                command,
                folder=self._folder,
                env={**environment, NOTES_FD: str(notes_write)},
                pass_fds=(notes_write,),
                # Killed without a word, this command takes its workers out of the run in good order.
                orphan_signal=signal.SIGTERM,
            )
        finally:
            os.close(notes_write)
        self._children[notes] = child
        self._pending[notes] = b""

    def say(self, text: str, who: str = "") -> None:
        """Tells people one line."""
        print(f"{who}: {text}" if who else text, file=self._people, flush=True)

    def attend(self, interrupts: Interrupts, *, join_limit_s: float, where: str) -> int:
        """Watches until all have ended; returns the exit code of the first that failed, else 0."""
        deadline = time.monotonic() + join_limit_s
        asked = 0
        while self._pending:
            if interrupts.count > asked:
                if asked:
                    self.close()
                    return int(ExitCode.INTERRUPTED)
                asked = interrupts.count
                self.say("leaving: what is open is finished, the rest goes to others; once more to end at once")
                for child in self._children.values():
                    child.terminate()
            ready, _, _ = select.select(list(self._pending), [], [], POLL_S)
            for notes in ready:
                self._read(notes)
            if time.monotonic() > deadline and not asked and len(self._joined) < len(self._children):
                raise InstrumentError(
                    f"no run answers at {where} within {join_limit_s:g} s: is it there, and reachable?"
                )
        return self._ending(asked > 0)

    def close(self) -> None:
        """Ends whatever still runs, at once."""
        for notes, child in self._children.items():
            child.kill()
            if notes in self._pending:
                os.close(notes)
        self._pending.clear()

    def _read(self, notes: int) -> None:
        chunk = os.read(notes, 1 << 12)
        if not chunk:
            os.close(notes)
            del self._pending[notes]
            return
        *lines, self._pending[notes] = (self._pending[notes] + chunk).split(b"\n")
        for line in lines:
            self._hear(notes, json.loads(line))

    def _hear(self, notes: int, event: dict[str, Any]) -> None:
        who = self._children[notes].name
        if event["event"] == "joined":
            self._joined.add(notes)
        elif event["event"] == "playing":
            self.say(f"plays run {event['run_id']} as {event['worker']}", who)
        elif event["event"] == "over":
            self.say(f"its part of run {event['run_id']} is over", who)
        elif event["event"] == "fenced":
            stopped = f"{event['open']} open visits were cut off, {event['queued']} not begun"
            self.say(f"the master is silent: {stopped}", who)
        elif event["event"] == "refused":
            self._refused = self._refused or int(event["exit_code"])
            self.say(f"harness: error: {who} cannot play this run: {event['message']}")

    def _ending(self, asked: bool) -> int:
        code = self._refused
        for child in self._children.values():
            ended = child.wait(_END_LIMIT_S)
            if ended is None:
                child.kill()
                ended = int(ExitCode.INTERNAL)
            if ended == 0 or (asked and ended < 0):
                continue
            words = child.last_words().removeprefix("harness: error: ")
            self.say(f"harness: error: {words or f'ended with {ended}'}")
            code = code or (ended if ended in set(ExitCode) else int(ExitCode.INTERNAL))
        return code
