"""Readiness of many sockets through one epoll descriptor under gevent's loop.

The loop watches a single descriptor; each turn asks the kernel once which sockets are ready and calls their owners
directly. That costs half of what a loop watcher per socket does, and opening or closing a connection needs no watcher
to be built.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent.monkey import get_original

# epoll(7): the select module has no names for them once Locust has patched it.
READ = 1
WRITE = 4

# One turn hands out at most this many events; the rest is still ready in the next.
_PORTION = 256


class Watched:
    """What a poller tells of readiness."""

    def on_ready(self) -> None:
        """The descriptor is ready for what it is watched for. Called in the hub: must not block or raise."""
        raise NotImplementedError


class Poller:
    """Tells watched descriptors in the loop's hub when they are ready, and `after_turn` when all of a turn were told.

    `after_turn` must not block or raise either.
    """

    def __init__(self, loop: Any, after_turn: Callable[[], None]) -> None:
        # Locust's monkey-patching takes epoll out of the select module, for it could block; this one never waits.
        self._epoll: Any = get_original("select", "epoll")()
        self._poll: Any = self._epoll.poll
        self._watched: dict[int, Watched] = {}
        self._new: set[int] = set()
        self._after_turn = after_turn
        self._watcher = loop.io(self._epoll.fileno(), 1)
        self._watcher.start(self._turn)

    def watch(self, descriptor: int, events: int, watched: Watched) -> None:
        """Watches for `READ`, `WRITE` or both; replaces what was watched on this descriptor before."""
        if descriptor in self._watched:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
            self._new.add(descriptor)
        self._watched[descriptor] = watched

    def forget(self, descriptor: int) -> None:
        """Watches no more; to be called before the descriptor is closed."""
        if self._watched.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def _turn(self) -> None:
        new = self._new
        new.clear()
        for descriptor, _ in self._poll(0, _PORTION):
            # A descriptor closed and opened anew by a callback of this very turn is not the one that was ready.
            if new and descriptor in new:
                continue
            watched = self._watched.get(descriptor)
            if watched is not None:
                watched.on_ready()
        self._after_turn()

    def close(self) -> None:
        """Stops watching everything."""
        self._watcher.stop()
        self._watcher.close()
        self._watched.clear()
        self._epoll.close()
