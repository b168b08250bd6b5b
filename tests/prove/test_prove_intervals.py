"""Intervals that hold the truth as often as they say: of waits with cut-offs, and of the ratio of two runs' p99."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from math import log
from random import Random
from statistics import NormalDist, mean

from harness.judge.compare import ComparedRun, compare
from harness.measure.histogram import Histogram
from harness.measure.snapshot import Snapshot
from harness.measure.survival import incidence, quantile_interval, time_to_event_quantile
from tests.prove.evidence import store
from tests.unit.judge.runs import levels

MS = 1_000_000
RUNS = 500
SIGMA = 0.8


def waits(rng: Random, n: int, middle_ms: float, longest_look_ms: float) -> tuple[Histogram, Histogram]:
    """(ended, cut off) of `n` lognormal waits, each followed for a uniform time, as a run's end falls anywhere."""
    ended, censored = Histogram(), Histogram()
    for _ in range(n):
        wait, look = rng.lognormvariate(log(middle_ms * MS), SIGMA), rng.random() * longest_look_ms * MS
        (ended if wait <= look else censored).add(int(min(wait, look)))
    return ended, censored


def test_the_median_of_waits_is_inside_its_interval() -> None:
    """500 seeded runs of 400 waits, 30 % cut off: the true median lies in the 95 % interval in at least 93 %."""
    middle_ms, longest_look_ms = 200.0, 880.0
    inside, cut, estimates, naive = 0, 0.0, [], []
    for seed in range(RUNS):
        ended, censored = waits(Random(seed), 400, middle_ms, longest_look_ms)
        low, high = quantile_interval(incidence(ended, censored, Histogram()), 0.5)
        assert low is not None and high is not None
        inside += low <= middle_ms * MS <= high
        cut += censored.count / 400 / RUNS
        median = time_to_event_quantile(ended, censored, Histogram(), 0.5)
        assert median is not None and ended.mean_ns is not None
        estimates.append(median / MS)
        naive.append(ended.mean_ns / MS)
    true_mean_ms = middle_ms * 2.718281828 ** (SIGMA**2 / 2)
    figures = {
        "runs": RUNS,
        "cut_off_ratio": round(cut, 4),
        "true_median_ms": middle_ms,
        "mean_of_estimated_medians_ms": round(mean(estimates), 2),
        "true_median_inside_ci95": inside / RUNS,
        "true_mean_ms": round(true_mean_ms, 2),
        "naive_mean_of_those_available_ms": round(mean(naive), 2),
        "naive_mean_bias": round(mean(naive) / true_mean_ms - 1, 4),
    }
    store("waits-coverage", test_the_median_of_waits_is_inside_its_interval.__doc__ or "", figures, seeds=[0, RUNS - 1])
    assert 0.27 <= cut <= 0.33, figures
    assert inside / RUNS >= 0.93, figures
    assert abs(mean(estimates) / middle_ms - 1) < 0.02, figures
    assert mean(naive) / true_mean_ms < 0.85, figures


SECONDS, RATE, RHO, SPREAD = 300, 200, 0.5, 0.1
TRUE_CHANGE = 0.05
# The replies of a second: 20,000 equally likely lognormal values, so that drawing one is a look-up.
_REPLIES = [20 * MS * 2.718281828 ** (0.5 * NormalDist().inv_cdf((n + 0.5) / 20_000)) for n in range(20_000)]


def drifting_run(seed: str, slower: float) -> ComparedRun:
    """300 s at 200/s whose level is AR(1) from second to second, every reply `slower` times as long."""
    rng = Random(seed)
    slices = {}
    for second, level in enumerate(levels(rng, SECONDS, rho=RHO, sd=SPREAD)):
        factor, times = slower * 2.718281828**level, Histogram()
        times.add_all([int(factor * reply) for reply in rng.choices(_REPLIES, k=RATE)])
        slices[second] = Snapshot(histograms={("response_time", "get_engagement", "all", "ok"): times})
    phases = {"warmup_s": 0.0, "arrivals_s": float(SECONDS), "measured_s": float(SECONDS)}
    return ComparedRun(manifest={}, summary={"phases": phases, "verdict": {"status": "PASS"}}, slices=slices)


def covered(seed: int) -> tuple[bool, float, float]:
    """(the true change is inside the interval, the interval's width, the estimate) of one pair of runs."""
    pair = drifting_run(f"{seed}/base", 1.0), drifting_run(f"{seed}/new", 1 + TRUE_CHANGE)
    [change] = compare(*pair, metrics=["p99(response_time)"], seed=seed).changes
    assert change.ci95 is not None and change.effect is not None
    low, high = change.ci95
    return low <= TRUE_CHANGE <= high, high - low, change.effect


def test_the_ratio_of_two_p99_is_inside_its_interval() -> None:
    """500 pairs of 300 s at 200/s with AR(1) seconds (0.5): the true ratio lies in the interval in 92 to 98 %."""
    with ProcessPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        seen = list(pool.map(covered, range(RUNS), chunksize=10))
    coverage = mean(inside for inside, _, _ in seen)
    figures = {
        "pairs": RUNS,
        "seconds": SECONDS,
        "rate_hz": RATE,
        "rho": RHO,
        "spread_of_log_level": SPREAD,
        "true_change": TRUE_CHANGE,
        "coverage_of_ci95": coverage,
        "mean_estimate": round(mean(effect for _, _, effect in seen), 5),
        "mean_width": round(mean(width for _, width, _ in seen), 5),
    }
    store("comparison-coverage", test_the_ratio_of_two_p99_is_inside_its_interval.__doc__ or "", figures,
          seeds=[0, RUNS - 1])  # fmt: skip
    assert 0.92 <= coverage <= 0.98, figures
