"""`LoadPoint`: one rate that a run held, as a point of the load curve, with its seconds for resampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import msgspec

from harness.capacity.steps import LoadStep, StepResult, busy_ns, load_steps, measure_step, useful_steps
from harness.judge.threshold import Threshold
from harness.measure.snapshot import Snapshot
from harness.plan.arrivals import parse_arrivals
from harness.units import NS_PER_S


class LoadPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A rate that was held: `label` says where, `result` what it showed.

    `busy_s` and `useful` are of each second that counts: seconds of attempts in flight, and steps that ended available
    or accepted.
    """

    label: str
    result: StepResult
    busy_s: tuple[float, ...]
    useful: tuple[int, ...]

    @property
    def concurrency(self) -> float:
        """The mean number of attempts in flight."""
        return self.result.concurrency

    @property
    def goodput_hz(self) -> float:
        """Useful steps per second; retries do not count."""
        return self.result.goodput_hz


def load_points(
    summary: Mapping[str, Any], slices: Mapping[int, Snapshot], thresholds: Sequence[Threshold], label: str
) -> list[LoadPoint]:
    """The rates that a run held one after another; a run that was no staircase is one point, without its warm-up."""
    config, phases = summary["config"], summary["phases"]
    end_s = int(phases["warmup_s"] + phases["arrivals_s"] + 1e-6)
    arrivals = parse_arrivals(str(config["arrivals"]))
    steps = load_steps(arrivals, end_s * NS_PER_S)
    timeout_ns = int(config["timeout_ns"])
    if steps:
        return [
            _point(f"{label} at {step.rate_hz:g}/s", step.rate_hz, step.seconds, slices, thresholds, timeout_ns)
            for step in steps
        ]
    rate_hz = arrivals.peak_rate_hz() or float(summary["rates"].get("planned_visits_hz") or 0.0)
    first_s = ceil(phases["warmup_s"])
    if not first_s:
        # Nobody cut the start off: as of any step, the first part is settling.
        first_s = LoadStep(rate_hz, 0, end_s * NS_PER_S).seconds.start
    seconds = range(first_s, end_s)
    return [_point(label, rate_hz, seconds, slices, thresholds, timeout_ns)] if seconds else []


def load_point(
    summary: Mapping[str, Any], slices: Mapping[int, Snapshot], thresholds: Sequence[Threshold], label: str
) -> LoadPoint | None:
    """The only point of a run that held one rate; None when it was too short to have one."""
    points = load_points(summary, slices, thresholds, label)
    return points[0] if len(points) == 1 else None


def _point(
    label: str,
    rate_hz: float,
    seconds: range,
    slices: Mapping[int, Snapshot],
    thresholds: Sequence[Threshold],
    timeout_ns: int,
) -> LoadPoint:
    held = [slices.get(second, Snapshot()) for second in seconds]
    measured = Snapshot.merged(held)
    return LoadPoint(
        label=label,
        result=measure_step(rate_hz, len(held), measured, thresholds, timeout_ns),
        busy_s=tuple(busy_ns(snapshot, timeout_ns) / NS_PER_S for snapshot in held),
        useful=tuple(useful_steps(snapshot) for snapshot in held),
    )
