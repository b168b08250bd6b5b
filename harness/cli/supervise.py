"""Watching a run to its end: the master's events, its life, the user's patience.

One loop, no threads. Whatever happens, it returns the final event or raises an error with one line; a run without a
word from its master does not hang the command.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Literal

from harness.cli.children import ending
from harness.cli.fabric import Event, Fabric
from harness.cli.progress import Progress
from harness.errors import ExitCode, HarnessError, InstrumentError, InternalError

POLL_S = 0.25
# The master speaks every second; a machine that is busy beyond measure may be late.
SILENCE_LIMIT_S = 60.0

# What whoever watches a run may wish of it: to let its plan end here, or to cut it off.
Wish = Literal["go on", "finish", "stop"]

# Tells, in one line, that something has died without which a run means nothing; None as long as all live.
Death = Callable[[], str | None]

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def nothing_died() -> str | None:
    """The `Death` of a run that depends on nothing but its own master and workers."""
    return None


class Interrupts:
    """Counts the user's requests to stop (Ctrl-C, SIGTERM, a closed terminal) while its context is open."""

    def __init__(self) -> None:
        self.count = 0

    def _count(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1

    @contextmanager
    def heard(self) -> Iterator[Interrupts]:
        """Takes the signals for the time of the block, then gives them back."""
        before = {number: signal.signal(number, self._count) for number in _STOP_SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class RunError(HarnessError):
    """The master ended the run with an error; the exit code is the master's."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = ExitCode(exit_code) if exit_code in set(ExitCode) else ExitCode.INTERNAL


def watch(
    fabric: Fabric,
    progress: Progress,
    interrupts: Interrupts,
    *,
    join_limit_s: float,
    silence_s: float = SILENCE_LIMIT_S,
    wish: Callable[[], Wish] | None = None,
    death: Death = nothing_died,
) -> Event:
    """Follows a run and returns the master's `finished` event.

    `wish` is asked a few times a second while the run goes on, until it wishes for its end. The first interrupt asks
    the master to end the run, the second kills it. `death` tells when something else has died without which the run
    means nothing: the master then ends it as invalid. Raises `RunError` when the master reports an error,
    `InternalError` when it dies or falls silent, `InstrumentError` when a worker ends before the run began;
    `KeyboardInterrupt` when the user did not want to wait.
    """
    began = False
    asked = 0
    died: str | None = None
    # Locust itself gives up on workers that do not join; this is for a master that cannot even say so.
    deadline = time.monotonic() + join_limit_s + silence_s
    while True:
        if interrupts.count > asked:
            if asked:
                fabric.kill()
                raise KeyboardInterrupt
            asked = interrupts.count
            progress.note("stopping: open visits are cut off and the run is judged; once more to end at once")
            fabric.ask_to_stop("interrupt")
        if died is None and (died := death()) is not None:
            fabric.tell_death(died)
        events = fabric.read(POLL_S)
        if events is None:
            raise _died(fabric)
        for event in events:
            deadline = time.monotonic() + silence_s
            kind = event["event"]
            if kind == "finished":
                return event
            if kind == "error":
                raise RunError(str(event.get("message", "the run failed")), int(event.get("exit_code", 1)))
            if kind == "started":
                began = True
            elif kind == "progress":
                progress.update(event)
        if not began:
            _check_workers(fabric)
        elif wish is not None and (wished := wish()) != "go on":
            wish = None
            ask = fabric.ask_to_finish if wished == "finish" else fabric.ask_to_stop
            ask("enough was seen")
        if time.monotonic() > deadline:
            fabric.kill()
            raise InternalError(f"the master has been silent for {silence_s:.0f} s and was ended{_tail(fabric)}")


def _check_workers(fabric: Fabric) -> None:
    for worker in fabric.workers:
        code = worker.exit_code()
        # The master's own end takes its workers along, and says why itself.
        if code is not None and fabric.master.exit_code() is None:
            words = worker.last_words()
            raise InstrumentError(
                f"{worker.name} ended before the run began ({ending(code)}){f': {words}' if words else ''}"
            )


def _died(fabric: Fabric) -> InternalError:
    # The pipe closes a moment before the process is gone.
    code = fabric.master.wait(2.0)
    return InternalError(f"the master ended without a result ({ending(code)}){_tail(fabric)}")


def _tail(fabric: Fabric) -> str:
    words = fabric.master.last_words()
    return f": {words}" if words else ""
