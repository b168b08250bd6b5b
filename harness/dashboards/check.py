"""Is a dashboard right? By Grafana's schema, by Prometheus's grammar, by what is exported, and by executing it.

The schema was made from Grafana's published types (`schema/README.md`), the grammar is that of the optional package
promql-parser. Neither replaces a look in Grafana, which cannot be run in the tests of this project.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from math import isfinite, isnan
from typing import Any

import msgspec

from harness.dashboards.model import Dashboard, Panel, Query
from harness.dashboards.prometheus_api import PrometheusApi, Series
from harness.dashboards.window import Window, defaults
from harness.errors import UsageError
from harness.export.names import series_names

_ANY = Window(start_s=0.0, end_s=3600.0)
_INSTALL = "install it with: pip install 'engagement-harness[dashboards]'"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a query of a panel gave."""

    panel: Panel
    query: Query
    expr: str
    series: list[Series]

    @property
    def problem(self) -> str:
        """Why the answer is no data to show; empty when it is: at least one finite value, and none that is NaN."""
        values = [value for series in self.series for _, value in series.points]
        if not any(isfinite(value) for value in values):
            return "no finite value"
        return "a value that is not a number" if any(map(isnan, values)) else ""

    @property
    def lit(self) -> bool:
        """Whether any value is above zero."""
        return any(value > 0 for series in self.series for _, value in series.points)


def schema_problems(dashboard_json: Mapping[str, Any]) -> list[str]:
    """What Grafana's schema objects to, one line each: in the dashboard, its panels, and their options and fields."""
    problems = _against("dashboard", dashboard_json, str(dashboard_json.get("title", "dashboard")))
    for panel in dashboard_json.get("panels", []):
        where = f"panel {panel.get('id')} '{panel.get('title')}'"
        if panel.get("type") == "row":
            continue
        problems += _against("panel", panel, where)
        problems += _against(panel["type"], panel.get("options", {}), f"{where}, options")
        custom = panel.get("fieldConfig", {}).get("defaults", {}).get("custom")
        if custom is not None:
            problems += _against(f"{panel['type']}Field", custom, f"{where}, field")
    return problems


def _against(name: str, value: Any, where: str) -> list[str]:
    problems = []
    for error in sorted(_validator(name).iter_errors(value), key=lambda error: list(map(str, error.path))):
        path = "/".join(map(str, error.path))
        problems.append(f"{where}: {path}: {error.message[:200]}" if path else f"{where}: {error.message[:200]}")
    return problems


@cache
def _validator(name: str) -> Any:
    try:
        import jsonschema
    except ImportError as error:
        raise UsageError(f"checking dashboards needs jsonschema: {_INSTALL}") from error
    schemas = json.loads(resources.files("harness.dashboards").joinpath("schema/grafana.json").read_text())
    if name not in schemas["types"]:
        raise UsageError(f"there is no schema for panels of type '{name}'")
    return jsonschema.Draft7Validator({"$ref": f"#/types/{name}", "types": schemas["types"]})


def query_problems(dashboard: Dashboard) -> list[str]:
    """What is wrong with the dashboard's queries before any is executed: grammar, variables, names not exported."""
    problems = []
    known = series_names()
    for panel, expr in expressions(dashboard):
        try:
            filled = _ANY.fill(expr, panel, defaults(dashboard))
            unknown = names_in(filled) - known.keys()
        except (UsageError, ValueError) as error:
            problems.append(f"'{panel.title}': {error}; in: {expr}")
            continue
        problems += [f"'{panel.title}': {name} is not exported; in: {expr}" for name in sorted(unknown)]
    return problems


def expressions(dashboard: Dashboard) -> Iterator[tuple[Panel, str]]:
    """Every expression of a dashboard with the panel it belongs to, those of annotations included."""
    for panel in dashboard.panels:
        for query in panel.queries:
            yield panel, query.expr
    for annotation in dashboard.annotations:
        yield Panel(title=annotation.name, about="", queries=()), annotation.expr


def names_in(expr: str) -> set[str]:
    """The names of the series that a PromQL expression asks for; raises `ValueError` where it cannot be parsed."""
    try:
        import promql_parser
    except ImportError as error:
        raise UsageError(f"checking queries needs promql-parser: {_INSTALL}") from error
    found: set[str] = set()
    pending: list[Any] = [promql_parser.parse(expr)]
    while pending:
        node = pending.pop()
        if isinstance(node, promql_parser.VectorSelector):
            found.add(str(node.name))
            continue
        for child in ("expr", "lhs", "rhs", "vector_selector", "param"):
            inner = getattr(node, child, None)
            if inner is not None and not isinstance(inner, str):
                pending.append(inner)
        pending += list(getattr(node, "args", None) or [])
    return found


def execute(
    dashboard: Dashboard, api: PrometheusApi, window: Window, chosen: Mapping[str, str] | None = None
) -> Iterator[Answer]:
    """Every query of every panel, answered by a Prometheus over `window`; `chosen` sets variables."""
    values = {**defaults(dashboard), **(chosen or {})}
    for panel in dashboard.panels:
        for query in panel.queries:
            expr = window.fill(query.expr, panel, values)
            series = api.range(expr, window.start_s, window.end_s, window.step_s(panel))
            yield Answer(panel=panel, query=query, expr=expr, series=series)
