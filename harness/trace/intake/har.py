"""HAR files (HTTP Archive 1.2, what browsers and proxies export): the engagement calls in them.

Read the way that Chrome, Firefox, Charles and k6 Studio write it: bodies as text or base64, replies left out or without
content, status 0 for what never came, times with any zone. A file is one recording: calls without ids in it are one
visitor's unless ids say otherwise.
"""

from __future__ import annotations

from base64 import b64decode
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from harness.errors import TraceError
from harness.trace.intake.exchange import Answer, Exchange, exchange
from harness.trace.intake.issued import Issued
from harness.trace.intake.logformat import iso_ns
from harness.trace.lines import BadLines, read_chunks, source_name
from harness.units import NS_PER_MS
from harness.wire.route import route

# The whole file must be in memory to be read as JSON.
MAX_FILE_BYTES: Final = 1024 * 1024 * 1024
_API: Final = "/api/account/"
_CALL: Final = "/app/engagement/visitors"


class _Content(msgspec.Struct):
    text: str | None = None
    encoding: str | None = None

    def body(self) -> bytes | None:
        """The bytes, or None when they were not kept."""
        if self.text is None:
            return None
        return b64decode(self.text, validate=True) if self.encoding == "base64" else self.text.encode()


class _Header(msgspec.Struct):
    name: str
    value: str = ""


class _Request(msgspec.Struct):
    method: str
    url: str
    headers: list[_Header] | None = None
    postData: _Content | None = None

    def header(self, name: str) -> str:
        return next((header.value for header in self.headers or () if header.name.lower() == name), "")


class _Response(msgspec.Struct):
    status: int | None = None
    content: _Content | None = None


class _Entry(msgspec.Struct):
    startedDateTime: str
    request: _Request
    response: _Response | None = None
    time: float | str | None = None


class _Log(msgspec.Struct):
    entries: list[msgspec.Raw]


class _Har(msgspec.Struct):
    log: _Log


class _Peek(msgspec.Struct):
    """What tells an engagement call from the rest, without a look at bodies."""

    request: _Url | None = None


class _Url(msgspec.Struct):
    url: str | None = None
    method: str | None = None


_read_har = msgspec.json.Decoder(_Har).decode
_read_entry = msgspec.json.Decoder(_Entry).decode
_read_peek = msgspec.json.Decoder(_Peek).decode


class HarFiles:
    """The exchanges in HAR files, in the order of the files; iterate once.

    An entry that is none goes to `bad`; afterwards `count` is how many there were, and `left_out` how many of them
    are no engagement call, by reason. Raises `TraceError` for a file that is no HAR.
    """

    def __init__(self, sources: Iterable[str | Path], bad: BadLines) -> None:
        self._sources = list(sources)
        self._bad = bad
        self._issued = Issued()
        self.count = 0
        self.left_out: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Exchange]:
        for index, source in enumerate(self._sources):
            name = source_name(source)
            for number, raw in enumerate(_entries(source), start=1):
                self.count += 1
                try:
                    found = self._exchange(raw, str(index), f"{name}: entry {number}")
                except (msgspec.DecodeError, ValueError) as error:
                    self._bad.add(TraceError(f"{name}: entry {number}: {error}"))
                else:
                    if found is not None:
                        yield found

    def _exchange(self, raw: msgspec.Raw, line: str, where: str) -> Exchange | None:
        peeked = _read_peek(raw).request
        if peeked is None or peeked.url is None:
            self.left_out["entry without a URL"] += 1
            return None
        if _CALL not in peeked.url:
            self.left_out["other request"] += 1
            return None
        if (peeked.method or "").upper() == "OPTIONS":
            self.left_out["preflight"] += 1
            return None
        entry = _read_entry(raw)
        request = entry.request
        target = request.url[max(0, request.url.find(_API)) :].partition("#")[0]
        method = (request.header("x-http-method-override") or request.method).upper()
        call = route(method.encode(), target.encode())
        if call is None:
            self.left_out["other request"] += 1
            return None
        began_ns = iso_ns(entry.startedDateTime)
        if began_ns is None:
            raise ValueError(f"startedDateTime is no time: {entry.startedDateTime[:40]!a}")
        lasted_ms = _milliseconds(entry.time)
        body = request.postData.body() if request.postData is not None else None
        return exchange(
            call,
            body or b"",
            began_ns=began_ns,
            done_ns=began_ns + int(lasted_ms * NS_PER_MS),
            answer=_answer(entry.response, call.op),
            line=line,
            client=line,
            agent=request.header("user-agent").encode(),
            where=where,
            issued=self._issued,
        )


def _milliseconds(time: float | str | None) -> float:
    """How long a call took; 0 where the file does not say so."""
    try:
        lasted_ms = float(time or 0.0)
    except ValueError:
        return 0.0
    return lasted_ms if 0 <= lasted_ms < 1e9 else 0.0


def _answer(response: _Response | None, op: str) -> Answer:
    if response is None or response.status is None:
        return ""
    if response.status <= 0:
        # Browsers write this for what was blocked, aborted or refused.
        return "reset"
    body = response.content.body() if response.content is not None else None
    if not body and op == "get_engagement" and 200 <= response.status < 300:
        return ""  # the body was not kept
    return response.status, body or b""


def _entries(source: str | Path) -> list[msgspec.Raw]:
    name = source_name(source)
    parts: list[bytes] = []
    size = 0
    for chunk in read_chunks(source):
        parts.append(chunk)
        size += len(chunk)
        if size > MAX_FILE_BYTES:
            raise TraceError(f"{name}: larger than {MAX_FILE_BYTES >> 20} MiB: export fewer requests into one HAR file")
    content = b"".join(parts).removeprefix(b"\xef\xbb\xbf")
    parts.clear()
    try:
        return _read_har(content).log.entries
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # A place stands in most messages, but not in that of a file which ends too early.
        place = f" (byte {len(content)})" if "truncated" in str(error) else ""
        raise TraceError(f"{name}: not a HAR file: {_reason(error)}{place}") from error


def _reason(error: Any) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error) or "empty"
