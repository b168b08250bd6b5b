"""Reading HTTP/1.1 replies with llhttp, strictly and within bounds.

One `ReplyReader` serves one connection. A reply in one piece whose head is known (`heads`) is taken as it is. Any
other goes through llhttp, which is asked for as little as possible (body and three milestones); the head's raw bytes
are kept, and a header is looked up only when a reply needs one, which the usual reply does not.
"""

from __future__ import annotations

import re
import zlib
from typing import Any

import httptools

from harness.engine.heads import HEAD_END, Heads
from harness.units import NS_PER_S

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 8 * 1024 * 1024

_GZIP_MAGIC = b"\x1f\x8b"
_RETRY_AFTER_S = re.compile(rb"\r\nretry-after:[ \t]*(\d{1,6})[ \t]*\r\n", re.IGNORECASE)
_FRAMED = re.compile(rb"\r\n(?:content-length|transfer-encoding):", re.IGNORECASE)
_ENCODED = re.compile(rb"\r\ncontent-encoding:[ \t]*(?:x-)?(gzip|deflate)", re.IGNORECASE)


class BadReplyError(Exception):
    """What the peer sent is not a reply that can be read; the text says why."""


class ReplyReader:
    """Collects one reply after another from the bytes of a connection.

    `feed` takes what was received and says whether the final reply (interim 1xx ones are passed over) is complete;
    then `status`, `body` and `keep_alive` describe it until `reset`. Raises `BadReplyError` for anything that is no
    HTTP, for bytes beyond the reply's end, a head above 64 kB or a body above 8 MB.
    """

    __slots__ = ("_body", "_complete", "_excess", "_head", "_head_done", "_heads", "_parser", "keep_alive", "status")

    def __init__(self, heads: Heads) -> None:
        self._heads = heads
        self._parser: Any = None
        self.status = 0
        self.keep_alive = True
        self._head = b""
        self._body: bytes | bytearray = b""
        self._head_done = False
        self._complete = False
        self._excess = False

    # llhttp's callbacks

    def on_message_begin(self) -> None:
        if self._complete:
            # Behind the reply another one begins, which nobody asked for.
            self._complete = False
            self._excess = True

    def on_headers_complete(self) -> None:
        self._head_done = True

    def on_body(self, piece: bytes) -> None:
        if not self._body:
            self._body = piece
        elif isinstance(self._body, bytearray):
            self._body += piece
        else:
            self._body = bytearray(self._body + piece)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            # An interim reply: the real one follows on the same connection, perhaps in the same segment.
            self._head_done = False
            self._head = self._head.lstrip(b"\r\n").partition(HEAD_END)[2]
            return
        self.status = status
        # To be asked now: after this callback llhttp begins the next message and would say no.
        self.keep_alive = self._parser.should_keep_alive()
        self._complete = not self._excess

    # What the connection asks

    def feed(self, data: bytes) -> bool:
        """Takes received bytes; True when the reply is complete."""
        heads = self._heads
        if heads.useful and not self._head:
            end = data.find(HEAD_END)
            known = heads.known.get(data[:end]) if end > 0 else None
            if known is not None and known[1] == len(data) - end - 4:
                heads.met += 1
                self.status, _, self.keep_alive = known
                self._head = data
                self._body = data[end + 4 :]
                return True
        return self._parse(data)

    def _parse(self, data: bytes) -> bool:
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
        if not self._head_done:
            self._head = self._head + data if self._head else data
            if len(self._head) > MAX_HEAD_BYTES and self._head.find(HEAD_END, 0, MAX_HEAD_BYTES) < 0:
                raise BadReplyError("the head exceeds 64 kB")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise BadReplyError("the reply switches protocols") from None
        except httptools.HttpParserError as error:
            raise BadReplyError(f"not HTTP/1.1: {error}") from None
        if self._complete:
            head, _, body = data.partition(HEAD_END)
            if self._head is data and self._heads.useful and type(self._body) is bytes and body == self._body:
                self._heads.learn(head, self.status, len(body), self.keep_alive)
            return True
        if self._excess:
            raise BadReplyError("more bytes than the reply's length says")
        if len(self._body) > MAX_BODY_BYTES:
            raise BadReplyError("the body exceeds 8 MB")
        return False

    def finish(self) -> bool:
        """The peer closed: True when that completes a reply delimited by the close (HTTP/1.0 style).

        Raises `BadReplyError` when a reply had begun and is not complete.
        """
        if not self._head:
            return False
        if self._head_done and not _FRAMED.search(self._headers()):
            self.status = self._parser.get_status_code()
            self.keep_alive = False
            return True
        raise BadReplyError("the connection was closed in the middle of the reply")

    @property
    def began(self) -> bool:
        """Whether a byte of the current reply has come."""
        return bool(self._head)

    def body(self) -> bytes:
        """The complete body, decoded; raises `BadReplyError` when its encoding is broken or it grows above 8 MB."""
        body = self._body
        if body[:1] == b"{" and type(body) is bytes:
            return body  # plain JSON in one piece: the usual reply
        if len(body) > MAX_BODY_BYTES:
            raise BadReplyError("the body exceeds 8 MB")
        if body and (body[:2] == _GZIP_MAGIC or _ENCODED.search(self._headers())):
            return _inflate(bytes(body))
        return bytes(body)

    def _headers(self) -> bytes:
        """The reply's head alone: what was received with it may already be body."""
        head = self._head.lstrip(b"\r\n")
        return head[: head.find(HEAD_END) + len(HEAD_END)]

    def retry_after_ns(self) -> int:
        """What Retry-After asks for in ns, 0 without one (dates are not honoured: they need the peer's clock)."""
        match = _RETRY_AFTER_S.search(self._headers())
        return int(match[1]) * NS_PER_S if match else 0

    def reset(self) -> None:
        """Forgets the reply; the next bytes begin another."""
        self._head = b""
        self._body = b""
        self._head_done = self._complete = self._excess = False

    def release(self) -> None:
        """The connection is closed: lets go of the parser, which holds this reader in turn."""
        self._parser = None


def _inflate(body: bytes) -> bytes:
    # 47 reads gzip and zlib headers alike. Some servers send "deflate" without one, and browsers accept that.
    framed = body[:2] == _GZIP_MAGIC or (body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0)
    inflater = zlib.decompressobj(47 if framed else -15)
    try:
        plain = inflater.decompress(body, MAX_BODY_BYTES)
    except zlib.error as error:
        raise BadReplyError(f"the body's encoding is broken: {error}") from None
    if inflater.unconsumed_tail or inflater.unused_data or not inflater.eof:
        raise BadReplyError("the encoded body is incomplete, exceeds 8 MB or is followed by more")
    return plain
