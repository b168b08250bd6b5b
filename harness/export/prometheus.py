"""The run's metrics page (interfaces section 5): the merged snapshot of the whole run, and a few facts beside it.

One page a snapshot, rendered once and served as bytes to whoever scrapes. Label sets are closed and shown with zeros
before the first call, so that `rate()` sees the first increment. Cohorts come from the trace: beyond `max_cohorts` of
them the rest is folded into `(other)`, which keeps the page below 500 series. What the master alone knows of visits
(lost, undealt) belongs to no cohort and stands under `(other)` too.

Buckets are classic ones with few edges, the SLO values always among them; exact quantiles come from the harness's own
histogram as `harness_latency_seconds`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from harness.export.labels import (
    CONNECT_EDGES_NS,
    DELAY_EDGES_NS,
    OTHER_COHORT,
    OUTCOMES_BY_OP,
    PHASES,
    QUANTILES,
    REPLY_EDGES_NS,
    RESULTS_BY_OP,
    VERDICTS,
    WORKER_STATES,
    edge_text,
)
from harness.export.text_format import Page
from harness.measure.availability import eventual_counts, first_attempt_counts
from harness.measure.histogram import Histogram
from harness.measure.names import CHAIN_EVENTS, CONNECTION_EVENTS, MEASURES, VISIT_ENDS
from harness.measure.snapshot import Snapshot
from harness.units import NS_PER_S

# Counters by their key in a snapshot: the label names that follow, and the help text. The name is harness_<key>_total.
_COUNTERS = {
    "visits": (("cohort", "outcome"), "Visits ended, by how they ended."),
    "steps": (("op", "cohort", "outcome"), "Steps settled, by outcome."),
    "attempts": (("op", "cohort", "result"), "Requests, retries included, by result."),
    "chain": (("event",), "What replies did to the ids of their visits."),
    "connections": (("event",), "Connections opened, reused and closed."),
}
# Histograms by measure: edges (SLO values join those of replies), whether one a series per op, and the help text.
_HISTOGRAMS: dict[str, tuple[Sequence[int], bool, str]] = {
    "response_time": (REPLY_EDGES_NS, True, "Planned moment to reply; no reply is infinite, error replies left out."),
    "service_time": (REPLY_EDGES_NS, True, "Request sent to reply; no reply is infinite, error replies left out."),
    "connect_time": (CONNECT_EDGES_NS, False, "TCP and TLS set-up of new connections."),
    "dispatch_lag": (DELAY_EDGES_NS, False, "How late the generator itself was: started less planned."),
    "time_to_available": (REPLY_EDGES_NS, False, "A step's first planned moment to Available, retries included."),
    "loop_delay": (DELAY_EDGES_NS, False, "How late the generator's event loop woke up."),
}


class RunState(msgspec.Struct, kw_only=True):
    """What the page says beside the snapshot. None means not known (yet), and its series is left out.

    `phase` is one of `PHASES`. `workers` counts by `WORKER_STATES`; `worker_cpu_ratio` is 0 to 1 by worker id.
    `slo_ok` holds the thresholds judged so far, `verdict` one of `VERDICTS` at the end.
    """

    phase: str = "starting"
    planned_rate_hz: float | None = None
    achieved_rate_hz: float | None = None
    workers: Mapping[str, int] = {}
    worker_cpu_ratio: Mapping[str, float] = {}
    slo_ok: Mapping[str, bool] = {}
    verdict: str | None = None


class MetricsPage:
    """Renders the page of one run, and remembers which cohorts it has shown: a series never goes away."""

    def __init__(
        self,
        *,
        run_info: Mapping[str, str],
        cohorts: Iterable[str] = (),
        slo_edges_ns: Iterable[int] = (),
        max_cohorts: int = 5,
    ) -> None:
        """`run_info`: run_id, scenario, trace, version. `cohorts`: those shown from the start.

        `slo_edges_ns`: the times that thresholds name, each of which becomes a bucket edge of reply times.
        `max_cohorts` (2 or more) bounds the cohort labels, `(other)` included.
        """
        self._run_info = dict(run_info)
        self._cohorts = list(dict.fromkeys(cohorts))
        self._max_cohorts = max_cohorts
        self._reply_edges_ns = sorted({*REPLY_EDGES_NS, *slo_edges_ns})

    def render(self, snapshot: Snapshot, state: RunState) -> bytes:
        """The page in the text format 0.0.4; `snapshot` is merged over the whole run so far and stays as it is."""
        return self.page(snapshot, state).encode()

    def page(self, snapshot: Snapshot, state: RunState) -> Page:
        """The page before it is encoded, with its number of series."""
        page = Page()
        self._add_counters(page, snapshot)
        by_op = _merge_cohorts(snapshot)
        whole = {measure: Histogram.merged(by_op[measure].values()) for measure in MEASURES}
        self._add_histograms(page, by_op, whole)
        _add_latency(page, whole)
        _add_availability(page, snapshot)
        self._add_run(page, snapshot, state)
        return page

    def _add_counters(self, page: Page, snapshot: Snapshot) -> None:
        """The closed sets with zeros first, then whatever else was counted."""
        cohorts = self._cohort_labels(snapshot)
        values = _zeros(cohorts)
        for key, count in snapshot.counters.items():
            if key[0] in _COUNTERS:
                names = _COUNTERS[key[0]][0]
                place = tuple(
                    OTHER_COHORT if name == "cohort" and label not in cohorts else label
                    for name, label in zip(names, key[1:], strict=True)
                )
                family = values[key[0]]
                family[place] = family.get(place, 0) + count
        for counter, (names, text) in _COUNTERS.items():
            page.family(f"harness_{counter}_total", "counter", text)
            for place, count in values[counter].items():
                page.sample(f"harness_{counter}_total", dict(zip(names, place, strict=True)), count)

    def _cohort_labels(self, snapshot: Snapshot) -> list[str]:
        """The cohort labels of the page, in the order in which they became known."""
        self._cohorts += [cohort for cohort in snapshot.labels()[1] if cohort not in self._cohorts]
        if len(self._cohorts) <= self._max_cohorts:
            return self._cohorts
        return [*self._cohorts[: self._max_cohorts - 1], OTHER_COHORT]

    def _add_histograms(
        self, page: Page, by_op: Mapping[str, Mapping[str, Histogram]], whole: Mapping[str, Histogram]
    ) -> None:
        for measure, (edges_ns, per_op, text) in _HISTOGRAMS.items():
            name = f"harness_{measure}_seconds"
            page.family(name, "histogram", text)
            if edges_ns is REPLY_EDGES_NS:
                edges_ns = self._reply_edges_ns
            for op in RESULTS_BY_OP if per_op else ("",):
                histogram = by_op[measure].get(op, Histogram()) if per_op else whole[measure]
                below = dict(zip(map(edge_text, edges_ns), histogram.cumulative(edges_ns), strict=True))
                labels = {"op": op} if per_op else {}
                page.buckets(name, labels, below, histogram.count, histogram.total_ns / NS_PER_S)

    def _add_run(self, page: Page, snapshot: Snapshot, state: RunState) -> None:
        """The facts about the run itself."""
        _gauge(page, "visits_open", "Visits begun and not yet ended.", {"": snapshot.visits_open})
        if state.planned_rate_hz is not None:
            _gauge(page, "planned_rate_hz", "Visits per second that the plan asks for.", {"": state.planned_rate_hz})
        if state.achieved_rate_hz is not None:
            _gauge(page, "achieved_rate_hz", "Visits per second begun.", {"": state.achieved_rate_hz})
        page.family("harness_run_info", "gauge", "What is running; always 1.")
        page.sample("harness_run_info", self._run_info, 1)
        phases = {phase: int(phase == state.phase) for phase in PHASES}
        _gauge(page, "run_phase", "1 for the phase the run is in.", phases, "phase")
        workers = {name: state.workers.get(name, 0) for name in WORKER_STATES}
        _gauge(page, "workers", "Workers by state.", workers, "state")
        _gauge(page, "worker_cpu_ratio", "Share of one core that a worker used.", state.worker_cpu_ratio, "worker")
        slo_ok = {slo: int(ok) for slo, ok in state.slo_ok.items()}
        _gauge(page, "slo_ok", "1 while the threshold holds, 0 when it is broken.", slo_ok, "slo")
        verdicts = {status: int(status == state.verdict) for status in VERDICTS}
        _gauge(page, "verdict", "1 for the run's verdict; all 0 until there is one.", verdicts, "status")


def _zeros(cohorts: Iterable[str]) -> dict[str, dict[tuple[str, ...], int]]:
    """Every series of the closed label sets at zero, by counter."""
    places: dict[str, list[tuple[str, ...]]] = {
        "visits": [(cohort, end) for cohort in cohorts for end in VISIT_ENDS],
        "steps": [(op, cohort, name) for op, names in OUTCOMES_BY_OP.items() for cohort in cohorts for name in names],
        "attempts": [(op, cohort, name) for op, names in RESULTS_BY_OP.items() for cohort in cohorts for name in names],
        "chain": [(event,) for event in CHAIN_EVENTS],
        "connections": [(event,) for event in CONNECTION_EVENTS],
    }
    return {key: dict.fromkeys(of_key, 0) for key, of_key in places.items()}


def _gauge(page: Page, name: str, text: str, values: Mapping[str, float], label: str = "") -> None:
    """A gauge family with one label (or none), by label value."""
    page.family(f"harness_{name}", "gauge", text)
    for value_of, value in values.items():
        page.sample(f"harness_{name}", {label: value_of} if label else {}, value)


def _merge_cohorts(snapshot: Snapshot) -> dict[str, dict[str, Histogram]]:
    """The "ok" rows by measure and op, merged over cohorts; once, for this is most of a page's cost."""
    by_op: dict[str, dict[str, Histogram]] = {measure: {} for measure in MEASURES}
    for (measure, op, _, row), histogram in snapshot.histograms.items():
        if row == "ok" and measure in by_op:
            by_op[measure].setdefault(op, Histogram()).merge(histogram)
    return by_op


