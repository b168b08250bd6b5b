"""The metrics page: read back by prometheus_client's parser and compared with what went in."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from math import inf

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.export.families import Page
from harness.export.prometheus import MetricsPage
from harness.export.state import CapacityState, RunState
from harness.export.text_format import edge_text, encode_text
from harness.measure.histogram import Histogram
from harness.measure.names import CHAIN_EVENTS, CONNECTION_EVENTS, MEASURES, SETTLED_VISITS
from harness.measure.snapshot import Snapshot
from harness.units import NS_PER_MS, NS_PER_S

INFO = {"run_id": "r-1", "scenario": "demo", "trace": "demo.jsonl.zst", "version": "0.1.0"}
COHORTS = ("desktop", "mobile", "tablet", "tv", "watch")
SLO_EDGES_NS = dict.fromkeys(MEASURES, (800 * NS_PER_MS, 220 * NS_PER_MS, 2_500 * NS_PER_MS))

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(page: bytes) -> Samples:
    """Every series of a page by name and labels, after the reference parser; a series said twice is an error."""
    found: Samples = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


def rendered(page: MetricsPage, snapshot: Snapshot, of: RunState) -> bytes:
    """The text of `page` after `snapshot` was added to it."""
    page.add(snapshot)
    return encode_text(page.page(of))


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def busy() -> Snapshot:
    """A snapshot with every counter of the closed sets, each with a value of its own, and values in every histogram."""
    snapshot = Snapshot()
    numbers = itertools.count(1)
    for cohort in COHORTS:
        for end in SETTLED_VISITS:
            snapshot.counters["visits", cohort, end] = next(numbers)
        for op, result, outcome in (
            ("get_engagement", "available", "available"),
            ("get_engagement", "timeout", "exhausted"),
            ("update", "accepted", "accepted"),
        ):
            snapshot.counters["attempts", op, cohort, result] = next(numbers)
            snapshot.counters["steps", op, cohort, outcome] = next(numbers)
        for measure in ("response_time", "service_time", "connect_time", "dispatch_lag", "time_to_available"):
            for op in ("get_engagement", "update"):
                histogram = snapshot.histograms.setdefault((measure, op, cohort, "ok"), Histogram())
                for ms in (1, 2, 40, 799, 800, 900, 3_000):
                    histogram.add(ms * NS_PER_MS)
    snapshot.histograms["loop_delay", "", "", "ok"] = Histogram()
    snapshot.histograms["loop_delay", "", "", "ok"].add(80_000)
    for event in CHAIN_EVENTS:
        snapshot.counters["chain", event] = next(numbers)
    for event in CONNECTION_EVENTS:
        snapshot.counters["connections", event] = next(numbers)
    snapshot.counters["visits_started", "mobile"] = 20
    snapshot.counters["visits_ended", "mobile"] = 8
    return snapshot


def state() -> RunState:
    return RunState(
        phase="measure",
        planned_rate_hz=50.0,
        achieved_rate_hz=49.5,
        workers={"running": 2},
        worker_cpu_ratio={"w1": 0.25, "w2": 0.5},
        slo_ok={"p99(response_time) < 800ms": True, 'odd "label"\\\n': False},
        verdict=None,
        visits_planned=21,
        master_only={("visits", "lost"): 4, ("steps", "undealt"): 9},
        capacity=CapacityState(
            step_rate_hz=40.0,
            step_achieved_hz=39.9,
            step_goodput_hz=88.5,
            step_concurrency=3.25,
            step_latency_s={"p50": 0.01, "p95": 0.02, "p99": inf},
            step_availability=0.97,
            step_ok={"p99(response_time) < 800ms": True, "availability(eventual) > 99%": False},
            rate_hz={"at_least": 20.0, "below": 40.0},
            usl={"lambda": 90.0, "sigma": 0.02, "kappa": 0.001, "knee": 31.3, "peak": 900.0},
        ),
    )


def test_every_counter_arrives_with_its_value() -> None:
    """Each counter of the snapshot is one series with the very value, whatever its labels."""
    snapshot = busy()
    found = samples(rendered(MetricsPage(run_info=INFO), snapshot, state()))
    names = {
        "visits": ("cohort", "outcome"),
        "steps": ("op", "cohort", "outcome"),
        "attempts": ("op", "cohort", "result"),
        "chain": ("event",),
        "connections": ("event",),
    }
    for key, count in snapshot.counters.items():
        if key[0] in names:
            labels = dict(zip(names[key[0]], key[1:], strict=True))
            assert value(found, f"harness_{key[0]}_total", **labels) == count
    of_master = {"visits": 4, "steps": 9}
    for counter in names:
        page_total = sum(number for (name, _), number in found.items() if name == f"harness_{counter}_total")
        counted = sum(count for key, count in snapshot.counters.items() if key[0] == counter)
        assert page_total == counted + of_master.get(counter, 0)
    assert value(found, "harness_visits_total", cohort="(other)", outcome="lost") == 4
    assert value(found, "harness_steps_total", op="(any)", cohort="(other)", outcome="undealt") == 9
    assert value(found, "harness_arrivals_total", kind="planned") == 21
    assert value(found, "harness_arrivals_total", kind="started") == 20


def test_facts_about_the_run_arrive() -> None:
    """Gauges carry the state that was given, label values with quotes, backslashes and newlines included."""
    found = samples(rendered(MetricsPage(run_info=INFO), busy(), state()))
    assert value(found, "harness_visits_open") == 12
    assert value(found, "harness_planned_rate_hz") == 50
    assert value(found, "harness_achieved_rate_hz") == 49.5
    assert value(found, "harness_run_info", **INFO) == 1
    assert [value(found, "harness_run_phase", phase=phase) for phase in ("warmup", "measure", "ended")] == [0, 1, 0]
    assert [value(found, "harness_workers", state=name) for name in ("expected", "running", "lost")] == [0, 2, 0]
    assert value(found, "harness_worker_cpu_ratio", worker="w2") == 0.5
    assert value(found, "harness_slo_ok", slo="p99(response_time) < 800ms") == 1
    assert value(found, "harness_slo_ok", slo='odd "label"\\\n') == 0
    assert [value(found, "harness_verdict", status=status) for status in ("PASS", "FAIL", "INVALID")] == [0, 0, 0]


def test_load_steps_arrive() -> None:
    """What the newest load step and all of them have shown stands in gauges with the very values."""
    found = samples(rendered(MetricsPage(run_info=INFO), busy(), state()))
    capacity = {key: number for key, number in found.items() if key[0].startswith("harness_capacity_")}
    assert {
        (name.removeprefix("harness_capacity_"), *dict(labels).values()): n for (name, labels), n in capacity.items()
    } == {
        ("step_rate_hz",): 40,
        ("step_achieved_hz",): 39.9,
        ("step_goodput_hz",): 88.5,
        ("step_concurrency",): 3.25,
        ("step_latency_seconds", "p50"): 0.01,
        ("step_latency_seconds", "p95"): 0.02,
        ("step_latency_seconds", "p99"): inf,
        ("step_availability_ratio",): 0.97,
        ("step_ok", "p99(response_time) < 800ms"): 1,
        ("step_ok", "availability(eventual) > 99%"): 0,
        ("rate_hz", "at_least"): 20,
        ("rate_hz", "below"): 40,
        ("usl", "lambda"): 90,
        ("usl", "sigma"): 0.02,
        ("usl", "kappa"): 0.001,
        ("usl", "knee"): 31.3,
        ("usl", "peak"): 900,
    }


def test_histograms_have_the_slo_as_an_edge() -> None:
    """At an SLO's edge the bucket counts exactly the values that meet it; the rest agrees with a sorted list."""
    found = samples(rendered(MetricsPage(run_info=INFO, slo_edges_ns=SLO_EDGES_NS), busy(), state()))
    values_s = [0.001, 0.002, 0.04, 0.799, 0.8, 0.9, 3.0] * len(COHORTS)
    name = "harness_response_time_seconds"
    for edge in ("0.001", "0.005", "0.22", "0.8", "1.0", "2.5", "5.0", "60.0"):
        expected = sum(each <= float(edge) for each in values_s)
        assert value(found, f"{name}_bucket", op="get_engagement", le=edge) == expected, edge
    assert value(found, f"{name}_bucket", op="get_engagement", le="+Inf") == len(values_s)
    assert value(found, f"{name}_count", op="get_engagement") == len(values_s)
    assert value(found, f"{name}_sum", op="get_engagement") == pytest.approx(sum(values_s))
    assert value(found, "harness_time_to_available_seconds_count") == 2 * len(values_s)
    assert value(found, "harness_loop_delay_seconds_bucket", le="0.0001") == 1


