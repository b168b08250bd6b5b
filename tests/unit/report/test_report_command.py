"""`harness report` over a stored run: every format, and what a partial or missing run gives."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from harness.cli.report import report
from harness.errors import UsageError
from harness.measure.slices import to_lines
from harness.report.junit import render_junit
from harness.report.markdown import render_markdown
from harness.report.text import render_text
from harness.store.run_folder import RunFolder

SUMMARY, SERIES, WHOLE = runpy.run_path(str(Path(__file__).with_name("made_up_run.py")))["made_up_run"]()


def stored(path: Path) -> RunFolder:
    folder = RunFolder.create(path, {"run_id": "made-up-3f9a1c", "started_at": "2026-11-22T21:51:38+00:00"})
    for line in SERIES:
        folder.append_series(line)
    folder.append_slices(to_lines(0, WHOLE))
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = stored(tmp_path_factory.mktemp("runs") / "one")
    folder.finish(SUMMARY, None)
    return folder.path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(report, list(arguments), catch_exceptions=False, standalone_mode=False)


@pytest.mark.parametrize(("form", "render"), [("text", render_text), ("md", render_markdown), ("junit", render_junit)])
def test_formats_of_the_summary(finished: Path, form: str, render: object) -> None:
    """stdout is exactly what the renderer makes of the stored summary, stderr is empty."""
    assert callable(render)
    result = run(str(finished), "--format", form)
    assert (result.stdout, result.stderr) == (render(SUMMARY), "")


def test_json_is_the_summary(finished: Path) -> None:
    """The JSON format is summary.json itself."""
    assert json.loads(run(str(finished), "--format", "json").stdout) == json.loads(json.dumps(SUMMARY))


def test_html_and_hlog_use_the_slices(finished: Path, tmp_path: Path) -> None:
    """HTML has the fine percentile curve of the slices; hlog has a line for the stored second; -o writes files."""
    run(str(finished), "--format", "html", "-o", str(tmp_path / "r.html"))
    assert '"key":"percentiles"' in (tmp_path / "r.html").read_text()
    hlog = run(str(finished), "--format", "hlog", "--measure", "service_time").stdout.splitlines()
    assert hlog[2] == "#[StartTime: 1795384298.000 (seconds since epoch)]"
    assert [line.split(",")[:2] for line in hlog[4:]] == [["0.000", "1.000"]]


@pytest.mark.parametrize("measure", ["response_time", "service_time", "connect_time", "dispatch_lag", "loop_delay"])
def test_hlog_gives_hdrhistogram_the_same_quantiles(finished: Path, tmp_path: Path, measure: str) -> None:
    """Counts and p50 to p99.9 as HdrHistogram reads them from a stored run are those of the stored histograms."""
    path = tmp_path / "run.hlog"
    run(str(finished), "--format", "hlog", "--measure", measure, "-o", str(path))
    total = HdrHistogram(1, 24 * 3600 * 10**9, 3)
    reader = HistogramLogReader(str(path), HdrHistogram(1, 24 * 3600 * 10**9, 3))
    while (interval := reader.get_next_interval_histogram()) is not None:
        total.add(interval)
    expected = WHOLE.histogram(measure)
    expected.infinite = 0
    assert total.get_total_count() == expected.count
    for percentile in (50, 90, 95, 99, 99.9):
        # Ranks between two values are cut differently: one rank more or less, and three digits.
        rank = 1 / expected.count
        low, high = (expected.quantile(q) for q in (percentile / 100 - rank, min(1.0, percentile / 100 + rank)))
        assert low is not None
        assert high is not None
        assert low * 0.998 <= total.get_value_at_percentile(percentile) <= high * 1.002, percentile


def test_a_partial_run_says_so(tmp_path: Path) -> None:
    """With a summary the report is shown and the reason said on stderr; without one the error names it."""
    folder = stored(tmp_path / "cut")
    with pytest.raises(UsageError, match=r"has no summary\.json: the run did not come to its end"):
        run(str(folder.path))
    folder.mark_partial("interrupted by the user")
    folder.finish(SUMMARY, None)
    result = run(str(folder.path))
    assert (result.stdout, result.stderr) == (
        render_text(SUMMARY),
        "harness: this run is partial: interrupted by the user\n",
    )
