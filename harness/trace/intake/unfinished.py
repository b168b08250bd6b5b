"""Visits that are being put together from single calls (`harness.trace.intake.tying`): plain data, moved by others."""

from __future__ import annotations

from harness.trace.intake.exchange import Exchange
from harness.trace.model import Identity


class Chain:
    """Ids that followed from each other: within a visit, all that one session of the client was given."""

    __slots__ = ("given", "hint", "offer", "rejected", "sid", "sids", "vid", "vids", "visit")

    def __init__(self, visit: OpenVisit) -> None:
        self.visit = visit
        self.vid = self.sid = self.hint = ""
        # All names that lead here, to be forgotten with the visit.
        self.vids: set[str] = set()
        self.sids: set[str] = set()
        self.offer = b""
        # Whether a reply gave these ids, or the client brought them along.
        self.given = False
        self.rejected = False


class CallOfVisit:
    """A step that is being put together from its attempts."""

    __slots__ = (
        "began_ns",
        "chain",
        "digest",
        "doubtful",
        "ended_ns",
        "identity",
        "last_ns",
        "op",
        "over",
        "request",
        "result",
        "retries",
        "think_ns",
        "waits",
    )

    def __init__(self, chain: Chain, exchange: Exchange, identity: Identity, digest: bytes, think_ns: int) -> None:
        self.chain = chain
        self.op = exchange.op
        self.identity = identity
        self.digest = digest
        self.think_ns = think_ns
        self.began_ns = self.last_ns = exchange.began_ns
        self.ended_ns = exchange.done_ns
        self.result = ""
        self.retries = 0
        self.over = False
        self.request: bytes | None = None
        # Ids that nobody saw given: stale ones, or older than the recording; the reply will tell.
        self.doubtful = False
        # Where it waits for a retry on another line.
        self.waits: tuple[str, str, bytes] | None = None


class OpenVisit:
    """A visit that is being put together."""

    __slots__ = ("account", "calls", "chain", "cohort", "ended_ns", "lines", "serial", "visitor")

    def __init__(self, serial: int, visitor: int, account: str, cohort: str) -> None:
        self.serial = serial
        self.visitor = visitor
        self.account = account
        self.cohort = cohort
        self.lines: set[str] = set()
        self.calls: list[CallOfVisit] = []
        # The newest ids; older ones of the same visit are other chains.
        self.chain = Chain(self)
        self.ended_ns = 0
