"""Runs a command and notes the most memory that it held: `python -S weighed.py FILE COMMAND…` writes bytes to FILE.

A process of its own because the kernel counts into a child's peak what its parent held when the child was started: this
one is as small as a Python process can be. It ends as the command did, and passes SIGTERM on to it.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def _main(peak: str, *command: str) -> int:
    pid = os.posix_spawn(command[0], command, os.environ)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
    _, status, used = os.wait4(pid, 0)
    Path(peak).write_text(str(used.ru_maxrss * 1024))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
