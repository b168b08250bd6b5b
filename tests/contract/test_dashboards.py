"""The committed dashboards and rules: what build writes, valid, and about everything that is exported."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from harness.capacity.search import Found, Step
from harness.cli.search_metrics import bounds_of
from harness.config.files import packaged
from harness.dashboards.build import DASHBOARDS, built
from harness.dashboards.check import expressions, names_in, query_problems, schema_problems
from harness.dashboards.grafana import to_json
from harness.dashboards.model import Panel, Query, Row
from harness.dashboards.rules import render_rules, rules
from harness.dashboards.window import Window, defaults
from harness.export.names import series_names
from harness.judge.threshold import parse_slo, parse_thresholds
from tests.system.real_prometheus import promtool

GRAFANA = Path(__file__).parents[2] / "grafana"
# Exported for those who ask the API themselves; no dashboard or rule shows them.
API_ONLY: set[str] = set()


def made() -> dict[str, str]:
    """What `harness dashboards build` writes for the shipped SLO file."""
    slo = packaged("fixtures/slo.toml")
    return built(parse_slo(slo.read_text(), str(slo)), "fixtures/slo.toml")


def test_the_committed_files_are_what_build_writes() -> None:
    """Building again gives every committed dashboard and rule file, byte for byte, and there are no others."""
    assert {name: (GRAFANA / name).read_text() for name in made()} == made()
    committed = {path.relative_to(GRAFANA).as_posix() for path in (GRAFANA / "dashboards").iterdir()}
    assert committed == {name for name in made() if name.startswith("dashboards/")}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_is_valid(name: str) -> None:
    """Grafana's schema objects to nothing, every query parses and asks for series that are exported."""
    assert schema_problems(to_json(DASHBOARDS[name])) == []
    assert query_problems(DASHBOARDS[name]) == []


def broken(change: str) -> dict[str, Any]:
    """The dashboard Run with one thing wrong."""
    dashboard = copy.deepcopy(to_json(DASHBOARDS["run"]))
    panel = next(panel for panel in dashboard["panels"] if panel["type"] == "timeseries")
    match change:
        case "dashboard":
            dashboard["graphTooltip"] = 7
        case "panel":
            panel["titel"] = "typing error"
        case "options":
            panel["options"]["tooltip"]["mode"] = "sometimes"
        case "field":
            panel["fieldConfig"]["defaults"]["custom"]["drawStyle"] = "curvy"
    return dashboard


@pytest.mark.parametrize("change", ["dashboard", "panel", "options", "field"])
def test_the_schema_notices(change: str) -> None:
    """A wrong value on each level is one problem that says where."""
    assert schema_problems(broken(change)) != []


@pytest.mark.parametrize("expr", ["sum(rate(harness_visits_total[1m])", "harness_visitors_total", "up + $nothing"])
def test_a_wrong_query_is_noticed(expr: str) -> None:
    """Bad grammar, a name that nobody exports and a variable that nobody sets are each a problem."""
    panel = Panel(title="Why?", about="", queries=(Query(expr, "x"),))
    dashboard = DASHBOARDS["run"]
    wrong = type(dashboard)(uid="x", title="x", about="", rows=(Row("x", (panel,)),), variables=())
    assert len(query_problems(wrong)) == 1


def test_every_metric_is_shown_or_alerted_on() -> None:
    """Each exported family is used by a panel, an annotation or a rule, or is listed as for the API only."""
    window = Window(start_s=0, end_s=3600)
    queries = [
        window.fill(expr, panel, defaults(dashboard))
        for dashboard in DASHBOARDS.values()
        for panel, expr in expressions(dashboard)
    ]
    alerts = [rule.expr for group in rules([]).values() for rule in group]
    known = series_names()
    used = {known[name] for expr in (*queries, *alerts) for name in names_in(expr) if name in known}
    assert set(known.values()) - used == API_ONLY


