"""The engine's clock and its alarm.

`monotonic_ns` is the one clock. `Alarm` wakes the loop of gevent at absolute moments of it through a timerfd, because
libev alone waits in whole milliseconds (python 3.11 has no `os.timerfd_*`, so it is called through ctypes). Where
there is no timerfd, a plain loop timer serves; the lag is measured either way and never assumed.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from contextlib import suppress
from time import monotonic_ns
from typing import Any

from harness.units import NS_PER_S

__all__ = ["Alarm", "monotonic_ns"]

_CLOCK_MONOTONIC = 1
_TFD_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_TFD_TIMER_ABSTIME = 1
_READ = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


_libc = ctypes.CDLL(None, use_errno=True)
_settime: Callable[..., int] | None = getattr(_libc, "timerfd_settime", None)
_create: Callable[..., int] | None = getattr(_libc, "timerfd_create", None)


class Alarm:
    """Calls `callback()` in the loop's hub when the set moment has come; one moment at a time.

    `set` replaces the moment (absolute ns of `monotonic_ns`; the past rings at once). `exact` says whether a timerfd is
    behind it. The callback must not block.
    """

    def __init__(self, loop: Any, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._moment_ns: int | None = None
        self._fd = _create(_CLOCK_MONOTONIC, _TFD_FLAGS) if _create is not None else -1
        self.exact = self._fd >= 0
        if self.exact:
            self._spec = _Itimerspec()
            self._spec_ref = ctypes.byref(self._spec)
            self._watcher = loop.io(self._fd, _READ)
            self._watcher.start(self._ring)
        else:
            self._watcher = None

    @property
    def moment_ns(self) -> int | None:
        """The moment that is set, or None."""
        return self._moment_ns

    def set(self, moment_ns: int) -> None:
        """Rings at this moment instead of the one set before."""
        if moment_ns == self._moment_ns:
            return
        self._moment_ns = moment_ns
        if self.exact:
            # A zero value would disarm the timer; the past is rounded up to the first nanosecond.
            self._spec.it_value.tv_sec, self._spec.it_value.tv_nsec = divmod(max(moment_ns, 1), NS_PER_S)
            assert _settime is not None
            _settime(self._fd, _TFD_TIMER_ABSTIME, self._spec_ref, None)
            return
        if self._watcher is not None:
            self._watcher.close()
        self._watcher = self._loop.timer(max((moment_ns - monotonic_ns()) / NS_PER_S, 0.0))
        self._watcher.start(self._ring)

    def _ring(self) -> None:
        moment_ns = self._moment_ns
        if moment_ns is None or monotonic_ns() < moment_ns:
            if not self.exact and moment_ns is not None:
                # The loop counts from when it last looked at its own clock, so its timers may be early.
                self._moment_ns = None
                self.set(moment_ns)
            return  # with a timerfd: set anew between the wake-up and now
        self._moment_ns = None
        self._callback()
        if self.exact and self._moment_ns is None and self._fd >= 0:
            # Setting a timer anew takes back that it rang, which spares the usual ring a read.
            with suppress(BlockingIOError):
                os.read(self._fd, 8)

    def close(self) -> None:
        """Never rings again; releases the descriptor."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None
        if self.exact and self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
