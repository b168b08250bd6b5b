"""Where HTTP/1.1 messages begin and end in a stream of bytes, without changing one of them.

A `Splitter` sees one direction of a connection and cuts it into pieces: a head, parts of a body, the last of which ends
the message. The pieces' bytes, put together, are the stream. What it cannot make sense of (another protocol after an
upgrade, a broken head) becomes one endless piece that is passed on as it is. RFC 9112.
"""

from __future__ import annotations

import re
import zlib
from collections import deque
from typing import Final, Literal

import msgspec
import zstandard

MAX_HEAD_BYTES: Final = 64 * 1024
# A decoded body beyond this is not looked into.
MAX_BODY_BYTES: Final = 8 * 1024 * 1024
_MAX_CHUNK_LINE: Final = 4 * 1024

_HEAD_END: Final = b"\r\n\r\n"
_REQUEST: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+) HTTP/1\.([01])\Z")
_STATUS: Final = re.compile(rb"HTTP/1\.([01]) (\d{3})(?: .*)?\Z", re.DOTALL)
_DIGITS: Final = re.compile(rb"\d{1,18}\Z")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?\r\n\Z", re.DOTALL)


class Head(msgspec.Struct, gc=False):
    """The head of a message: `raw` with its blank line; `method` and `target` of a request, `status` of a reply.

    `headers` are (lower-case name, value) in order.
    """

    raw: bytes
    method: bytes = b""
    target: bytes = b""
    status: int = 0
    minor: int = 1
    headers: list[tuple[bytes, bytes]] = []

    def header(self, name: bytes) -> bytes:
        """The value of the first header of that lower-case name, empty without one."""
        return next((value for key, value in self.headers if key == name), b"")


class Piece(msgspec.Struct, gc=False):
    """Consecutive bytes of the stream: a head, a part of the body (`payload` is what it adds to it), or `other`.

    `ends` says that the message ends with it.
    """

    kind: Literal["head", "body", "other"]
    raw: bytes
    head: Head | None = None
    payload: bytes = b""
    ends: bool = False


