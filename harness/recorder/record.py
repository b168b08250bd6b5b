"""A recording from its first call to its trace: proxy, journal, and at the end the visits.

While the proxy runs, exchanges go into the journal and nothing else happens; visits are tied together when it has
stopped, by the same code whether it was stopped or a crash left the journal behind. SIGTERM and SIGINT stop it: no
new connection is taken, answers under way may arrive for `GRACE_S`, then the trace is written; a second signal
ends the waiting.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
import signal
import tempfile
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec

from harness.config.listening import address_text, cannot_listen, raise_descriptor_limit
from harness.config.target import parse_target
from harness.config.tls import client_context
from harness.errors import UsageError
from harness.recorder.journal import Journal
from harness.recorder.proxy import Watch, drain, listen

GRACE_S: Final = 10.0


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Where to listen (port 0 picks a free one), what stands behind, and where the trace goes."""

    host: str
    port: int
    upstream: str
    output: str
    ca_file: str | None = None
    insecure: bool = False


class Passed(msgspec.Struct):
    """What the proxy saw: engagement calls, other requests, refused connections, replies it could not decode."""

    calls: int
    others: int
    unreachable: int
    unreadable: int


def record(options: Options, ready: Callable[[str], None]) -> tuple[Path, Passed]:
    """Pass calls through until told to stop; returns the journal and what passed. `ready` gets the URL to call.

    Raises `UsageError` when the upstream, a certificate or the address cannot be used, or an earlier recording's
    journal is in the way; `StorageError` when the journal cannot be written any more (it keeps what it has).
    """
    target = parse_target(options.upstream)
    tls = client_context(ca_file=options.ca_file, insecure=options.insecure) if target.tls else None
    if tls is not None:
        tls.set_alpn_protocols(["http/1.1"])
    journal = Journal(journal_path(options.output), target.url)
    key = secrets.token_bytes(32)

    def disguise(name: str) -> str:
        return blake2b(name.encode(), key=key, digest_size=12).hexdigest()

    try:
        passed = asyncio.run(
            _serve(
                options,
                ready,
                lambda fail: Watch(target=target, tls=tls, record=journal.add, disguise=disguise, fail=fail),
            )
        )
    finally:
        journal.close()
        if not journal.exchanges:
            journal.path.unlink(missing_ok=True)
    return journal.path, passed


def journal_path(output: str) -> Path:
    """Where the journal of a trace lies: beside it, or, for standard output, in the temporary folder."""
    if output == "-":
        return Path(tempfile.gettempdir()) / f"harness-{secrets.token_hex(4)}.recording"
    path = Path(output).resolve()
    return path.with_name(f".{path.name}.recording")


async def _serve(
    options: Options, ready: Callable[[str], None], watching: Callable[[Callable[[Exception], None]], Watch]
) -> Passed:
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[None] = loop.create_future()
    hurry = asyncio.Event()

    def stop() -> None:
        if stopped.done():
            hurry.set()
        else:
            stopped.set_result(None)

    def fail(error: Exception) -> None:
        if not stopped.done():
            stopped.set_exception(error)

    def notice(_: asyncio.AbstractEventLoop, report: dict[str, Any]) -> None:
        error = report.get("exception")
        # Peers that vanish are everyday; anything else is a fault of ours and ends the recording.
        if isinstance(error, Exception) and not isinstance(error, OSError):
            fail(error)

    loop.set_exception_handler(notice)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    watch = watching(fail)
    raise_descriptor_limit()
    try:
        server = await listen(watch, options.host, options.port)
    except OSError as error:
        raise UsageError(cannot_listen(options.host, options.port, error, "choose another port for --listen")) from None
    gc.freeze()
    port = server.sockets[0].getsockname()[1]
    ready(f"http://{address_text(options.host, port)}")
    try:
        await stopped
    finally:
        server.close()
        waiting = asyncio.ensure_future(drain(watch, GRACE_S))
        hurried = asyncio.ensure_future(hurry.wait())
        await asyncio.wait({waiting, hurried}, return_when=asyncio.FIRST_COMPLETED)
        for task in (waiting, hurried):
            task.cancel()
        for caller in tuple(watch.callers):
            caller.stop(now=True)
        await asyncio.sleep(0)  # lets connection_lost settle what was unanswered
    return Passed(watch.calls, watch.others, watch.unreachable, watch.unreadable)
