"""Whoever listens on a port of this machine, and the CPU time that this process has taken: read from outside, by /proc.

The kernel keeps a CPU clock for each process that others may read, in nanoseconds and exact while it runs.
"""

from __future__ import annotations

import time
from pathlib import Path

from harness.bench.children import BenchError

_LISTENING = "0A"


class Listener:
    """The process that listens on 127.0.0.1:`port`; raises `BenchError` when none of this user's does."""

    def __init__(self, port: int) -> None:
        self.pid = _pid_listening_on(port)
        # clock_getcpuclockid(3): the process id's complement, and 2 for the scheduler's own account.
        self._clock = (~self.pid << 3) | 2

    def cpu_s(self) -> float:
        """CPU seconds of the process and all its threads; raises `BenchError` when it is gone."""
        try:
            return time.clock_gettime(self._clock)
        except OSError as error:
            raise BenchError(f"process {self.pid} is gone") from error


def _pid_listening_on(port: int) -> int:
    inodes = {f"socket:[{inode}]" for inode in _inodes_listening_on(port)}
    for folder in Path("/proc").glob("[0-9]*/fd"):
        try:
            if any(str(each.readlink()) in inodes for each in folder.iterdir()):
                return int(folder.parent.name)
        except OSError:
            continue  # another user's, or it ended meanwhile
    raise BenchError(f"nobody listens on port {port}")


def _inodes_listening_on(port: int) -> list[str]:
    """Of /proc/net/tcp: address and port in hex are the second field, the state the fourth, the inode the tenth."""
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return [line[9] for line in lines if line[3] == _LISTENING and line[1].endswith(f":{port:04X}")]
