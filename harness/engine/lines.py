"""The connections of an engine in one of three modes, with connects paced.

`browser`: one connection a visitor, kept while the visit lives. `pooled`: idle connections serve any visitor, the last
used first. `fresh`: one connection an attempt. At most `MAX_HALF_OPEN` connects are under way at once, because more
lose SYNs on a listening queue; what waits for its turn has not started, so the wait counts as our lag.

A connection that nobody used for `IDLE_LIMIT_NS` is closed, as a browser does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from harness.config.model import IDLE_LIMIT_NS, ConnectionMode
from harness.engine.connection import Connection, Owner
from harness.engine.endpoint import Endpoint
from harness.engine.heads import Heads
from harness.engine.player import Player
from harness.engine.poller import Poller

MAX_HALF_OPEN = 256


class Lines:
    """Carries requests of players over connections to one endpoint, counting what it opens and reuses."""

    __slots__ = (
        "_endpoint", "_heads", "_idle", "_owner", "_poller", "_waiting",
        "counts", "half_open", "mode", "open", "reused",
    )  # fmt: skip

    def __init__(
        self, loop: Any, endpoint: Endpoint, mode: ConnectionMode, owner: Owner, after_turn: Callable[[], None]
    ) -> None:
        self._poller = Poller(loop, after_turn)
        self._heads = Heads()
        self._endpoint = endpoint
        self._owner = owner
        self._idle: list[Connection] = []
        self._waiting: deque[tuple[bytes, Player]] = deque()
        self.mode = mode
        self.half_open = 0
        self.open: set[Connection] = set()
        self.reused = 0
        self.counts = _no_counts()

    def carry(self, request: bytes, player: Player) -> None:
        """Sends the request, on a new connection if need be; a connect may have to wait for its turn."""
        connection = player.connection
        if connection is None and self._idle:
            connection = self._idle.pop()
            player.connection = connection
        if connection is not None and connection.usable:
            self.reused += 1
            connection.send(request, player)
        elif self.half_open >= MAX_HALF_OPEN:
            self._waiting.append((request, player))
        else:
            self._open(request, player)

    def _open(self, request: bytes, player: Player) -> None:
        resumable = self._endpoint.tls_session if self.mode == "pooled" else player.tls_session
        connection = Connection(self._poller, self._endpoint, self._heads, self._owner, resumable)
        player.connection = connection
        self.open.add(connection)
        self.half_open += 1
        connection.open(request, player)

    def next_waiting(self) -> bool:
        """Begins the next connect that waits, if there is room; False when there was nothing to begin."""
        while self._waiting and (self._idle or self.half_open < MAX_HALF_OPEN):
            request, player = self._waiting.popleft()
            if player.state == "flying":
                # In pooled mode a connection may have become free in the meantime.
                self.carry(request, player)
                return True
        return False

    def sweep(self, now_ns: int, timeout_ns: int, connect_timeout_ns: int) -> None:
        """Lets fail what has taken longer than it may since its start; closes what has been idle for too long.

        Idle time counts from the first sweep that finds the connection idle, so that attempts need not keep account.
        """
        connect_timeout_ns = min(connect_timeout_ns, timeout_ns)
        late: list[Connection] = []
        idle: list[Connection] = []
        for connection in self.open:
            if connection.busy:
                if now_ns - connection.started_ns >= (connect_timeout_ns if connection.connecting else timeout_ns):
                    late.append(connection)
            elif connection.idle_seen_ns < connection.sent_ns:
                connection.idle_seen_ns = now_ns
            elif now_ns - connection.idle_seen_ns >= IDLE_LIMIT_NS:
                idle.append(connection)
        for connection in late:
            if connection.busy:
                connection.expire()
        for connection in idle:
            self.close(connection)
        if idle and self._idle:
            self._idle = [connection for connection in self._idle if connection.usable]

    def connected(self, connection: Connection) -> None:
        """The connection is up."""
        self.half_open -= 1
        self.counts["opened"] += 1
        if self._endpoint.tls is not None:
            self.counts["tls_resumed" if connection.tls_resumed else "tls_full"] += 1

    def failed(self, connection: Connection) -> None:
        """The connection failed and is closed."""
        if connection.connected_ns < 0:
            self.half_open -= 1
        self._drop(connection)

    def settled(self, connection: Connection, player: Player, keep_alive: bool) -> None:
        """The reply has been read: keeps, pools or closes the connection."""
        if not keep_alive or self.mode == "fresh":
            self.close(connection)
            player.connection = None
        elif self.mode == "pooled":
            player.connection = connection.carried = None
            self._idle.append(connection)

    def closed_idle(self, connection: Connection) -> None:
        """The peer closed the connection while it was idle."""
        self.counts["closed_by_peer"] += 1
        if self.mode == "pooled" and connection in self._idle:
            self._idle.remove(connection)
        self._drop(connection)

    def over(self, player: Player) -> None:
        """The visit has ended: its connection is closed."""
        connection = player.connection
        if connection is not None:
            if connection.connecting:
                self.half_open -= 1
                connection.connecting = False
            self.close(connection)
            player.connection = None

    def close(self, connection: Connection) -> None:
        """Closes one connection of ours."""
        connection.close()
        self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        self.open.discard(connection)
        player = connection.carried
        connection.carried = None
        if self.mode == "pooled":
            self._endpoint.tls_session = connection.tls_session
        elif player is not None:
            player.tls_session = connection.tls_session
        if player is not None and player.connection is connection:
            player.connection = None

    def take_counts(self) -> dict[str, int]:
        """What was counted since the last call."""
        counts, self.counts = self.counts, _no_counts()
        counts["reused"], self.reused = self.reused, 0
        return counts

    def close_all(self) -> None:
        """Closes every connection and forgets what waits."""
        self._waiting.clear()
        self._idle.clear()
        for connection in list(self.open):
            self.close(connection)
        self.half_open = 0
        self._poller.close()


def _no_counts() -> dict[str, int]:
    return {"opened": 0, "reused": 0, "closed_by_peer": 0, "tls_full": 0, "tls_resumed": 0}
