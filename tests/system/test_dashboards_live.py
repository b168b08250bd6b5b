"""The dashboards on a real run, scraped each second by real Prometheus servers: everything has data, and the truth.

Run is asked while the run goes on, Capacity when it is over.
"""

from __future__ import annotations

import re
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import pytest

from harness.dashboards.build import DASHBOARDS
from harness.dashboards.check import Answer, execute
from harness.dashboards.model import Panel
from harness.dashboards.prometheus_api import PrometheusApi
from harness.dashboards.window import Window, defaults
from harness.testing import running_simulator
from tests.system.browser import assert_whole
from tests.system.harness_run import Finished, get_engagement, run_command, start_run, update, wait_until, write_trace
from tests.system.real_prometheus import Prometheus, free_port, prometheus

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("dashboards_live")]

# Everything that a target may do to a visitor, and a queue that overflows at the last load step.
SCENARIO = """
name = "everything"
[service]
distribution = "exponential"
mean = "20ms"
slots = 2
[sessions]
max_calls = 2
[availability]
ratio = 0.95
"""
# Without a reply stay fewer than one in a hundred, or p99 would rightly be "never".
FAULTS = {"reset": 0.003, "throttled": 0.02, "unavailable": 0.02, "internal": 0.02, "redirect": 0.01, "garbage": 0.002}
STEP_S = 4
RATES = (6, 14, 26, 44, 70)
# Half of the run: the panels of Run have what they need, and there is time left to ask for all of them.
HALF_S = STEP_S * len(RATES) // 2


@dataclass(frozen=True)
class Asked:
    """Every query of Run as it was answered in the middle of the run: over the time so far, and at that moment."""

    ranges: list[Answer]
    instants: dict[str, list[float]]


@dataclass(frozen=True)
class Watched:
    """A run that is over, the Prometheus servers that watched it, and what they answered while it went on.

    `page_after` is the page that the run itself served once the last of those answers was there.
    """

    finished: Finished
    asked_classic: Asked
    asked_native: Asked
    page_after: str
    classic: Prometheus
    native: Prometheus
    start_s: float
    measuring_s: float
    end_s: float

    def answers(self, name: str, window: Window, *, native: bool = False) -> list[Answer]:
        """Every query of a dashboard, answered."""
        api = PrometheusApi((self.native if native else self.classic).url)
        return list(execute(DASHBOARDS[name], api, window, {"expected": "10"}))

    @property
    def whole(self) -> Window:
        """The run from before its start to its last page."""
        return Window(start_s=self.start_s, end_s=self.end_s)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One run of five load steps against a faulty simulator, watched by a classic and by a native Prometheus.

    Eight scrapers that are stuck hang about all the while.
    """
    scratch = tmp_path_factory.mktemp("watched")
    visits = [[get_engagement(), get_engagement(0.05), get_engagement(0.05), update(0.05)] for _ in range(700)]
    write_trace(scratch / "trace.jsonl", visits)
    faults = "".join(f'[[fault]]\nkind = "{kind}"\nratio = {ratio}\n' for kind, ratio in FAULTS.items())
    (scratch / "scenario.toml").write_text(SCENARIO + faults)
    port = free_port()
    rules = Path(__file__).parents[2] / "grafana" / "prometheus" / "rules.yml"
    with ExitStack() as stack:
        simulator = stack.enter_context(running_simulator(str(scratch / "scenario.toml"), seed=3))
        target = [f"127.0.0.1:{port}"]
        classic = stack.enter_context(prometheus(scratch / "classic", target, rules=rules))
        native = stack.enter_context(prometheus(scratch / "native", target, native=True))
        start_s = time.time()
        run = start_run(
            scratch / "trace.jsonl",
            simulator.url,
            *("--arrivals", ",".join(f"constant:{rate}/s:{STEP_S}s" for rate in RATES)),
            *("--metrics", f"127.0.0.1:{port}", "--linger", "10s", "--timeout", "700ms", "--drain", "1s"),
            *("--retry", "sdk-sample", "--connections", "browser", "--seed", "5"),
            *("--threshold", "p50(response_time) < 150ms", "--threshold", "ratio(failed) < 60%"),
            scratch=scratch,
        )
        stack.callback(run.kill)
        wait_until(lambda: phase(classic, "measure") == 1, 60, "the run to measure")
        hang_about(port, stack)
        measuring_s = time.time()
        for server in (classic, native):
            wait_until(lambda s=server: measured_for(s) >= HALF_S, 60, "half of the run to be scraped")  # type: ignore[misc]
        asked_classic, asked_native = (ask(server, start_s) for server in (classic, native))
        page_after = served(port)
        assert run.alive
        # We have scraped by hand, too: the run waits until we, as everybody, have its last page.
        wait_until(lambda: (run.out / "summary.json").exists(), 120, "the summary")
        wait_until(lambda: re.search(r"harness_verdict{.*} 1\n", served(port)) is not None, 10, "the last page")
        finished = run.wait(120)
        assert (finished.out / "summary.json").exists(), finished.explain()
        yield Watched(
            finished, asked_classic, asked_native, page_after, classic, native, start_s, measuring_s, time.time()
        )


def measured_for(server: Prometheus) -> float:
    """How many scrapes, one a second, have found the run measuring."""
    return next(iter(server.newest('sum_over_time(harness_run_phase{phase="measure"}[2m])').values()), 0.0)


def ask(server: Prometheus, start_s: float) -> Asked:
    """Every query of Run, as a range that ends now and as an instant query for now."""
    api, now_s = PrometheusApi(server.url), time.time()
    ranges = list(execute(DASHBOARDS["run"], api, Window(start_s=start_s, end_s=now_s)))
    return Asked(ranges, {answer.expr: list(server.newest(answer.expr, now_s).values()) for answer in ranges})


def served(port: int) -> str:
    """The page that the run serves at this moment."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        page: str = reply.read().decode()
        return page


