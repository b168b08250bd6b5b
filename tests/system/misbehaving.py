"""Peers on real sockets that behave exactly as badly as told: one thread a connection, raw bytes, no HTTP library.

The visit's name chooses the behaviour: `cut_head-7` is served by the behaviour `cut_head` (X-Harness-Attempt tells).
"""

from __future__ import annotations

import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_ATTEMPT = re.compile(rb"\r\nX-Harness-Attempt: ([^/]+)/(\d+)/(\d+)\r\n")
_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n")

AVAILABLE = (
    b'{"status":"Available","sessionId":"stM0CzMWRye4MZgRBAL4UQ","visitorId":"ZjYWZlYzYzNDE5MTE1OWQ5",'
    b'"pageId":"595933432","engagementDetails":{"campaignId":1,"engagementId":2,"contextId":"1","engagementRevision":3}}'
)


@dataclass
class Call:
    """One request as it arrived: `number` counts the requests of its connection from 1."""

    sock: socket.socket
    visit: str
    step: int
    number: int
    head: bytes

    def send(self, *pieces: bytes) -> None:
        """Sends the pieces as they are."""
        for piece in pieces:
            self.sock.sendall(piece)

    def reset(self) -> None:
        """Ends the connection with an RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def hold(self) -> None:
        """Keeps the connection until the client leaves."""
        with suppress(OSError):
            while self.sock.recv(65_536):
                pass


# Returns whether the connection is kept for another request.
Behaviour = Callable[[Call], bool]


def reply(body: bytes = AVAILABLE, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    """A whole reply; `length` may lie about the body."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body) if length is None else length}", "", ""]
    return "\r\n".join(lines).encode() + body


def answer(*pieces: bytes, keep: bool = True) -> Behaviour:
    """Sends these bytes; keeps the connection, or closes it."""

    def behave(call: Call) -> bool:
        call.send(*pieces)
        return keep

    return behave


@dataclass
class Seen:
    """What a peer saw: its port, how many connections, from which addresses, and (visit, step, number) of each call.

    The number counts the calls of a connection.
    """

    port: int
    connections: int = 0
    clients: list[str] = field(default_factory=list)
    calls: list[tuple[str, int, int]] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    resumed: int = 0
    tls_versions: set[str | None] = field(default_factory=set)
    tls_errors: list[str] = field(default_factory=list)


class _Server:
    def __init__(
        self, listener: socket.socket, behaviours: Mapping[str, Behaviour], tls: ssl.SSLContext | None, read_all: bool
    ) -> None:
        self.seen = Seen(listener.getsockname()[1])
        self._listener = listener
        self._behaviours = behaviours
        self._tls = tls
        self._read_all = read_all
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, client = self._listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self.seen.connections += 1
                    self.seen.clients.append(client[0])
                    self._open.add(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        raw = sock
        try:
            if self._tls is not None:
                sock = self._shake(self._tls, sock)
            with self._lock:
                self._open.add(sock)
            number = 0
            while (call := self._read(sock, number + 1)) is not None:
                number += 1
                if not self._behaviours[call.visit.partition("-")[0]](call):
                    break
        except ssl.SSLError as error:
            self.seen.tls_errors.append(error.reason or "EOF")
        except OSError:
            pass  # the client gave up: what it made of that is asserted on its side
        finally:
            with self._lock:
                self._open -= {sock, raw}
            sock.close()

    def _shake(self, context: ssl.SSLContext, sock: socket.socket) -> ssl.SSLSocket:
        tls = context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=True)
        with self._lock:
            self.seen.resumed += tls.session_reused is True
            self.seen.tls_versions.add(tls.version())
        return tls

    def _read(self, sock: socket.socket, number: int) -> Call | None:
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            if not (data := sock.recv(65_536)):
                return None
            received += data
        head = received[: end + 2]
        if head.startswith(b"HEAD "):
            # The command's probe is not a call.
            sock.sendall(reply(b""))
            return None
        length, attempt = _LENGTH.search(head), _ATTEMPT.search(head)
        assert length is not None
        assert attempt is not None
        missing = int(length[1]) - (len(received) - end - 4)
        while missing > 0 and self._read_all:
            data = sock.recv(min(missing, 65_536))
            if not data:
                return None
            missing -= len(data)
        call = Call(sock, attempt[1].decode(), int(attempt[2]), number, head)
        with self._lock:
            self.seen.calls.append((call.visit, call.step, number))
            self.seen.heads.append(head)
        return call

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for sock in self._open:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def peer(
    behaviours: Mapping[str, Behaviour],
    *,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    read_all: bool = True,
) -> Iterator[Seen]:
    """A listening peer; yields what it sees. With `read_all` off a request counts as read when its head is."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=1024)
    server = _Server(listener, behaviours, tls, read_all)
    thread = threading.Thread(target=server.accept, daemon=True)
    thread.start()
    try:
        yield server.seen
    finally:
        server.close()
        thread.join(5)


@contextmanager
def closed_port(host: str = "127.0.0.1") -> Iterator[int]:
    """A port that refuses: bound by us, so that nobody else gets it, but not listening."""
    with socket.socket() as sock:
        sock.bind((host, 0))
        yield int(sock.getsockname()[1])
