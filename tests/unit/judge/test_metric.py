"""Metrics: which way is worse, what a change is, and that summary and slices tell the same value."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.judge.metric import follow, follow_all, in_summary, observe

MADE_UP = Path(__file__).parents[1] / "report" / "made_up_run.py"


@pytest.mark.parametrize(
    ("text", "worse", "absolute", "unit"),
    [
        ("p95(response_time)", "up", False, "ms"),
        ("p99.9(service_time{op=update})", "up", False, "ms"),
        ("mean(time_to_available{cohort=mobile})", "up", False, "ms"),
        ("availability(eventual)", "down", True, "ratio"),
        ("ratio(available)", "down", True, "ratio"),
        ("ratio(failed)", "up", True, "ratio"),
        ("rate(attempts)", "down", False, "/s"),
        ("retry_amplification()", "up", False, ""),
    ],
)
def test_direction_and_unit(text: str, worse: str, absolute: bool, unit: str) -> None:
    """Times, errors and retries are worse high, availability and rates worse low."""
    metric = follow(text)
    assert (metric.text, metric.worse, metric.absolute, metric.unit) == (text, worse, absolute, unit)


def test_bad_metrics_are_listed_at_once() -> None:
    """Each line names the text and what could be written."""
    with pytest.raises(UsageError) as caught:
        follow_all(["p95(response_time)", "p95(bogus)", "speed()"])
    assert len(caught.value.problems) == 2
    assert ["known:" in problem for problem in caught.value.problems] == [True, True]


@pytest.fixture(scope="module")
def made_up() -> Any:
    """(summary, series, whole snapshot) of a run."""
    return runpy.run_path(str(MADE_UP))["made_up_run"]()


@pytest.mark.parametrize(
    "text", ["p50(response_time)", "p95(service_time{op=update})", "p99(time_to_available)", "p999(response_time)"]
)
def test_the_summary_tells_what_the_histograms_tell(made_up: Any, text: str) -> None:
    """Percentiles read from summary.json equal those of the merged histograms; too small a sample is None in both."""
    summary, _, whole = made_up
    metric = follow(text)
    phases = summary["phases"]
    expected = observe(metric, whole, arrivals_s=phases["arrivals_s"], measured_s=phases["measured_s"])
    assert in_summary(metric, summary) == (True, expected)


@pytest.mark.parametrize("text", ["p95(response_time{cohort=mobile})", "ratio(failed)", "mean(response_time)"])
def test_what_the_summary_cannot_tell_is_left_to_the_slices(text: str) -> None:
    """Cohorts, ratios and means are read from the histograms."""
    assert in_summary(follow(text), {}) == (False, None)
