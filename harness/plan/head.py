"""What the master reads of a trace line; the line itself travels on as bytes."""

from __future__ import annotations

import msgspec


class VisitHead(msgspec.Struct, gc=False):
    """The visit's name, its visitor's, when it comes (seconds), its steps unread, and whether the visitor returns."""

    visit: str
    visitor: str
    at: float
    steps: list[msgspec.Raw]
    returns: bool = False


decode_head = msgspec.json.Decoder(VisitHead).decode