class Splitter:
    """Cuts the bytes of one direction into pieces; `methods` are those of the requests that replies answer, in order.

    For requests `methods` is None. `opaque` turns true when the rest of the stream cannot be understood.
    """

    def __init__(self, methods: deque[bytes] | None = None) -> None:
        self._methods = methods
        self._buffer = b""
        self._state: Literal["head", "length", "size", "data", "data_end", "trailer", "close", "opaque"] = "head"
        self._left = 0

    @property
    def opaque(self) -> bool:
        """Whether what follows is no HTTP/1.1 that can be read."""
        return self._state == "opaque"

    @property
    def inside(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._state not in ("head", "opaque") or bool(self._buffer)

    def feed(self, data: bytes) -> list[Piece]:
        """The pieces that these bytes complete; bytes of an unfinished head or chunk line are held back."""
        pieces: list[Piece] = []
        data = self._buffer + data if self._buffer else data
        self._buffer = b""
        at = 0
        while at < len(data):
            before = at
            at = self._step(data, at, pieces)
            if at == before:
                self._buffer = data[at:]
                break
        return pieces

    def finish(self) -> list[Piece]:
        """The stream has ended: what was held back, and the end of a reply that lasts until the connection closes."""
        held, self._buffer = self._buffer, b""
        if self._state == "close":
            self._state = "opaque"
            return [Piece("body", held, payload=held, ends=True)]
        return [Piece("other", held)] if held else []

    def _step(self, data: bytes, at: int, pieces: list[Piece]) -> int:
        """Take one piece that begins at `at`; returns where it ends, or `at` itself when more bytes are needed."""
        match self._state:
            case "head":
                return self._take_head(data, at, pieces)
            case "length" | "data":
                return self._take_counted(data, at, pieces)
            case "size":
                return self._take_size(data, at, pieces)
            case "data_end" | "trailer":
                return self._take_line(data, at, pieces)
            case "close":
                pieces.append(Piece("body", data[at:], payload=data[at:]))
            case "opaque":
                pieces.append(Piece("other", data[at:]))
        return len(data)

    def _give_up(self, data: bytes, at: int, pieces: list[Piece]) -> int:
        self._state = "opaque"
        pieces.append(Piece("other", data[at:]))
        return len(data)

    def _take_head(self, data: bytes, at: int, pieces: list[Piece]) -> int:
        # Blank lines before a request are allowed and belong to no message.
        if data.startswith(b"\r\n", at):
            pieces.append(Piece("other", b"\r\n"))
            return at + 2
        end = data.find(_HEAD_END, at, at + MAX_HEAD_BYTES)
        if end < 0:
            return at if len(data) - at < MAX_HEAD_BYTES else self._give_up(data, at, pieces)
        end += len(_HEAD_END)
        head = _read_head(data[at:end], reply=self._methods is not None)
        if head is None or not self._frame(head):
            return self._give_up(data, at, pieces)
        interim = 100 <= head.status < 200 and head.status != 101
        pieces.append(Piece("head", head.raw, head, ends=self._state == "head" and not interim))
        return end

    def _frame(self, head: Head) -> bool:
        """How the body of this message is framed (RFC 9112 section 6.3); False when that cannot be told."""
        if self._methods is not None:
            if 100 <= head.status < 200:
                self._state = "opaque" if head.status == 101 else "head"
                return True
            method = self._methods.popleft() if self._methods else b""
            if method == b"CONNECT" and 200 <= head.status < 300:
                self._state = "opaque"
                return True
            if method == b"HEAD" or head.status in (204, 304):
                self._state = "head"
                return True
        coding = b",".join(value for name, value in head.headers if name == b"transfer-encoding").lower()
        lengths = {value.strip() for name, value in head.headers if name == b"content-length"}
        if coding:
            if coding.rpartition(b",")[2].strip() == b"chunked":
                self._state = "size"
                return True
            self._state = "close"
            return self._methods is not None
        if lengths:
            length = lengths.pop()
            if lengths or not _DIGITS.match(length):
                return False
            self._left = int(length)
            self._state = "length" if self._left else "head"
            return True
        self._state = "head" if self._methods is None else "close"
        return True

    def _take_counted(self, data: bytes, at: int, pieces: list[Piece]) -> int:
        part = data[at : at + self._left]
        self._left -= len(part)
        ends = False
        if not self._left:
            ends = self._state == "length"
            self._state = "head" if ends else "data_end"
        pieces.append(Piece("body", part, payload=part, ends=ends))
        return at + len(part)

    def _take_size(self, data: bytes, at: int, pieces: list[Piece]) -> int:
        end = data.find(b"\r\n", at, at + _MAX_CHUNK_LINE) + 2
        if end < 2:
            return at if len(data) - at < _MAX_CHUNK_LINE else self._give_up(data, at, pieces)
        match = _CHUNK_SIZE.match(data[at:end])
        if match is None:
            return self._give_up(data, at, pieces)
        self._left = int(match[1], 16)
        self._state = "data" if self._left else "trailer"
        pieces.append(Piece("body", data[at:end]))
        return end

    def _take_line(self, data: bytes, at: int, pieces: list[Piece]) -> int:
        """The line end behind a chunk's data, or a line of the trailer; an empty one ends the message."""
        end = data.find(b"\r\n", at, at + MAX_HEAD_BYTES) + 2
        if end < 2:
            return at if len(data) - at < MAX_HEAD_BYTES else self._give_up(data, at, pieces)
        empty = end == at + 2
        if self._state == "data_end":
            if not empty:
                return self._give_up(data, at, pieces)
            self._state = "size"
            pieces.append(Piece("body", b"\r\n"))
            return end
        if empty:
            self._state = "head"
        pieces.append(Piece("body", data[at:end], ends=empty))
        return end


def _read_head(raw: bytes, *, reply: bool) -> Head | None:
    first, *lines = raw[: -len(_HEAD_END)].split(b"\r\n")
    match = (_STATUS if reply else _REQUEST).match(first)
    if match is None:
        return None
    headers: list[tuple[bytes, bytes]] = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            return None
        headers.append((name.lower(), value.strip(b" \t")))
    if reply:
        return Head(raw, status=int(match[2]), minor=int(match[1]), headers=headers)
    return Head(raw, match[1], match[2], minor=int(match[3]), headers=headers)


def decoded(body: bytes, encoding: bytes) -> bytes | None:
    """A body without its Content-Encoding, or None when that is unknown, broken or makes more than 8 MiB of it."""
    for coding in reversed([name.strip().lower() for name in encoding.split(b",") if name.strip()]):
        try:
            plain = _decode_one(body, coding)
        except (zlib.error, zstandard.ZstdError):
            return None
        if plain is None or len(plain) > MAX_BODY_BYTES:
            return None
        body = plain
    return body


def _decode_one(body: bytes, coding: bytes) -> bytes | None:
    match coding:
        case b"identity":
            return body
        case b"gzip" | b"x-gzip":
            return _inflate(body, 31)
        case b"deflate":
            # Some servers leave out zlib's own head, and browsers accept that.
            framed = body[:1] and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
            return _inflate(body, 15 if framed else -15)
        case b"zstd":
            return zstandard.ZstdDecompressor().stream_reader(body).read(MAX_BODY_BYTES + 1)
        case b"br":
            return _decode_brotli(body)
    return None


def _inflate(body: bytes, window: int) -> bytes | None:
    inflater = zlib.decompressobj(window)
    plain = inflater.decompress(body, MAX_BODY_BYTES + 1)
    return plain if inflater.eof else None


def _decode_brotli(body: bytes) -> bytes | None:
    import brotli

    try:
        stream = brotli.Decompressor()
        plain = bytearray(stream.process(body, output_buffer_limit=MAX_BODY_BYTES + 1))
        while len(plain) <= MAX_BODY_BYTES and not stream.is_finished():
            more = stream.process(b"", output_buffer_limit=MAX_BODY_BYTES + 1)
            if not more:
                return None
            plain += more
    except brotli.error:
        return None
    return bytes(plain)
