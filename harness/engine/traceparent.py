"""Requests with a W3C `traceparent` header, so that the target's own tracing can follow each attempt.

The ids are a digest of the run's seed and the attempt's id: the same run asks with the same ids, and from an attempt in
a log one can tell its trace without having stored it.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from harness.wire.render import CallRenderer

HEADER = "traceparent"


def traceparent(seed: int, attempt_id: str) -> str:
    """The header's value for an attempt (W3C Trace Context, version 00): trace id, span id, and the flag "sampled"."""
    ids = blake2b(f"{seed}/{attempt_id}".encode(), digest_size=24).hexdigest()
    return f"00-{ids[:32]}-{ids[32:]}-01"


class TracedRenderer(CallRenderer):
    """A `CallRenderer` whose requests carry the attempt's `traceparent` as their first header."""

    __slots__ = ("_seed",)

    def __init__(self, *, seed: int, host: str, base_path: str, account: str, headers: Mapping[str, str]) -> None:
        super().__init__(host=host, base_path=base_path, account=account, headers=headers)
        self._seed = seed

    def post(self, vid: str | None, sid: str | None, body: bytes, attempt_id: str) -> bytes:
        """See `CallRenderer.post`."""
        return self._traced(super().post(vid, sid, body, attempt_id), attempt_id)

    def put(self, vid: str, sid: str, body: bytes, attempt_id: str) -> bytes:
        """See `CallRenderer.put`."""
        return self._traced(super().put(vid, sid, body, attempt_id), attempt_id)

    def _traced(self, request: bytes, attempt_id: str) -> bytes:
        line, end, rest = request.partition(b"\r\n")
        return b"%b\r\n%b: %b%b%b" % (line, HEADER.encode(), traceparent(self._seed, attempt_id).encode(), end, rest)
