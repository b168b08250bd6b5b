"""The bench: alternating rounds, medians, and whatever could not be measured told with its reason.

    for each round, for each number of connections: short and long runs of every subject, one after the other
    then lag at fixed rates, scrapes of the metrics page, the memory of open visits, and the trace tools

Nothing here passes or fails.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from harness.bench.children import BenchError, fast_server
from harness.bench.job import Job
from harness.bench.machine import machine, versions
from harness.bench.scrapes import scrapes
from harness.bench.subjects import Bench, Cost, slope
from harness.bench.trace_tools import trace_tools

SUBJECTS = ("harness", "engine", "fast_http_user", "http_user", "wrk")
_STOCK = {"fast_http_user": "StockFastHttpUser", "http_user": "StockHttpUser"}
# Descriptors that a process needs beside its connections.
_SPARE_DESCRIPTORS = 100

T = TypeVar("T")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Extent:
    """How much is measured: visits by which a long run exceeds a short one, other runs, and held visits by mode."""

    connections: tuple[int, ...]
    rounds: int
    more_visits: dict[str, int]
    wrk_s: int
    lag_s: int
    # Shares of the highest rate, beside 500/s; arrivals per second.
    lag_shares: tuple[float, ...]
    # Seconds for which a run with metrics is watched.
    watched_s: int
    held: dict[str, tuple[int, int]]
    # Visits by which the long trace of the trace tools exceeds the short one.
    trace_visits: int


FULL = Extent(
    connections=(1, 50, 500, 2_000),
    rounds=3,
    more_visits={"harness": 90_000, "engine": 30_000, "fast_http_user": 8_000, "http_user": 2_500},
    wrk_s=3,
    lag_s=15,
    lag_shares=(0.125, 0.25, 0.5),
    watched_s=8,
    held={"pooled": (5_000, 50_000), "browser": (200, 2_000)},
    trace_visits=20_000,
)
QUICK = Extent(
    connections=(50,),
    rounds=1,
    more_visits={"harness": 16_000, "engine": 5_000, "fast_http_user": 1_500, "http_user": 400},
    wrk_s=1,
    lag_s=2,
    lag_shares=(),
    watched_s=3,
    held={"pooled": (1_000, 10_000)},
    trace_visits=3_000,
)
_SHORT_VISITS = 200
_LOW_RATE_HZ = 500
_HOLD_RATE_HZ = 4_000.0


def bench(extent: Extent, say: Say) -> dict[str, Any]:
    """Takes every figure; the document is described in docs/bench.md. `say` is told what is being measured."""
    began = datetime.now(UTC).isoformat(timespec="seconds")
    host = machine()
    with tempfile.TemporaryDirectory(prefix="harness-bench-") as scratch, fast_server() as server:
        taking = _Taking(Bench(server, Path(scratch)), extent, say)
        throughput = taking.throughput()
        lag = taking.lag()
        scraped = taking.scrapes()
        memory = taking.memory()
        tools = trace_tools(Path(scratch) / "traces", extent.trace_visits, extent.rounds, taking.attempt)
        served = server.stats()
    return {
        "schema": "harness.bench/1",
        "started_at": began,
        "rounds": extent.rounds,
        "machine": host,
        "versions": versions(),
        "throughput": throughput,
        "worker_maximum_hz": taking.maximum_hz,
        "lag": lag,
        "scrapes": scraped,
        "memory": memory,
        "trace_tools": tools,
        "server": {"service_us": served["service_us"], "calls": served["calls"]},
        "missing": taking.missing,
    }


class _Taking:
    """The figures being taken."""

    def __init__(self, bench: Bench, extent: Extent, say: Say) -> None:
        self._bench = bench
        self._extent = extent
        self._say = say
        self.missing: list[dict[str, str]] = []
        self.maximum_hz: int | None = None

    def attempt(self, figure: str, take: Callable[[], T]) -> T | None:
        """Says which figure is taken and takes it; None with the reason noted."""
        self._say(figure)
        return self._noted(figure, take)

    def _noted(self, figure: str, take: Callable[[], T]) -> T | None:
        try:
            return take()
        except BenchError as error:
            self.missing.append({"figure": figure, "reason": str(error)})
            return None

    # Attempts per CPU-second

    def throughput(self) -> list[dict[str, Any]]:
        """A row for each number of connections."""
        found: dict[int, dict[str, list[float]]] = {
            connections: {subject: [] for subject in SUBJECTS} for connections in self._extent.connections
        }
        for number in range(1, self._extent.rounds + 1):
            for connections, figures in found.items():
                prefix = f"round {number} of {self._extent.rounds}, {connections} connections"
                for subject, value in self._round(connections, prefix).items():
                    figures[subject].append(value)
        return [throughput_row(connections, figures) for connections, figures in found.items()]

    def _round(self, connections: int, prefix: str) -> dict[str, float]:
        costs: dict[tuple[str, str], Cost] = {}
        for length in ("short", "long"):
            for subject, more in self._extent.more_visits.items():
                visits = max(connections, _SHORT_VISITS) + (more if length == "long" else 0)
                figure = f"{prefix}: {subject}, {length} run"
                cost = self.attempt(figure, lambda s=subject, v=visits: self._play(s, v, connections))  # type: ignore[misc]
                if cost is not None:
                    costs[subject, length] = cost
        figures = {}
        for subject in self._extent.more_visits:
            short, long = costs.get((subject, "short")), costs.get((subject, "long"))
            if short is not None and long is not None:
                value = self._noted(f"{prefix}: {subject}", lambda a=short, b=long: slope(a, b))  # type: ignore[misc]
                if value is not None:
                    figures[subject] = value
        cost = self.attempt(f"{prefix}: wrk", lambda: self._wrk(connections))
        if cost is not None:
            figures["wrk"] = cost.done / cost.cpu_s
        return figures

    def _play(self, subject: str, visits: int, connections: int) -> Cost:
        _require_descriptors(connections)
        if subject == "harness":
            return self._bench.harness(visits, connections)
        if subject == "engine":
            return self._bench.engine(visits, connections)
        return self._bench.stock(_STOCK[subject], visits, connections)

    def _wrk(self, connections: int) -> Cost:
        _require_descriptors(connections)
        return self._bench.wrk(connections, self._extent.wrk_s)

    # Lag at fixed rates

    def lag(self) -> list[dict[str, Any]]:
        """A row for each rate: single-call visits at constant gaps, so that every attempt is a planned arrival."""
        rates = [_LOW_RATE_HZ]
        if self._extent.lag_shares:
            self.maximum_hz = self.attempt("highest rate of one worker", self._maximum_hz)
        if self.maximum_hz is not None:
            rates += [round(share * self.maximum_hz / 100) * 100 for share in self._extent.lag_shares]
        rows = [self.attempt(f"lag at {rate:,}/s", lambda r=rate: self._lag(r)) for rate in sorted(set(rates))]  # type: ignore[misc]
        return [row for row in rows if row is not None]

    def _maximum_hz(self) -> int:
        """Single-call visits a second with which one worker would fill one core, from the CPU that it says it took."""
        visits = self._extent.more_visits["harness"]
        summary, _ = self._bench.run(1, visits, "--arrivals", "closed:50", "--limit-visits", str(visits))
        return int(summary["attempts"]["total"] / sum(worker["cpu_s"] for worker in summary["workers"]))

    def _lag(self, rate_hz: int) -> dict[str, Any]:
        visits = rate_hz * self._extent.lag_s
        load = ["--arrivals", f"constant:{rate_hz}/s", "--duration", f"{self._extent.lag_s}s"]
        summary, _ = self._bench.run(1, visits, *load)
        lag = summary["latency_ms"]["dispatch_lag"]
        cpu_s = sum(worker["cpu_s"] for worker in summary["workers"])
        return {
            "rate_hz": rate_hz,
            "attempts_hz": round(summary["rates"]["attempts_hz"], 1),
            "p50_ms": lag["p50"],
            "p99_ms": lag["p99"],
            "max_ms": lag["max"],
            "worker_cpu_ratio": round(cpu_s / summary["duration_s"], 3),
            "verdict": summary["verdict"]["status"],
        }

    # Scrapes of the metrics page

    def scrapes(self) -> dict[str, Any] | None:
        """What they cost the master and what they hold up; None when that could not be taken."""
        rounds, seconds = self._extent.rounds, self._extent.watched_s
        return self._noted("metrics", lambda: scrapes(self._bench, rounds, seconds, self._say))

    # Memory

    def memory(self) -> list[dict[str, Any]]:
        """A row for each connection mode: what one more open, thinking visit adds to the worker's resident memory."""
        rows = [self.attempt(f"memory, {mode}", lambda m=mode: self._weigh(m)) for mode in self._extent.held]  # type: ignore[misc]
        return [row for row in rows if row is not None]

    def _weigh(self, mode: Any) -> dict[str, Any]:
        few, many = self._extent.held[mode]
        if mode == "browser":
            _require_descriptors(many)
        job = Job(url=self._bench.server.url, visits=many, rate_hz=_HOLD_RATE_HZ, connections=mode, hold=few)
        low, high = self._bench.bare(job).rss_bytes
        return {
            "connections": mode,
            "open_visits": many,
            "kb_per_open_visit": round((high - low) / (many - few) / 1e3, 2),
        }


def throughput_row(connections: int, figures: dict[str, list[float]]) -> dict[str, Any]:
    """The row of one number of connections from each subject's figures of all rounds: medians and their ratios."""
    medians = {subject: _median(values) for subject, values in figures.items()}
    return {
        "connections": connections,
        "attempts_per_cpu_s": {subject: None if value is None else round(value) for subject, value in medians.items()},
        "ratio_to_fast_http_user": _ratio(medians["harness"], medians["fast_http_user"]),
        "ratio_to_http_user": _ratio(medians["harness"], medians["http_user"]),
        "rounds": {subject: [round(value) for value in values] for subject, values in figures.items()},
    }


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or theirs is None else round(ours / theirs, 2)


def _require_descriptors(connections: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < connections + _SPARE_DESCRIPTORS:
        raise BenchError(f"{connections:,} connections need more descriptors than the hard limit of {hard:,}")
