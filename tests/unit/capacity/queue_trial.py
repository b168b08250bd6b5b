"""A step against a queue of exponential servers, in virtual time: seconds as a run would measure them."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from random import Random

from harness.capacity.criterion import criteria_of
from harness.capacity.evidence import Evidence
from harness.capacity.search import Step, Trial
from harness.capacity.step_verdict import judged
from harness.judge.threshold import parse_thresholds
from harness.measure.histogram import Histogram
from harness.measure.snapshot import Snapshot
from harness.units import NS_PER_S

SLOTS, MEAN_S = 8, 0.04


def queue_seconds(rate_hz: float, seconds: int, rng: Random, slots: int = SLOTS) -> list[Snapshot]:
    """Poisson arrivals of one-call visits at `slots` servers of 40 ms each, exponential, first come, first served."""
    now, free = 0.0, [0.0] * slots
    began, times = [0] * seconds, [[] for _ in range(seconds)]  # type: ignore[var-annotated]
    while (now := now + rng.expovariate(rate_hz)) < seconds:
        done = max(now, free[0]) + rng.expovariate(1 / MEAN_S)
        heapq.heapreplace(free, done)
        began[int(now)] += 1
        if done < seconds:
            times[int(done)].append(round((done - now) * NS_PER_S))
    return [_second(*both) for both in zip(began, times, strict=True)]


def _second(began: int, times: list[int]) -> Snapshot:
    histogram = Histogram()
    histogram.add_all(times)
    counters = {
        ("visits_started", "all"): began,
        ("visits_ended", "all"): len(times),
        ("steps", "get_engagement", "all", "available"): len(times),
    }
    return Snapshot(counters=counters, histograms={("response_time", "get_engagement", "all", "ok"): histogram})


def play(trial: Trial, seconds: Sequence[Snapshot], slos: Sequence[str], settle_s: int, hold_s: int) -> Step:
    """The step that `trial` becomes when its run measures `seconds`; it ends as soon as the test has decided."""
    evidence = Evidence(criteria_of(parse_thresholds(slos)), settle_s, hold_s, whole=trial.whole)
    at = 0
    for at, snapshot in enumerate(seconds):
        evidence.add(at, snapshot)
        if evidence.decided:
            break
    step = judged(trial, evidence)
    return Step(**{name: getattr(step, name) for name in step.__struct_fields__ if name != "took_s"}, took_s=at + 1.0)
