"""A capacity search finds a capacity that is known in closed form, and the law's intervals hold what they should."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from math import exp, factorial
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any

from harness.bench.children import fast_server
from harness.capacity.criterion import criteria_of
from harness.capacity.evidence import Evidence
from harness.capacity.law import fit_law
from harness.capacity.search import Found, SearchPlan, Step, conclude, next_trial
from harness.capacity.usl import Usl
from harness.judge.threshold import parse_thresholds
from harness.sim.scenario import PRESETS
from harness.units import NS_PER_S
from tests.prove.cores import hog, workers_of
from tests.prove.evidence import store
from tests.prove.virtual_search import VirtualSearch
from tests.system.harness_run import Command, get_engagement, wait_until, write_trace
from tests.unit.capacity.law_data import law_points
from tests.unit.capacity.queue_trial import play, queue_seconds

QUANTILE, LIMIT_MS = 0.95, 200
SLO = f"p95(response_time) < {LIMIT_MS}ms"
SEEDS = range(1, 1 + int(os.environ.get("PROVE_CAPACITY_SEEDS", "20")))
HOLD_S = int(os.environ.get("PROVE_CAPACITY_HOLD_S", "120"))
REAL_SEEDS = range(1, 1 + int(os.environ.get("PROVE_CAPACITY_REAL", "3")))
REAL_HOLD_S, REAL_SETTLE_S = 25, 3
DATA_SETS = int(os.environ.get("PROVE_CAPACITY_DATA_SETS", "100"))
TAXED_MAX_HZ, HOGS = 9600, 8


def knee_capacity_hz(quantile: float = QUANTILE, limit_ms: int = LIMIT_MS) -> float:
    """The rate at which that percentile of the knee preset's response times is exactly the limit, in closed form.

    M/M/8: a call waits with Erlang C's probability, exponentially with the spare rate, and is then served for an
    exponential 40 ms: its sojourn is a mixture of an exponential and a hypoexponential time.
    """
    service = PRESETS["knee"].service
    assert (service.distribution, service.slots) == ("exponential", 8)
    slots, served_hz, limit_s = 8, NS_PER_S / service.mean_ns, limit_ms / 1000

    def slower(rate_hz: float) -> float:
        load = rate_hz / served_hz
        last = load**slots / factorial(slots) * slots / (slots - load)
        waits = last / (sum(load**k / factorial(k) for k in range(slots)) + last)
        spare_hz = slots * served_hz - rate_hz
        waited_and_served = (spare_hz * exp(-served_hz * limit_s) - served_hz * exp(-spare_hz * limit_s)) / (
            spare_hz - served_hz
        )
        return (1 - waits) * exp(-served_hz * limit_s) + waits * waited_and_served

    low, high = 1.0, slots * served_hz - 1e-9
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if slower(middle) < 1 - quantile else (low, middle)
    return low


def calls(path: Path, visits: int = 5000) -> Path:
    """A trace of visits of one call each: what arrives at the service is then as Poisson as the visits are."""
    write_trace(path, ([get_engagement(identity="fresh")] for _ in range(visits)), 100)
    return path


def test_virtual_searches_find_the_knee(tmp_path: Path) -> None:
    """Twenty seeds in virtual time: within 5 % of the closed form, its interval holds it in 90 %, at most 15 holds."""
    trace, border, seen = calls(tmp_path / "trace.jsonl"), knee_capacity_hz(), []
    plan = SearchPlan(start_hz=20, max_hz=2000, settle_s=HOLD_S // 10, hold_s=HOLD_S, budget_s=16 * HOLD_S)
    for seed in SEEDS:
        found, steps = VirtualSearch(trace, "knee", [SLO], plan, seed).run()
        assert found.bound == "estimate", found
        assert found.max_rate_hz is not None
        assert found.ci95 is not None
        assert found.ci95[1] is not None
        assert found.limiting_slo == SLO
        longest_s = max(step.took_s for step in steps)
        seen.append(
            {
                "seed": seed,
                "max_rate_hz": found.max_rate_hz,
                "off_ratio": round(found.max_rate_hz / border - 1, 4),
                "ci95": found.ci95,
                "held": found.ci95[0] <= border <= found.ci95[1],
                "steps": len(steps),
                "time_in_longest_steps": round(sum(step.took_s for step in steps) / longest_s, 2),
            }
        )
    figures = {
        "closed_form_hz": round(border, 3),
        "hold_s": HOLD_S,
        "worst_off_ratio": max(abs(each["off_ratio"]) for each in seen),
        "mean_off_ratio": round(mean(each["off_ratio"] for each in seen), 4),
        "intervals_that_hold_it": mean(each["held"] for each in seen),
        "longest_search_in_steps": max(each["time_in_longest_steps"] for each in seen),
        "searches": seen,
    }
    store("capacity-virtual", test_virtual_searches_find_the_knee.__doc__ or "", figures, seeds=list(SEEDS))
    assert figures["worst_off_ratio"] <= 0.05, figures
    assert figures["intervals_that_hold_it"] >= 0.9, figures
    assert figures["longest_search_in_steps"] <= 15, figures


def test_real_searches_find_the_knee(tmp_path: Path) -> None:
    """Three searches by real runs against the simulator: within 8 % of the closed form, at most 15 holds."""
    trace, border, seen = calls(tmp_path / "trace.jsonl"), knee_capacity_hz(), []
    for seed in REAL_SEEDS:
        out = tmp_path / f"search-{seed}"
        times = ["--hold", f"{REAL_HOLD_S}s", "--settle", f"{REAL_SETTLE_S}s", "--budget", "12m"]
        rates = ["--start", "20/s", "--max", "2000/s", "--threshold", SLO, "--seed", str(seed)]
        where = ["--target", "sim:knee", "--connections", "pooled", "--metrics", "off", "--out", str(out), "--json"]
        command = Command(
            "capacity", "search", str(trace), *rates, *times, *where, scratch=tmp_path / f"scratch-{seed}", out=out
        )
        finished = command.wait(900)
        assert finished.exit_code == 0, finished.explain()
        result = json.loads(finished.stdout)
        assert result["bound"] == "estimate", finished.explain()
        took_s = [step["took_s"] for step in result["steps"]]
        seen.append(
            {
                "seed": seed,
                "max_rate_hz": result["max_rate_hz"],
                "off_ratio": round(result["max_rate_hz"] / border - 1, 4),
                "ci95": result["ci95"],
                "held": result["ci95"][0] <= border <= result["ci95"][1],
                "steps": [(step["rate_hz"], step["verdict"], step["took_s"]) for step in result["steps"]],
                "took_s": round(sum(took_s), 1),
                "time_in_longest_steps": round(sum(took_s) / max(took_s), 2),
            }
        )
    figures = {"closed_form_hz": round(border, 3), "hold_s": REAL_HOLD_S, "searches": seen}
    store("capacity-real", test_real_searches_find_the_knee.__doc__ or "", figures, seeds=list(REAL_SEEDS))
    assert max(abs(each["off_ratio"]) for each in seen) <= 0.08, seen
    assert max(each["time_in_longest_steps"] for each in seen) <= 15, seen


BORDER_HOLDS_S, BORDER_STEPS = (30, 60, 120), int(os.environ.get("PROVE_CAPACITY_STEPS", "1000"))


def test_at_the_border_the_test_errs_seldom() -> None:
    """Steps of a queue exactly at its border, 1,000 a hold: from 60 s on 7.5 % held and 2.5 % broken at most."""
    border, criteria, rows = knee_capacity_hz(), criteria_of(parse_thresholds([SLO])), []
    for hold_s in BORDER_HOLDS_S:
        answers = []
        for seed in range(BORDER_STEPS):
            evidence = Evidence(criteria, hold_s // 10, hold_s)
            for second, snapshot in enumerate(queue_seconds(border, hold_s + hold_s // 10, Random(f"{hold_s}/{seed}"))):
                if evidence.add(second, snapshot) != "open":
                    break
            answers.append("growing" if evidence.growing else evidence.answer)
        rows.append(
            {"hold_s": hold_s, "of": BORDER_STEPS} | {name: answers.count(name) for name in sorted(set(answers))}
        )
    store("capacity-errors", test_at_the_border_the_test_errs_seldom.__doc__ or "", rows, seeds=[BORDER_STEPS])
    for row in rows:
        if row["hold_s"] >= 60:
            assert row.get("held", 0) <= 0.075 * BORDER_STEPS, rows
            assert row.get("broken", 0) + row.get("growing", 0) <= 0.025 * BORDER_STEPS, rows


COVERAGE = [(20, 0.95, 200), (30, 0.95, 200), (60, 0.95, 200), (60, 0.99, 300)]
COVERAGE_SEARCHES = int(os.environ.get("PROVE_CAPACITY_SEARCHES", "60"))


def test_intervals_of_simulated_searches() -> None:
    """Sixty searches of a simulated queue for each hold and threshold: from 60 s on the interval holds it in 90 %."""
    rows = []
    for hold_s, quantile, limit_ms in COVERAGE:
        border, slo, held, off = knee_capacity_hz(quantile, limit_ms), f"p{quantile * 100:g}(response_time)", 0, []
        plan = SearchPlan(start_hz=20, max_hz=2000, settle_s=hold_s // 10, hold_s=hold_s, budget_s=16 * hold_s)
        for seed in range(COVERAGE_SEARCHES):
            found = _simulated(plan, f"{slo} < {limit_ms}ms", Random(f"{hold_s}/{quantile}/{seed}"))
            if found.bound == "estimate" and found.max_rate_hz and found.ci95 and found.ci95[1]:
                held += found.ci95[0] <= border <= found.ci95[1]
                off.append(found.max_rate_hz / border - 1)
        rows.append(
            {
                "hold_s": hold_s, "threshold": f"{slo} < {limit_ms}ms", "searches": COVERAGE_SEARCHES,
                "estimates": len(off), "held": held, "mean_off_ratio": round(mean(off), 4),
                "worst_off_ratio": round(max(map(abs, off)), 4),
            }
        )  # fmt: skip
    store("capacity-coverage", test_intervals_of_simulated_searches.__doc__ or "", rows, seeds=[COVERAGE_SEARCHES])
    assert all(row["held"] >= 0.9 * COVERAGE_SEARCHES for row in rows if row["hold_s"] >= 60), rows


def _simulated(plan: SearchPlan, slo: str, rng: Random) -> Found:
    steps: list[Step] = []
    while (trial := next_trial(plan, steps)) is not None:
        seconds = queue_seconds(trial.rate_hz, plan.settle_s + plan.hold_s, rng)
        steps.append(play(trial, seconds, [slo], plan.settle_s, plan.hold_s))
    return conclude(plan, steps)


LAWS = [(0.02, 0.0005), (0.05, 0.001), (0.15, 0.0004), (0.1, 0.004)]
REACHING = (1, 2, 4, 8, 16, 24, 32, 48, 64, 80)


def test_the_laws_intervals_hold_its_truth() -> None:
    """Four laws, a hundred data sets each: sigma and kappa lie in their intervals in 90 % of each law's sets."""
    rows = []
    for sigma, kappa in LAWS:
        truth, held = Usl(lambda_hz=100.0, sigma=sigma, kappa=kappa, reach=0), [0, 0]
        for seed in range(DATA_SETS):
            law = fit_law(law_points(truth, REACHING, Random(f"{sigma}/{kappa}/{seed}")), Random(seed))
            assert law is not None
            held[0] += law.sigma_ci95[0] <= sigma <= law.sigma_ci95[1]
            held[1] += law.kappa_ci95[0] <= kappa <= law.kappa_ci95[1]
        rows.append({"sigma": sigma, "kappa": kappa, "sigma_held": held[0], "kappa_held": held[1], "of": DATA_SETS})
    promise = test_the_laws_intervals_hold_its_truth.__doc__ or ""
    store("capacity-law", promise, rows, seeds=list(range(DATA_SETS)))
    assert min(min(row["sigma_held"], row["kappa_held"]) for row in rows) >= 0.9 * DATA_SETS, rows


