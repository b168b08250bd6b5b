"""What scrapes of the metrics page cost the master, and what they hold up, there and in a worker.

The same `harness run` at a fixed rate, in turns: nobody scrapes (`quiet`), one scraper asks ten times a second for the
three formats in turn (`scraped`), sixteen ask without end and never read (`flooded`).

*CPU of a scrape* is read from the master's CPU clock just before it and once the reply is there and the master has had
time to settle, less what the clock gains in as long a time without a scrape; medians, so that other work of the master
which falls into a few of these moments does not count.

*Stalls.* The worker's come from its own books (`summary.json`). The master's serving loop is asked for a page that does
not exist, every ten milliseconds: the longest wait for that answer is its longest stall, as seen by whoever wants
something of it. Those questions cost the master 2 % of a core, in all three kinds alike.
"""

from __future__ import annotations

import http.client
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from harness.bench.children import BenchError
from harness.bench.listener import Listener
from harness.bench.subjects import Bench
from harness.export.protobuf import PROTOBUF
from harness.export.text_format import OPENMETRICS, TEXT

KINDS = ("quiet", "scraped", "flooded")
FORMATS = {"text": TEXT, "openmetrics": OPENMETRICS, "protobuf": PROTOBUF}
RATE_HZ = 1_000
COHORTS = ("desktop", "mobile", "tablet", "tv", "watch")

_WARMUP_S = 1
# The page that says that measuring began comes a second or two later, and one in every format another second after it.
_LATE_S = 4
_START_LIMIT_S = 60.0
_TURNS_A_SECOND = 100
_POLL_S = 0.1
# Of ten turns one scrapes and one watches the master for as long without a scrape; the others ask for nothing.
_TURNS = 10
_SCRAPE_TURN, _CONTROL_TURN = 0, 5
_SETTLE_S = 0.005
_FLOODERS = 16
_FLOOD = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 4
_MEASURING = b'harness_run_phase{phase="measure"} 1'
_PATIENCE_S = 30.0


@dataclass
class Watch:
    """What was seen of one run from outside: waits and CPU in seconds, pages in bytes by format."""

    waits_s: list[float] = field(default_factory=list)
    idle_s: list[float] = field(default_factory=list)
    scrapes_s: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in FORMATS})
    page_bytes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Taken:
    """One run: its summary, and what was seen from outside."""

    summary: dict[str, Any]
    watch: Watch


