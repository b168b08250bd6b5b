"""The very same sessions through stock FastHttpUser, for people who extend locustfiles by hand.

A `ClassicVisitor` takes the plan's next visit, waits until it is due, and plays its `VisitorSession` with Locust's own
client: same trace, plan, seed and retry policy, hence the same calls a visitor as the engine makes, with at most as
many visits open as there are users. One process carries it all: Locust moves users between workers, a plan must stay.

Every attempt is a request event of Locust's, so its statistics, CSV and web UI are its own; a request fails when its
result is no engagement reply. `ClassicRun` keeps the harness's own records beside them; what they came to is printed
at the end.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import gevent
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError
from locust import FastHttpUser, constant, events
from locust.exception import StopUser
from locust.runners import LocalRunner

from harness.config.model import RunConfig
from harness.errors import HarnessError, UsageError
from harness.fleet.classic_run import ClassicRun, take_apart, told
from harness.plan.schedule import PlannedVisit
from harness.units import NS_PER_S
from harness.visitor.records import ENGAGED, Result
from harness.visitor.session import OVER, VisitorSession
from harness.wire.reply import Reply, read_reply

# Users of an open plan when `--users` does not say: at most so many visits are open at once.
_DEFAULT_USERS = 100

Plan = Callable[[RunConfig], Iterator[PlannedVisit]]


class ClassicVisitor(FastHttpUser):
    """Plays one visit of the plan after another; extend it in a locustfile of your own.

    `on_reply` is the place for what your users do besides; `name` of the requests is the operation.
    """

    abstract = True
    wait_time = constant(0)
    max_retries = 0
    max_redirects = 0
    concurrency = 1

    def __init__(self, environment: Any) -> None:
        self.replay: ClassicRun = environment.classic_run
        config = self.replay.config
        self.network_timeout = config.timeout_ns / NS_PER_S
        self.connection_timeout = config.connect_timeout_ns / NS_PER_S
        self.insecure = config.insecure
        if self.replay.endpoint.tls is not None:
            # With our context the client leaves the trusted authorities alone.
            self.ssl_context_factory = lambda cafile=None: self.replay.endpoint.tls
        super().__init__(environment)

    def on_start(self) -> None:
        """Waits for the other users."""
        self.replay.ready.wait()

    def on_reply(self, session: VisitorSession, reply: Reply) -> None:
        """Called after each reply that could be read, before the session goes on; does nothing by itself."""

    def play(self) -> None:
        """Plays the next visit to its end; stops this user when the plan is at its own."""
        run = self.replay
        session = run.next_session()
        if session is None:
            raise StopUser
        try:
            self._sleep_until(session.arrival_ns)
            if run.now_ns() - session.arrival_ns > run.config.max_lag_ns:
                session.drop(run.now_ns())
                return
            run.started(session)
            while (action := session.next_action(run.now_ns())) is not None:
                if isinstance(action, int):
                    self._sleep_until(action)
                else:
                    self._call(session, action)
        finally:
            # Locust stops users wherever they are.
            if session.state is not OVER:
                session.cut(run.now_ns())
            if run.config.connections == "browser":
                self.client.client.close()
            run.fold()

    tasks = [play]  # noqa: RUF012 - as Locust has it

    def _sleep_until(self, moment_ns: int) -> None:
        left_ns = moment_ns - self.replay.now_ns()
        if left_ns > 0:
            gevent.sleep(left_ns / NS_PER_S)

    def _call(self, session: VisitorSession, raw: bytes) -> None:
        run, op = self.replay, session.op
        method, path, headers, body = take_apart(raw)
        # Visitors have nothing in common, and the browser client of the service sends no cookies.
        self.client.cookiejar.clear()
        sent_ns = run.now_ns()
        send: Any = self.client.request  # annotated for text, sends bytes as they are
        with send(
            method, path, name=op, data=body, headers=headers, catch_response=True, allow_redirects=False
        ) as answer:
            done_ns = run.now_ns()
            error = _transport_error(answer)
            if error is not None:
                result = result_of(error)
                answer.failure(f"{result.name}: {type(error).__name__}")
                session.fault(result, sent_ns, sent_ns, sent_ns, done_ns, type(error).__name__)
            else:
                reply = read_reply(op, answer.status_code, answer.content or b"")
                self.on_reply(session, reply)
                if Result[reply.kind] in ENGAGED:
                    answer.success()
                else:
                    answer.failure(reply.kind)
                session.resolve(reply, sent_ns, sent_ns, sent_ns, done_ns, _retry_after_ns(answer))
        if run.config.connections == "fresh":
            self.client.client.close()


def result_of(error: BaseException) -> Result:
    """What an attempt without a readable reply came to, by the error of Locust's client.

    Its time-outs do not say whether the connection or the reply was late: all are `timeout`.
    """
    if isinstance(error, ssl.SSLError):
        return Result.tls_error
    if isinstance(error, TimeoutError | gevent.Timeout):
        return Result.timeout
    if isinstance(error, HTTPParseError) and not isinstance(error, HTTPConnectionClosed):
        return Result.bad_reply
    if isinstance(error, ConnectionResetError | BrokenPipeError) or not isinstance(error, OSError):
        return Result.reset
    return Result.connect_error


def _transport_error(answer: Any) -> BaseException | None:
    """Why there is no reply; None when there is one, whatever its status."""
    error = getattr(answer, "error", None) or answer.request_meta["exception"]
    if error is None or answer.status_code:
        return None
    # The client wraps what it would have tried again.
    original = getattr(error, "original", None)
    found: BaseException = original if isinstance(original, BaseException) else error
    return found


def _retry_after_ns(answer: Any) -> int:
    text = (answer.headers or {}).get("retry-after") if answer.status_code >= 429 else None
    return int(text) * NS_PER_S if isinstance(text, str) and text.isascii() and text.isdigit() else 0


def install_classic(
    load_config: Callable[[str], RunConfig], plan: Plan, plan_end: Callable[[RunConfig], int | None]
) -> None:
    """Registers the classic visitors with Locust.

    `load_config` reads the profile of `--harness-config`, `plan` gives the visits of a run, `plan_end` the moment at
    which a closed loop takes no more. What they raise as `HarnessError` ends the process with its line and exit code.
    """

    def add_arguments(parser: Any, **_: Any) -> None:
        parser.add_argument(
            "--harness-config",
            env_var="HARNESS_CONFIG",
            default="",
            metavar="FILE",
            include_in_web_ui=False,
            help="Profile (TOML) of the run: target, trace, plan, retry policy",
        )

    def attach(environment: Any, runner: Any, **_: Any) -> None:
        try:
            if not isinstance(runner, LocalRunner):
                raise UsageError("classic visitors run in one process: leave out --master, --worker and --processes")
            config = load_config(environment.parsed_options.harness_config)
            run = ClassicRun(config, plan(config), plan_end(config))
            _prepare(environment, run)
        except HarnessError as error:
            _end_with(environment, error)

    hooks: Any = events
    hooks.init_command_line_parser.add_listener(add_arguments)
    hooks.init.add_listener(attach)


def _prepare(environment: Any, run: ClassicRun) -> None:
    target = run.endpoint.url[: len(run.endpoint.url) - len(run.endpoint.base_path)]
    if environment.host and environment.host.rstrip("/") != target:
        raise UsageError("--host: the target stands in the profile, where the guard judges it: leave it out")
    environment.classic_run = run
    environment.host = target
    options = environment.parsed_options
    if options.num_users is None:
        options.num_users = run.config.closed_slots or _DEFAULT_USERS
    if options.spawn_rate is None:
        options.spawn_rate = options.num_users
    environment.events.spawning_complete.add_listener(lambda **_: run.begin())
    environment.events.test_start.add_listener(lambda **_: gevent.spawn(_quit_when_empty, environment, run))
    environment.events.test_stop.add_listener(lambda **_: sys.stdout.write(f"{told(run.snapshot())}\n"))


def _quit_when_empty(environment: Any, run: ClassicRun) -> None:
    """Ends the test when every user has stopped because the plan is at its end."""
    run.ready.wait()
    while environment.runner.user_count:
        gevent.sleep(0.1)
    environment.runner.quit()


def _end_with(environment: Any, error: HarnessError) -> NoReturn:
    for line in (f"harness: error: {error}", *(f"  {problem}" for problem in getattr(error, "problems", ()))):
        sys.stderr.write(f"{line}\n")
    environment.process_exit_code = int(error.exit_code)
    raise SystemExit(int(error.exit_code))
