"""Attempts one by one for those who ask for them: the attempt log, and listeners of Locust's request event.

The recorder folds in the hub, where nobody may block; so it only keeps the attempts, and the worker's greenlet tells
them on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.measure.recorder import Recorder
from harness.visitor.records import Attempt

# Takes attempts in the order of their folding, and the moment (absolute ns) from which their times count.
OnAttempts = Callable[[list[Attempt], int], None]


class TellingRecorder(Recorder):
    """A recorder that also keeps the attempts until `tell` hands them to every listener."""

    def __init__(self, listeners: Sequence[OnAttempts], *, closed: bool, warmup_ns: int = 0) -> None:
        super().__init__(closed=closed, warmup_ns=warmup_ns)
        self._listeners = listeners
        self._kept: list[Attempt] = []

    def attempts(self, batch: list[Attempt]) -> None:
        """Folds attempts and keeps them."""
        super().attempts(batch)
        self._kept += batch

    def tell(self, t0_ns: int) -> None:
        """Hands over what came since the last call; may block, and raises what a listener raises."""
        if self._kept:
            kept, self._kept = self._kept, []
            for listener in self._listeners:
                listener(kept, t0_ns)
