"""Stored runs as OpenMetrics: read back by prometheus_client's parser, times and values as they went in."""

from __future__ import annotations

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from harness.export.history import HistoryRun, render_history
from harness.export.names import HISTORY

P95 = "p95(response_time)"


def run(day: int, **more: object) -> HistoryRun:
    """A run at noon of a day of 1970."""
    given = {
        "scenario": "checkout",
        "status": "PASS",
        "exit_code": 0,
        "values": {P95: 0.25, "availability(eventual)": 0.999},
        **more,
    }
    return HistoryRun(at_s=day * 86400 + 43200.5, **given)  # type: ignore[arg-type]


def test_every_run_arrives_with_its_time() -> None:
    """Values, bands, changes and verdicts stand at the runs' starts, in ascending order within each family."""
    runs = [
        run(2, status="FAIL", exit_code=3, baseline={P95: (0.2, 0.24, 0.28)}, changes={P95: 0.125}),
        run(1),
        run(1, scenario='odd "name"', status="INVALID", exit_code=5, values={}),
    ]
    families = list(text_string_to_metric_families(render_history(runs)))
    assert [family.name for family in families] == list(HISTORY)
    found = {
        (
            sample.name.removeprefix("harness_history_"),
            *sorted(sample.labels.values()),
            float(sample.timestamp),
        ): sample.value
        for family in families
        for sample in family.samples
    }
    first, second = 86400 + 43200.5, 2 * 86400 + 43200.5
    assert found == {
        ("value", "checkout", P95, first): 0.25,
        ("value", "availability(eventual)", "checkout", first): 0.999,
        ("value", "checkout", P95, second): 0.25,
        ("value", "availability(eventual)", "checkout", second): 0.999,
        ("baseline", "checkout", "low", P95, second): 0.2,
        ("baseline", "checkout", "median", P95, second): 0.24,
        ("baseline", "checkout", "high", P95, second): 0.28,
        ("change_ratio", "checkout", P95, second): 0.125,
        ("verdict", "PASS", "checkout", first): 1,
        ("verdict", "FAIL", "checkout", second): 1,
        ("verdict", "INVALID", 'odd "name"', first): 1,
        ("exit_code", "checkout", first): 0,
        ("exit_code", "checkout", second): 3,
        ("exit_code", 'odd "name"', first): 5,
    }
    for family in families:
        for labels in {tuple(sample.labels.items()) for sample in family.samples}:
            times = [float(sample.timestamp) for sample in family.samples if tuple(sample.labels.items()) == labels]
            assert times == sorted(times)


def test_no_runs_make_an_empty_page() -> None:
    """Without a run the text is still OpenMetrics."""
    assert [family.samples for family in text_string_to_metric_families(render_history([]))] == [[]] * len(HISTORY)
