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


class Poller:
    """Calls `callback()` in the loop's hub when a watched descriptor is ready; callbacks must not block or raise."""

    __slots__ = ("_callbacks", "_epoll", "_new", "_watcher")

    def __init__(self, loop: Any) -> None:
        # Locust's monkey-patching takes epoll out of the select module, for it could block; this one never waits.
        self._epoll: Any = get_original("select", "epoll")()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._new: set[int] = set()
        self._watcher = loop.io(self._epoll.fileno(), 1)
        self._watcher.start(self._turn)

    def watch(self, descriptor: int, events: int, callback: Callable[[], None]) -> None:
        """Watches for `READ`, `WRITE` or both; replaces what was watched on this descriptor before."""
        if descriptor in self._callbacks:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
            self._new.add(descriptor)
        self._callbacks[descriptor] = callback

    def forget(self, descriptor: int) -> None:
        """Watches no more; to be called before the descriptor is closed."""
        if self._callbacks.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def _turn(self) -> None:
        new = self._new
        new.clear()
        callbacks = self._callbacks
        for descriptor, _ in self._epoll.poll(0, _PORTION):
            # A descriptor closed and opened anew by a callback of this very turn is not the one that was ready.
            if new and descriptor in new:
                continue
            callback = callbacks.get(descriptor)
            if callback is not None:
                callback()

    def close(self) -> None:
        """Stops watching everything."""
        self._watcher.stop()
        self._watcher.close()
        self._callbacks.clear()
        self._epoll.close()
