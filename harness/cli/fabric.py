"""The fabric of a run as its parent sees it: Locust's master and workers as children, events in, requests out.

The master writes events as JSON lines to one pipe and reads requests from another; the file descriptors' numbers are
in its environment (`HARNESS_EVENTS_FD`, `HARNESS_CONTROL_FD`). The master writes the run folder; the parent only
watches, shows and ends.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cli.children import Child
from harness.config.files import packaged
from harness.config.model import RunConfig
from harness.errors import UsageError

# The same names as in harness.fleet.entry, which this process must not import: it patches the standard library.
EVENTS_FD = "HARNESS_EVENTS_FD"
CONTROL_FD = "HARNESS_CONTROL_FD"

Event = dict[str, Any]

_JOIN_LIMIT_S = 30
_REMOTE_JOIN_LIMIT_S = 300
_REMOTE_PORT = 5557


@dataclass(frozen=True)
class Commands:
    """What to start: the master's command line and that of each local worker."""

    master: Sequence[str]
    worker: Sequence[str]
    join_limit_s: float = _JOIN_LIMIT_S
    web_url: str | None = None


def locust_commands(config: RunConfig, config_file: Path) -> Commands:
    """The command lines of Locust's master and workers for a run; ports are picked free ones."""
    locust = [sys.executable, "-m", "locust", "-f", str(packaged("locustfiles/engagement.py"))]
    locust += ["--harness-config", str(config_file), "--loglevel", "WARNING"]
    host, port = _bind(config)
    join_limit_s = _JOIN_LIMIT_S if config.bind is None else _REMOTE_JOIN_LIMIT_S
    master = [*locust, "--master", "--master-bind-host", host, "--master-bind-port", str(port), "--only-summary"]
    master += ["--expect-workers", str(config.expect_workers), "--expect-workers-max-wait", str(join_limit_s)]
    web_url = None
    if config.web:
        web_port = free_port()
        web_url = f"http://127.0.0.1:{web_port}"
        master += ["--autostart", "--autoquit", "0", "--web-host", "127.0.0.1", "--web-port", str(web_port)]
    else:
        master.append("--headless")
    # A worker of this machine reaches a master that listens on all addresses by loopback.
    near = "127.0.0.1" if host in ("0.0.0.0", "::", "*") else host
    worker = [*locust, "--worker", "--master-host", near, "--master-port", str(port)]
    return Commands(master, worker, join_limit_s, web_url)


def _bind(config: RunConfig) -> tuple[str, int]:
    if config.bind is None:
        return "127.0.0.1", free_port()
    host, _, port = config.bind.rpartition(":")
    host, port = (config.bind, str(_REMOTE_PORT)) if not host or ":" in host else (host, port)
    try:
        # Locust would say so only after it has started, and in its own words.
        socket.create_server((host, int(port))).close()
    except OSError as error:
        raise UsageError(
            f"--bind {config.bind}: cannot listen there: {error.strerror or error}; choose another"
        ) from error
    return host, int(port)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on right now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


class Fabric:
    """A running master with its local workers; use as a context manager, leaving it ends them all."""

    def __init__(self, commands: Commands, workers: int, folder: Path) -> None:
        """Starts everything; logs go to `folder` as master.log and worker-N.log."""
        self.workers: list[Child] = []
        self._pending = b""
        self._events, events_write = os.pipe()
        control_read, self._control = os.pipe()
        try:
            self.master = Child(
                "master",
                commands.master,
                folder=folder,
                env={EVENTS_FD: str(events_write), CONTROL_FD: str(control_read)},
                pass_fds=(events_write, control_read),
                # The master gets the chance to close the run folder; the workers have nothing to save.
                orphan_signal=signal.SIGTERM,
            )
        finally:
            # With our copies closed, the pipe ends when the master does.
            os.close(events_write)
            os.close(control_read)
        for number in range(1, workers + 1):
            self.workers.append(Child(f"worker-{number}", commands.worker, folder=folder))

    def __enter__(self) -> Fabric:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, timeout_s: float) -> list[Event] | None:
        """The events that arrived within `timeout_s`; empty when none did, None when the master has closed the pipe.

        A line that is no JSON object is not an event (a print by foreign code); it is left out.
        """
        ready, _, _ = select.select([self._events], [], [], timeout_s)
        if not ready:
            return []
        chunk = os.read(self._events, 1 << 16)
        if not chunk:
            return None
        *lines, self._pending = (self._pending + chunk).split(b"\n")
        return [event for event in map(_event, lines) if event is not None]

    def ask_to_stop(self, reason: str) -> None:
        """Asks the master to end the run now: drain, judge, write. Without a master there is nobody to ask."""
        self._ask({"stop": reason})

    def ask_to_finish(self, reason: str) -> None:
        """Asks the master to let the plan end now, in good order: the run is complete, only shorter."""
        self._ask({"finish": reason})

    def tell_death(self, what: str) -> None:
        """Tells the master, in one line, what has died without which the run means nothing: it ends as invalid."""
        self._ask({"died": what})

    def _ask(self, request: dict[str, str]) -> None:
        try:
            os.write(self._control, json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            return

    def wait_for_end(self, timeout_s: float) -> bool:
        """Waits for the master to end by itself; False when it still runs after `timeout_s`."""
        return self.master.wait(timeout_s) is not None

    def close(self, grace_s: float = 3.0) -> None:
        """Ends whatever still runs: the workers follow the master, and what does not is killed."""
        self.master.stop(grace_s)
        deadline = time.monotonic() + grace_s
        for worker in self.workers:
            worker.wait(max(0.0, deadline - time.monotonic()))
            worker.stop(0.5)
        for descriptor in (self._events, self._control):
            if descriptor >= 0:
                os.close(descriptor)
        self._events = self._control = -1

    def kill(self) -> None:
        """Ends everything at once."""
        for child in (self.master, *self.workers):
            child.kill()


def _event(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None
