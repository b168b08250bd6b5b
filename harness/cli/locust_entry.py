"""Composition root of Locust's processes: what `locustfiles/engagement.py` is made of.

On a worker it attaches the engine. On the master it reads the run's configuration, opens the run folder and the metrics
page, conducts the run, and at its end summarises, judges, writes and reports, telling the parent process (if there is
one) through events on a pipe.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import msgspec
from gevent.os import make_nonblocking, nb_read
from locust import events
from locust.runners import MasterRunner, WorkerRunner

from harness.cli.fabric import CONTROL_FD, EVENTS_FD
from harness.cli.master_run import MasterRun
from harness.cli.run import settle_profile
from harness.config.model import RunConfig
from harness.errors import ExitCode, HarnessError, InternalError, UsageError
from harness.fleet.fabric import EngagementUser, MasterFabric, RunShape, attach_local, attach_master, attach_worker
from harness.fleet.master import Conductor
from harness.fleet.messages import FromMaster

__all__ = ["EngagementUser", "RunShape"]


def _add_arguments(parser: Any, **_: Any) -> None:
    parser.add_argument(
        "--harness-config",
        env_var="HARNESS_CONFIG",
        default="",
        metavar="FILE",
        include_in_web_ui=False,
        help="Profile (TOML) of the run to conduct; needed by the master or a single process, not by workers",
    )


def _attach(environment: Any, runner: Any, **_: Any) -> None:
    if isinstance(runner, WorkerRunner):
        attach_worker(environment, runner)
        return
    Master(environment, runner)


_events: Any = events
_events.init_command_line_parser.add_listener(_add_arguments)
_events.init.add_listener(_attach)


class Master:
    """The master's process: one `MasterRun` per Locust test, events to the parent, its request to stop."""

    def __init__(self, environment: Any, runner: Any) -> None:
        self._environment = environment
        self._events = _descriptor(EVENTS_FD)
        self._run: MasterRun | None = None
        try:
            self._config = _load_config(environment.parsed_options.harness_config)
        except HarnessError as error:
            self._tell_error(error)
            sys.exit(int(error.exit_code))
        attach = attach_master if isinstance(runner, MasterRunner) else attach_local
        self._fabric: MasterFabric = attach(
            environment, runner, begin=self._begin, turn=self._turn, finish=self._finish
        )
        control = _descriptor(CONTROL_FD)
        if control is not None:
            gevent.spawn(self._listen, control)

    def _begin(self, send: Callable[[FromMaster], None]) -> Conductor:
        try:
            self._run = MasterRun(self._config, send, self._tell)
        except HarnessError as error:
            self._tell_error(error)
            self._environment.process_exit_code = int(error.exit_code)
            sys.exit(int(error.exit_code))
        return self._run.conductor

    def _turn(self, _conductor: Conductor) -> None:
        if self._run is not None:
            self._run.turn()

    def _finish(self, _conductor: Conductor) -> None:
        run, self._run = self._run, None
        if run is None:
            return
        try:
            self._environment.process_exit_code = run.finish()
        except HarnessError as error:
            self._tell_error(error)
            self._environment.process_exit_code = int(error.exit_code)
        except Exception as error:
            self._environment.process_exit_code = int(ExitCode.INTERNAL)
            self._tell_error(InternalError(f"the run's end could not be written: {error!r}"))
            raise

    def _listen(self, control: int) -> None:
        make_nonblocking(control)
        while data := nb_read(control, 4096):
            if b"stop" in data:
                self._fabric.interrupt("interrupted")

    def _tell(self, event: dict[str, Any]) -> None:
        if self._events is None:
            if event["event"] == "finished":
                print(event["text"], flush=True)
            return
        os.write(self._events, msgspec.json.encode(event) + b"\n")

    def _tell_error(self, error: HarnessError) -> None:
        if self._events is None:
            print(f"harness: error: {error}", file=sys.stderr, flush=True)
            for problem in getattr(error, "problems", ()):
                print(f"  {problem}", file=sys.stderr, flush=True)
        else:
            self._tell({"event": "error", "message": str(error), "exit_code": int(error.exit_code)})


def _descriptor(variable: str) -> int | None:
    text = os.environ.get(variable)
    return int(text) if text else None


def _load_config(path: str) -> RunConfig:
    """The run's configuration: complete JSON from the parent command, or a profile (TOML) of the user's own."""
    if not path:
        raise UsageError("no configuration: add --harness-config PROFILE.toml (or start with `harness run`)")
    if Path(path).suffix == ".json":
        return msgspec.json.decode(Path(path).read_bytes(), type=RunConfig)
    return settle_profile(path)
