"""A Prometheus whose past was filled: Regression on sixty synthetic nights, and stored runs on their way there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from statistics import median

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from harness.dashboards.build import DASHBOARDS
from harness.dashboards.check import Answer, execute
from harness.dashboards.prometheus_api import PrometheusApi
from harness.dashboards.window import Window
from harness.export.history import HistoryRun, render_history
from harness.export.names import HISTORY
from tests.system.browser import assert_whole
from tests.system.harness_run import run_command
from tests.system.real_prometheus import Prometheus, prometheus, promtool
from tests.unit.store.nights_on_disk import write_night

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("regression_backfill")]

DAY_S = 86_400
NIGHTS = 60
MOVED_AT = 40
LEVELS = {
    "p50(response_time)": 0.05,
    "p95(response_time)": 0.2,
    "p99(response_time)": 0.4,
    "p95(time_to_available)": 0.9,
    "availability(eventual)": 0.997,
}


def nights(newest_s: float) -> list[HistoryRun]:
    """Sixty nights at 4 % noise; from the fortieth on times are 12 % longer. Two are INVALID, the last one failed."""
    random = Random(60)
    made: list[HistoryRun] = []
    for night in range(NIGHTS):
        moved = 1.12 if night >= MOVED_AT else 1.0
        values = {
            metric: min(level * moved * random.gauss(1, 0.04), 1.0) if "time" in metric else random.uniform(0.99, 1)
            for metric, level in LEVELS.items()
        }
        earlier = made[-14:]
        baseline = {}
        if len(earlier) >= 5:
            for metric in values:
                centre = median(run.values[metric] for run in earlier)
                baseline[metric] = (centre * 0.9, centre, centre * 1.1)
        status = "INVALID" if night in (11, 30) else "FAIL" if night == NIGHTS - 1 else "PASS"
        made.append(
            HistoryRun(
                scenario="checkout",
                at_s=newest_s - (NIGHTS - 1 - night) * DAY_S,
                status=status,
                exit_code={"PASS": 0, "INVALID": 5, "FAIL": 3}[status],
                values=values,
                baseline=baseline,
                changes=dict.fromkeys(values, 0.12) if night == MOVED_AT else {},
            )
        )
    return made


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, list[HistoryRun]]]:
    """A Prometheus with sixty nights, the newest five hours old."""
    folder = tmp_path_factory.mktemp("backfill")
    runs = nights(round(time.time()) - 5 * 3600)
    (folder / "nights.txt").write_text(render_history(runs))
    (folder / "data").mkdir()
    promtool("tsdb", "create-blocks-from", "openmetrics", str(folder / "nights.txt"), str(folder / "data"))
    with prometheus(folder) as server:
        yield server, runs


@pytest.fixture(scope="module")
def answers(filled: tuple[Prometheus, list[HistoryRun]]) -> list[Answer]:
    """Every query of Regression over the sixty days."""
    now_s = round(time.time())
    window = Window(start_s=now_s - NIGHTS * DAY_S, end_s=now_s)
    return list(execute(DASHBOARDS["regression"], PrometheusApi(filled[0].url), window))


def test_every_query_has_data(answers: list[Answer]) -> None:
    """All queries of all panels of Regression are finite."""
    assert [f"{answer.panel.title}: {answer.problem}; {answer.expr}" for answer in answers if answer.problem] == []
    assert len(answers) >= 30


def test_the_nights_are_those_that_were_written(
    answers: list[Answer], filled: tuple[Prometheus, list[HistoryRun]]
) -> None:
    """Each point of the p95 panel is one of the nights' values, all are there, and the change stands at its night."""
    runs = filled[1]
    panel = {
        answer.query.legend: [value for _, value in answer.series[0].points]
        for answer in answers
        if answer.panel.title == "Does p95 leave its band?"
    }
    p95 = [run.values["p95(response_time)"] for run in runs]
    assert panel["the night"] == pytest.approx(p95[-len(panel["the night"]) :])
    assert len(panel["the night"]) >= NIGHTS - 1
    assert panel["the level moved"] == pytest.approx([p95[MOVED_AT]])


