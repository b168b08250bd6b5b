"""A rehearsal that is interrupted."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.system.harness_run import ROOT, Command


def test_ctrl_c_ends_a_rehearsal_at_once(tmp_path: Path) -> None:
    """Exit code 130, one line on stderr, no half result on stdout."""
    demo = ROOT / "fixtures" / "demo.jsonl.gz"
    command = Command("plan", str(demo), "--loop", "1000000", scratch=tmp_path, out=tmp_path)
    try:
        while not _has_open(command.pid, demo):
            assert command.alive and command.age_s() < 30, command.stderr_so_far()
            time.sleep(0.01)
        command.signal(signal.SIGINT)
        finished = command.wait(command.age_s() + 10)
    finally:
        command.kill()
    assert (finished.exit_code, finished.stdout, finished.stderr.split("\n")) == (
        130,
        "",
        ["", "harness: interrupted", ""],
    )


def _has_open(pid: int, path: Path) -> bool:
    """Whether the process has the file open: it is reading the trace."""
    descriptors = Path(f"/proc/{pid}/fd")
    return any(descriptor.is_symlink() and descriptor.resolve() == path for descriptor in descriptors.iterdir())
