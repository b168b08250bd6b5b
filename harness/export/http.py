"""`MetricsServer`: serves the latest metrics page, in a thread or, in a gevent-patched process, in a greenlet.

A scrape costs one copy of bytes that are ready; nothing is rendered here. A format that was not asked for lately is not
there yet: the first scraper that would like it gets the plain text, which all of them take, and the next page has it.
Head and body leave in one write, because two writes cost a keep-alive client 40 ms. Only standard-library sockets and
threads are used, so the same code works patched and unpatched; the accept loop blocks in `accept` rather than polling.
Requests are read by hand: http.server takes twice as long for the little that a scrape is.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from harness.errors import UsageError
from harness.export.negotiation import preferred
from harness.export.scrapers import Scrapers, Who
from harness.export.text_format import TEXT

_IDLE_S = 60
_LINGER_TURN_S = 0.1
_WANTED_S = 120
_MAX_CONNECTIONS = 64
_PAUSE_S = 0.1
_REST_S = 0.05
_MAX_HEAD_BYTES = 1 << 14
_PORT_PROBLEMS = {
    errno.EADDRINUSE: "the port is in use: choose another with --metrics ADDR:PORT, or --metrics off",
    errno.EACCES: "not permitted: choose a port above 1023 with --metrics ADDR:PORT",
    errno.EADDRNOTAVAIL: "this machine has no such address: use 127.0.0.1:PORT",
}


class MetricsServer:
    """Listens from construction to `close`; `publish` sets the page that `GET /metrics` answers with."""

    def __init__(self, addr: str) -> None:
        """Listens on `addr`, `HOST:PORT` or `[v6]:PORT`; port 0 takes a free one.

        Raises `UsageError` when the address makes no sense or cannot be listened on.
        """
        host, port = _host_port(addr)
        self._pages: Mapping[str, bytes] = {TEXT: b""}
        self._number = 0
        self._asked: dict[str, float] = {}
        self._scrapes = 0
        self._scrapers = Scrapers()
        self._closed = False
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._listener = socket.create_server((host, port), family=family, backlog=16)
        except OSError as error:
            reason = _PORT_PROBLEMS.get(error.errno or 0, error.strerror or str(error))
            raise UsageError(f"cannot serve metrics on {addr}: {reason}") from error
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}/metrics"
        threading.Thread(target=self._accept, name="metrics", daemon=True).start()

    def publish(self, pages: Mapping[str, bytes]) -> None:
        """From now on `pages` are what a scrape gets, by content type; `TEXT` must be among them."""
        self._pages, self._number = pages, self._number + 1

    @property
    def wanted(self) -> set[str]:
        """The content types that the next page should come in: `TEXT`, and those asked for in the last two minutes."""
        since_s = time.monotonic() - _WANTED_S
        return {TEXT, *(content_type for content_type, asked_s in list(self._asked.items()) if asked_s >= since_s)}

    @property
    def scrapes(self) -> int:
        """How many pages were sent completely."""
        return self._scrapes

    @property
    def newest_was_served(self) -> bool:
        """Whether the page published last was sent completely to somebody, and to all who still come (`Scrapers`)."""
        with self._lock:
            return self._number > 0 and self._scrapers.all_have(self._number, time.monotonic())

    def linger(self, limit_s: float) -> None:
        """Waits until `newest_was_served`, if anybody scraped at all; `limit_s` at most."""
        until_s = time.monotonic() + limit_s
        while self._scrapes and not self.newest_was_served and time.monotonic() < until_s:
            time.sleep(_LINGER_TURN_S)

    def answer(self, accept: str) -> tuple[str, bytes, int]:
        """Content type, page and the page's number for a request with this Accept header."""
        best = preferred(accept)
        self._asked[best] = time.monotonic()
        number, pages = self._number, self._pages
        content_type = best if best in pages else TEXT
        return content_type, pages[content_type], number

    def _count_scrape(self, connection: socket.socket, who: Who, number: int) -> None:
        """Notes that the page with this number was sent."""
        with self._lock:
            self._scrapes += 1
            self._scrapers.came(connection, who, number, time.monotonic())

    def close(self) -> None:
        """Stops listening and ends all connections; calling it twice does no harm."""
        self._closed = True
        for each in (self._listener, *self._connections):
            # Shutting down, not only closing, wakes whoever is blocked in accept or recv.
            _hang_up(each)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, (address, *_) = self._listener.accept()
            except OSError:
                if self._closed:
                    return
                time.sleep(_PAUSE_S)  # out of descriptors: that passes, and the endpoint must survive it
                continue
            if len(self._connections) >= _MAX_CONNECTIONS:
                connection.close()  # scrapers that hold on to everything they open must not exhaust the master
                continue
            self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection, address), name="scrape", daemon=True).start()

    def _serve(self, connection: socket.socket, address: str) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(_IDLE_S)
            self._answer_all(connection, address)
        except OSError:
            pass  # the scraper went away, idled too long, or we are closing: nothing to tell anybody
        finally:
            self._connections.discard(connection)
            with self._lock:
                self._scrapers.left(connection)
            _hang_up(connection)
            connection.close()

    def _answer_all(self, connection: socket.socket, address: str) -> None:
        """Answers one request after the other until either side closes, at most one in `_REST_S`.

        Whoever asks without end shall not keep the rest of a patched process waiting. Nobody else is made to rest, for
        a greenlet's sleep costs as much CPU as a scrape does.
        """
        pending = b""
        rested_s = 0.0
        while True:
            while b"\r\n\r\n" not in pending:
                if len(pending) > _MAX_HEAD_BYTES:
                    connection.sendall(_reply(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, b"", close=True))
                    return
                piece = connection.recv(_MAX_HEAD_BYTES)
                if not piece:
                    return
                pending += piece
            head, _, pending = pending.partition(b"\r\n\r\n")
            early_s = rested_s - time.monotonic()
            if early_s > 0:
                time.sleep(early_s)
            if not self._answer_one(connection, address, head.decode("latin-1")):
                return
            rested_s = time.monotonic() + _REST_S

    def _answer_one(self, connection: socket.socket, address: str, head: str) -> bool:
        """Answers the request with this head; False when the connection ends with it."""
        first, *lines = head.split("\r\n")
        method, target, version = (*first.split(" "), "", "", "")[:3]
        if not version.startswith("HTTP/1."):
            connection.sendall(_reply(HTTPStatus.BAD_REQUEST, b"", close=True))
            return False
        if method != "GET":
            # What follows the head may be a body, which nobody reads here.
            connection.sendall(_reply(HTTPStatus.METHOD_NOT_ALLOWED, b"", close=True))
            return False
        fields = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        close = version == "HTTP/1.0" or ("connection", "close") in [(name, value.lower()) for name, value in fields]
        if target.partition("?")[0] != "/metrics":
            connection.sendall(_reply(HTTPStatus.NOT_FOUND, b"the metrics are at /metrics\n", close=close))
            return not close
        content_type, page, number = self.answer(_field(fields, "accept"))
        connection.sendall(_reply(HTTPStatus.OK, page, content_type, close=close))
        self._count_scrape(connection, (address, _field(fields, "user-agent")), number)
        return not close


def _field(fields: Sequence[tuple[str, str]], name: str) -> str:
    """The value of a header field, its lines joined; empty where there is none."""
    return ",".join(value for each, value in fields if each == name)


def _reply(status: HTTPStatus, body: bytes, content_type: str = "text/plain; charset=utf-8", *, close: bool) -> bytes:
    """Head and body in one piece."""
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {content_type}\r\nVary: Accept\r\n"
        f"Content-Length: {len(body)}\r\n{'Connection: close' if close else 'Connection: keep-alive'}\r\n\r\n"
    )
    return head.encode() + body


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError as error:
        if error.errno not in (errno.ENOTCONN, errno.EBADF):
            raise


def _host_port(addr: str) -> tuple[str, int]:
    host, _, port = addr.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"'{addr}' is no address to serve metrics on: write HOST:PORT, as 127.0.0.1:9646")
    return host, int(port)