def test_stored_runs_arrive_as_they_were_stored(tmp_path: Path) -> None:
    """Run folders, `history export`, promtool, Prometheus: figures of each run at its start, and the whole export."""
    runs = tmp_path / "runs"
    runs.mkdir()
    (tmp_path / "p.toml").write_text('[regression]\nmetrics = ["p95(response_time)"]\n')
    p95_ms = {day: (120 if day > 15 else 100) + (0.0, 1.0, -1.0, 0.5, -0.5)[day % 5] for day in range(1, 24)}
    for day, level in p95_ms.items():
        write_night(runs, day, level, status={3: "INVALID", 9: "FAIL"}.get(day, "PASS"))
    text = tmp_path / "nights.txt"
    export = ("history", "export", "--runs", str(runs), "--profile", str(tmp_path / "p.toml"), "--openmetrics")
    exported = run_command(*export, "-o", str(text), scratch=tmp_path / "export")
    assert exported.exit_code == 0, exported.explain()
    (tmp_path / "data").mkdir()
    promtool("tsdb", "create-blocks-from", "openmetrics", str(text), str(tmp_path / "data"))
    with prometheus(tmp_path) as server:
        newest_s = datetime(2026, 2, 1, tzinfo=UTC).timestamp()
        asked = server.get("query", query='{__name__=~"harness_history_.+"}[40d]', time=str(newest_s))
    found = {
        tuple(sorted(series["metric"].items())): [(at_s, float(value)) for at_s, value in series["values"]]
        for series in asked["result"]
    }
    starts_s = {day: datetime(2026, 1, day, 3, tzinfo=UTC).timestamp() for day in p95_ms}
    nightly, metric = ("scenario", "nightly"), ("metric", "p95(response_time)")
    assert found[("__name__", "harness_history_value"), metric, nightly] == [
        (starts_s[day], pytest.approx(level / 1000, rel=1e-12)) for day, level in p95_ms.items()
    ]
    codes = {3: 5, 9: 3}
    assert found[("__name__", "harness_history_exit_code"), nightly] == [
        (at_s, codes.get(day, 0)) for day, at_s in starts_s.items()
    ]
    assert found[("__name__", "harness_history_verdict"), nightly, ("status", "FAIL")] == [(starts_s[9], 1)]
    written: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    for family in text_string_to_metric_families(text.read_text()):
        for sample in family.samples:
            labels = tuple(sorted({"__name__": sample.name, **sample.labels}.items()))
            written.setdefault(labels, []).append((float(sample.timestamp), sample.value))
    assert found == written
    assert {dict(labels)["__name__"] for labels in found} == set(HISTORY)


@pytest.mark.chromium
def test_the_preview_is_whole(filled: tuple[Prometheus, list[HistoryRun]], tmp_path: Path) -> None:
    """In a browser each chart of Regression is drawn, no panel is empty, and the console stays silent."""
    page = tmp_path / "preview.html"
    span = ("--from", f"-{NIGHTS * 24}h", "--only", "regression")
    drawn = run_command(
        "dashboards", "preview", "--prometheus", filled[0].url, *span, "-o", str(page), scratch=tmp_path / "preview"
    )
    assert drawn.exit_code == 0, drawn.explain()
    assert_whole(page, tmp_path, ["regression"])


def test_the_tiles_tell_the_last_night_and_the_counts(answers: list[Answer]) -> None:
    """Verdict of the last night, number of runs and of invalid ones, and change points, as written."""
    newest = {
        (answer.panel.title, answer.query.legend): [series.points[-1][1] for series in answer.series]
        for answer in answers
        if answer.panel.kind == "stat"
    }
    assert newest["Did the last night pass?", "verdict"] == [3]
    assert newest["How many runs are there?", "all"] == [NIGHTS]
    assert newest["How many runs are there?", "invalid"] == [2]
    assert newest["How often did the level move?", "{{metric}}"] == [1] * len(LEVELS)
