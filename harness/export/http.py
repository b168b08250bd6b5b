"""`MetricsServer`: serves the latest metrics page, in a thread or, in a gevent-patched process, in a greenlet.

A scrape costs one copy of bytes that are ready; nothing is rendered here. Head and body leave in one write, because
two writes cost a keep-alive client 40 ms. Only standard-library sockets and threads are used, so the same code works
patched and unpatched; the accept loop blocks in `accept` rather than polling.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from harness.errors import UsageError
from harness.export.text_format import CONTENT_TYPE

_IDLE_S = 60
_PAUSE_S = 0.1
_BUFFER_BYTES = 1 << 20
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
        self._page = b""
        self._scrapes = 0
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

    def publish(self, page: bytes) -> None:
        """From now on `page` (text format 0.0.4) is what a scrape gets."""
        self._page = page

    @property
    def page(self) -> bytes:
        """The page published last; empty before the first."""
        return self._page

    @property
    def scrapes(self) -> int:
        """How many pages were sent completely."""
        return self._scrapes

    def count_scrape(self) -> None:
        """Called by a connection that has sent a page."""
        with self._lock:
            self._scrapes += 1

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
                connection, _ = self._listener.accept()
            except OSError:
                if self._closed:
                    return
                time.sleep(_PAUSE_S)  # out of descriptors: that passes, and the endpoint must survive it
                continue
            self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), name="scrape", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _Scrape(connection, self)
        except OSError:
            pass  # the scraper went away, idled too long, or we are closing: nothing to tell anybody
        finally:
            self._connections.discard(connection)
            _hang_up(connection)
            connection.close()


class _Scrape(BaseHTTPRequestHandler):
    """One connection of a scraper; the base class calls `do_GET` for each request."""

    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S
    wbufsize = _BUFFER_BYTES  # head and body stay together until the flush

    def __init__(self, connection: socket.socket, metrics: MetricsServer) -> None:
        self._metrics = metrics
        super().__init__(connection, connection.getpeername(), None)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Answers `/metrics` with the latest page, anything else with 404."""
        if self.path.partition("?")[0] != "/metrics":
            self._reply(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"the metrics are at /metrics\n")
            return
        self._reply(HTTPStatus.OK, CONTENT_TYPE, self._metrics.page)
        self._metrics.count_scrape()

    def _reply(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Keeps scrapes out of the terminal."""


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
