"""An engagement service that remembers everything: the independent witness of the system tests.

One thread, one epoll, bare sockets and a hand-written HTTP/1.1 reader; it shares no code with the product, so the two
can only agree by both being right. For each request it writes down which attempt it was (`X-Harness-Attempt`), the ids
it carried, the ids it was given and how it was answered; `GET /oracle/report` returns all of it as JSON.

What goes wrong is decided by a hash of (seed, attempt id), so a run repeats exactly however it is interleaved.

    python tests/system/oracle.py --port 0 --seed 7 --faults not_available=0.1,hang=0.01,renew=0.05 --delay-ms 1..50
"""

from __future__ import annotations

import argparse
import gc
import heapq
import json
import re
import select
import signal
import socket
import struct
import sys
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import blake2b
from types import FrameType
from typing import Any
from urllib.parse import unquote

# Faults that decide the answer; at most one of them strikes an attempt. The name is what a correct client must call
# the attempt, except for the last three, which have no reply that could be read.
ANSWERS = (
    "not_available", "loading", "server_error", "internal", "throttled", "rejected", "gone", "client_error",
    "redirect", "bad_reply", "hang", "reset", "cut",
)  # fmt: skip
# What may befall a good reply: another sid, another visitor, a connection closed after it.
TWISTS = ("renew", "revid", "close")
NOT_FOR_UPDATES = {"not_available", "loading", "bad_reply"}

FIELDS = (
    "attempt", "op", "vid_in", "sid_in", "page_in", "context_in", "outcome", "vid_out", "sid_out", "hint_vid",
    "page_out", "context_out", "chain", "received_ms", "answered_ms",
)  # fmt: skip

_TARGET = re.compile(r"/api/account/([A-Za-z0-9_]+)/app/engagement/visitors/([^/?]*)\?v=1\.0(?:&sid=([^&?]*))?")
_KEY_ORDER = ("appDetails", "consumerSections", "engagementAttributes", "appType")
_STATUS = {
    200: "OK", 302: "Found", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests",
    500: "Internal Server Error", 503: "Service Unavailable",
}  # fmt: skip
_MAX_PROBLEMS = 50
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Row:
    """One request: what came, what was decided, when it was answered (-1: never)."""

    attempt: str
    op: str
    vid_in: str | None
    sid_in: str | None
    received_ms: float
    page_in: str | None = None
    context_in: str | None = None
    outcome: str = ""
    vid_out: str | None = None
    sid_out: str | None = None
    hint_vid: str | None = None
    page_out: str | None = None
    context_out: str | None = None
    chain: str = ""
    answered_ms: float = -1.0


@dataclass(slots=True)
class Conn:
    """One client connection; `busy` while a request on it waits for its answer."""

    sock: socket.socket
    buffer: bytearray = field(default_factory=bytearray)
    busy: bool = False
    open: bool = True


class Draws:
    """Four independent uniform draws of one attempt."""

    def __init__(self, seed: int, attempt: str) -> None:
        digest = blake2b(f"{seed}/{attempt}".encode(), digest_size=16).digest()
        self.fault, self.twist, self.delay, self.close = (n / 2**32 for n in struct.unpack("<4I", digest))