def hang_about(port: int, stack: ExitStack) -> None:
    """Scrapers as they should not be: some say half a request, some ask and never read; all stay until the end."""
    for number in range(8):
        stuck = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        if number % 2:
            for _ in range(50):
                stuck.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        else:
            stuck.sendall(b"GET /metr")


def phase(server: Prometheus, name: str) -> float:
    """The value of a phase's gauge; 0 while there is none."""
    return next(iter(server.newest(f'harness_run_phase{{phase="{name}"}}').values()), 0.0)


def problems(answers: list[Answer]) -> list[str]:
    """Which answers have no data to show."""
    return [f"{answer.panel.title}: {answer.problem}; {answer.expr}" for answer in answers if answer.problem]


@pytest.mark.parametrize("native", [False, True], ids=["classic", "native"])
def test_every_query_of_run_has_data_while_the_run_goes_on(watched: Watched, native: bool) -> None:
    """All queries of all panels of Run, asked during the run, are finite: over the time so far and at that moment."""
    asked = watched.asked_native if native else watched.asked_classic
    assert problems(asked.ranges) == []
    assert {expr: values for expr, values in asked.instants.items() if not any(map(isfinite, values))} == {}
    assert len(asked.ranges) == sum(len(panel.queries) for panel in DASHBOARDS["run"].panels) > 40
    # The run was still measuring when the last answer was there, with visits still to begin.
    assert 'harness_run_phase{phase="measure"} 1\n' in watched.page_after
    [begun] = re.findall(r'^harness_arrivals_total\{kind="started"\} (\d+)$', watched.page_after, re.MULTILINE)
    assert 0 < int(begun) < watched.finished.summary["visits"]["planned"]


def test_every_query_of_capacity_has_data_after_load_steps(watched: Watched) -> None:
    """All queries of all panels of Capacity are finite after a run that held five rates."""
    answers = watched.answers("capacity", watched.whole)
    assert problems(answers) == []
    rates = {value for answer in answers if answer.query.legend == "rate" for _, value in answer.series[0].points}
    assert rates == set(RATES)


def test_annotations_mark_the_start_and_the_end(watched: Watched) -> None:
    """The marks of Run stand where measuring began and where the run ended, and nowhere else."""
    api, panel = PrometheusApi(watched.classic.url), Panel(title="", about="", queries=())
    window = Window(start_s=watched.start_s, end_s=watched.end_s)
    marks = {}
    for annotation in DASHBOARDS["run"].annotations:
        expr = window.fill(annotation.expr, panel, defaults(DASHBOARDS["run"]))
        [series] = api.range(expr, window.start_s, window.end_s, window.step_s(panel))
        marks[annotation.title] = [at_s for at_s, _ in series.points]
    assert {title: len(moments) for title, moments in marks.items()} == {"measuring begins": 1, "the run ended": 1}
    assert abs(marks["measuring begins"][0] - watched.measuring_s) < 5
    assert marks["the run ended"][0] > watched.measuring_s + STEP_S * len(RATES)


def test_faults_light_every_error_panel(watched: Watched) -> None:
    """Each panel that is there for errors shows something above zero in a run with faults."""
    answers = [answer for answer in watched.answers("run", watched.whole) if answer.panel.errors]
    assert {answer.panel.title for answer in answers if not answer.lit} == set()
    assert len(answers) >= 4


