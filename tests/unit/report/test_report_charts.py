"""Charts as data, the HTML around them, and the histogram log."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import runpy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from harness.measure.histogram import Histogram
from harness.measure.snapshot import Snapshot
from harness.report.charts import MAX_POINTS, TABLE_ROWS, Chart, charts, percentile_curve
from harness.report.hlog import render_hlog
from harness.report.html import render_html
from harness.units import NS_PER_MS

MADE_UP = runpy.run_path(str(Path(__file__).with_name("made_up_run.py")))


@pytest.fixture(scope="module")
def run() -> tuple[dict[str, Any], list[dict[str, Any]], Snapshot]:
    made_up: tuple[dict[str, Any], list[dict[str, Any]], Snapshot] = MADE_UP["made_up_run"]()
    return made_up


def drawn(series: list[dict[str, Any]]) -> dict[str, Chart]:
    return {chart.key: chart for chart in charts(series, {})}


def test_charts_hold_the_series(run: tuple[dict[str, Any], list[dict[str, Any]], Snapshot]) -> None:
    """A short run is drawn second by second with the values of its series."""
    found = drawn(run[1])
    assert list(found) == ["rates", "lag", "latency", "outcomes", "errors"]
    assert found["rates"].x == [line["t_s"] for line in run[1]]
    assert found["rates"].lines[1].values == [line["started"] for line in run[1]]
    assert [line.label for line in found["outcomes"].lines] == ["available", "accepted", "exhausted"]
    assert found["outcomes"].lines[2].values == [line["outcomes"].get("exhausted", 0) for line in run[1]]
    assert [line.label for line in found["errors"].lines] == ["server error", "timeout"]


def test_seconds_without_replies_are_marked(run: tuple[dict[str, Any], list[dict[str, Any]], Snapshot]) -> None:
    """Where p99 lies beyond all replies, the latency chart has a band over just those seconds."""
    assert drawn(run[1])["latency"].gaps == [(20, 25)]


def test_long_runs_are_thinned_without_losing_a_spike() -> None:
    """A day of seconds gives a bounded number of points; the worst second of a stretch survives, rates become means."""
    series = [
        {
            "t_s": second,
            "planned": 10,
            "started": second % 2 * 20,
            "response_time_ms": {"p50": 1.0, "p95": 2.0, "p99": 3.0},
        }
        for second in range(86_400)
    ]
    series[50_001]["response_time_ms"]["p99"] = 999.0  # type: ignore[index]
    found = drawn(series)
    assert len(found["latency"].x) <= MAX_POINTS
    assert max(value for value in found["latency"].lines[2].values if value is not None) == 999.0
    assert set(found["rates"].lines[1].values) == {10.0}


def test_each_chart_has_a_short_table(run: tuple[dict[str, Any], list[dict[str, Any]], Snapshot]) -> None:
    """The table beside a drawing has its lines as columns and few rows, taken from the drawn points."""
    rows = drawn(run[1])["rates"].rows()
    assert rows[0] == ["second", "planned", "started", "settled"]
    assert rows[2] == ["3", "50", "50", "50"]
    assert len(rows) <= TABLE_ROWS + 1


def test_a_percentile_curve_ends_where_replies_end() -> None:
    """The curve agrees with the histogram's quantiles and stops before those that fall on missing replies."""
    histogram = Histogram()
    for ms in range(1, 901):
        histogram.add(ms * NS_PER_MS)
    histogram.add_infinite(100)
    curve = percentile_curve(histogram)
    assert [ms for _, ms in curve] == sorted(ms for _, ms in curve)
    assert 0.85 <= curve[-1][0] <= 0.9
    assert dict(curve)[0.5] == pytest.approx(500, rel=0.001)
    assert percentile_curve(Histogram()) == []


class Elements(HTMLParser):
    """Collects what could load or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [f"{name}={value}" for name, value in attrs if name in ("src", "href") or name.startswith("on")]


def test_html_is_one_file_that_loads_nothing(run: tuple[dict[str, Any], list[dict[str, Any]], Snapshot]) -> None:
    """Only the data: icon is referenced; two scripts, ours and the data; no element comes from a hostile text."""
    page = render_html(run[0], run[1], notes=[MADE_UP["HOSTILE"]])
    elements = Elements()
    elements.feed(page)
    assert elements.loads == ["href=data:,"]
    assert elements.tags.count("script") == 2
    assert "img" not in elements.tags
    assert "\x1b" not in page


def test_html_allows_just_its_own_script(run: tuple[dict[str, Any], list[dict[str, Any]], Snapshot]) -> None:
    """The policy's hash is that of the script as it stands in the page."""
    page = render_html(run[0], run[1])
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(script) == 1
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in page or f"script-src 'sha256-{digest}'" in page


def test_html_data_cannot_end_their_block() -> None:
    """A result name that is markup stays inside the JSON block, and comes out of it unchanged."""
    name = "</script><b>&"
    page = render_html({"run_id": "r"}, [{"t_s": second, "results": {name: 1}} for second in range(3)])
    block = re.search(r'<script type="application/json" id="charts">(.*?)</script>', page, re.DOTALL)
    assert block is not None
    assert [line["label"] for line in json.loads(block[1])[-1]["lines"]] == [name]


def test_html_of_an_empty_summary() -> None:
    """A partial run without series still gives a page with its verdict."""
    assert "INVALID" in render_html({"run_id": "r", "verdict": {"status": "INVALID", "exit_code": 5, "checks": []}})


def test_hlog_is_read_back_by_hdrhistogram(tmp_path: Path) -> None:
    """HdrHistogram's own reader finds the seconds, counts and quantiles; missing replies are said in a comment."""
    first, second = Histogram(), Histogram()
    for ms in range(1, 101):
        first.add(ms * NS_PER_MS)
    second.add(7 * NS_PER_MS, 3)
    second.add_infinite(2)
    place = ("response_time", "get_engagement", "mobile", "ok")
    seconds = {0: Snapshot(histograms={place: first}), 1: Snapshot(), 5: Snapshot(histograms={place: second})}
    path = tmp_path / "run.hlog"
    path.write_text(render_hlog(seconds, "response_time", 1_700_000_000.0))
    reader = HistogramLogReader(str(path), HdrHistogram(1, 3600 * 10**9, 3))
    found = []
    while (interval := reader.get_next_interval_histogram()) is not None:
        found.append((interval.get_total_count(), interval.get_value_at_percentile(95) / NS_PER_MS))
    assert found == [(100, pytest.approx(95, rel=0.002)), (3, pytest.approx(7, rel=0.002))]
    assert reader.get_start_time_sec() == 1_700_000_000.0
    assert "#[response_time: 2 without a reply are not in these histograms]\n" in path.read_text()
