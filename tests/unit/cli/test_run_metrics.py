"""What a run tells its metrics page: its cohorts from the start, the edges of its thresholds, the workers there are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.cli.run import settle_profile
from harness.cli.run_metrics import RunMetrics, slo_edges_ns, worker_counts, worker_cpu_ratios
from harness.cli.search_metrics import SearchMetrics
from harness.cli.traces import check_trace
from harness.config.model import RunConfig
from harness.export.labels import WORKER_STATES
from harness.export.state import RunState
from harness.export.text_format import TEXT
from harness.judge.threshold import parse_thresholds
from harness.measure.names import MEASURES
from harness.plan.arrivals import parse_arrivals
from harness.units import NS_PER_MS
from tests.unit.fleet.scripted_fleet import ScriptedFleet, evenly

SMALL = Path(__file__).parents[3] / "fixtures" / "small.jsonl"


class Server:
    """Stands for `MetricsServer`: keeps the newest page."""

    def __init__(self, _addr: str) -> None:
        self.wanted = {TEXT}
        self.page = ""

    def publish(self, pages: Mapping[str, bytes]) -> None:
        self.page = pages[TEXT].decode()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Server]:
    """The servers that are made instead of real ones."""
    made: list[Server] = []

    def make(addr: str) -> Server:
        made.append(Server(addr))
        return made[-1]

    for module in ("run_metrics", "search_metrics"):
        monkeypatch.setattr(f"harness.cli.{module}.MetricsServer", make)
    return made


def test_the_cohorts_are_known_before_the_first_call(served: list[Server]) -> None:
    """Each cohort of the trace has its counters at zero on the first page of a run."""
    cohorts = check_trace(str(SMALL), "fail").cohorts
    assert cohorts == ("desktop", "mobile", "tablet")
    config = RunConfig(run_id="r", trace=str(SMALL), cohorts=cohorts)
    RunMetrics("", config, [], parse_arrivals(config.arrivals), None).publish(RunState())
    zeros: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(served[0].page):
        for sample in family.samples:
            if "cohort" in sample.labels and sample.labels["cohort"] != "(other)":
                assert sample.value == 0
                zeros.setdefault(sample.name, set()).add(sample.labels["cohort"])
    assert zeros == {f"harness_{what}_total": set(cohorts) for what in ("visits", "steps", "attempts")}


def test_a_profile_for_plain_locust_knows_the_cohorts_too(tmp_path: Path) -> None:
    """They are read with the digest."""
    profile = tmp_path / "team.toml"
    profile.write_text(f'[load]\ntrace = "{SMALL}"\n[target]\nurl = "http://127.0.0.1:1"\n')
    assert settle_profile(str(profile)).cohorts == ("desktop", "mobile", "tablet")


def test_a_search_shows_no_counter_that_would_not_count(served: list[Server]) -> None:
    """The page of a search says what runs and in which phase; what its runs count does not come to it."""
    SearchMetrics("", {"run_id": "r"})
    families = list(text_string_to_metric_families(served[0].page))
    assert [family.name for family in families] == ["harness_run_info", "harness_run_phase"]


def test_the_edges_are_those_of_the_measure_that_a_threshold_speaks_of() -> None:
    """Times only, exact to the nanosecond; a ratio is no time, whatever the outcome is called."""
    thresholds = parse_thresholds(
        [
            "p99(response_time) < 800ms",
            "mean(response_time{op=update}) < 1.001ms",
            "max(time_to_available) <= 2s",
            "p50(connect_time) < 3ms",
            "p99(dispatch_lag) < 150us",
            "max(loop_delay) < 250ms",
            "ratio(not_available) < 0.1%",
            "ratio(available) > 99%",
            "availability(first) > 99%",
            "rate(visits) > 50/s",
            "retry_amplification() < 2",
            "chain(crossed) < 1",
        ]
    )
    assert slo_edges_ns(thresholds) == {
        "response_time": [800 * NS_PER_MS, 1_001_000],
        "time_to_available": [2_000 * NS_PER_MS],
        "connect_time": [3 * NS_PER_MS],
        "dispatch_lag": [150_000],
        "loop_delay": [250 * NS_PER_MS],
    }


def test_every_edge_is_on_the_page(served: list[Server]) -> None:
    """A time that a threshold names is an edge of the histogram of its measure, and of no other."""
    config = RunConfig(run_id="r", trace="-")
    thresholds = parse_thresholds([f"p99({measure}) < {ms}ms" for ms, measure in enumerate(MEASURES, 811)])
    RunMetrics("", config, thresholds, parse_arrivals(config.arrivals), None).publish(RunState())
    found = {
        (family.name, sample.labels["le"])
        for family in text_string_to_metric_families(served[0].page)
        for sample in family.samples
        if sample.labels.get("le", "").startswith("0.81")
    }
    assert found == {(f"harness_{measure}_seconds", f"0.{ms}") for ms, measure in enumerate(MEASURES, 811)}


def test_workers_are_told_by_state_and_only_those_that_are_there_use_cpu() -> None:
    """One plays, one leaves in good order, one is killed: each is in its state, and who is lost has no CPU ratio."""
    fleet = ScriptedFleet(evenly(600, 20), workers=3, stay_s=20.0)
    for member_s in (1.5, 5.0):
        fleet.turns(member_s)
    conductor = fleet.conductor
    expected = dict.fromkeys(WORKER_STATES, 0) | {"expected": 3}
    assert worker_counts(conductor, 3) == expected | {"running": 3}
    assert set(worker_cpu_ratios(conductor)) == {"worker-1", "worker-2", "worker-3"}
    lost = fleet.processes["w3"].life.incarnation
    name = conductor.members[lost].worker
    fleet.processes["w3"].alive = False
    fleet.processes["w2"].leave()
    fleet.turns(6)
    assert worker_counts(conductor, 3) == expected | {"running": 1, "leaving": 1, "lost": 1}
    assert set(worker_cpu_ratios(conductor)) == {"worker-1", "worker-2", "worker-3"} - {name}
