"""Load steps: what each rate that a run held has shown, and what all of them say about the highest rate.

A run whose arrivals hold several rates one after another (`constant:20/s:1m,constant:40/s:1m`) is a staircase. Every
held segment is a step; ramps between them are none, for what is measured there belongs to no rate. The first fifth of a
step is left out: queues still fill, and replies that the step before asked for still come in. Concurrency is the mean
number of attempts in flight by Little's law: the time that attempts took, added up, over the time that passed; an
attempt without reply took the time-out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from harness.capacity.usl import Usl, fit_usl
from harness.judge.evaluate import evaluate
from harness.judge.threshold import Threshold
from harness.measure.availability import eventual_counts
from harness.measure.histogram import Histogram
from harness.measure.snapshot import Snapshot
from harness.plan.arrivals import ArrivalPlan
from harness.units import NS_PER_S

SETTLING_SHARE = 0.2
_HELD = ("constant", "poisson")
_STATISTICS = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class LoadStep(msgspec.Struct, frozen=True):
    """A rate (visits per second) that is held from `start_ns` to `end_ns` (after the run's start)."""

    rate_hz: float
    start_ns: int
    end_ns: int

    @property
    def seconds(self) -> range:
        """The whole seconds that count: after settling, before the end."""
        first_ns = self.start_ns + round((self.end_ns - self.start_ns) * SETTLING_SHARE)
        return range(-(-first_ns // NS_PER_S), self.end_ns // NS_PER_S)


class StepResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one step has shown; rates per second, latencies in ns (None: never), availability None without trials.

    `ok` holds the thresholds that had data enough to be judged.
    """

    rate_hz: float
    achieved_hz: float
    goodput_hz: float
    concurrency: float
    latency_ns: Mapping[str, float | None]
    availability: float | None
    ok: Mapping[str, bool]


def load_steps(arrivals: ArrivalPlan, plan_end_ns: int | None) -> list[LoadStep]:
    """The steps of an arrival plan that ends at `plan_end_ns`; empty unless it holds two rates or more."""
    steps, start_ns = [], 0
    for segment in arrivals.segments:
        end_ns = plan_end_ns if segment.duration_ns is None else start_ns + segment.duration_ns
        if end_ns is None:
            break
        end_ns = end_ns if plan_end_ns is None else min(end_ns, plan_end_ns)
        if segment.kind in _HELD and end_ns > start_ns:
            steps.append(LoadStep(segment.rate_hz, start_ns, end_ns))
        start_ns = end_ns
    steps = [step for step in steps if step.seconds]
    return steps if len(steps) > 1 else []


class Staircase:
    """Sorts the seconds of a run into its steps; `results` are those of the finished steps, in order."""

    def __init__(self, steps: Sequence[LoadStep], thresholds: Sequence[Threshold], timeout_ns: int) -> None:
        """`steps` as `load_steps` gives them; `timeout_ns` is what an attempt without reply took."""
        self._left = list(steps)
        self._thresholds = thresholds
        self._timeout_ns = timeout_ns
        self._snapshot = Snapshot()
        self._newest = -1
        self.results: list[StepResult] = []

    def add(self, second: int, snapshot: Snapshot) -> None:
        """Takes one second of the run; seconds come in ascending order."""
        while self._left and second >= self._left[0].seconds.stop:
            self._finish(self._left.pop(0))
        self._newest = second
        if self._left and second in self._left[0].seconds:
            self._snapshot.merge(snapshot)

    def end(self) -> None:
        """The run is over: the step that it ended in counts if its last second was there."""
        if self._left and self._newest >= self._left[0].seconds.stop - 1:
            self._finish(self._left.pop(0))

    def _finish(self, step: LoadStep) -> None:
        measured = measure_step(step.rate_hz, len(step.seconds), self._snapshot, self._thresholds, self._timeout_ns)
        self.results.append(measured)
        self._snapshot = Snapshot()

    def law(self) -> Usl | None:
        """The Universal Scalability Law through the steps; None where they do not say it."""
        points = [(result.concurrency, result.goodput_hz) for result in self.results]
        return fit_usl([point for point in points if min(point) > 0])

    def bounds_hz(self) -> dict[str, float]:
        """Bounds of the highest rate at which all thresholds hold, as far as the steps tell.

        `at_least`: the highest rate that held, no lower one being broken. `below`: the lowest rate that was broken.
        """
        broken = [result.rate_hz for result in self.results if not all(result.ok.values())]
        held = [result.rate_hz for result in self.results if result.ok and all(result.ok.values())]
        bounds = {"below": min(broken)} if broken else {}
        good = [rate_hz for rate_hz in held if rate_hz < min(broken, default=float("inf"))]
        return bounds | ({"at_least": max(good)} if good else {})


def measure_step(
    rate_hz: float, length_s: int, measured: Snapshot, thresholds: Sequence[Threshold], timeout_ns: int
) -> StepResult:
    """What `measured`, the `length_s` seconds that count of a step at `rate_hz`, says about it."""
    response = measured.histogram("response_time")
    good, settled = eventual_counts(measured)
    checks = evaluate(thresholds, measured, arrivals_s=length_s, measured_s=length_s)
    return StepResult(
        rate_hz=rate_hz,
        achieved_hz=measured.total("visits_started") / length_s,
        goodput_hz=useful_steps(measured) / length_s,
        concurrency=busy_ns(measured, timeout_ns) / (length_s * NS_PER_S),
        latency_ns={name: response.quantile(q) for name, q in _STATISTICS.items()} if response.count else {},
        availability=good / settled if settled else None,
        ok={check.name: check.ok for check in checks if check.enough_data},
    )


def useful_steps(measured: Snapshot) -> int:
    """Steps that ended available or accepted, however many attempts they took: goodput counts nothing else."""
    outcomes = measured.by_last("steps")
    return outcomes.get("available", 0) + outcomes.get("accepted", 0)


def busy_ns(measured: Snapshot, timeout_ns: int) -> int:
    """How long all attempts were in flight, added up; one without a reply for `timeout_ns`."""
    rows = [measured.histogram("service_time", row=row) for row in ("ok", "error")]
    whole = Histogram.merged([*rows, measured.histogram("connect_time")])
    return whole.total_ns + whole.infinite * timeout_ns
