"""A visit on a worker: the pure session plus what the engine attaches to it."""

from __future__ import annotations

from typing import Any

from harness.engine.connection import Connection
from harness.trace.model import Visit
from harness.visitor.calls import Calls
from harness.visitor.session import Rules, VisitorSession


class Player(VisitorSession):
    """A session with its connection (browser mode keeps one a visit), TLS session, and the ticket its lease gave it."""

    __slots__ = ("connection", "held_ns", "ticket", "tls_session")

    def __init__(self, visit: Visit, rules: Rules, calls: Calls, arrival_ns: int, suffix: str, ticket: int) -> None:
        super().__init__(visit, rules, calls, arrival_ns, suffix)
        self.connection: Connection | None = None
        self.ticket = ticket
        # The due time of the request that a guard-rail keeps back, or did last.
        self.held_ns = -1
        self.tls_session: Any = None
