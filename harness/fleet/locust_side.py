"""What Locust itself learns of a worker's calls: its statistics, and its `request` event if somebody listens to it.

Usually nobody but Locust's own statistics listens, and they are fed slice by slice. When a user's locustfile (or
a plugin) listens too, the event is fired for every attempt as Locust's own clients do, and then Locust's statistics
count what they hear, instead of being fed. Which of the two a run does is settled when it begins.
"""

from __future__ import annotations

from time import monotonic_ns, time_ns
from typing import Any

import gevent

from harness.config.model import RunConfig
from harness.fleet.locust_stats import METHODS, feed
from harness.fleet.telling import OnAttempts
from harness.measure.snapshot import Snapshot
from harness.units import NS_PER_MS, NS_PER_S
from harness.visitor.records import ENGAGED, Attempt

# Listeners hear so many attempts in a row; then the engine gets its turn.
_PORTION = 64


class CallFailed(Exception):
    """An attempt without an engagement reply, as Locust's listeners get it; it reads as the attempt's result."""

    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt.result.name, attempt.message)

    def __repr__(self) -> str:
        # What Locust groups its table of failures by: the same text as when it is fed.
        return str(self.args[0])


class LocustSide:
    """One worker process as Locust's `environment` sees it."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._fires = False

    def begin(self, config: RunConfig) -> OnAttempts | None:
        """A run begins: who is to hear of each attempt, or None when nobody listens."""
        handlers = self._environment.events.request._handlers
        # Locust has no other way to tell who listens; its runner always does.
        self._fires = any(getattr(handler, "__module__", "") != "locust.runners" for handler in handlers)
        return _Caller(self._environment.events.request, config).tell if self._fires else None

    def slice(self, snapshot: Snapshot) -> None:
        """Feeds a closed second to Locust's statistics, unless they have heard it already."""
        if not self._fires:
            feed(self._environment.stats, snapshot)


class _Caller:
    """Fires the request event for attempts.

    The response time counts from the planned moment (in a closed loop from the start), as everywhere; for a call
    without a reply it is the time until that was known, as with Locust's own clients. Bodies are not kept.
    """

    def __init__(self, event: Any, config: RunConfig) -> None:
        self._fire = event.fire
        self._url = config.target
        self._closed = config.closed_slots is not None

    def tell(self, attempts: list[Attempt], t0_ns: int) -> None:
        epoch_ns = time_ns() - monotonic_ns() + t0_ns
        for begin in range(0, len(attempts), _PORTION):
            for attempt in attempts[begin : begin + _PORTION]:
                self._tell(attempt, epoch_ns)
            gevent.sleep(0)

    def _tell(self, attempt: Attempt, epoch_ns: int) -> None:
        begun_ns = attempt.started_ns if self._closed else attempt.planned_ns
        result = attempt.result
        self._fire(
            request_type=METHODS[attempt.op],
            name=attempt.op,
            response_time=(attempt.done_ns - begun_ns) / NS_PER_MS,
            response_length=0,
            response=None,
            context={
                "visit": attempt.visit,
                "step": attempt.step,
                "attempt": attempt.number,
                "result": result.name,
            },
            exception=None if result in ENGAGED else CallFailed(attempt),
            start_time=(epoch_ns + attempt.started_ns) / NS_PER_S,
            url=self._url,
        )