def _add_latency(page: Page, whole: Mapping[str, Histogram]) -> None:
    """Exact statistics; a measure without values is left out, for it has no quantile that could be zero."""
    name = "harness_latency_seconds"
    page.family(name, "gauge", "Exact statistics of the run; +Inf where a quantile falls on requests without reply.")
    for measure, histogram in whole.items():
        if not histogram.count:
            continue
        stats_ns: dict[str, float | None] = {stat: histogram.quantile(q) for stat, q in QUANTILES.items()}
        stats_ns |= {"max": histogram.max_ns, "mean": histogram.mean_ns}
        for stat, value_ns in stats_ns.items():
            value_s = float("inf") if value_ns is None else value_ns / NS_PER_S
            page.sample(name, {"measure": measure, "stat": stat}, value_s)


def _add_availability(page: Page, snapshot: Snapshot) -> None:
    """Ratios over getEngagement steps; left out while there is nothing to divide by."""
    name = "harness_availability_ratio"
    page.family(name, "gauge", "Share of getEngagement steps available at the first attempt, and eventually.")
    for kind, (good, settled) in (
        ("first_attempt", first_attempt_counts(snapshot)),
        ("eventual", eventual_counts(snapshot)),
    ):
        if settled:
            page.sample(name, {"kind": kind}, good / settled)