def test_no_reply_is_slower_than_every_edge() -> None:
    """Requests without reply count in +Inf and `_count` alone, not in `_sum`; a quantile that falls on them is +Inf."""
    histogram = Histogram()
    histogram.add(10 * NS_PER_MS, 90)
    histogram.add_infinite(10)
    snapshot = Snapshot(histograms={("response_time", "get_engagement", "mobile", "ok"): histogram})
    found = samples(rendered(MetricsPage(run_info=INFO), snapshot, RunState()))
    name = "harness_response_time_seconds_bucket"
    assert value(found, name, op="get_engagement", le="60.0") == 90
    assert value(found, name, op="get_engagement", le="+Inf") == 100
    name = "harness_response_time_seconds"
    assert value(found, f"{name}_count", op="get_engagement") == 100
    assert value(found, f"{name}_sum", op="get_engagement") == pytest.approx(0.9)
    stats = {
        stat: value(found, "harness_latency_seconds", measure="response_time", stat=stat)
        for stat in ("p50", "p99", "max", "mean")
    }
    # The mean is that of the replies, which _sum / _count (0.009 s) is not.
    assert stats == {"p50": pytest.approx(0.01, rel=0.001), "p99": inf, "max": 0.01, "mean": pytest.approx(0.01)}


def test_zeros_stand_before_the_first_call() -> None:
    """An idle page already has each series of the closed sets that the busy page will have, at zero."""
    page = MetricsPage(run_info=INFO, cohorts=COHORTS)
    nothing = msgspec.structs.replace(state(), visits_planned=0, master_only={})
    idle, running = samples(rendered(page, Snapshot(), nothing)), samples(rendered(page, busy(), state()))
    later = {key for key in running if key[0] not in ("harness_latency_seconds", "harness_availability_ratio")}
    assert later <= idle.keys()
    assert {number for (name, _), number in idle.items() if name.endswith(("_total", "_bucket", "_count"))} == {0}


