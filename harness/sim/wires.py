"""Connections in virtual time, in the three modes of the engine: what they cost, and how many there are.

`browser`: one a visitor, kept while the visit lives. `pooled`: idle ones serve any visitor, the last used first.
`fresh`: one a call. One that nobody used for `IDLE_LIMIT_NS` is closed, as the engine does. A closed connection
keeps its port for `TIME_WAIT_NS`, unless the target reset it.
"""

from __future__ import annotations

from collections import deque

from harness.config.model import IDLE_LIMIT_NS, ConnectionMode
from harness.sim.loads import Burst, Level
from harness.units import NS_PER_S

TIME_WAIT_NS = 60 * NS_PER_S

# Since when the connection of a visitor that has none of its own is idle.
NO_WIRE = -1


class Wires:
    """The connections of all visitors; `ports` is the most that were open or in TIME_WAIT at once."""

    __slots__ = ("_closed", "_idle", "_keeps", "_pools", "open", "opened", "ports", "reused")

    def __init__(self, mode: ConnectionMode) -> None:
        self._keeps = mode == "browser"
        self._pools = mode == "pooled"
        self._idle: deque[int] = deque()
        self._closed = Burst(TIME_WAIT_NS)
        self.open = Level()
        self.opened = Burst(NS_PER_S)
        self.ports = 0
        self.reused = 0

    def take(self, own_ns: int, now_ns: int) -> bool:
        """Whether a call that goes out now has to open a connection; `own_ns` says since when its visitor's is idle."""
        if own_ns >= 0:
            self.reused += 1
            return False
        if self._pools:
            self._expire(now_ns)
            if self._idle:
                self._idle.pop()
                self.reused += 1
                return False
        self.open.enter(now_ns)
        self.opened.note(now_ns)
        ports = self.open.now + self._closed.recent(now_ns)
        if ports > self.ports:
            self.ports = ports
        return True

    def settle(self, now_ns: int) -> int:
        """A reply was read: what the visitor's own connection is afterwards."""
        if self._keeps:
            return now_ns
        if self._pools:
            self._expire(now_ns)
            self._idle.append(now_ns)
        else:
            self.close(now_ns)
        return NO_WIRE

    def close(self, now_ns: int) -> None:
        """One that is in use, or a visitor's own, is closed by us."""
        self._expire(now_ns)
        self._close(now_ns)

    def reset(self, now_ns: int) -> None:
        """One that is in use was reset by the target: its port is free at once."""
        self._expire(now_ns)
        self.open.leave(now_ns)

    def _expire(self, now_ns: int) -> None:
        """Closes what has been idle in the pool for too long, as of the moment it had been."""
        idle = self._idle
        while idle and idle[0] + IDLE_LIMIT_NS <= now_ns:
            self._close(idle.popleft() + IDLE_LIMIT_NS)

    def _close(self, now_ns: int) -> None:
        self.open.leave(now_ns)
        self._closed.note(now_ns)