def scrapes(bench: Bench, rounds: int, seconds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """`rounds` times one run of each kind, watched for `seconds`; see docs/bench.md for what is returned.

    Raises `BenchError` when a run fails or ends before it was watched for long enough.
    """
    taken: dict[str, list[Taken]] = {kind: [] for kind in KINDS}
    for number in range(1, rounds + 1):
        for kind in KINDS:
            say(f"metrics, round {number} of {rounds}: {kind}")
            taken[kind].append(_take(bench, kind, seconds))
    watched = [each.watch for each in taken["scraped"]]
    return {
        "rate_hz": RATE_HZ,
        "cost": [cost_row(name, watched) for name in FORMATS],
        "stalls": [stall_row(kind, of_kind) for kind, of_kind in taken.items()],
    }


def cost_row(name: str, watched: list[Watch]) -> dict[str, Any]:
    """The row of one format: median CPU of a scrape beyond that of as long a time without one."""
    costs = [cpu_s for watch in watched for cpu_s in watch.scrapes_s[name]]
    idle = [cpu_s for watch in watched for cpu_s in watch.idle_s]
    return {
        "format": name,
        "page_bytes": max(watch.page_bytes[name] for watch in watched),
        "scrapes": len(costs),
        "cpu_ms": round((statistics.median(costs) - statistics.median(idle)) * 1e3, 3),
    }


def stall_row(kind: str, taken: list[Taken]) -> dict[str, Any]:
    """The row of one kind: the longest of all rounds, and the median of their p99."""
    lags = [each.summary["latency_ms"]["dispatch_lag"] for each in taken]
    return {
        "scrapers": kind,
        "lag_p99_ms": statistics.median(lag["p99"] for lag in lags),
        "lag_max_ms": max(lag["max"] for lag in lags),
        "worker_stall_max_ms": max(each.summary["generator"]["loop_stall_max_ms"] for each in taken),
        "master_stall_max_ms": round(max(max(each.watch.waits_s) for each in taken) * 1e3, 3),
        "master_asked": sum(len(each.watch.waits_s) for each in taken),
    }


def _take(bench: Bench, kind: str, seconds: int) -> Taken:
    port, run_s = _free_port(), _WARMUP_S + _LATE_S + seconds
    load = ["--arrivals", f"constant:{RATE_HZ}/s", "--duration", f"{run_s}s", "--warmup", f"{_WARMUP_S}s"]
    load += ["--linger", "0s"]
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(bench.run, 1, RATE_HZ * run_s, *load, metrics=f"127.0.0.1:{port}", cohorts=COHORTS)
        watch = _watch(port, kind, seconds, run)
        summary, _ = run.result()
    return Taken(summary, watch)


def _watch(port: int, kind: str, watch_s: int, run: Future[Any]) -> Watch:
    """Waits until the run measures, then does to it what `kind` says; the run must not end before that does."""
    _wait_for(lambda: _MEASURING in _page(port), run, "the run does not begin to measure")
    master, watch = Listener(port), Watch()
    with ExitStack() as stack:
        askers = [stack.enter_context(_connected(port)) for _ in range(_TURNS)]
        if kind == "scraped":
            _wait_for(lambda: _all_formats(askers[_SCRAPE_TURN]), run, "a format of the page does not come")
        flooders = [stack.enter_context(_flooder(port)) for _ in range(_FLOODERS if kind == "flooded" else 0)]
        began_s = time.monotonic()
        for number in range(watch_s * _TURNS_A_SECOND):
            time.sleep(max(0.0, began_s + number / _TURNS_A_SECOND - time.monotonic()))
            round_, turn = divmod(number, _TURNS)
            if kind == "scraped" and turn == _SCRAPE_TURN:
                _scrape(list(FORMATS)[round_ % len(FORMATS)], askers[turn], master, watch)
            elif kind == "scraped" and turn == _CONTROL_TURN:
                with _priced(master, watch.idle_s):
                    pass
            else:
                asked_s = time.monotonic()
                _ask(askers[turn], "/nothing")
                watch.waits_s.append(time.monotonic() - asked_s)
            # Each in its turn: four requests in a tenth of a second are twice what the master answers in that time.
            for flooder in flooders[turn::_TURNS]:
                _pour(flooder)
    if run.done():
        raise BenchError("the run ended before it was watched for long enough")
    return watch


def _scrape(name: str, connection: http.client.HTTPConnection, master: Listener, watch: Watch) -> None:
    with _priced(master, watch.scrapes_s[name]):
        content_type, page = _ask(connection, "/metrics", FORMATS[name])
    if content_type != FORMATS[name]:
        raise BenchError(f"the master answered with {content_type} where {FORMATS[name]} was asked for")
    watch.page_bytes[name] = len(page)


@contextmanager
def _priced(master: Listener, prices_s: list[float]) -> Iterator[None]:
    """Adds what the master's CPU clock gains in the block and while it settles."""
    before_s = master.cpu_s()
    yield
    time.sleep(_SETTLE_S)
    prices_s.append(master.cpu_s() - before_s)


def _wait_for(condition: Callable[[], bool], run: Future[Any], otherwise: str) -> None:
    """Asks until it holds; raises `BenchError` when the run ends before, or does not come to it."""
    until_s = time.monotonic() + _START_LIMIT_S
    while not condition():
        if run.done():
            run.result()  # a run that failed has the better reason
            raise BenchError(f"{otherwise}: it has ended")
        if time.monotonic() > until_s:
            raise BenchError(f"{otherwise} within {_START_LIMIT_S:.0f} s")
        time.sleep(_POLL_S)


def _page(port: int) -> bytes:
    """The page as text; empty while nobody listens."""
    try:
        with _connected(port) as connection:
            return _ask(connection, "/metrics")[1]
    except BenchError:
        return b""


def _all_formats(connection: http.client.HTTPConnection) -> bool:
    """Whether the newest page comes in every format: asking for one that is not there yet orders it."""
    return [_ask(connection, "/metrics", accept)[0] for accept in FORMATS.values()] == list(FORMATS.values())


def _ask(connection: http.client.HTTPConnection, path: str, accept: str = TEXT) -> tuple[str | None, bytes]:
    """Content type and body of an answer; raises `BenchError` when the master does not give one."""
    try:
        connection.request("GET", path, headers={"Accept": accept})
        reply = connection.getresponse()
        return reply.getheader("Content-Type"), reply.read()
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"the metrics page does not answer: {error!r}") from error


@contextmanager
def _connected(port: int) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def _flooder(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S) as connection:
        connection.setblocking(False)
        yield connection


def _pour(flooder: socket.socket) -> None:
    """Asks for as many pages as the connection takes now, up to four; none is ever read."""
    try:
        flooder.send(_FLOOD)
    except BlockingIOError:
        pass  # full: the master waits for us, as it would for a scraper that is stuck
    except OSError as error:
        raise BenchError(f"the master hung up on a scraper that does not read: {error!r}") from error


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
