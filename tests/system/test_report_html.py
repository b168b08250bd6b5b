"""The HTML report in a real browser: it draws every chart, in light and dark, and the console stays silent."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from harness.report.capacity import render_capacity
from harness.report.charts import CURVE_MEASURES, percentile_curve
from harness.report.html import render_html
from tests.system.browser import find_chromium, opened
from tests.unit.report.capacity_result import capacity_result

pytestmark = [pytest.mark.system, pytest.mark.chromium]

COMPARED = Path(__file__).parents[1] / "unit" / "report" / "compared_run.py"


@pytest.fixture(scope="module")
def chromium() -> str:
    """The path of Chromium."""
    return find_chromium()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a made-up night beside its history, whose error messages try to be markup."""
    summary, series, whole = runpy.run_path(str(COMPARED))["compared_run"]()
    curves = {measure: percentile_curve(whole.histogram(measure)) for measure in CURVE_MEASURES}
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_html(summary, series, curves))
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_chart_is_drawn_and_nothing_is_complained_about(
    chromium: str, page: Path, tmp_path: Path, scheme: str
) -> None:
    """Every canvas in its place, no console message, and no hostile text became an element."""
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    document, console = opened(chromium, page, tmp_path / "profile", *dark)
    assert console == []
    keys = re.findall(r'<div class="chart" id="chart-(\w+)"[^>]*><div class="uplot', document)
    assert keys == [
        "rates", "lag", "outcomes", "latency", "percentiles", "waiting", "errors", "history_0", "history_1",
    ]  # fmt: skip
    assert document.count("<canvas") == len(keys)
    assert "<img" not in document


def test_the_report_can_be_read_without_eyes(chromium: str, page: Path, tmp_path: Path) -> None:
    """One h1, every chart named and with a table of its data, every table captioned, every section labelled."""
    document, _ = opened(chromium, page, tmp_path / "profile")
    assert len(re.findall(r"<h1[ >]", document)) == 1
    assert '<html lang="en">' in document
    charts = re.findall(r'<div class="chart" id="[^"]+" role="img" aria-label="[^"]{20,}"', document)
    assert len(charts) == document.count('<div class="chart"') == document.count("<summary>As a table</summary>")
    tables = re.findall(r"<table(?! class=\"u-legend).*?</table>", document, re.DOTALL)
    assert all("<caption>" in each and '<th scope="col"' in each for each in tables)
    labels = re.findall(r'<section aria-labelledby="(\w+)"', document)
    assert all(f'<h2 id="{label}">' in document for label in labels)
    assert labels == [
        "verdict", "instrument", "visits", "steps", "times", "availability", "retries", "chain", "comparison",
        "exemplars", "configuration",
    ]  # fmt: skip


def test_a_console_error_would_be_noticed(chromium: str, tmp_path: Path) -> None:
    """The check above can fail: a page that throws and one that the policy stops are both heard."""
    broken = tmp_path / "broken.html"
    broken.write_text("<!doctype html><script>throw new Error('heard')</script>")
    assert "heard" in " ".join(opened(chromium, broken, tmp_path / "one")[1])
    blocked = tmp_path / "blocked.html"
    policy = "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'\">"
    blocked.write_text(f"<!doctype html>{policy}<script>1</script>")
    assert "Content Security Policy" in " ".join(opened(chromium, blocked, tmp_path / "two")[1])


def test_the_capacity_page_is_drawn_whole(chromium: str, tmp_path: Path) -> None:
    """Its three charts in their place, no console message, and no hostile text became an element."""
    path = tmp_path / "capacity.html"
    path.write_text(render_capacity(capacity_result(), "made up"))
    document, console = opened(chromium, path, tmp_path / "profile")
    assert console == []
    keys = re.findall(r'<div class="chart" id="chart-(\w+)"[^>]*><div class="uplot', document)
    assert keys == ["used", "load", "law"]
    assert document.count("<canvas") == len(keys)
    assert "<img" not in document
