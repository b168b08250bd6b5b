"""The recorder's sockets: a reverse proxy that hands bytes on and looks at copies of them.

Each connection of a client gets one connection to the service, opened with its first request. So whatever the two
agree on (keep-alive, chunks, pipelining, an upgrade) holds between them as if nobody stood in between. Of a request
only the Host header is changed, and its path where the service lies below one; of a reply nothing. What ends on one
side ends on the other.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from harness.config.target import Target
from harness.errors import StorageError
from harness.trace.intake.exchange import Answer, Exchange, NoAnswer, exchange
from harness.trace.intake.http1 import MAX_BODY_BYTES, Head, Piece, Splitter, decoded
from harness.trace.intake.issued import Issued
from harness.wire.route import Call, route

CONNECT_LIMIT_S: Final = 10.0
_HOST: Final = re.compile(rb"\r\n[Hh][Oo][Ss][Tt]:[^\r\n]*")
# SO_LINGER on with a time of 0: closing sends RST instead of FIN.
_LINGER_ZERO: Final = struct.pack("ii", 1, 0)


class Watch(msgspec.Struct, kw_only=True):
    """What all connections of one recorder share, and the counts of what passed."""

    target: Target
    tls: ssl.SSLContext | None
    record: Callable[[Exchange], None]
    disguise: Callable[[str], str]
    issued: Issued = msgspec.field(default_factory=Issued)
    fail: Callable[[Exception], None]
    # Time since 1970 that never jumps: the wall clock's at the start, the monotonic one's from there.
    epoch_ns: int = msgspec.field(default_factory=lambda: time.time_ns() - time.monotonic_ns())
    callers: set[Caller] = msgspec.field(default_factory=set)
    answered: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    connections: int = 0
    calls: int = 0
    others: int = 0
    unreachable: int = 0
    unreadable: int = 0

    def now_ns(self) -> int:
        """Nanoseconds since 1970."""
        return self.epoch_ns + time.monotonic_ns()

    @property
    def busy(self) -> bool:
        """Whether an answer is still awaited."""
        return any(caller.busy for caller in self.callers)


class _Request(msgspec.Struct):
    """A request that passed, until its reply has."""

    head: Head
    call: Call | None
    began_ns: int
    body: bytearray | None
    status: int = 0
    encoding: bytes = b""
    reply: bytearray | None = None


class Caller(asyncio.Protocol):
    """The side of a connection that faces a client."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._requests: deque[_Request] = deque()
        methods: deque[bytes] = deque()
        self._methods = methods
        self._splitter = Splitter()
        self._replies = Splitter(methods)
        self._service: _Service | None = None
        self._early: list[bytes] = []
        self._connecting: asyncio.Task[None] | None = None
        self._began_ns = 0
        self._ended = False
        watch.connections += 1
        self._line = str(watch.connections)

    @property
    def busy(self) -> bool:
        """Whether an answer is still awaited on this connection."""
        return bool(self._requests)

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._peer = str((transport.get_extra_info("peername") or ("",))[0])
        self._watch.callers.add(self)

    def data_received(self, data: bytes) -> None:
        now_ns = self._watch.now_ns()
        if not self._splitter.inside:
            self._began_ns = now_ns
        for piece in self._splitter.feed(data):
            self._send(self._take(piece))
            if piece.ends:
                self._began_ns = now_ns

    def eof_received(self) -> bool:
        # A client may close its sending side and still wait for the answer.
        self._ended = True
        self._send(b"".join(piece.raw for piece in self._splitter.finish()))
        if not self.busy:
            self._close_service()
        return self.busy

    def pause_writing(self) -> None:
        if self._service is not None:
            self._service.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._service is not None and not self._service.transport.is_closing():
            self._service.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch.callers.discard(self)
        if self._connecting is not None:
            self._connecting.cancel()
        # Whoever hangs up with a call in flight has waited long enough.
        self._drop("timeout")
        self._close_service()

    # Towards the service

    def _take(self, piece: Piece) -> bytes:
        """Notes what a piece of a request says; returns the bytes to send in its place."""
        head = piece.head
        if head is not None:
            self._methods.append(head.method)
            override = head.header(b"x-http-method-override").upper()
            call = route(override or head.method, head.target)
            body = bytearray() if call is not None else None
            self._requests.append(_Request(head, call, self._began_ns, body))
            return self._addressed(head)
        if piece.kind == "body" and self._requests:
            _gather(self._requests[-1].body, piece.payload)
        return piece.raw

    def _addressed(self, head: Head) -> bytes:
        """The head as the service wants it: with its own name, and below its path."""
        target = self._watch.target
        host = b"\r\nHost: " + target.authority.encode()
        raw, replaced = _HOST.subn(lambda _: host, head.raw, count=1)
        if not replaced:
            line, _, rest = head.raw.partition(b"\r\n")
            raw = line + host + b"\r\n" + rest
        if target.base_path and head.target.startswith(b"/"):
            raw = raw.replace(b" /", b" " + target.base_path.encode() + b"/", 1)
        return raw

    def _send(self, data: bytes) -> None:
        if not data:
            return
        if self._service is not None:
            self._service.transport.write(data)
            return
        self._early.append(data)
        if self._connecting is None:
            self.transport.pause_reading()
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        loop, target = asyncio.get_running_loop(), self._watch.target
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S):
                _, service = await loop.create_connection(
                    lambda: _Service(self),
                    target.host,
                    target.port,
                    ssl=self._watch.tls,
                    server_hostname=target.host if self._watch.tls is not None else None,
                )
        except (OSError, TimeoutError) as error:
            self._watch.unreachable += 1
            self._drop("connect_error")
            text = f"harness trace record: {target.host} cannot be reached: {error or 'timed out'}\n".encode()
            head = "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
            self.transport.write(f"{head}Content-Length: {len(text)}\r\n\r\n".encode() + text)
            self.transport.close()
            return
        self._service = service
        service.transport.write(b"".join(self._early))
        self._early.clear()
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def service_pauses(self, pause: bool) -> None:
        """The service takes no more bytes for now, or takes them again."""
        if self.transport.is_closing():
            return
        if pause:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _close_service(self) -> None:
        if self._service is not None:
            self._service.transport.close()

    # From the service

    def replied(self, data: bytes) -> None:
        """Bytes of replies: handed on as they are, then looked at."""
        self.transport.write(data)
        for piece in self._replies.feed(data):
            self._look(piece)

    def _look(self, piece: Piece) -> None:
        if not self._requests:
            return
        request = self._requests[0]
        if piece.head is not None and piece.head.status >= 200:
            request.status = piece.head.status
            request.encoding = piece.head.header(b"content-encoding")
            request.reply = bytearray() if request.call is not None else None
        elif piece.kind == "body":
            _gather(request.reply, piece.payload)
        if piece.ends:
            self._requests.popleft()
            self._note(request)
            self._watch.answered.set()
            if self._ended and not self.busy:
                self._close_service()

    def service_lost(self, exc: Exception | None) -> None:
        """The service closed the connection: so does this side, in the same way."""
        for piece in self._replies.finish():
            self._look(piece)
        self._drop("reset")
        if exc is not None and not self.transport.get_write_buffer_size():
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            self.transport.abort()
        else:
            self.transport.close()

    # Recording

    def _note(self, request: _Request) -> None:
        if request.call is None:
            self._watch.others += 1
            return
        body = None if request.reply is None else decoded(bytes(request.reply), request.encoding)
        self._watch.unreadable += body is None
        self._record(request, "" if body is None else (request.status, body))

    def _drop(self, why: NoAnswer) -> None:
        """No answer will come any more to what is under way."""
        while self._requests:
            request = self._requests.popleft()
            if request.call is not None:
                self._record(request, why)
        self._watch.answered.set()

    def _record(self, request: _Request, answer: Answer) -> None:
        assert request.call is not None
        headers = request.head
        forwarded = headers.header(b"x-forwarded-for").decode("latin-1")
        agent = headers.header(b"user-agent")
        self._watch.calls += 1
        made = exchange(
            request.call,
            bytes(request.body or b""),
            began_ns=request.began_ns,
            done_ns=self._watch.now_ns(),
            answer=answer,
            line=self._line,
            client=self._watch.disguise(f"{forwarded or self._peer} {agent.decode('latin-1')}"),
            agent=agent,
            disguise=self._watch.disguise,
            issued=self._watch.issued,
        )
        try:
            self._watch.record(made)
        except StorageError as error:
            self._watch.fail(error)

    def stop(self, *, now: bool) -> None:
        """End this connection: at once, or, if an answer is awaited, not yet."""
        if now or not self.busy:
            self._drop("")
            self.transport.close()


class _Service(asyncio.Protocol):
    """The side of a connection that faces the service."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._caller.replied(data)

    def pause_writing(self) -> None:
        self._caller.service_pauses(True)

    def resume_writing(self) -> None:
        self._caller.service_pauses(False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._caller.service_lost(exc)


def _gather(into: bytearray | None, part: bytes) -> None:
    """Adds to a collected body; one that grows beyond 8 MiB is cut off, which its reader will notice."""
    if into is not None and len(into) <= MAX_BODY_BYTES:
        into += part


async def listen(watch: Watch, host: str, port: int) -> asyncio.Server:
    """Start to accept clients; raises `OSError` when the address cannot be used."""
    return await asyncio.get_running_loop().create_server(lambda: Caller(watch), host, port, backlog=1024)


async def drain(watch: Watch, limit_s: float) -> None:
    """Let answers that are under way arrive, `limit_s` at most; then everything is closed."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + limit_s
    while watch.busy and loop.time() < deadline_s:
        for caller in tuple(watch.callers):
            caller.stop(now=False)
        watch.answered.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline_s):
                await watch.answered.wait()
    for caller in tuple(watch.callers):
        caller.stop(now=True)