@pytest.mark.chromium
def test_the_previews_are_whole(watched: Watched, tmp_path: Path) -> None:
    """The commands check and preview find everything; in a browser each chart is drawn and the console stays silent."""
    span = ("--prometheus", watched.classic.url, "--from", f"{watched.start_s:.3f}", "--to", f"{watched.end_s:.3f}")
    chosen = (*span, "--only", "run", "--only", "capacity", "--var", "expected=10")
    checked = run_command("dashboards", "check", *chosen, scratch=tmp_path / "check")
    assert checked.exit_code == 0, checked.explain()
    assert re.findall(r"^\w+: (\d+) panels, (\d+) queries, \2 executed, 0 problems$", checked.stdout, re.MULTILINE) == [
        (str(len(dashboard.panels)), str(sum(len(panel.queries) for panel in dashboard.panels)))
        for dashboard in (DASHBOARDS["run"], DASHBOARDS["capacity"])
    ]
    page = tmp_path / "preview.html"
    drawn = run_command("dashboards", "preview", *chosen, "-o", str(page), scratch=tmp_path / "preview")
    assert drawn.exit_code == 0, drawn.explain()
    assert_whole(page, tmp_path, ["run", "capacity"])


@pytest.mark.parametrize("native", [False, True], ids=["classic", "native"])
def test_totals_equal_the_summary_exactly(watched: Watched, native: bool) -> None:
    """What Prometheus ends with equals summary.json: visits, steps, attempts, chain, connections, counts and sums."""
    server, summary = watched.native if native else watched.classic, watched.finished.summary
    assert last(server, "sum(harness_attempts_total)", watched) == {(): summary["attempts"]["total"]}
    for family, label, expected in (
        ("visits", "outcome", {**summary["visits"]}),
        ("steps", "outcome", {**summary["steps"]}),
        ("attempts", "result", summary["attempts"]["by_result"]),
        ("chain", "event", summary["chain"]),
        ("connections", "event", summary["connections"]),
    ):
        found = last(server, f"sum by ({label}) (harness_{family}_total)", watched)
        nonzero = {dict(labels)[label]: value for labels, value in found.items() if value}
        assert nonzero == {name: value for name, value in expected.items() if value and name != "planned"}, family
    planned = last(server, 'harness_arrivals_total{kind="planned"}', watched)
    assert list(planned.values()) == [summary["visits"]["planned"]]
    # No warm-up here, so the summary's times are of the whole run.
    for measure in ("response_time", "connect_time", "dispatch_lag", "time_to_available"):
        name, block = f"harness_{measure}_seconds", summary["latency_ms"][measure]
        count = f"histogram_count(sum({name}))" if native else f"sum({name}_count)"
        total = f"histogram_sum(sum({name}))" if native else f"sum({name}_sum)"
        [counted] = last(server, count, watched).values()
        assert counted == block["count"], measure
        [summed] = last(server, total, watched).values()
        finite = block["count"] - block.get("infinite", 0)
        assert summed == pytest.approx(block["mean"] * finite / 1000, rel=1e-6), measure


def test_the_native_p99_is_the_exact_one(watched: Watched) -> None:
    """p99 of the dispatch lag of the run by native histogram_quantile is within 2 % of the exact gauge."""
    [found] = last(watched.native, "histogram_quantile(0.99, sum(harness_dispatch_lag_seconds))", watched).values()
    exact = last(watched.native, 'harness_latency_seconds{measure="dispatch_lag",stat="p99"}', watched)
    [exact_s] = exact.values()
    assert abs(found / exact_s - 1) < 0.02


def test_the_verdict_arrives(watched: Watched) -> None:
    """The last scrape has the run's verdict, and an alert for a run that failed or was invalid."""
    status = watched.finished.summary["verdict"]["status"]
    found = last(watched.classic, "harness_verdict == 1", watched)
    assert [dict(labels)["status"] for labels in found] == [status]
    expected = {"PASS": set(), "FAIL": {"HarnessRunFailed"}, "INVALID": {"HarnessRunInvalid"}}[status]

    def told() -> set[str]:
        firing = {each["labels"]["alertname"] for each in watched.classic.get("alerts")["alerts"]}
        return firing & {"HarnessRunFailed", "HarnessRunInvalid"}

    wait_until(lambda: told() == expected, 15, f"the alerts to be {expected}")


def last(server: Prometheus, expr: str, watched: Watched) -> dict[tuple[tuple[str, str], ...], float]:
    """The newest value that an expression had during the run: the last scrape's."""
    api = PrometheusApi(server.url)
    series = api.range(expr, watched.end_s - 20, watched.end_s, 0.25)
    newest = max(point[0] for each in series for point in each.points)
    drop = ("__name__", "instance", "job")
    return {
        tuple(sorted((k, v) for k, v in each.labels.items() if k not in drop)): each.points[-1][1]
        for each in series
        if each.points[-1][0] == newest
    }
