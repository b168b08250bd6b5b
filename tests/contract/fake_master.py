"""Stands in for Locust's master and workers: plays one of a few scenes through the parent's pipes.

Usage: fake_master.py SCENE OUT_DIR. It imports nothing of the harness, so it is a second opinion on the protocol.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path


def tell(**event: object) -> None:
    os.write(int(os.environ["HARNESS_EVENTS_FD"]), json.dumps(event).encode() + b"\n")


def finish(out: Path, exit_code: int, checks: list[dict[str, object]]) -> None:
    out.mkdir(parents=True)
    summary = json.loads((Path(__file__).parents[2] / "tests/contract/fake_summary.json").read_text())
    summary["verdict"] = {"status": "PASS" if exit_code == 0 else "INVALID", "exit_code": exit_code, "checks": checks}
    tell(event="finished", summary=summary, out_dir=str(out))


def wait_for_stop() -> str:
    return str(json.loads(os.read(int(os.environ["HARNESS_CONTROL_FD"]), 4096))["stop"])


def main(scene: str, out: Path) -> int:
    print("a line of the master's log", file=sys.stderr, flush=True)
    if scene == "worker":
        signal.pause()
    if scene == "worker-dies":
        print("cannot import engagement.py", file=sys.stderr)
        return 3
    tell(event="ready", workers=1)
    if scene == "refuse":
        tell(event="error", message="the port is taken", exit_code=2)
        return 2
    if scene == "never-start":
        time.sleep(60)
    tell(event="started", t0=0)
    tell(event="progress", t_s=1, phase="measure", started=3, planned=9)
    if scene == "die":
        print("Something broke\n", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if scene == "interruptible":
        reason = wait_for_stop()
        check = {"name": "interrupted", "kind": "validity", "ok": False, "observed": None, "limit": None, "unit": "",
                 "message": f"stopped by {reason}"}  # fmt: skip
        finish(out, 130, [check])
        return 130
    if scene == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
    os.write(int(os.environ["HARNESS_EVENTS_FD"]), b"not an event\n[1]\n")
    finish(out, 0, [])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
