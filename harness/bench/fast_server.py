"""The bench's target: answers every engagement call at once with an Available reply and keeps the ids it was given.

A loop over epoll and bare sockets, to be run as a process of its own, so that its cost is nobody's but its own:
`python -m harness.bench.fast_server`. A generator is measured only while it is the bottleneck itself, so this must be
faster than any of them (an `asyncio.Protocol` over httptools was not: docs/decisions/0023). It reads what bench clients
send and no more: requests one after another on a connection, bodies with a Content-Length. A client that does
not take its reply is closed.

Prints its URL when it is ready; ends on SIGTERM, or when its standard input ends, so that it does not outlive who
started it. `GET /stats` gives the calls answered, the CPU seconds it has used, and the time from having read a call to
having written its reply.
"""

from __future__ import annotations

import re
import signal
import socket
import sys
from collections.abc import Iterator
from select import EPOLLIN, epoll
from time import monotonic_ns, process_time

import orjson

from harness.measure.histogram import Histogram
from harness.units import NS_PER_US

_TARGET = re.compile(rb"[A-Z]+ /api/account/[^/]+/app/engagement/visitors/([^/?]*)\?v=1\.0(?:&sid=([^ ]+))? ")
_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: *(\d+)\r\n")
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

    def reply(self, request: bytes) -> bytes:
        """The reply to a request that begins `request`."""
        match = _TARGET.match(request)
        if match is None:
            # A probe's HEAD gets no body; the length of another request's is small.
            body = self.page() if request.startswith(b"GET ") else b""
            return _HEAD % len(body) + body
        vid, sid = match.groups()
        if not vid or not sid:
            self.ids += 1
        self.calls += 1
        vid = vid or b"ZjYWZlYzYzNDE5%08x" % self.ids
        sid = sid or b"stM0CzMWRye4MZ%08x" % self.ids
        body = _REPLY % (sid, vid, 4_743_822_558 + self.calls)
        return _HEAD % len(body) + body

    def took(self, service_ns: int) -> None:
        """Notes how long the answer took."""
        self.pending_ns.append(service_ns)
        if len(self.pending_ns) >= _FOLD_AFTER:
            self.fold()

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


class Client:
    """One connection: a reply per complete request, in one write."""

    def __init__(self, sock: socket.socket, stats: Stats) -> None:
        self._stats = stats
        self._sock = sock
        self._receive = sock.recv
        self._send = sock.send
        self._rest = b""

    def on_readable(self) -> bool:
        """Answers what has come; False when the connection is over."""
        try:
            data = self._receive(65_536)
            read_ns = monotonic_ns()
            if not data:
                return False
            data = self._rest + data
            while data:
                end = _end_of_request(data)
                if end is None:
                    break
                reply = self._stats.reply(data)
                if self._send(reply) != len(reply):
                    return False
                self._stats.took(monotonic_ns() - read_ns)
                data = data[end:]
            self._rest = data
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Closes the socket."""
        self._sock.close()


def _end_of_request(data: bytes) -> int | None:
    """Where the first request in `data` ends; None while it is not complete."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    length = _LENGTH.search(data, 0, end + 2)
    end += 4 + (int(length[1]) if length else 0)
    return end if end <= len(data) else None


def serve() -> None:
    """Serves on a free port of 127.0.0.1 until the end of standard input."""
    stats = Stats()
    clients: dict[int, Client] = {}
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener, epoll() as poller:
        listener.setblocking(False)
        accepting, owner = listener.fileno(), sys.stdin.fileno()
        poller.register(accepting, EPOLLIN)
        # Nobody writes to it: it becomes readable when the other end is gone.
        poller.register(owner, EPOLLIN)
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)  # noqa: T201 - its ready line
        while True:
            for descriptor, _ in poller.poll():
                client = clients.get(descriptor)
                if client is not None:
                    if not client.on_readable():
                        del clients[descriptor]
                        client.close()
                elif descriptor == owner:
                    return
                elif descriptor == accepting:
                    for sock in _accepted(listener):
                        clients[sock.fileno()] = Client(sock, stats)
                        poller.register(sock.fileno(), EPOLLIN)


def _accepted(listener: socket.socket) -> Iterator[socket.socket]:
    while True:
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    serve()
