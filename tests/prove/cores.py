"""Which process runs on which core: what is measured on one of its own, and hogs beside it where that is the point."""

from __future__ import annotations

import os
import sys
from subprocess import Popen

from tests.system.harness_run import Command, command_line, descendants, wait_until

_SPIN = "while True: pass"


def workers_of(command: Command) -> list[int]:
    """The worker processes of a run."""
    return [pid for pid in descendants(command.pid) if "--worker" in command_line(pid)]


def set_apart(command: Command, workers: int = 1) -> None:
    """Keeps the workers on the last core, all other children of this process, the target too, on the first.

    Waits until all the workers are there.
    """
    wait_until(lambda: len(workers_of(command)) >= workers, 30, "the workers")
    first, *_, last = sorted(os.sched_getaffinity(0))
    apart = set(workers_of(command))
    for pid in descendants(os.getpid()):
        os.sched_setaffinity(pid, {last if pid in apart else first})


def hog(core: int) -> Popen[bytes]:
    """A process that does nothing but use that core; to be killed by who started it."""
    process = Popen([sys.executable, "-c", _SPIN])
    os.sched_setaffinity(process.pid, {core})
    return process
