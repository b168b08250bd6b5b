"""The engine alone, in a process of its own: no Locust, no master, visits made up on the spot, records folded as usual.

`python -m harness.bench.bare_engine` reads a `Job` as JSON from standard input and prints what came of it. It shows
what the engine takes without the fabric around it, what an open visit weighs, and (for `harness doctor`) which rate
keeps within a share of a core.
"""

from __future__ import annotations

import gc
import resource
import sys
from pathlib import Path
from time import monotonic_ns, process_time_ns

import gevent
import msgspec
from gevent.event import Event

from harness.bench.job import Job, Play, visit_line
from harness.config.model import RunConfig
from harness.engine.endpoint import resolve_endpoint
from harness.engine.engine import Arrival, Engine
from harness.measure.recorder import Recorder
from harness.measure.snapshot import Snapshot
from harness.units import NS_PER_MS, NS_PER_S
from harness.visitor.records import VisitEnd

# Enough visits ahead that the engine never waits for them, few enough that they weigh nothing.
_AHEAD = 2_000
_FEED_EVERY_S = 0.01
_START_AHEAD_NS = 50 * NS_PER_MS
_LONG_THINK_S = 86_400.0
_PAGE_BYTES = resource.getpagesize()


class _Player:
    """One job being played."""

    def __init__(self, job: Job) -> None:
        self._job = job
        config = RunConfig(run_id="bench", trace="-", target=job.url, connections=job.connections, **job.config)
        self._line = visit_line(2, _LONG_THINK_S) if job.hold else visit_line(job.steps)
        self._recorder = Recorder(closed=job.slots is not None)
        self._over = 0
        self._done = Event()
        self._crash: BaseException | None = None
        self._measured = Snapshot()
        self._engine = Engine(
            config,
            resolve_endpoint(config),
            self._recorder,
            gevent.get_hub().loop,
            on_over=self._on_over,
            on_second=self._on_second,
            on_crash=self._on_crash,
            slots=job.slots,
        )

    def _on_over(self, _ticket: int, _end: VisitEnd) -> None:
        self._over += 1
        if self._over == self._job.visits:
            self._done.set()

    def _on_second(self, _second: int) -> None:
        self._engine.hear(monotonic_ns())

    def _on_crash(self, error: BaseException) -> None:
        self._crash = error
        self._done.set()

    def play(self) -> Play:
        """Plays the job; raises what the engine raised, or `TimeoutError`."""
        gc.collect()
        gc.freeze()
        gc.disable()
        cpu_ns, began_ns = process_time_ns(), monotonic_ns()
        self._engine.start(began_ns + _START_AHEAD_NS)
        gevent.spawn(self._feed)
        rss_bytes = [] if self._job.hold is None else self._weigh(self._job.hold)
        if not rss_bytes and not self._done.wait(self._job.limit_s):
            raise TimeoutError(f"{self._over} of {self._job.visits} visits ended within {self._job.limit_s:.0f} s")
        if self._crash is not None:
            raise self._crash
        wall_s, cpu_s = (monotonic_ns() - began_ns) / NS_PER_S, (process_time_ns() - cpu_ns) / NS_PER_S
        self._engine.close()
        self._engine.fold()
        self._measured.merge(self._recorder.take())
        lag = self._measured.histogram("dispatch_lag")
        return Play(
            attempts=self._measured.total("attempts"),
            wall_s=wall_s,
            cpu_s=cpu_s,
            lag_p50_ms=_ms(lag.quantile(0.5)),
            lag_p99_ms=_ms(lag.quantile(0.99)),
            rss_bytes=rss_bytes,
        )

    def _feed(self) -> None:
        """Gives the engine visits as a lease would: same line, names of their own, a little ahead of time."""
        job, engine = self._job, self._engine
        gap_ns = NS_PER_S / job.rate_hz if job.rate_hz else 0.0
        given = 0
        while given < job.visits:
            upto = min(job.visits, given + _AHEAD - engine.queued)
            engine.add(
                [Arrival(round(n * gap_ns) if gap_ns else -1, self._copy(), f"~{n}", n) for n in range(given, upto)]
            )
            given = upto
            gevent.sleep(_FEED_EVERY_S)

    def _copy(self) -> bytes:
        # Bytes of its own for each visit, as those of a lease are: an open visit holds on to its line.
        return bytes(memoryview(self._line))

    def _weigh(self, first: int) -> list[int]:
        """The resident memory with `first` visits open and settled into thought, and with all of them."""
        return [self._rss_when_open(visits) for visits in (first, self._job.visits)]

    def _rss_when_open(self, visits: int) -> int:
        until_ns = monotonic_ns() + round(self._job.limit_s * NS_PER_S)
        while self._engine.open_visits < visits and self._crash is None:
            if monotonic_ns() > until_ns:
                raise TimeoutError(f"{self._engine.open_visits} of {visits} visits were open in time")
            gevent.sleep(_FEED_EVERY_S)
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


def _ms(value_ns: int | None) -> float | None:
    return None if value_ns is None else value_ns / NS_PER_MS


def _main() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    sys.stdout.buffer.write(msgspec.json.encode(_Player(job).play()))


if __name__ == "__main__":
    _main()