def test_the_page_stays_below_500_series() -> None:
    """Five cohorts, three SLO edges in each histogram, two workers, all busy: below 500 by the parser's count."""
    page = MetricsPage(run_info=INFO, cohorts=COHORTS, slo_edges_ns=SLO_EDGES_NS)
    page.add(busy())
    busy_page = page.page(state())
    assert busy_page.series == len(samples(encode_text(busy_page))) < 500
    plain = MetricsPage(run_info=INFO, cohorts=COHORTS)
    plain.add(busy())
    # No edge of an SLO is one that stands there anyway.
    assert busy_page.series == plain.page(state()).series + 3 * 8


def test_cohorts_beyond_the_limit_are_folded_and_never_leave() -> None:
    """A thousand cohorts give five labels, no count is lost, and a series that was shown stays."""
    page = MetricsPage(run_info=INFO, cohorts=["desktop"])
    first = samples(rendered(page, Snapshot(counters={("attempts", "update", "mobile", "accepted"): 3}), state()))
    many = {("attempts", "update", f"c{number:04}", "accepted"): 1 for number in range(1000)}
    found = samples(rendered(page, Snapshot(counters=many), state()))
    cohorts = {label for (name, labels) in found for key, label in labels if key == "cohort"}
    assert cohorts == {"desktop", "mobile", "c0000", "c0001", "(other)"}
    assert value(found, "harness_attempts_total", op="update", cohort="(other)", result="accepted") == 998
    assert value(found, "harness_visits_total", cohort="(other)", outcome="lost") == 4
    assert first.keys() <= found.keys()


@pytest.mark.parametrize(
    ("edge_ns", "text"), [(1_000_000, "0.001"), (800 * NS_PER_MS, "0.8"), (60 * NS_PER_S, "60.0"), (1, "0.000000001")]
)
def test_edges_are_written_without_rounding(edge_ns: int, text: str) -> None:
    """An edge is decimal seconds, exact to the nanosecond, without superfluous zeros but with a point."""
    assert edge_text(edge_ns / NS_PER_S) == text


def test_help_texts_keep_to_one_line() -> None:
    """A newline or backslash in a help text is escaped, so that it cannot break the page."""
    page = Page(families=[])
    page.family("a", "gauge", "one\ntwo\\", (), ())
    assert encode_text(page) == b"# HELP a one\\ntwo\\\\\n# TYPE a gauge\n"


def test_promtool_finds_nothing_to_complain_about() -> None:
    """Prometheus's own linter accepts the page without a word."""
    promtool = shutil.which("promtool")
    if promtool is None:
        assert os.environ.get("CI") != "true", "promtool is missing: apt-get install prometheus"
        pytest.skip("promtool is missing: apt-get install prometheus")
    page = MetricsPage(run_info=INFO, cohorts=COHORTS, slo_edges_ns=SLO_EDGES_NS)
    text = rendered(page, busy(), state())
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, timeout=30, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
