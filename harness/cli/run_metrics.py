"""The metrics of one run at the master: slices go in, a page comes out once a second, and the end is waited for."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic_ns, process_time_ns

import harness
from harness.capacity.steps import Staircase, load_steps
from harness.cli.search_metrics import capacity_state
from harness.config.model import RunConfig
from harness.export.http import MetricsServer
from harness.export.negotiation import encode
from harness.export.prometheus import MetricsPage
from harness.export.state import CapacityState, RunState
from harness.fleet.master import Conductor
from harness.judge.evaluate import evaluate
from harness.judge.threshold import Threshold
from harness.measure.snapshot import Snapshot
from harness.plan.arrivals import ArrivalPlan
from harness.units import NS_PER_S

# Thresholds are judged while the run goes on, too, but never for more than a hundredth of the time.
_JUDGE_EVERY_NS = 5 * NS_PER_S
_JUDGE_SHARE = 100


def slo_edges_ns(thresholds: Sequence[Threshold]) -> dict[str, list[int]]:
    """The times that thresholds name, in ns, by the measure that each speaks of."""
    edges_ns: dict[str, list[int]] = {}
    for threshold in thresholds:
        if threshold.timed:
            edges_ns.setdefault(threshold.subject, []).append(round(threshold.limit))
    return edges_ns


def worker_counts(conductor: Conductor, expected: int) -> dict[str, int]:
    """How many workers are in each of the states of the metrics page; `expected` were asked for."""
    states = [member.state for member in conductor.members.values()]
    return {
        "expected": expected,
        "ready": states.count("ready"),
        "running": states.count("playing") + states.count("draining"),
        "leaving": states.count("leaving"),
        "lost": conductor.workers_lost,
    }


def worker_cpu_ratios(conductor: Conductor) -> dict[str, float]:
    """The share of one core that each worker used in its newest second; those that are gone use none."""
    return {
        member.worker: member.cpu_window_ns[-1] / NS_PER_S
        for member in conductor.members.values()
        if member.cpu_window_ns
    }


class RunMetrics:
    """Listens on `config.metrics`. Raises `UsageError` when that port cannot be had."""

    def __init__(
        self,
        address: str,
        config: RunConfig,
        thresholds: Sequence[Threshold],
        arrivals: ArrivalPlan,
        end_ns: int | None,
    ) -> None:
        """`end_ns` is where the plan ends (after the run's start), None when its last visit says so."""
        self._config = config
        self._thresholds = thresholds
        self._server = MetricsServer(address)
        self._page = MetricsPage(
            run_info={
                "run_id": config.run_id,
                "scenario": config.scenario,
                "trace": config.trace_digest,
                "version": harness.__version__,
            },
            cohorts=config.cohorts,
            slo_edges_ns=slo_edges_ns(thresholds),
        )
        self._staircase = Staircase(load_steps(arrivals, end_ns), thresholds, config.timeout_ns)
        self._judge_at_ns = 0
        self._judged: dict[str, bool] = {}

    def add(self, second: int, snapshot: Snapshot) -> None:
        """Takes one closed second of the run, merged over all workers; in ascending order."""
        self._page.add(snapshot)
        self._staircase.add(second, snapshot)

    def publish(self, state: RunState) -> None:
        """From now on scrapes get the page of what was added, with `state` beside it."""
        if state.phase == "ended":
            self._staircase.end()
        state.capacity = self._capacity()
        page = self._page.page(state)
        self._server.publish({content_type: encode(page, content_type) for content_type in self._server.wanted})

    def thresholds_so_far(self, measured: Snapshot, measured_s: float) -> dict[str, bool]:
        """Which thresholds hold in `measured`, looked at now and then; those without data enough are left out."""
        if measured_s <= 0 or monotonic_ns() < self._judge_at_ns:
            return self._judged
        began_ns = process_time_ns()
        checks = evaluate(self._thresholds, measured, arrivals_s=measured_s, measured_s=measured_s)
        self._judged = {check.name: check.ok for check in checks if check.enough_data}
        cost_ns = process_time_ns() - began_ns
        self._judge_at_ns = monotonic_ns() + max(_JUDGE_EVERY_NS, _JUDGE_SHARE * cost_ns)
        return self._judged

    def _capacity(self) -> CapacityState | None:
        """What the load steps have shown, once one is finished."""
        if not self._staircase.results:
            return None
        return capacity_state(self._staircase.results[-1], self._staircase.bounds_hz(), self._staircase.law())

    @property
    def scraped(self) -> bool:
        """Whether anybody scraped at all."""
        return self._server.scrapes > 0

    def linger(self) -> None:
        """Waits until all who scrape have the newest page, if anybody did at all, and no longer than `--linger`."""
        self._server.linger(self._config.linger_ns / NS_PER_S)

    def close(self) -> None:
        """Stops listening."""
        self._server.close()
