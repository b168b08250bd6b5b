"""How long a call takes: a service-time distribution, N slots served first come, first served, and freezes.

Nothing waits here. Since service is in order of arrival and a call's service time is drawn when it arrives, the moment
of its reply is known at once: it starts when the earliest slot is free. All times are nanoseconds of scenario time.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from math import exp, log, log1p, sqrt
from statistics import NormalDist

from harness.sim.scenario import Freeze, Service

_TINY = 2.0**-54


def service_time(service: Service) -> Callable[[float], int]:
    """A function from a uniform draw in [0, 1) to a service time in ns, by inversion of the distribution."""
    mean_ns = int(service.mean_ns)
    if service.distribution == "constant" or mean_ns == 0:
        return lambda u: mean_ns
    if service.distribution == "exponential":
        return lambda u: int(-mean_ns * log1p(-u))
    variance = log1p(service.cv**2)
    underlying = NormalDist(log(mean_ns) - variance / 2.0, sqrt(variance))
    return lambda u: int(exp(underlying.inv_cdf(u or _TINY)))


def thaw_ns(freezes: Sequence[Freeze], at_ns: int) -> int:
    """The first moment at or after `at_ns` that lies in no freeze."""
    moved = True
    while moved:
        moved = False
        for freeze in freezes:
            since = at_ns - freeze.at_ns
            if since >= 0 and freeze.every_ns:
                since %= freeze.every_ns
            if 0 <= since < freeze.lasts_ns:
                at_ns += freeze.lasts_ns - since
                moved = True
    return at_ns


class SlotQueue:
    """`slots` servers with one queue before them (None: as many as calls), halted by freezes.

    A reply that falls due inside a freeze leaves at the thaw, and holds its slot until then.
    """

    def __init__(self, slots: int | None, max_waiting: int | None, freezes: Sequence[Freeze]) -> None:
        self._free_ns: list[int] | None = None if slots is None else [0] * slots
        self._max_waiting = max_waiting
        self._freezes = tuple(freezes)
        self._starts_ns: deque[int] = deque()

    def admit(self, now_ns: int, work_ns: int) -> int | None:
        """The moment at which a call arriving now, with `work_ns` of work, is answered; None if the queue is full."""
        if self._free_ns is None:
            done_ns = now_ns + work_ns
            return thaw_ns(self._freezes, done_ns) if self._freezes else done_ns
        starts = self._starts_ns
        while starts and starts[0] <= now_ns:
            starts.popleft()
        start_ns = max(now_ns, self._free_ns[0])
        if start_ns > now_ns:
            if self._max_waiting is not None and len(starts) >= self._max_waiting:
                return None
            starts.append(start_ns)
        done_ns = thaw_ns(self._freezes, start_ns + work_ns)
        heapq.heapreplace(self._free_ns, done_ns)
        return done_ns