def test_before_the_knee_there_is_no_peak() -> None:
    """Four laws, a hundred data sets each that stop at a quarter of the knee: a peak is told in none."""
    rows = []
    for sigma, kappa in LAWS:
        truth = Usl(lambda_hz=100.0, sigma=sigma, kappa=kappa, reach=0)
        knee = ((1 - sigma) / kappa) ** 0.5
        told = 0
        for seed in range(DATA_SETS):
            concurrencies = [knee / 4 * part for part in (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)]
            law = fit_law(law_points(truth, concurrencies, Random(f"{sigma}/{kappa}/{seed}")), Random(seed))
            told += law is not None and law.peak_hz is not None
        rows.append({"sigma": sigma, "kappa": kappa, "knee": round(knee, 1), "peaks_told": told, "of": DATA_SETS})
    store("capacity-no-peak", test_before_the_knee_there_is_no_peak.__doc__ or "", rows, seeds=list(range(DATA_SETS)))
    assert [row["peaks_told"] for row in rows] == [0] * len(rows), rows


class Taxes:
    """From `begin` on, keeps each worker of a search on one core, beside processes that do nothing but use it."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._over = threading.Event()
        self._core = max(os.sched_getaffinity(0))
        self._spinning: list[subprocess.Popen[bytes]] = []
        self._thread = threading.Thread(target=self._keep)

    def begin(self) -> None:
        """Starts the hogs, and watches for workers."""
        self._spinning += [hog(self._core) for _ in range(HOGS)]
        self._thread.start()

    def end(self) -> None:
        """Ends them all."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        for process in self._spinning:
            process.kill()
            process.wait()

    def _keep(self) -> None:
        while not self._over.wait(0.2):
            for worker in workers_of(self._command):
                try:
                    os.sched_setaffinity(worker, {self._core})
                except ProcessLookupError:
                    continue  # it ended meanwhile, as workers do at the end of a step


