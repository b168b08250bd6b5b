"""Traffic models at length: parameters found again over a hundred seeds, the sample log, and the rate of synthesis."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

import pytest

from harness.plan.arrivals import parse_arrivals
from harness.trace.check import Validation
from harness.trace.lines import BadLines
from harness.trace.traffic.arrivals import Calendar, Evidence, count_rates, learn_arrivals, tick_s
from harness.trace.traffic.fit import Learned, prepare
from harness.trace.traffic.gather import Gathered
from harness.trace.traffic.harvest import KEPT_FROM
from harness.trace.traffic.model import Dimension, read_model
from harness.trace.traffic.presets import NAMES
from harness.units import NS_PER_S
from tests.contract.test_demo_fixture import access_log
from tests.prove.evidence import ROOT, store

SEEDS = list(range(100))
VISITS = 2000
VISITS_MADE = 100_000
# Microseconds, as a trace keeps them.
DECIMALS = 6
BURSTY = [("bursty:50/s,cv=3", 50.0, 3.0), ("bursty:8/s,cv=1.6", 8.0, 1.6), ("bursty:300/s,cv=0.5", 300.0, 0.5)]
PERIOD_S = 60.0
DIURNAL = "diurnal(peak=120/s, trough=10/s, period=60s, cv=2)"


@pytest.mark.parametrize(("spec", "rate_hz", "cv"), BURSTY)
def test_rate_and_burstiness_are_found_again(spec: str, rate_hz: float, cv: float) -> None:
    """On bursty input with known rate and cv both stated intervals hold the truth in at least 90 of 100 seeds."""
    seen = [learned(spec, seed) for seed in SEEDS]
    rate = [each["rate"][1] <= rate_hz <= each["rate"][2] for each in seen]
    burstiness = [each["cv"][1] <= cv <= each["cv"][2] for each in seen]
    both = sum(one and other for one, other in zip(rate, burstiness, strict=True))
    figures = {
        "input": spec,
        "visits": VISITS,
        "both_within": both,
        "rate_within": sum(rate),
        "cv_within": sum(burstiness),
        "mean_estimates": [sum(each[name][0] for each in seen) / len(seen) for name in ("rate", "cv")],
        "mean_widths": [sum(each[name][2] - each[name][1] for each in seen) / len(seen) for name in ("rate", "cv")],
    }
    store(f"fit-recovers-{cv:g}", test_rate_and_burstiness_are_found_again.__doc__ or "", figures, seeds=SEEDS)
    assert both >= 90


def test_burstiness_is_found_again_under_a_rate_that_swings() -> None:
    """On bursty input whose rate swings twelvefold the interval of the cv holds the truth in 90 of 100 seeds."""
    seen = [learned(DIURNAL, seed, whole_period=True) for seed in SEEDS]
    within = sum(each["cv"][1] <= 2.0 <= each["cv"][2] for each in seen)
    rate = sum(each["rate"][1] <= 65.0 <= each["rate"][2] for each in seen)
    figures = {"input": DIURNAL, "cv_within": within, "rate_within": rate, "bins": [each["bins"] for each in seen]}
    promise = test_burstiness_is_found_again_under_a_rate_that_swings.__doc__ or ""
    store("fit-recovers-diurnal", promise, figures, seeds=SEEDS)
    assert within >= 90


def learned(spec: str, seed: int, *, whole_period: bool = False) -> dict[str, Any]:
    """Estimates with intervals, and the number of bins, from visits of an arrivals spec."""
    offsets = (round(offset_ns / NS_PER_S, DECIMALS) for offset_ns in parse_arrivals(spec).offsets_ns(seed))
    moments_s = list(takewhile(lambda at_s: at_s < PERIOD_S, offsets) if whole_period else islice(offsets, VISITS))
    calendar = Calendar.of(moments_s[-1], "")
    tick = tick_s([round(at_s * NS_PER_S) for at_s in moments_s])
    arrivals = learn_arrivals(moments_s, calendar.windows(None), calendar, tick).to_model()
    assert arrivals.mean_hz is not None
    assert arrivals.burstiness is not None
    rate, cv = arrivals.mean_hz, arrivals.burstiness
    return {
        "rate": (rate.value, rate.low, rate.high),
        "cv": (cv.value, cv.low, cv.high),
        "bins": len(arrivals.rates_hz),
    }


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "harness", "trace", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        env=environment,
    )


def test_the_sample_log_is_fitted_better_than_by_poisson(tmp_path: Path) -> None:
    """On held-out hours of the sample log the fit beats the piecewise-rate Poisson in likelihood and in dispersion."""
    trace, model = tmp_path / "log.jsonl", tmp_path / "model.json"
    imported = command("import", "access-log", access_log(), "-o", trace)
    told = command("fit", trace, "-o", model)
    fitted = read_model(model)
    assert fitted.fit is not None
    rows = {(row.name, row.measure): row for row in fitted.fit.fidelity}
    likelihood = rows["log-likelihood per visit", "best"]
    assert likelihood.fitted is not None
    assert likelihood.piecewise_poisson is not None
    dispersions = [rows[f"dispersion, {scale}", "var/mean"] for scale in ("block/60", "block/6", "block")]
    store(
        "fit-sample-log",
        test_the_sample_log_is_fitted_better_than_by_poisson.__doc__ or "",
        {
            "import": imported.stderr.strip(),
            "table": told.stderr.splitlines(),
            "without_minutes": without_minutes(trace),
        },
        seeds=[1],
    )
    assert likelihood.fitted > likelihood.piecewise_poisson
    assert all(off(row, row.fitted) < off(row, row.piecewise_poisson) for row in dispersions)


def off(row: Dimension, value: float | None) -> float:
    """By which factor a model's dispersion is off, whichever way."""
    assert row.held_out
    assert value
    return max(value / row.held_out, row.held_out / value)


