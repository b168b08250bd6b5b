"""The practice target's process: the behaviour model behind sockets, in a process (and on a core) of its own.

It listens on the stock asyncio loop, whose timers are up to 1 ms late and never early; every reply says the service
time that it really got (`Server-Timing: sim;dur=<ms>`). It stops on SIGTERM or SIGINT, and, where asked, when its
standard input ends: that is how it follows a parent that died.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import ssl
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from harness.config.listening import address_text, cannot_listen, raise_descriptor_limit
from harness.errors import UsageError
from harness.sim.behaviour import Behaviour
from harness.sim.connection import Connection, Site
from harness.sim.request_log import RequestLog
from harness.sim.scenario import Scenario
from harness.sim.tls import self_signed

_BACKLOG = 4_096
_LOG_FLUSH_S = 1.0


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How the server is started; port 0 picks a free one."""

    host: str = "127.0.0.1"
    port: int = 8765
    seed: int = 1
    tls: bool = False
    metrics: bool = False
    log: Path | None = None
    exit_with_stdin: bool = False


def serve(scenario: Scenario, options: Options, ready: Callable[[str], None]) -> None:
    """Serve until told to stop; `ready` is called once with the line to print.

    Raises `UsageError` when the address cannot be used or the log not opened, `StorageError` when the log cannot be
    written any more.
    """
    with ExitStack() as stack:
        log = None
        if options.log is not None:
            log = RequestLog(options.log)
            stack.callback(log.close)
        context, extra = None, ""
        if options.tls:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="harness-sim-"))
            context, certificate = self_signed(Path(directory), options.host)
            extra = f" certificate={certificate}"
        asyncio.run(_serve(scenario, options, log, context, lambda url: ready(_ready_line(url, scenario) + extra)))


def _ready_line(url: str, scenario: Scenario) -> str:
    return f"simulator ready at {url} scenario={scenario.name}"


async def _serve(
    scenario: Scenario,
    options: Options,
    log: RequestLog | None,
    context: ssl.SSLContext | None,
    ready: Callable[[str], None],
) -> None:
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[None] = loop.create_future()

    def stop() -> None:
        if not stopped.done():
            stopped.set_result(None)

    def fail(_: asyncio.AbstractEventLoop, report: dict[str, Any]) -> None:
        error = report.get("exception")
        # Clients that vanish or speak no TLS are everyday; anything else is a fault of ours and ends the process.
        if error is not None and not isinstance(error, OSError) and not stopped.done():
            stopped.set_exception(error)

    loop.set_exception_handler(fail)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    if options.exit_with_stdin:
        threading.Thread(target=_wait_for_stdin, args=(loop, stop), daemon=True).start()

    behaviour = Behaviour(scenario, options.seed, time.time_ns() - time.monotonic_ns())
    site = Site(behaviour=behaviour, seed=options.seed, loop=loop, log=log, metrics=options.metrics)
    raise_descriptor_limit()
    try:
        server = await loop.create_server(
            lambda: Connection(site), options.host, options.port, ssl=context, backlog=_BACKLOG
        )
    except OSError as error:
        raise UsageError(cannot_listen(options.host, options.port, error, "choose another --port")) from None
    gc.freeze()
    port = server.sockets[0].getsockname()[1]
    ready(f"{'https' if context else 'http'}://{address_text(options.host, port)}")
    while not stopped.done():
        await asyncio.wait({stopped}, timeout=_LOG_FLUSH_S)
        if log is not None:
            log.flush()
    server.close()
    for connection in tuple(site.connections):
        connection.abort()
    await asyncio.sleep(0)  # lets connection_lost settle what was unanswered
    stopped.result()


def _wait_for_stdin(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    # os.read, because a thread inside sys.stdin would hold its lock when the interpreter ends.
    while os.read(0, 4_096):
        pass
    loop.call_soon_threadsafe(stop)