class Ledger:
    """Which ids were issued, and to which visit."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.vids: dict[str, str] = {}
        self.sids: dict[str, str] = {}
        self.pages = 1_000_000_000
        self.contexts = 0
        self.crossed = 0
        self.unknown = 0

    def new_vid(self, visit: str) -> str:
        """A visitor id in the documented form: 22 base64 characters over hex digits."""
        digest = blake2b(f"vid/{self.seed}/{len(self.vids)}".encode(), digest_size=8).hexdigest()
        vid = urlsafe_b64encode(digest.encode()).decode().rstrip("=")
        self.vids[vid] = visit
        return vid

    def new_sid(self, visit: str) -> str:
        """A session id in the documented forms: 22 base64url characters, for every fourth with a suffix of 40 hex."""
        number = len(self.sids)
        digest = blake2b(f"sid/{self.seed}/{number}".encode(), digest_size=36).digest()
        sid = urlsafe_b64encode(digest[:16]).decode().rstrip("=")
        if number % 4 == 3:
            sid += "." + digest[16:].hex()
        self.sids[sid] = visit
        return sid

    def check(self, row: Row) -> None:
        """Counts ids that were never issued, or were issued to another visit."""
        visit = row.attempt.split("/", 1)[0]
        for ident, issued in ((row.vid_in, self.vids), (row.sid_in, self.sids)):
            if ident is None:
                continue
            if ident not in issued:
                self.unknown += 1
            elif issued[ident] != visit:
                self.crossed += 1


def http(status: int, body: bytes, extra: str = "") -> bytes:
    """A complete response; the content type is the odd one that the real service was seen to send."""
    head = f"HTTP/1.1 {status} {_STATUS[status]}\r\nContent-Type: application/octet-stream\r\n"
    return f"{head}{extra}Content-Length: {len(body)}\r\n\r\n".encode() + body


def error(status: int, code: int | None, message: str, extra: str = "") -> bytes:
    """A documented error reply."""
    body: dict[str, Any] = {"time": 1_499_263_964_605, "message": message}
    if code is not None:
        body["internalCode"] = code
    return http(status, json.dumps(body).encode(), extra)


class Service:
    """What the service answers, and its memory of it; no sockets here."""

    def __init__(self, seed: int, faults: dict[str, float]) -> None:
        self.seed = seed
        self.faults = faults
        self.ledger = Ledger(seed)
        self.rows: list[Row] = []
        self.seen: set[str] = set()
        self.duplicates: list[str] = []
        self.problems: list[str] = []

    def problem(self, text: str) -> None:
        """Notes a breach of the contract or of HTTP by the client."""
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(text)

    def answer(self, row: Row, account: str, body: bytes, draws: Draws) -> bytes:
        """The reply's bytes (empty for hang and reset); fills the row."""
        if row.attempt in self.seen:
            self.duplicates.append(row.attempt)
        self.seen.add(row.attempt)
        self.rows.append(row)
        self.ledger.check(row)
        self._check_body(row, body)
        fault = self._fault(draws.fault)
        if row.op == "update" and fault in NOT_FOR_UPDATES:
            fault = ""
        if fault == "loading":
            visit = row.attempt.split("/", 1)[0]
            row.outcome, row.hint_vid = fault, row.vid_in or self.ledger.new_vid(visit)
            return error(500, 20, f"Loading account: {account}, vid: {row.hint_vid}")
        if fault in ("hang", "reset"):
            row.outcome = fault
            return b""
        refused = _refusal(fault)
        if refused is not None:
            row.outcome, reply = refused
            return reply
        if row.op == "update":
            reply = self._update(row)
        else:
            reply = self._engagement(row, fault == "not_available", draws.twist)
        if fault == "cut":
            row.outcome = "cut"
            whole = http(200, bytes(100)) if row.op == "update" else reply
            return whole[:-50]
        return reply

    def _fault(self, draw: float) -> str:
        for name in ANSWERS:
            rate = self.faults.get(name, 0.0)
            if draw < rate:
                return name
            draw -= rate
        return ""

    def _update(self, row: Row) -> bytes:
        if row.vid_in not in self.ledger.vids or row.sid_in not in self.ledger.sids:
            row.outcome = "rejected"
            return error(404, 37 if row.vid_in not in self.ledger.vids else 39, "unknown ids")
        row.outcome = "accepted"
        return http(200, b"")

    def _engagement(self, row: Row, not_available: bool, twist: float) -> bytes:
        ledger = self.ledger
        visit = row.attempt.split("/", 1)[0]
        renew, revid = self.faults.get("renew", 0.0), self.faults.get("revid", 0.0)
        known = row.vid_in is not None and row.vid_in in ledger.vids
        if row.vid_in is None:
            row.vid_out, row.sid_out, row.chain = ledger.new_vid(visit), ledger.new_sid(visit), "started"
        elif not known or twist < revid:
            row.vid_out, row.sid_out, row.chain = ledger.new_vid(visit), ledger.new_sid(visit), "revid"
        elif row.sid_in is None:
            row.vid_out, row.sid_out, row.chain = row.vid_in, ledger.new_sid(visit), "kept"
        elif row.sid_in not in ledger.sids or twist < revid + renew:
            row.vid_out, row.sid_out, row.chain = row.vid_in, ledger.new_sid(visit), "renewed"
        else:
            row.vid_out, row.sid_out, row.chain = row.vid_in, row.sid_in, "kept"
        ledger.pages += 7
        row.page_out = str(ledger.pages)
        reply: dict[str, Any] = {"status": "NotAvailable", "sessionId": row.sid_out, "visitorId": row.vid_out}
        reply["pageId"] = row.page_out
        row.outcome = "not_available"
        if not not_available:
            ledger.contexts += 1
            row.outcome, row.context_out = "available", str(ledger.contexts)
            reply["status"] = "Available"
            reply["engagementDetails"] = {
                "campaignId": "3346848610", "engagementId": "3562981110", "contextId": row.context_out,
                "windowId": "3346847910", "language": "en-US", "engagementRevision": 44, "validForSeconds": 900,
            }  # fmt: skip
        return http(200, json.dumps(reply).encode())

    def _check_body(self, row: Row, body: bytes) -> None:
        try:
            request = json.loads(body)
        except ValueError:
            request = None
        if not isinstance(request, dict):
            self.problem(f"{row.attempt}: the body is no JSON object")
            return
        if row.op == "update":
            row.page_in = request.get("pageId")
            if not isinstance(row.page_in, str):
                self.problem(f"{row.attempt}: an update without pageId")
            if row.vid_in is None or row.sid_in is None:
                self.problem(f"{row.attempt}: an update without vid or sid")
            for event in request.get("impAttributes", ()):
                for context in event.get("eContext", ()):
                    row.context_in = context.get("id")
            return
        if not {"vid", "sid", "pageId", "impAttributes"}.isdisjoint(request):
            self.problem(f"{row.attempt}: fields in the body that do not belong there: {sorted(request)}")
        known = [key for key in request if key in _KEY_ORDER]
        if known != [key for key in _KEY_ORDER if key in request]:
            self.problem(f"{row.attempt}: keys not in the SDK's order: {known}")
        if request.get("appType") != "EXTERNAL":
            self.problem(f"{row.attempt}: appType is {request.get('appType')!r}")