def without_minutes(trace: Path) -> dict[str, float]:
    """Held-out log-likelihood per visit with hourly rates only: the burstiness alone against Poisson."""
    learned_trace = read(trace)
    calendar, moments_s = learned_trace.calendar, learned_trace.moments_s
    found = {}
    for bins in (1, 24):
        profile = count_rates(moments_s, calendar.windows(False), calendar, bins).profile()
        train = Evidence(moments_s, calendar.windows(False), profile, learned_trace.tick_s)
        test = Evidence(moments_s, calendar.windows(True), profile, learned_trace.tick_s)
        shape = max((10 ** (exponent / 100) for exponent in range(-200, 101)), key=train.log_likelihood)
        found[f"gamma, {bins} bins"] = round(test.log_likelihood(shape) / test.visits, 3)
        found[f"poisson, {bins} bins"] = round(test.log_likelihood(1.0) / test.visits, 3)
    return found


def read(trace: Path) -> Learned:
    validation = Validation(trace, BadLines(), requests=False)
    gathered = Gathered(KEPT_FROM, anonymized=True)
    for each, _ in validation:
        gathered.add(each.visit)
    return prepare(gathered, validation.header, str(trace))


def test_synthesis_makes_thirty_thousand_visits_a_second(tmp_path: Path) -> None:
    """Each preset gives at least 30,000 visits per CPU-second, start, arrivals and file included; all are valid."""
    figures = {}
    for name in NAMES:
        rates = []
        target = tmp_path / f"{name}.jsonl"
        for _ in range(2):
            before = os.times()
            begun = time.monotonic()
            rate = "diurnal(peak=120/s, trough=10/s)"
            command("synth", name, "--visits", str(VISITS_MADE), "--rate", rate, "--seed", "1", "-o", target)
            after = os.times()
            cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
            wall_s = time.monotonic() - begun
            rates.append({"visits_per_cpu_s": round(VISITS_MADE / cpu_s), "visits_per_s": round(VISITS_MADE / wall_s)})
        checked = command("validate", target)
        totals = checked.stdout.strip().partition(": ")[2]
        figures[name] = {"runs": rates, "bytes": target.stat().st_size, "validate": totals}
        assert ", 0 bad lines, 0 warnings, " in checked.stdout
        target.unlink()
    store("synth-rate", test_synthesis_makes_thirty_thousand_visits_a_second.__doc__ or "", figures, seeds=[1])
    assert all(max(run["visits_per_cpu_s"] for run in figures[name]["runs"]) >= 30_000 for name in NAMES)