def test_every_bound_of_a_search_is_shown() -> None:
    """Each bound that a capacity search tells is asked for: what was confirmed, what held at least, and what broke."""
    held, broken = (
        Step(number=n, stage="climb", rate_hz=10.0 * n, verdict=verdict, sure=True, why="")
        for n, verdict in enumerate(("held", "broken"), 1)
    )
    found = Found(max_rate_hz=10, ci95=(9, 11), bound="estimate", limiting_slo=None, reason="")
    told = bounds_of([held, broken], found)
    shown = {bound for _, expr in expressions(DASHBOARDS["capacity"]) for bound in re.findall(r'bound="(\w+)"', expr)}
    assert shown == set(told)


def test_panels_ask_questions_and_say_how_to_read_the_answer() -> None:
    """Every panel's title is a question, its description is there, and no two panels of a dashboard share a title."""
    for dashboard in DASHBOARDS.values():
        titles = [panel.title for panel in dashboard.panels]
        assert [title for title in titles if not title.endswith("?")] == []
        assert len(set(titles)) == len(titles)
        assert all(panel.about.endswith(".") for panel in dashboard.panels)


def test_panels_do_not_overlap() -> None:
    """No cell of the grid belongs to two panels, and none stands out of its 24 columns."""
    for dashboard in DASHBOARDS.values():
        cells: set[tuple[int, int]] = set()
        for panel in to_json(dashboard)["panels"]:
            place = panel["gridPos"]
            mine = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not mine & cells
            assert place["x"] + place["w"] <= 24
            cells |= mine


def test_the_preview_knows_every_width() -> None:
    """A panel as wide as no rule of the preview's style sheet says would be drawn in a single column."""
    style = packaged("harness/dashboards/page/preview.css").read_text()
    known = set(map(int, re.findall(r"\.w(\d+) {", style)))
    assert {panel.width for dashboard in DASHBOARDS.values() for panel in dashboard.panels} <= known


def test_promtool_accepts_configuration_and_rules() -> None:
    """promtool check config, check rules and test rules are clean."""
    folder = GRAFANA / "prometheus"
    assert "SUCCESS" in promtool("check", "config", str(folder / "prometheus.yml"))
    assert "SUCCESS" in promtool("check", "rules", str(folder / "rules.yml"))
    assert "SUCCESS" in promtool("test", "rules", str(folder / "rules_test.yml"))


def test_any_threshold_becomes_a_valid_rule(tmp_path: Path) -> None:
    """Every kind of threshold, with quotes and labels, gives rules that promtool accepts and the parser reads."""
    texts = [
        "p99(response_time) < 800ms",
        "p99.9(service_time{op=update}) <= 2s",
        "p95(response_time{cohort=mobile}) < 1s",
        "p95(response_time{result=error}) < 1s",
        "mean(dispatch_lag) < 5ms",
        "mean(response_time) < 500ms",
        "max(loop_delay) < 250ms",
        "max(time_to_available{cohort=mobile}) < 9s",
        "ratio(failed) < 1%",
        "ratio(available{cohort=mobile}) > 99%",
        "ratio(censored) < 1%",
        "ratio(timeout) < 1%",
        "ratio(available{of=attempts}) > 50%",
        "availability(first) > 50%",
        "availability(first{cohort=mobile}) > 50%",
        "availability(eventual{cohort=mobile}) > 50%",
        "rate(visits) >= 50/s",
        "rate(attempts{op=update}) > 1/s",
        "rate(steps) != 7/s",
        "retry_amplification() < 2",
        "chain(crossed) == 0",
    ]
    found = rules(parse_thresholds(texts))
    file = tmp_path / "rules.yml"
    file.write_text(render_rules(found, "test"))
    assert "SUCCESS" in promtool("check", "rules", str(file))
    assert [rule.labels["slo"] for rule in found["harness-slo"]] == texts
    known = series_names()
    for rule in found["harness-slo"]:
        assert names_in(rule.expr) <= known.keys(), rule.expr
