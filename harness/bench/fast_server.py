"""The bench's target: answers every engagement call at once with an Available reply and keeps the ids it was given.

An `asyncio.Protocol` over httptools, to be run as a process of its own, so that its cost is nobody's but its own:
`python -m harness.bench.fast_server`. Prints its URL when it is ready; ends on SIGTERM, or when its standard input
ends, so that it does not outlive who started it. `GET /stats` gives the calls
answered, the CPU seconds it has used, and the time from having read a call to having written its reply.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from time import monotonic_ns, process_time
from typing import cast

import httptools
import orjson

from harness.measure.histogram import Histogram
from harness.units import NS_PER_US

_TARGET = re.compile(rb"/api/account/[^/]+/app/engagement/visitors/([^/?]*)\?v=1\.0(?:&sid=(.+))?")
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_REPLY = (
    b'{"status":"Available","sessionId":"%s","visitorId":"%s","pageId":"%d","engagementDetails":{'
    b'"campaignId":"3346848610","engagementId":"3562981110","contextId":"1","windowId":"3346847910",'
    b'"language":"en-US","engagementRevision":44,"validForSeconds":900,"skillId":23,"skillName":"TestSkill"}}'
)
_FOLD_AFTER = 1_024


class Stats:
    """Calls answered, ids given, and how long the answers took."""

    def __init__(self) -> None:
        self.calls = 0
        self.ids = 0
        self.pending_ns: list[int] = []
        self._service = Histogram()

    def fold(self) -> None:
        """Enters the times that wait into the histogram."""
        self._service.add_all(self.pending_ns)
        self.pending_ns.clear()

    def page(self) -> bytes:
        """The reply to `GET /stats`."""
        self.fold()
        quantiles = {f"p{round(q * 100)}": self._service.quantile(q) for q in (0.5, 0.99)}
        service_us = {name: None if ns is None else round(ns / NS_PER_US, 1) for name, ns in quantiles.items()}
        return orjson.dumps({"calls": self.calls, "cpu_s": process_time(), "service_us": service_us})


class Connection(asyncio.Protocol):
    """One client: a reply per complete request, in one write."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._url = b""
        self._read_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._read_ns = monotonic_ns()
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_message_complete(self) -> None:
        url, self._url = self._url, b""
        stats = self._stats
        match = _TARGET.fullmatch(url)
        if match is None:
            # A probe's HEAD gets no body; the length of another request's is small.
            body = stats.page() if self._parser.get_method() == b"GET" else b""
            self._transport.write(_HEAD % len(body) + body)
            return
        vid, sid = match.groups()
        if not vid or not sid:
            stats.ids += 1
        stats.calls += 1
        vid = vid or b"ZjYWZlYzYzNDE5%08x" % stats.ids
        sid = sid or b"stM0CzMWRye4MZ%08x" % stats.ids
        body = _REPLY % (sid, vid, 4_743_822_558 + stats.calls)
        self._transport.write(_HEAD % len(body) + body)
        stats.pending_ns.append(monotonic_ns() - self._read_ns)
        if len(stats.pending_ns) >= _FOLD_AFTER:
            stats.fold()


async def serve() -> None:
    """Serves on a free port of 127.0.0.1 until SIGTERM or the end of standard input."""
    loop = asyncio.get_running_loop()
    stats = Stats()
    server = await loop.create_server(lambda: Connection(stats), "127.0.0.1", 0, backlog=4096)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    # Nobody writes to it: it becomes readable when the other end is gone.
    loop.add_reader(sys.stdin.fileno(), stop.set)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)  # noqa: T201 - its ready line
    await stop.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve())
