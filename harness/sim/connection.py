"""One HTTP/1.1 connection of the practice target: parsing, order of replies, faults on the wire.

Calls of one connection are handled one after the other: a pipelined call waits until the reply before it was written,
which keeps replies in order. A reply is one write of head and body, so that no client waits for a delayed
acknowledgement; asyncio sets TCP_NODELAY itself.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import deque
from http import HTTPStatus

import httptools
import msgspec

from harness.sim.behaviour import JSON_TYPE, Behaviour, Decision
from harness.sim.control import metrics_text, truth_json
from harness.sim.request_log import RequestLog
from harness.units import NS_PER_MS, NS_PER_S
from harness.wire.route import Call, route

MAX_BODY_BYTES = 8 * 1024 * 1024
_MAX_TARGET_BYTES = 64 * 1024
_MAX_WAITING = 16
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_HEAD = b"%s%sContent-Length: %d\r\n%s\r\n"
_TIMED_HEAD = b"%s%sContent-Length: %d\r\nServer-Timing: sim;dur=%.3f\r\n%s%s\r\n"
# What a page of another origin may do (contract 2.2: credentials, and the headers that the browser client sends).
_CORS = b"Access-Control-Allow-Origin: %s\r\nAccess-Control-Allow-Credentials: true\r\nVary: Origin\r\n"
_PREFLIGHT = (
    b"Access-Control-Allow-Methods: POST, PUT, OPTIONS\r\n"
    b"Access-Control-Allow-Headers: Content-Type, Accept, Pragma, Cache-Control, X-Requested-With, "
    b"X-HTTP-Method-Override, LP-URL, LP-DOMAIN-REFERER\r\n"
    b"Access-Control-Max-Age: 600\r\n"
)
_TEXT_TYPE = b"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
# SO_LINGER on with a time of 0: closing sends RST instead of FIN.
_LINGER_ZERO = struct.pack("ii", 1, 0)


class Site(msgspec.Struct, kw_only=True):
    """What all connections of one server share."""

    behaviour: Behaviour
    seed: int
    loop: asyncio.AbstractEventLoop
    log: RequestLog | None = None
    metrics: bool = False
    connections: set[Connection] = set()


class Request(msgspec.Struct):
    """One complete request as it was parsed."""

    method: bytes
    target: bytes
    attempt: str
    origin: bytes
    body: bytes
    too_large: bool
    keep_alive: bool


class Pending(msgspec.Struct):
    """A call that was decided but not answered yet; `timer` is None for one that never will be."""

    call: Call
    decision: Decision
    arrived_ns: int
    keep_alive: bool
    origin: bytes = b""
    timer: asyncio.TimerHandle | None = None


class Connection(asyncio.Protocol):
    """Serves one client; see the module's text."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._transport: asyncio.Transport
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._waiting: deque[Request] = deque()
        self._pending: Pending | None = None
        self._write_blocked = False
        self._paused = False
        self.on_message_begin()

    # --- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._site.connections.add(self)
        self._site.behaviour.truth.connections += 1

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._transport.close()
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ or error from None
        except httptools.HttpParserError:
            self._refuse(400, b'{"message":"not an HTTP/1.1 request"}')
        if self._waiting or self._paused:
            self._throttle()

    def pause_writing(self) -> None:
        self._write_blocked = True
        self._throttle()

    def resume_writing(self) -> None:
        self._write_blocked = False
        self._throttle()

    def connection_lost(self, exc: Exception | None) -> None:
        self._site.connections.discard(self)
        self._parser = None  # parser and protocol refer to each other: without this only the collector frees them
        self._waiting.clear()
        pending, self._pending = self._pending, None
        if pending is not None:
            if pending.timer is not None:
                pending.timer.cancel()
            truth = self._site.behaviour.truth
            truth.in_flight -= 1
            if pending.decision.fault == "":
                truth.abandoned(pending.decision.outcome)
            self._note(pending, None)

    def _throttle(self) -> None:
        """Read on only while the client takes its replies and has not sent far ahead of them."""
        pause = self._write_blocked or len(self._waiting) >= _MAX_WAITING
        if pause == self._paused or self._transport.is_closing():
            return
        self._paused = pause
        if pause:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # --- the parser's side

    def on_message_begin(self) -> None:
        self._target = b""
        self._attempt = ""
        self._origin = b""
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._expects = False

    def on_url(self, part: bytes) -> None:
        self._target += part
        if len(self._target) > _MAX_TARGET_BYTES:
            self._refuse(414, b'{"message":"the request target is too long"}')

    def on_header(self, name: bytes, value: bytes) -> None:
        length = len(name)
        if length == 17 and name.lower() == b"x-harness-attempt":
            self._attempt = value.decode("latin-1")
        elif length == 6:
            if name.lower() == b"expect":
                self._expects = value.lower() == b"100-continue"
            elif name.lower() == b"origin":
                self._origin = value

    def on_headers_complete(self) -> None:
        if self._expects and self._pending is None and not self._waiting:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        self._body_bytes += len(part)
        if self._body_bytes <= MAX_BODY_BYTES:
            self._body.append(part)
        else:
            self._body.clear()  # the rest is read and thrown away, so that the client gets to see the refusal

    def on_message_complete(self) -> None:
        parser = self._parser
        if parser is None or self._transport.is_closing():
            return
        parts = self._body
        request = Request(
            parser.get_method(),
            self._target,
            self._attempt,
            self._origin,
            parts[0] if len(parts) == 1 else b"".join(parts),
            self._body_bytes > MAX_BODY_BYTES,
            parser.should_keep_alive(),
        )
        if self._pending is None and not self._waiting:
            self._begin(request)
        else:
            self._waiting.append(request)

    # --- serving

    def _begin(self, request: Request) -> None:
        site = self._site
        if request.too_large:
            self._refuse(413, b'{"message":"the body is larger than 8 MB"}')
            return
        call = route(request.method, request.target, request.attempt)
        if call is None:
            self._control(request)
            return
        # The truth runs from here: parsing is done, nothing is decided.
        arrived_ns = time.monotonic_ns()
        decision = site.behaviour.handle(arrived_ns, call, request.body)
        pending = Pending(call, decision, arrived_ns, request.keep_alive, request.origin)
        if decision.delay_ns <= 0 and decision.fault == "":
            self._answer(pending)
            return
        self._pending = pending
        site.behaviour.truth.in_flight += 1
        if decision.fault != "hang":
            due_s = (arrived_ns + decision.delay_ns) / NS_PER_S
            pending.timer = site.loop.call_at(due_s, self._answer_pending, pending)

    def _answer_pending(self, pending: Pending) -> None:
        """The moment of a delayed reply."""
        self._pending = None
        self._site.behaviour.truth.in_flight -= 1
        if pending.decision.fault == "reset":
            self._note(pending, None)
            self._reset()
            return
        self._answer(pending)
        if self._waiting:
            self._site.loop.call_soon(self._next)

    def _answer(self, pending: Pending) -> None:
        decision = pending.decision
        service_ns = time.monotonic_ns() - pending.arrived_ns
        head = _TIMED_HEAD % (
            _STATUS_LINES[decision.http_status],
            decision.headers,
            len(decision.body),
            service_ns / NS_PER_MS,
            _CORS % pending.origin if pending.origin else b"",
            b"" if pending.keep_alive else b"Connection: close\r\n",
        )
        self._transport.write(head + decision.body)
        if not pending.keep_alive:
            self._transport.close()
        self._site.behaviour.truth.answered(pending.call.op, decision.outcome, service_ns)
        if self._site.log is not None:
            self._note(pending, service_ns)

    def _next(self) -> None:
        if self._waiting and self._pending is None:
            self._begin(self._waiting.popleft())
            self._throttle()
            if self._waiting and self._pending is None:
                self._site.loop.call_soon(self._next)

    def _control(self, request: Request) -> None:
        """Everything that is no engagement call."""
        site = self._site
        path = request.target.partition(b"?")[0]
        status, headers = 200, JSON_TYPE
        if (request.method, path) == (b"GET", b"/sim/truth"):
            body = truth_json(site.behaviour, site.seed, time.monotonic_ns())
        elif (request.method, path) == (b"GET", b"/metrics") and site.metrics:
            headers, body = _TEXT_TYPE, metrics_text(site.behaviour)
        elif request.method == b"OPTIONS" and request.origin and route(b"POST", request.target) is not None:
            headers, body = _PREFLIGHT, b""
        else:
            site.behaviour.truth.unrouted += 1
            status, body = 404, b'{"message":"no such resource"}'
        cors = _CORS % request.origin if request.origin else b""
        self._write(status, headers + cors, body, request.keep_alive, send_body=request.method != b"HEAD")

    def _write(self, status: int, headers: bytes, body: bytes, keep_alive: bool, send_body: bool = True) -> None:
        close = b"" if keep_alive else b"Connection: close\r\n"
        head = _HEAD % (_STATUS_LINES[status], headers, len(body), close)
        self._transport.write(head + body if send_body else head)
        if not keep_alive:
            self._transport.close()

    def _refuse(self, status: int, body: bytes) -> None:
        """Answer what cannot be served, and close."""
        if not self._transport.is_closing():
            self._write(status, JSON_TYPE, body, keep_alive=False)

    def _note(self, pending: Pending, service_ns: int | None) -> None:
        """Log a call that is over."""
        if self._site.log is not None:
            at_ns = pending.arrived_ns - (self._site.behaviour.epoch_ns or 0)
            self._site.log.add(at_ns, pending.call, pending.decision, service_ns)

    def _reset(self) -> None:
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self._transport.abort()

    def abort(self) -> None:
        """Drop the connection now; an unanswered call is settled as such."""
        self._transport.abort()
