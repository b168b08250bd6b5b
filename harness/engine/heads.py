"""Heads of replies that were read before.

A service repeats its heads, within a second often to the letter. A head that llhttp has read once, and whose length
for the body turned out true, is known by its bytes from then on: a reply that brings the same head and just that many
bytes behind it needs no parsing.
"""

from __future__ import annotations

import re

HEAD_END = b"\r\n\r\n"

_MAX_KNOWN = 512
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*(?:\r\n|$)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)


class Heads:
    """Raw heads (without the empty line) to (status, body length, keep-alive); one for all readers of an engine.

    The reader looks heads up in `known` itself and counts those it `met`. `useful` turns False for good when the
    service does not repeat its heads, so that nobody looks in vain.
    """

    __slots__ = ("known", "met", "useful")

    def __init__(self) -> None:
        self.known: dict[bytes, tuple[int, int, bool]] = {}
        self.useful = True
        self.met = 0

    def learn(self, head: bytes, status: int, body_length: int, keep_alive: bool) -> None:
        """Notes a head that llhttp has just read, if it announces its body's length in the plain way."""
        if len(self.known) >= _MAX_KNOWN:
            # Old heads (their Date has passed) do not come again. Heads that were rarely met were learnt in vain.
            self.useful = self.met >= _MAX_KNOWN
            self.met = 0
            self.known.clear()
        length = _LENGTH.findall(head)
        if len(length) == 1 and int(length[0]) == body_length and not _CHUNKED.search(head):
            self.known[head] = (status, body_length, keep_alive)
