"""The harness inside Locust's processes: what `locustfiles/engagement.py` installs.

On a worker it attaches the engine. On the master (or a single process) it opens one run per Locust test, tells the
parent process, if there is one, what happens through a pipe, and listens to its requests on another: to stop (cut off
what is open), to finish (let the plan end here), or to end as invalid because something died that the run cannot do
without. What a run is made of (its folder, metrics, verdict, report) is handed in: those rooms come after this one.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn, Protocol

import gevent
import msgspec
from gevent.os import make_nonblocking, nb_read, nb_write
from locust import events
from locust.runners import MasterRunner, WorkerRunner

from harness.config.model import UNVERIFIED, RunConfig
from harness.errors import ExitCode, HarnessError, InstrumentError, InternalError
from harness.fleet.attached import attach_worker, interrupt_locust
from harness.fleet.fabric import EngagementUser, MasterFabric, RunShape, attach_local, attach_master
from harness.fleet.master import Conductor
from harness.fleet.messages import FromMaster

__all__ = ["CONTROL_FD", "EVENTS_FD", "EngagementUser", "Run", "RunShape", "install"]

# Environment variables with the descriptors of the pipes to and from the parent process.
EVENTS_FD = "HARNESS_EVENTS_FD"
CONTROL_FD = "HARNESS_CONTROL_FD"

Send = Callable[[FromMaster], None]
Tell = Callable[[dict[str, Any]], None]


class Run(Protocol):
    """One run as the master conducts it."""

    conductor: Conductor

    def turn(self) -> None:
        """Called after each turn of the conductor."""

    def finish(self) -> int:
        """Called once when the conductor has finished; leaves nothing undone and returns the exit code."""


def install(load_config: Callable[[str], RunConfig], open_run: Callable[[RunConfig, Send, Tell], Run]) -> None:
    """Registers the harness with Locust.

    `load_config` reads the file of `--harness-config`; `open_run(config, send, tell)` makes a run. Both may raise
    `HarnessError`, which ends the process with its line and exit code.
    """

    def add_arguments(parser: Any, **_: Any) -> None:
        parser.add_argument(
            "--harness-config",
            env_var="HARNESS_CONFIG",
            default="",
            metavar="FILE",
            include_in_web_ui=False,
            help="Profile (TOML) of the run to conduct; needed by the master or a single process, not by workers",
        )

    def attach(environment: Any, runner: Any, **_: Any) -> None:
        if isinstance(runner, WorkerRunner):
            try:
                attach_worker(environment, runner)
            except HarnessError as error:
                sys.stderr.write(f"harness: error: {error}\n")
                sys.exit(int(error.exit_code))
        else:
            _Master(environment, runner, load_config, open_run)

    hooks: Any = events
    hooks.init_command_line_parser.add_listener(add_arguments)
    hooks.init.add_listener(attach)


class InterruptedBeforeStart(HarnessError):
    """The user ended a run that had not begun."""

    exit_code = ExitCode.INTERRUPTED


class _Master:
    """The master's process."""

    def __init__(
        self,
        environment: Any,
        runner: Any,
        load_config: Callable[[str], RunConfig],
        open_run: Callable[[RunConfig, Send, Tell], Run],
    ) -> None:
        self._environment = environment
        self._open_run = open_run
        self._events = _descriptor(EVENTS_FD)
        if self._events is not None:
            make_nonblocking(self._events)
        self._run: Run | None = None
        self._runs = 0
        distributed = isinstance(runner, MasterRunner)
        try:
            config = load_config(environment.parsed_options.harness_config)
        except HarnessError as error:
            self._end_with(error)
        # Locust has been told how many workers to wait for (`--processes` tells it too); one process has one.
        expected = environment.parsed_options.expect_workers if distributed else 1
        self._config = msgspec.structs.replace(config, expect_workers=expected)
        if config.unverified and self._events is None:
            sys.stderr.write(f"{UNVERIFIED}\n")
        attach = attach_master if distributed else attach_local
        self._fabric: MasterFabric = attach(
            environment, runner, begin=self._begin, turn=self._turn, finish=self._finish
        )
        if environment.parsed_options.headless:
            # Locust listens to SIGTERM only when a headless shape has ended.
            gevent.signal_handler(signal.SIGTERM, self._terminate, runner)
        control = _descriptor(CONTROL_FD)
        if control is not None:
            gevent.spawn(self._listen, control)
        else:
            # Python would raise it in whichever greenlet runs, the conductor's for instance, which could not go on.
            gevent.signal_handler(signal.SIGINT, interrupt_locust)

    def _begin(self, send: Send) -> Conductor:
        self._runs += 1
        config = self._config
        if self._runs > 1:
            # Started again in the web UI: another run, in a folder beside the first.
            config = msgspec.structs.replace(
                config, run_id=f"{config.run_id}-{self._runs}", out_dir=f"{config.out_dir}-{self._runs}"
            )
        try:
            self._run = self._open_run(config, send, self._tell)
        except HarnessError as error:
            self._end_with(error)
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
            self._environment.process_exit_code = int(error.exit_code)
            self._tell_error(error)
        except Exception as error:
            self._environment.process_exit_code = int(ExitCode.INTERNAL)
            self._tell_error(InternalError(f"the run's end could not be written: {error!r}"))
            raise

    def _listen(self, control: int) -> None:
        make_nonblocking(control)
        pending = b""
        while data := nb_read(control, 4096):
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                self._obey(msgspec.json.decode(line, type=dict[str, str]))

    def _obey(self, request: dict[str, str]) -> None:
        if "finish" in request:
            self._fabric.end_plan("enough was seen")
        elif "died" in request:
            self._require_begun(InstrumentError(request["died"]))
            self._fabric.fail(request["died"], ExitCode.INVALID)
        elif "stop" in request:
            self._require_begun(InterruptedBeforeStart("the run was interrupted before it began"))
            self._fabric.interrupt("interrupted")

    def _require_begun(self, otherwise: HarnessError) -> None:
        """Ends the process with that error while Locust still gathers its workers: nothing to drain or to judge."""
        if self._fabric.conductor is None and self._runs == 0:
            self._tell_error(otherwise)
            os._exit(int(otherwise.exit_code))

    def _terminate(self, runner: Any) -> None:
        if self._fabric.conductor is None:
            runner.quit()
            sys.exit(int(ExitCode.INTERRUPTED))
        self._fabric.interrupt("terminated")

    def _tell(self, event: dict[str, Any]) -> None:
        if self._events is not None:
            self._tell_parent(self._events, event)
        elif event["event"] == "finished":
            sys.stdout.write(f"{event['text']}\n")
        elif event["event"] == "error":
            sys.stderr.write(f"harness: error: {event['message']}\n")

    def _tell_parent(self, descriptor: int, event: dict[str, Any]) -> None:
        line = msgspec.json.encode(event) + b"\n"
        try:
            if event["event"] == "progress":
                # A parent that does not read (a stopped terminal) must not stop the run; the next one is newer.
                with suppress(BlockingIOError):
                    os.write(descriptor, line)
                return
            while line:
                line = line[nb_write(descriptor, line) :]
        except BrokenPipeError:
            # The parent is gone, and there is nobody to tell; the run folder still is to be written.
            self._events = None

    def _tell_error(self, error: HarnessError) -> None:
        if self._events is not None:
            self._tell({"event": "error", "message": str(error), "exit_code": int(error.exit_code)})
            return
        for line in (f"harness: error: {error}", *(f"  {problem}" for problem in getattr(error, "problems", ()))):
            sys.stderr.write(f"{line}\n")

    def _end_with(self, error: HarnessError) -> NoReturn:
        self._tell_error(error)
        self._environment.process_exit_code = int(error.exit_code)
        sys.exit(int(error.exit_code))


def _descriptor(variable: str) -> int | None:
    text = os.environ.get(variable)
    return int(text) if text else None
