"""What the metrics page says beside the measured slices: facts that whoever conducts the run knows."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class CapacityState(msgspec.Struct, kw_only=True):
    """What load steps have shown so far; the `step_…` fields are of the newest finished step.

    `step_rate_hz` and `step_achieved_hz` are visits per second planned and begun, `step_goodput_hz` steps per second
    that ended available or accepted, `step_concurrency` the mean number of attempts in flight. `step_latency_s` holds
    statistics of the response time (one that falls on requests without reply is +inf), `step_ok` the thresholds with
    data enough. `rate_hz` holds bounds of the highest rate at which all thresholds hold, by name. `usl` holds the
    Universal Scalability Law's lambda, sigma, kappa, and its knee and peak where the data reach them.
    """

    step_rate_hz: float
    step_achieved_hz: float
    step_goodput_hz: float
    step_concurrency: float
    step_latency_s: Mapping[str, float]
    step_availability: float | None
    step_ok: Mapping[str, bool]
    rate_hz: Mapping[str, float]
    usl: Mapping[str, float]


class RunState(msgspec.Struct, kw_only=True):
    """What the page says beside the slices. None means not known (yet), and its series is left out.

    `phase` is one of `labels.PHASES`. `workers` counts by `WORKER_STATES`; `worker_cpu_ratio` is 0 to 1 by worker id,
    of those that are there. `visits_planned` were due so far. `master_only` counts what no worker can tell: by
    ("visits" or "steps", "lost" or "undealt"). `slo_ok` holds the thresholds judged so far, `verdict` one of `VERDICTS`
    at the end.
    """

    phase: str = "starting"
    planned_rate_hz: float | None = None
    achieved_rate_hz: float | None = None
    visits_planned: int = 0
    master_only: Mapping[tuple[str, str], int] = {}
    workers: Mapping[str, int] = {}
    worker_cpu_ratio: Mapping[str, float] = {}
    slo_ok: Mapping[str, bool] = {}
    verdict: str | None = None
    capacity: CapacityState | None = None