def search_a_fast_server(trace: Path, url: str, home: Path, taxed: bool) -> dict[str, Any]:
    """What a search up to 9,600 visits a second finds, its workers taxed from the second step on or left alone."""
    out = home / "search"
    rates = ["--start", "300/s", "--max", f"{TAXED_MAX_HZ}/s", "--threshold", "p99(response_time) < 30s"]
    times = ["--hold", "6s", "--settle", "1s", "--budget", "5m", "--cooldown", "0s"]
    where = ["--target", url, "--connections", "pooled", "--metrics", "off", "--out", str(out), "--json"]
    command = Command("capacity", "search", str(trace), *rates, *times, *where, scratch=home / "said", out=out)
    taxes = Taxes(command)
    try:
        state = out / "search.json"
        wait_until(lambda: state.exists() and bool(json.loads(state.read_text())["steps"]), 90, "a finished step")
        if taxed:
            taxes.begin()
        finished = command.wait(300)
    finally:
        taxes.end()
        command.kill()
    assert finished.exit_code == 0, finished.explain()
    result: dict[str, Any] = json.loads(finished.stdout)
    return result


def test_a_taxed_worker_makes_it_at_least(tmp_path: Path) -> None:
    """Eight hogs on the workers' core: "at least" what held, with the reason; left alone it reaches what it may."""
    trace, figures = calls(tmp_path / "trace.jsonl"), {}
    with fast_server() as server:
        for name in ("alone", "taxed"):
            found = search_a_fast_server(trace, server.url, tmp_path / name, taxed=name == "taxed")
            figures[name] = {key: found[key] for key in ("max_rate_hz", "bound", "reason", "ci95")}
            figures[name]["steps"] = [(step["rate_hz"], step["verdict"], step["why"]) for step in found["steps"]]
    store("capacity-taxed", test_a_taxed_worker_makes_it_at_least.__doc__ or "", figures, seeds=[1])
    alone, taxed = figures["alone"], figures["taxed"]
    assert alone["max_rate_hz"] == TAXED_MAX_HZ, figures
    assert "generator" not in alone["reason"], figures
    assert taxed["max_rate_hz"] < TAXED_MAX_HZ, figures
    assert taxed["bound"] == "at_least", figures
    assert taxed["ci95"][1] is None, figures
    assert taxed["reason"].startswith("the generator was the limit at "), figures
    assert "other processes took the CPU" in taxed["reason"], figures
