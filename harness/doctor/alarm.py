"""How late the engine's alarm rings here: `python -m harness.doctor.alarm` measures for a second and prints JSON."""

from __future__ import annotations

import sys
from time import monotonic_ns

import gevent
import msgspec
from gevent.event import Event

from harness.engine.clock import Alarm
from harness.measure.histogram import Histogram
from harness.units import NS_PER_MS

# Not a multiple of a millisecond, so that a timer which counts in whole ones shows.
_GAP_NS = 3_700_000
_RINGS = 270


class Lateness(msgspec.Struct):
    """The alarm's lateness in ms over `_RINGS` rings; `exact` says whether a timerfd is behind it."""

    exact: bool
    p50_ms: float
    p99_ms: float


def measure() -> Lateness:
    """Rings the alarm for a second and tells how late it was."""
    late = Histogram()
    done = Event()
    due_ns = monotonic_ns() + 10 * NS_PER_MS

    def ring() -> None:
        nonlocal due_ns
        now_ns = monotonic_ns()
        late.add(max(0, now_ns - due_ns))
        if late.count == _RINGS:
            done.set()
        else:
            due_ns = now_ns + _GAP_NS
            alarm.set(due_ns)

    alarm = Alarm(gevent.get_hub().loop, ring)
    alarm.set(due_ns)
    done.wait()
    alarm.close()
    p50_ns, p99_ns = late.quantile(0.5), late.quantile(0.99)
    assert p50_ns is not None and p99_ns is not None
    return Lateness(alarm.exact, p50_ns / NS_PER_MS, p99_ns / NS_PER_MS)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(measure()))
