"""A target that keeps its own time: `python -m tests.prove.timed_server [--delay-ms N] [--cert FILE]`.

Answers every call after `delay-ms` with an Available reply and ids of its own. It notes when each call was there in
full and how long its answer really took, on the same monotonic clock that the harness uses, and writes both to standard
output as JSON when its standard input ends. Prints its URL when it is ready.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import ssl
import sys
from time import monotonic_ns, process_time
from typing import cast

_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)")
_TARGET = re.compile(rb"(?:POST|PUT) \S*/visitors/([^/?]*)\?v=1\.0(?:&sid=(\S+))? ")
_REPLY = b'{"status":"Available","sessionId":"%s","visitorId":"%s","pageId":"1","engagementDetails":{"campaignId":"1"}}'
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


class Notes:
    """What the server saw."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.received_ns: list[int] = []
        self.service_ns: list[int] = []
        self.connections = 0
        self.handshakes_resumed = 0


class Client(asyncio.Protocol):
    """One connection, one call at a time."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._bytes = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._notes.connections += 1
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.session_reused:
            self._notes.handshakes_resumed += 1

    def data_received(self, data: bytes) -> None:
        self._bytes += data
        head, end, body = self._bytes.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not end or (length is not None and len(body) < int(length[1])):
            return
        self._bytes = b""
        target = _TARGET.match(head)
        if target is None:
            self._transport.write(_HEAD % 0)  # the probe
            return
        received_ns = monotonic_ns()
        self._notes.received_ns.append(received_ns)
        number = len(self._notes.received_ns)
        reply = _REPLY % (target[2] or b"s%019d" % number, target[1] or b"v%019d" % number)
        whole = _HEAD % len(reply) + reply
        if self._notes.delay_s:
            asyncio.get_running_loop().call_later(self._notes.delay_s, self._answer, whole, received_ns)
        else:
            self._answer(whole, received_ns)

    def _answer(self, whole: bytes, received_ns: int) -> None:
        self._transport.write(whole)
        self._notes.service_ns.append(monotonic_ns() - received_ns)


async def serve(delay_s: float, cert: str | None) -> None:
    """Serves on a free port of 127.0.0.1 until the end of standard input."""
    loop = asyncio.get_running_loop()
    notes = Notes(delay_s)
    context = None
    if cert is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert)
    server = await loop.create_server(lambda: Client(notes), "127.0.0.1", 0, backlog=4096, ssl=context)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(sys.stdin.fileno(), stop.set)
    scheme = "https" if cert else "http"
    print(f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await stop.wait()
    server.close()
    seen = {
        "received_ns": notes.received_ns,
        "service_ns": notes.service_ns,
        "connections": notes.connections,
        "handshakes_resumed": notes.handshakes_resumed,
        "cpu_s": process_time(),
    }
    print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--delay-ms", type=float, default=0.0)
    options.add_argument("--cert")
    given = options.parse_args()
    asyncio.run(serve(given.delay_ms / 1e3, given.cert))
