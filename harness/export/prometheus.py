"""The run's metrics page (interfaces section 5): all slices of the run so far, and a few facts beside them.

Slices are added once each, which costs by what is new in them; a page is built once a snapshot, encoded for the formats
that somebody asks for, and served as bytes to whoever scrapes. Label sets are closed and shown with zeros before the
first call, so that `rate()` sees the first increment. Cohorts come from the trace: when there are more than
`max_cohorts`, the first ones keep their labels and the rest is `(other)`, which keeps the page below 500 series. What
the master alone knows of (lost, undealt) belongs to no cohort and stands under `(other)` too.

Histograms carry classic buckets, the SLO values always among their edges, and native ones for scrapers that take
protobuf; exact quantiles come from the harness's own histogram as `harness_latency_seconds`.

A capacity search spans many runs and gets no slices of them: `search_page` has what its steps have shown, and no
counter that would stand at zero while calls are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from harness.export.distribution import Distribution
from harness.export.families import Page
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
)
from harness.export.state import CapacityState, RunState
from harness.measure.availability import eventual_counts, first_attempt_counts
from harness.measure.names import CHAIN_EVENTS, CONNECTION_EVENTS, MEASURES, SETTLED_VISITS
from harness.measure.snapshot import Snapshot
from harness.units import NS_PER_S

ANY_OP = "(any)"

# Counters by their key in a snapshot: the label names that follow, and the help text. The name is harness_<key>_total.
_COUNTERS = {
    "visits": (("cohort", "outcome"), "Visits ended, by how they ended."),
    "steps": (("op", "cohort", "outcome"), "Steps settled, by outcome."),
    "attempts": (("op", "cohort", "result"), "Requests, retries included, by result."),
    "chain": (("event",), "What replies did to the ids of their visits."),
    "connections": (("event",), "Connections opened, reused and closed."),
}
_NO_EDGES: Mapping[str, Iterable[int]] = MappingProxyType({})
_BY_COHORT = frozenset({"visits", "steps", "attempts"})
# Of these, the page needs the totals that its ratios are made of.
_RATIO_COUNTERS = frozenset({"first_attempts", "first_available", "steps"})
# Histograms by measure: edges (the SLO values of the measure join them), whether one a series per op, the help text.
_HISTOGRAMS: dict[str, tuple[Sequence[int], bool, str]] = {
    "response_time": (REPLY_EDGES_NS, True, "Planned moment to reply; no reply is infinite, error replies left out."),
    "service_time": (REPLY_EDGES_NS, True, "Request sent to reply; no reply is infinite, error replies left out."),
    "connect_time": (CONNECT_EDGES_NS, False, "TCP and TLS set-up of new connections."),
    "dispatch_lag": (DELAY_EDGES_NS, False, "How late the generator itself was: started less planned."),
    "time_to_available": (REPLY_EDGES_NS, False, "A step's first planned moment to Available, retries included."),
    "loop_delay": (DELAY_EDGES_NS, False, "How late the generator's event loop woke up."),
}


class MetricsPage:
    """The page of one run: `add` each slice once, `page` says what is known so far."""

    def __init__(
        self,
        *,
        run_info: Mapping[str, str],
        cohorts: Iterable[str] = (),
        slo_edges_ns: Mapping[str, Iterable[int]] = _NO_EDGES,
        max_cohorts: int = 5,
    ) -> None:
        """`run_info`: run_id, scenario, trace, version. `cohorts`: those shown from the start.

        `slo_edges_ns`: the times that thresholds name, by measure; each becomes a bucket edge of that measure.
        `max_cohorts` (2 or more) bounds the cohort labels, `(other)` included.
        """
        self._run_info = dict(run_info)
        self._max_cohorts = max_cohorts
        self._cohorts: list[str] = []
        self._folded = False
        self._counts: dict[str, dict[tuple[str, ...], int]] = {
            "visits": {},
            "steps": {},
            "attempts": {},
            "chain": {(event,): 0 for event in CHAIN_EVENTS},
            "connections": {(event,): 0 for event in CONNECTION_EVENTS},
        }
        self._totals = Snapshot()
        self._edges = {
            measure: sorted({*edges, *slo_edges_ns.get(measure, ())}) for measure, (edges, _, _) in _HISTOGRAMS.items()
        }
        # Where each op has its own buckets, the whole needs only its statistics.
        self._whole = {
            measure: Distribution(None if _HISTOGRAMS[measure][1] else self._edges[measure]) for measure in MEASURES
        }
        self._by_op = {
            measure: {op: Distribution(self._edges[measure]) for op in RESULTS_BY_OP}
            for measure, (_, per_op, _) in _HISTOGRAMS.items()
            if per_op
        }
        for cohort in dict.fromkeys(cohorts):
            self._show_cohort(cohort)

    def add(self, snapshot: Snapshot) -> None:
        """Adds a slice of the run; each once, in any order. The slice stays as it is."""
        for cohort in sorted(
            {key[1 if key[0] == "visits" else 2] for key in snapshot.counters if key[0] in _BY_COHORT}
        ):
            if cohort and cohort not in self._cohorts:
                self._show_cohort(cohort)
        for key, count in snapshot.counters.items():
            if key[0] in _COUNTERS:
                family, place = self._counts[key[0]], self._place(key)
                family[place] = family.get(place, 0) + count
            if key[0] in _RATIO_COUNTERS or key[0].startswith("visits_"):
                self._totals.counters[key] = self._totals.counters.get(key, 0) + count
        for (measure, op, _, row), histogram in snapshot.histograms.items():
            if row == "ok" and measure in self._whole:
                self._whole[measure].add(histogram)
                if op in self._by_op.get(measure, ()):
                    self._by_op[measure][op].add(histogram)

    def _place(self, key: tuple[str, ...]) -> tuple[str, ...]:
        names = _COUNTERS[key[0]][0]
        return tuple(
            OTHER_COHORT if name == "cohort" and label not in self._shown else label
            for name, label in zip(names, key[1:], strict=True)
        )

    @property
    def _shown(self) -> list[str]:
        """The cohorts with a label of their own, in the order in which they became known."""
        return self._cohorts[: self._max_cohorts - 1] if self._folded else self._cohorts

    def _show_cohort(self, cohort: str) -> None:
        """Gives a cohort its zeros; one too many makes `(other)` of the last and of all that follow."""
        self._cohorts.append(cohort)
        if self._folded:
            return
        if len(self._cohorts) > self._max_cohorts:
            self._folded = True
            self._add_zeros(OTHER_COHORT)
            self._fold()
        else:
            self._add_zeros(cohort)

    def _add_zeros(self, cohort: str) -> None:
        places: dict[str, list[tuple[str, ...]]] = {
            "visits": [(cohort, end) for end in SETTLED_VISITS],
            "steps": [(op, cohort, name) for op, names in OUTCOMES_BY_OP.items() for name in names],
            "attempts": [(op, cohort, name) for op, names in RESULTS_BY_OP.items() for name in names],
        }
        for counter, of_counter in places.items():
            self._counts[counter] = {**dict.fromkeys(of_counter, 0), **self._counts[counter]}

    def _fold(self) -> None:
        for counter, (names, _) in _COUNTERS.items():
            if "cohort" in names:
                folded: dict[tuple[str, ...], int] = {}
                for place, count in self._counts[counter].items():
                    place = self._place((counter, *place))
                    folded[place] = folded.get(place, 0) + count
                self._counts[counter] = folded

    def page(self, state: RunState) -> Page:
        """All families, with what was added so far and the facts of `state`."""
        page = Page(families=[])
        self._add_counters(page, state)
        self._add_histograms(page)
        self._add_latency(page)
        _add_availability(page, self._totals)
        self._add_run(page, state)
        if state.capacity is not None:
            _add_capacity(page, state.capacity)
        return page

    def _add_counters(self, page: Page, state: RunState) -> None:
        started = self._totals.total("visits_started")
        arrivals = [(("planned",), state.visits_planned), (("started",), started)]
        page.family("harness_arrivals_total", "counter", "Visits that were due, and that began.", ("kind",), arrivals)
        for counter, (names, text) in _COUNTERS.items():
            values = dict(self._counts[counter])
            if counter in ("visits", "steps"):
                op = (ANY_OP,) if counter == "steps" else ()
                for end in ("lost", "undealt"):
                    values[*op, OTHER_COHORT, end] = state.master_only.get((counter, end), 0)
            page.family(f"harness_{counter}_total", "counter", text, names, values.items())

    def _add_histograms(self, page: Page) -> None:
        for measure, (_, per_op, text) in _HISTOGRAMS.items():
            found = self._by_op[measure] if per_op else {"": self._whole[measure]}
            buckets = {op: distribution.buckets() for op, distribution in found.items()}
            page.histograms(f"harness_{measure}_seconds", text, ("op",) if per_op else (), buckets)

    def _add_latency(self, page: Page) -> None:
        """Exact statistics; a measure without values is left out, for it has no quantile that could be zero."""
        values = [
            ((measure, stat), float("inf") if value_ns is None else value_ns / NS_PER_S)
            for measure, distribution in self._whole.items()
            for stat, value_ns in distribution.statistics_ns(QUANTILES).items()
        ]
        text = "Exact statistics of the run; +Inf where a quantile falls on requests without reply."
        page.family("harness_latency_seconds", "gauge", text, ("measure", "stat"), values)

    def _add_run(self, page: Page, state: RunState) -> None:
        """The facts about the run itself."""
        page.gauge("harness_visits_open", "Visits begun and not yet ended.", max(0, self._totals.visits_open))
        if state.planned_rate_hz is not None:
            page.gauge("harness_planned_rate_hz", "Visits per second that the plan asks for.", state.planned_rate_hz)
        if state.achieved_rate_hz is not None:
            page.gauge("harness_achieved_rate_hz", "Visits per second begun.", state.achieved_rate_hz)
        _add_identity(page, self._run_info, state.phase)
        workers = {name: state.workers.get(name, 0) for name in WORKER_STATES}
        _gauges(page, "workers", "Workers by state.", workers, "state")
        _gauges(page, "worker_cpu_ratio", "Share of one core that a worker used.", state.worker_cpu_ratio, "worker")
        slo_ok = {slo: int(ok) for slo, ok in state.slo_ok.items()}
        _gauges(page, "slo_ok", "1 while the threshold holds, 0 when it is broken.", slo_ok, "slo")
        verdicts = {status: int(status == state.verdict) for status in VERDICTS}
        _gauges(page, "verdict", "1 for the run's verdict; all 0 until there is one.", verdicts, "status")


def search_page(run_info: Mapping[str, str], state: RunState) -> Page:
    """The page of a capacity search: what is running, its phase, and what the steps have shown."""
    page = Page(families=[])
    _add_identity(page, run_info, state.phase)
    if state.capacity is not None:
        _add_capacity(page, state.capacity)
    return page


def _add_identity(page: Page, run_info: Mapping[str, str], phase: str) -> None:
    info = [(tuple(run_info.values()), 1)]
    page.family("harness_run_info", "gauge", "What is running; always 1.", tuple(run_info), info)
    phases = {each: int(each == phase) for each in PHASES}
    _gauges(page, "run_phase", "1 for the phase the run is in.", phases, "phase")


def _gauges(page: Page, name: str, text: str, values: Mapping[str, float], label: str) -> None:
    """A gauge family with one label, by label value."""
    page.family(f"harness_{name}", "gauge", text, (label,), (((at,), value) for at, value in values.items()))


def _add_availability(page: Page, totals: Snapshot) -> None:
    """Ratios over getEngagement steps; left out while there is nothing to divide by."""
    counts = {"first_attempt": first_attempt_counts(totals), "eventual": eventual_counts(totals)}
    ratios = {kind: good / settled for kind, (good, settled) in counts.items() if settled}
    text = "Share of getEngagement steps available at the first attempt, and eventually."
    _gauges(page, "availability_ratio", text, ratios, "kind")


def _add_capacity(page: Page, capacity: CapacityState) -> None:
    """What load steps have shown: the newest finished one, and all together."""
    page.gauge(
        "harness_capacity_step_rate_hz", "Visits per second planned in the newest finished step.", capacity.step_rate_hz
    )
    page.gauge("harness_capacity_step_achieved_hz", "Visits per second begun in that step.", capacity.step_achieved_hz)
    page.gauge(
        "harness_capacity_step_goodput_hz", "Steps per second available or accepted in it.", capacity.step_goodput_hz
    )
    page.gauge("harness_capacity_step_concurrency", "Mean attempts in flight in that step.", capacity.step_concurrency)
    text = "Response time in that step; +Inf where a quantile falls on requests without reply."
    _gauges(page, "capacity_step_latency_seconds", text, capacity.step_latency_s, "stat")
    if capacity.step_availability is not None:
        page.gauge(
            "harness_capacity_step_availability_ratio", "Eventual availability in it.", capacity.step_availability
        )
    ok = {slo: int(holds) for slo, holds in capacity.step_ok.items()}
    _gauges(page, "capacity_step_ok", "1 where the threshold held in that step, 0 where not.", ok, "slo")
    text = "Bounds of the highest rate, in visits per second, at which every threshold holds."
    _gauges(page, "capacity_rate_hz", text, capacity.rate_hz, "bound")
    text = "Universal Scalability Law fitted to the steps: lambda (1/s), sigma, kappa, knee (attempts), peak (1/s)."
    _gauges(page, "capacity_usl", text, capacity.usl, "parameter")
