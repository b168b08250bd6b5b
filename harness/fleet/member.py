"""What the master knows of one incarnation: its clock, its state, which of its slices are here, what it costs."""

from __future__ import annotations

from collections import deque

from harness.engine.ceilings import Share
from harness.fleet.handover import Part
from harness.fleet.messages import Hello, Pulse, SliceReport, WorkerState, process_of
from harness.measure.snapshot import Snapshot
from harness.units import NS_PER_S

# A worker's CPU ratio is that of its busiest stretch of so many slices (seconds).
_CPU_WINDOW = 5
# The clock's drift is what it says over the last so many pulses, half a minute, against what it said before the start.
_CLOCK_WINDOW = 60


class Member:
    """One incarnation since its `Hello`; `worker` is its name in the books. Times are on the master's clock."""

    def __init__(self, hello: Hello, worker: str, now_ns: int) -> None:
        self.incarnation = hello.incarnation
        self.worker = worker
        self.process = process_of(hello.incarnation)
        self.host = hello.host
        self.pid = hello.pid
        self.state: WorkerState = "joining"
        self.part = Part(hello.capacity)
        self.joined = False
        # Asked to go; everything it was dealt will be accounted for, by itself or by others.
        self.leaving = False
        self.open_visits = 0
        self.leases = 0
        # When it was last heard, last sent a beat, and last sent what is repeated until it shows effect.
        self.heard_ns = now_ns
        self.beat_ns = 0
        self.sent_ns = 0
        self.pulses = 0
        self.offset_ns = 0
        self.word_offset_ns = 0
        self.gained_ns = 0
        self._best_rtt_ns: int | None = None
        self._newest: deque[tuple[int, int]] = deque(maxlen=_CLOCK_WINDOW)
        self.reported_second = -1
        self._gapless = 0
        self._ahead: dict[int, int] = {}
        self._highest = 0
        self._final_number: int | None = None
        self.cpu_ns = 0
        self.cpu_window_ns: deque[int] = deque(maxlen=_CPU_WINDOW)
        self.rss_max_bytes = 0
        self._cpu_max_ratio = 0.0

    def pulse(self, pulse: Pulse, now_ns: int) -> None:
        """Notes a pulse; the clock offset (worker minus master) is taken from the one that returned soonest.

        From the start on that offset stays, because the schedule hangs on it. Clocks drift apart all the same, and the
        fence has to follow them: `word_offset_ns` is kept within what each pulse proves, since the worker read its
        clock after the beat had left and before the pulse came. `gained_ns` is how far it ever was above the first.
        """
        self.pulses += 1
        self.state = pulse.state
        self.open_visits = pulse.open_visits
        rtt_ns = now_ns - pulse.echo_ns
        offset_ns = pulse.worker_ns - (pulse.echo_ns + now_ns) // 2
        self._newest.append((rtt_ns, offset_ns))
        if not self.joined and (self._best_rtt_ns is None or rtt_ns < self._best_rtt_ns):
            self._best_rtt_ns = rtt_ns
            self.offset_ns = self.word_offset_ns = offset_ns
        least_ns, most_ns = pulse.worker_ns - now_ns, pulse.worker_ns - pulse.echo_ns
        self.word_offset_ns = min(max(self.word_offset_ns, least_ns), most_ns)
        self.gained_ns = max(self.gained_ns, self.word_offset_ns - self.offset_ns)
        if self.joined and pulse.state != "ready":
            self.part.heard(pulse.echo_ns, pulse.open_visits, now_ns)

    @property
    def share(self) -> Share | None:
        """What it may do, None before it has a part in the run."""
        return self.part.share

    @property
    def clock_error_ns(self) -> int | None:
        """By how much the offset may be wrong either way: half of the round trip that it was taken from."""
        return None if self._best_rtt_ns is None else self._best_rtt_ns // 2

    @property
    def clock_drift_ns(self) -> int | None:
        """How far the worker's clock has moved against ours since its offset was taken, by the best newer pulse."""
        return min(self._newest)[1] - self.offset_ns if self.joined and self._newest else None

    # Slices

    def has(self, number: int) -> bool:
        """Whether the slice with this number is here already."""
        return number <= self._gapless or number in self._ahead

    def note(self, report: SliceReport, snapshot: Snapshot) -> None:
        """Notes a slice that was not here; slices may come in any order."""
        self._ahead[report.number] = report.second
        self._highest = max(self._highest, report.number)
        if report.final:
            self._final_number = report.number
        while (second := self._ahead.pop(self._gapless + 1, None)) is not None:
            self._gapless += 1
            self.reported_second = second
        cpu_ns = snapshot.sums.get("cpu_ns", 0)
        self.cpu_ns += cpu_ns
        self.cpu_window_ns.append(cpu_ns)
        if self.cpu_window_full:
            self._cpu_max_ratio = max(self._cpu_max_ratio, sum(self.cpu_window_ns) / (_CPU_WINDOW * NS_PER_S))
        self.rss_max_bytes = max(self.rss_max_bytes, snapshot.maxima.get("rss_bytes", 0))

    @property
    def final(self) -> bool:
        """Whether the last slice and all before it are here: everything that ever reached the worker is settled."""
        return self._gapless == self._final_number

    @property
    def missing_slices(self) -> int:
        """Slices that must exist, because a later one is here, and never came."""
        return self._highest - self._gapless - len(self._ahead)

    # Cost

    @property
    def cpu_window_full(self) -> bool:
        """Whether enough slices are here to speak of a busiest stretch."""
        return len(self.cpu_window_ns) == _CPU_WINDOW

    @property
    def cpu_max_ratio(self) -> float | None:
        """The share of one core in the busiest stretch, or in all of a run that is shorter; None without a slice."""
        if self.cpu_window_full:
            return self._cpu_max_ratio
        return sum(self.cpu_window_ns) / (len(self.cpu_window_ns) * NS_PER_S) if self.cpu_window_ns else None