def _refusal(fault: str) -> tuple[str, bytes] | None:
    """The result that a client must see and the reply, of a fault that is an error reply of its own."""
    match fault:
        case "server_error":
            return fault, error(503, None, "temporarily unavailable")
        case "internal":
            return "server_error", error(500, 18, "unexpected server error")
        case "throttled":
            return fault, error(429, None, "slow down", "Retry-After: 1\r\n")
        case "rejected":
            return fault, error(401, None, "Unauthorized")
        case "gone":
            return "rejected", error(404, 39, "session not found")
        case "client_error":
            return fault, error(400, 5, "deviceFamily")
        case "redirect":
            return fault, http(302, b"", "Location: http://127.0.0.2:9/elsewhere\r\n")
        case "bad_reply":
            return fault, http(200, b"<html>a proxy's page</html>")
    return None


class Server:
    """The sockets: reads requests, answers each after its delay, keeps nothing waiting but what it was told to."""

    def __init__(self, service: Service, port: int, delay_ms: tuple[float, float], freeze: tuple[float, float]) -> None:
        self.service = service
        self.delay_ms = delay_ms
        self.freeze_at_s, self.freeze_for_s = freeze
        self.frozen_from = self.frozen_until = -1.0
        self.zero = time.monotonic()
        self.connections = 0
        self.strays: list[str] = []
        self.running = True
        self._timers: list[tuple[float, int, Conn, bytes, Row, bool]] = []
        self._count = 0
        self._conns: dict[int, Conn] = {}
        self._listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self._listener.setblocking(False)
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)
        self.port = self._listener.getsockname()[1]

    def serve(self) -> None:
        """Runs until `running` is cleared."""
        listener = self._listener.fileno()
        while self.running:
            for number, _ in self._epoll.poll(self._patience()):
                if number == listener:
                    self._accept()
                elif (conn := self._conns.get(number)) is not None:
                    self._read(conn)
            self._fire()
        for conn in list(self._conns.values()):
            self._close(conn)
        self._listener.close()

    def _patience(self) -> float:
        if not self._timers:
            return 0.2
        now = time.monotonic()
        due = self.frozen_until if self.frozen_from <= now < self.frozen_until else self._timers[0][0]
        return min(max(due - now, 0.0), 0.2)

    def _accept(self) -> None:
        for _ in range(256):
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self._conns[sock.fileno()] = Conn(sock)
            self._epoll.register(sock, select.EPOLLIN)

    def _close(self, conn: Conn) -> None:
        if conn.open:
            conn.open = False
            del self._conns[conn.sock.fileno()]
            self._epoll.unregister(conn.sock)
            conn.sock.close()

    def _read(self, conn: Conn) -> None:
        try:
            data = conn.sock.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(conn)
            return
        conn.buffer += data
        if conn.busy:
            self.service.problem("a second request on a connection before the first was answered")
            self._close(conn)
            return
        self._take(conn)

    def _take(self, conn: Conn) -> None:
        """Handles the request in the buffer once it is complete."""
        end = conn.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        request_line, *lines = conn.buffer[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = headers.get("content-length", "0")
        if not length.isdigit() or "transfer-encoding" in headers:
            self.service.problem(f"no plain Content-Length: {request_line}")
            self._close(conn)
            return
        total = end + 4 + int(length)
        if len(conn.buffer) < total:
            return
        body = bytes(conn.buffer[end + 4 : total])
        if len(conn.buffer) > total:
            self.service.problem(f"bytes after the request: {request_line}")
        conn.buffer.clear()
        self._handle(conn, request_line, headers, body)

    def _handle(self, conn: Conn, request_line: str, headers: dict[str, str], body: bytes) -> None:
        method, _, rest = request_line.partition(" ")
        target, _, version = rest.partition(" ")
        if target == "/oracle/report":
            conn.sock.setblocking(True)
            conn.sock.sendall(http(200, json.dumps(self.report()).encode()))
            self._close(conn)
            return
        match = _TARGET.fullmatch(target)
        attempt = headers.get("x-harness-attempt", "")
        if match is None or method not in ("POST", "PUT") or not attempt:
            self.strays.append(request_line)
            self._send(conn, http(404, b"{}"))
            return
        if version != "HTTP/1.1" or "host" not in headers or "content-length" not in headers:
            self.service.problem(f"{attempt}: not a proper HTTP/1.1 request: {request_line}, headers {sorted(headers)}")
        if not headers.get("content-type", "").startswith("application/json"):
            self.service.problem(f"{attempt}: content type {headers.get('content-type')!r}")
        now = time.monotonic()
        if self.frozen_from < 0 and self.freeze_for_s:
            self.frozen_from = now + self.freeze_at_s
            self.frozen_until = self.frozen_from + self.freeze_for_s
        draws = Draws(self.service.seed, attempt)
        row = Row(
            attempt,
            "update" if method == "PUT" else "get_engagement",
            unquote(match[2]) or None,
            unquote(match[3]) if match[3] else None,
            round((now - self.zero) * 1000, 3),
        )
        reply = self.service.answer(row, match[1], body, draws)
        conn.busy = True
        if row.outcome == "hang":
            return
        closes = draws.close < self.service.faults.get("close", 0.0) and row.outcome != "cut"
        if closes:
            reply = reply.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        low, high = self.delay_ms
        self._count += 1
        due = now + (low + (high - low) * draws.delay) / 1000
        heapq.heappush(self._timers, (due, self._count, conn, reply, row, closes))

    def _fire(self) -> None:
        """Answers what is due, unless the service is frozen."""
        now = time.monotonic()
        if self.frozen_from <= now < self.frozen_until:
            return
        while self._timers and self._timers[0][0] <= now:
            _, _, conn, reply, row, closes = heapq.heappop(self._timers)
            if not conn.open:
                continue
            conn.busy = False
            if row.outcome == "reset":
                conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                self._close(conn)
            elif self._send(conn, reply):
                row.answered_ms = round((time.monotonic() - self.zero) * 1000, 3)
                if closes or row.outcome == "cut":
                    self._close(conn)

    def _send(self, conn: Conn, reply: bytes) -> bool:
        """Whether the whole reply went out; replies are far smaller than a socket's buffer."""
        try:
            whole = conn.sock.send(reply) == len(reply)
        except OSError:
            whole = False
        if not whole:
            self._close(conn)
        return whole

    def report(self) -> dict[str, Any]:
        """Everything that is known."""
        service = self.service
        return {
            "fields": FIELDS,
            "requests": [[getattr(row, name) for name in FIELDS] for row in service.rows],
            "problems": service.problems,
            "duplicates": service.duplicates,
            "strays": self.strays,
            "connections": self.connections,
            "crossed": service.ledger.crossed,
            "unknown": service.ledger.unknown,
            "vids_issued": len(service.ledger.vids),
            "sids_issued": len(service.ledger.sids),
        }


def parse_faults(text: str) -> dict[str, float]:
    """Rates by fault name, of `name=rate,…`; exits on a name that is none."""
    faults: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, rate = part.partition("=")
        if name not in ANSWERS + TWISTS:
            sys.exit(f"oracle: no such fault: {name}")
        faults[name] = float(rate)
    return faults


def main() -> None:
    """Serves until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=parse_faults, default={})
    parser.add_argument("--delay-ms", default="1..1", help="service time, uniform in low..high")
    parser.add_argument("--freeze-at", type=float, default=0.0, help="seconds after the first call")
    parser.add_argument("--freeze-for", type=float, default=0.0, help="seconds without any answer; 0: never")
    options = parser.parse_args()
    low, high = options.delay_ms.split("..")
    server = Server(
        Service(options.seed, options.faults),
        options.port,
        (float(low), float(high)),
        (options.freeze_at, options.freeze_for),
    )

    def stop(_signal: int, _frame: FrameType | None) -> None:
        server.running = False

    signal.signal(signal.SIGTERM, stop)
    # The log only grows: collecting it again and again would freeze the service for real.
    gc.disable()
    print(f"oracle ready at http://127.0.0.1:{server.port}", flush=True)
    server.serve()


if __name__ == "__main__":
    main()
