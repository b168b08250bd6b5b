"""The calls of one account, as bytes: recorded requests written strictly once, ids spliced in at each attempt."""

from __future__ import annotations

import msgspec
import orjson

from harness.wire.render import CallRenderer
from harness.wire.reply import Reply
from harness.wire.request import encode_engagement, encode_update

# Traces repeat their requests; a bounded cache turns each distinct one into wire bytes once.
_CACHE_LIMIT = 8_192


class Calls:
    """Renders the requests of one account on one target."""

    __slots__ = ("_bodies", "_renderer")

    def __init__(self, renderer: CallRenderer) -> None:
        self._renderer = renderer
        self._bodies: dict[bytes, bytes] = {}

    def engagement(self, request: msgspec.Raw, vid: str | None, sid: str | None, attempt: str) -> bytes:
        """The complete getEngagement request (contract section 1.1); ids are None on a first call."""
        raw = bytes(request)
        body = self._bodies.get(raw)
        if body is None:
            body = encode_engagement(orjson.loads(raw))
            if len(self._bodies) >= _CACHE_LIMIT:
                self._bodies.clear()
            self._bodies[raw] = body
        return self._renderer.post(vid, sid, body, attempt)

    def update(
        self,
        request: msgspec.Raw,
        vid: str | None,
        sid: str | None,
        attempt: str,
        offer: Reply,
    ) -> bytes:
        """The complete update request (contract section 1.2), filled from `offer`, the visit's last Available reply."""
        body = encode_update(orjson.loads(bytes(request)), offer.page_id or "", offer.details)
        return self._renderer.put(vid or "", sid or "", body, attempt)
