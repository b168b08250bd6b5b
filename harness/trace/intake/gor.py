"""GoReplay files: records of raw HTTP, separated by a line of three monkeys.

A record begins with a line `TYPE ID TIME [LATENCY]`: type 1 is a request, 2 the reply to the request of the same ID
(only there when GoReplay was told to track responses), 3 the reply of a replay. TIME is in ns since 1970; older
versions give the round-trip time in its place for replies. Without replies ids are seen only when a client sends them,
so first calls are tied to the rest by the client's address, where a proxy's header tells it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from harness.errors import TraceError
from harness.trace.intake.exchange import Answer, Exchange, exchange
from harness.trace.intake.http1 import Head, Splitter, decoded
from harness.trace.intake.issued import Issued
from harness.trace.intake.logformat import END_NS
from harness.trace.lines import BadLines, read_chunks, source_name
from harness.units import NS_PER_S
from harness.wire.route import Call, route

SEPARATOR: Final = "\n🐵🙈🙉\n".encode()
MAX_RECORD_BYTES: Final = 16 * 1024 * 1024
# A reply is waited for so long (in the recording's time), and by so many requests at most.
_WAIT_NS: Final = 120 * NS_PER_S
_MOST_WAITING: Final = 50_000


class _Asked(NamedTuple):
    """A request whose reply may follow."""

    call: Call
    head: Head
    body: bytes
    began_ns: int
    where: str


class GorFiles:
    """The exchanges in GoReplay files, read in the order given; iterate once.

    A record that is none goes to `bad`; afterwards `count` is how many there were, and `left_out` how many of them
    belong to no engagement call, by reason. Raises `TraceError` for a file that cannot be read to its end.
    """

    def __init__(self, sources: Iterable[str | Path], bad: BadLines) -> None:
        self._sources = list(sources)
        self._bad = bad
        self._waiting: OrderedDict[bytes, _Asked] = OrderedDict()
        self._issued = Issued()
        self.count = 0
        self.left_out: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Exchange]:
        for source in self._sources:
            name = source_name(source)
            for number, (offset, record) in enumerate(_records(source, self._bad), start=1):
                self.count += 1
                where = f"{name}: record {number} (byte {offset})"
                try:
                    yield from self._take(record, where)
                except ValueError as error:
                    self._bad.add(TraceError(f"{where}: {error}"))
        while self._waiting:
            yield _made(self._waiting.popitem(last=False)[1], "", 0, self._issued)

    def _take(self, record: bytes, where: str) -> Iterator[Exchange]:
        line, _, message = record.lstrip(b"\r\n").partition(b"\n")
        fields = line.split()
        if len(fields) < 3 or fields[0] not in (b"1", b"2", b"3") or not all(map(_is_time, fields[2:4])):
            raise ValueError("no GoReplay record: it must begin with a line TYPE ID TIME")
        kind, key, time_ns = fields[0], fields[1], int(fields[2])
        if kind == b"3":
            self.left_out["reply of a replay"] += 1
            return
        if kind == b"2":
            asked = self._waiting.pop(key, None)
            if asked is None:
                self.left_out["reply without an engagement call"] += 1
                return
            lasted_ns = int(fields[3]) if len(fields) > 3 else 0
            # A time of its own, or the round trip's.
            done_ns = time_ns + lasted_ns if time_ns > asked.began_ns // 2 else asked.began_ns + time_ns
            yield _made(asked, _answer(message, asked), done_ns, self._issued)
            return
        while self._waiting and (
            len(self._waiting) >= _MOST_WAITING or time_ns - next(iter(self._waiting.values())).began_ns > _WAIT_NS
        ):
            yield _made(self._waiting.popitem(last=False)[1], "", 0, self._issued)
        asked = self._request(message, time_ns, where)
        if asked is not None:
            if self._waiting.pop(key, None) is not None:
                self.left_out["call without a reply before its ID came again"] += 1
            self._waiting[key] = asked

    def _request(self, message: bytes, time_ns: int, where: str) -> _Asked | None:
        head, body = _message(Splitter(), message)
        if head is None:
            raise ValueError("its request is no HTTP/1.1")
        api = head.target.find(b"/api/account/")
        call = route(head.header(b"x-http-method-override").upper() or head.method, head.target[max(0, api) :])
        if call is None:
            self.left_out["other request"] += 1
            return None
        return _Asked(call, head, body, time_ns, where)


def _made(asked: _Asked, answer: Answer, done_ns: int, issued: Issued) -> Exchange:
    head = asked.head
    address = (head.header(b"x-forwarded-for") or head.header(b"x-real-ip")).decode("latin-1")
    client = f"{address} {head.header(b'user-agent').decode('latin-1')}" if address else ""
    return exchange(
        asked.call,
        asked.body,
        began_ns=asked.began_ns,
        done_ns=done_ns,
        answer=answer,
        line=client,
        client=client,
        agent=head.header(b"user-agent"),
        where=asked.where,
        issued=issued,
    )


def _answer(message: bytes, asked: _Asked) -> Answer:
    head, body = _message(Splitter(deque([asked.head.method])), message)
    plain = decoded(body, head.header(b"content-encoding")) if head is not None else None
    return "" if head is None or plain is None else (head.status, plain)


def _message(splitter: Splitter, raw: bytes) -> tuple[Head | None, bytes]:
    """Head and body of the first final message in these bytes."""
    head: Head | None = None
    body: list[bytes] = []
    for piece in [*splitter.feed(raw), *splitter.finish()]:
        if piece.head is not None and not 100 <= piece.head.status < 200:
            if head is not None:
                break
            head = piece.head
        elif piece.kind == "body":
            body.append(piece.payload)
    return head, b"".join(body)


def _is_time(text: bytes) -> bool:
    return text.isdigit() and len(text) <= 19 and int(text) < END_NS


def _records(source: str | Path, bad: BadLines) -> Iterator[tuple[int, bytes]]:
    """The records of a file with their offsets; one that is too long goes to `bad` and is skipped."""
    name = source_name(source)
    buffer, offset, searched, skipping = b"", 0, 0, False
    for chunk in read_chunks(source):
        buffer += chunk
        while (end := buffer.find(SEPARATOR, searched)) >= 0:
            if not skipping and buffer[:end].strip():
                yield offset, buffer[:end]
            skipping = False
            offset += end + len(SEPARATOR)
            buffer, searched = buffer[end + len(SEPARATOR) :], 0
        searched = max(0, len(buffer) - len(SEPARATOR))
        if len(buffer) > MAX_RECORD_BYTES:
            if not skipping:
                bad.add(TraceError(f"{name}: byte {offset}: a record longer than {MAX_RECORD_BYTES >> 20} MiB"))
            skipping = True
            offset += searched
            buffer, searched = buffer[searched:], 0
    if not skipping and buffer.strip():
        yield offset, buffer
