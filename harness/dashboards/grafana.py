"""Dashboards as Grafana's classic JSON (schemaVersion 39), complete and in a fixed order, so that builds compare."""

from __future__ import annotations

from typing import Any

from harness.dashboards.model import Annotation, Dashboard, Panel, Query, Variable

SCHEMA_VERSION = 39
# Panels name their data source by this variable, so that a dashboard works wherever it is imported.
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_COLOURS = {"text": "text", "green": "green", "yellow": "yellow", "red": "red", "blue": "blue"}

Json = dict[str, Any]


def to_json(dashboard: Dashboard) -> Json:
    """The dashboard as Grafana imports it."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.about,
        "tags": ["engagement-harness"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": dashboard.since, "to": "now"},
        "refresh": dashboard.refresh,
        "templating": {"list": [_datasource_variable(), *map(_variable, dashboard.variables)]},
        "annotations": {"list": [*map(_annotation, dashboard.annotations)]},
        "links": [],
        "panels": _panels(dashboard),
    }


def _datasource_variable() -> Json:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1}


def _variable(variable: Variable) -> Json:
    common: Json = {"name": variable.name, "label": variable.label}
    if not variable.metric:
        chosen = {"text": variable.default, "value": variable.default}
        return common | {"type": "textbox", "query": variable.default, "current": chosen}
    return common | {
        "type": "query",
        "datasource": DATASOURCE,
        "query": f"label_values({variable.metric}, {variable.name})",
        "refresh": 2,
        "sort": 1,
        "includeAll": True,
        "allValue": variable.default,
        "current": {"text": "All", "value": "$__all"},
    }


def _annotation(annotation: Annotation) -> Json:
    return {
        "name": annotation.name,
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": annotation.colour,
        "titleFormat": annotation.title,
        "target": {"refId": "Anno", "expr": annotation.expr, "interval": "1s", "range": True, "instant": False},
    }


def _panels(dashboard: Dashboard) -> list[Json]:
    """Rows and panels placed from left to right, top to bottom, with ids that count up."""
    panels: list[Json] = []
    y = 0
    for row in dashboard.rows:
        place = {"x": 0, "y": y, "w": 24, "h": 1}
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "gridPos": place,
                "panels": [],
            }
        )
        y += 1
        x = tallest = 0
        for panel in row.panels:
            if x + panel.width > 24:
                x, y, tallest = 0, y + tallest, 0
            place = {"x": x, "y": y, "w": panel.width, "h": panel.height}
            panels.append(_panel(panel, len(panels) + 1, place))
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    return panels


def _panel(panel: Panel, number: int, place: Json) -> Json:
    made: Json = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "gridPos": place,
        "datasource": DATASOURCE,
        "targets": [_target(query, at) for at, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": _overrides(panel)},
        "options": _OPTIONS[panel.kind](panel),
    }
    if panel.least_interval:
        made["interval"] = panel.least_interval
    if panel.kind == "xychart":
        made["transformations"] = [{"id": "joinByField", "options": {"byField": "Time", "mode": "outer"}}]
    return made


def ref_id(at: int) -> str:
    """The letter of a query, from its place."""
    return "ABCDEFGH"[at]


def _target(query: Query, at: int) -> Json:
    return {
        "refId": ref_id(at),
        "datasource": DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.legend,
        "range": True,
        "instant": False,
        "format": "time_series",
        "editorMode": "code",
    }


def _defaults(panel: Panel) -> Json:
    limits = panel.limits or ((None, "text" if panel.kind == "stat" else "green"),)
    steps = [{"value": value, "color": _COLOURS[colour]} for value, colour in limits]
    defaults: Json = {
        "unit": panel.unit,
        "color": {"mode": "thresholds" if panel.kind == "stat" else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": steps},
        "mappings": [],
    }
    if panel.meanings:
        options = {
            str(meaning.value): {"text": meaning.word, "color": _COLOURS[meaning.colour], "index": at}
            for at, meaning in enumerate(panel.meanings)
        }
        defaults["mappings"] = [{"type": "value", "options": options}]
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 30 if panel.stacked else 0,
            "showPoints": "auto",
            "spanNulls": bool(panel.least_interval),
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        }
    if panel.kind == "timeseries" and panel.unit in ("s", "short", "reqps"):
        defaults["min"] = 0
    if panel.kind == "xychart":
        defaults["custom"] = {"show": "points+lines", "lineWidth": 1, "pointSize": {"fixed": 6}}
    return defaults


def _overrides(panel: Panel) -> list[Json]:
    """What single lines look like, by their legend."""
    overrides = []
    for query in panel.queries:
        properties: list[Json] = []
        if query.dashed and panel.kind == "timeseries":
            properties.append({"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [6, 4]}})
        if query.points and panel.kind == "timeseries":
            properties += [{"id": "custom.drawStyle", "value": "points"}, {"id": "custom.pointSize", "value": 8}]
        if query.points and panel.kind == "xychart":
            properties.append({"id": "custom.show", "value": "points"})
        if query.band_to:
            properties += [
                {"id": "custom.fillBelowTo", "value": query.band_to},
                {"id": "custom.fillOpacity", "value": 15},
            ]
        if properties:
            # A legend with a label in it has many names: the query's letter stands for all of them.
            by_letter = "{{" in query.legend
            matcher = (
                {"id": "byFrameRefID", "options": ref_id(panel.queries.index(query))}
                if by_letter
                else {"id": "byName", "options": query.legend}
            )
            overrides.append({"matcher": matcher, "properties": properties})
    if panel.kind == "xychart":
        for query in panel.queries:
            if not query.against:
                properties = [{"id": "unit", "value": panel.x_unit}, {"id": "custom.axisLabel", "value": panel.x_title}]
                overrides.append({"matcher": {"id": "byName", "options": query.legend}, "properties": properties})
    return overrides


def _stat_options(panel: Panel) -> Json:
    return {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "orientation": "auto",
        "textMode": "value_and_name" if len(panel.queries) > 1 or "{{" in panel.queries[0].legend else "value",
        "colorMode": "background" if panel.meanings or panel.limits else "value",
        "graphMode": "none" if panel.meanings else "area",
        "justifyMode": "auto",
        "wideLayout": True,
        "showPercentChange": False,
        "percentChangeColorMode": "standard",
    }


def _timeseries_options(panel: Panel) -> Json:
    return {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _xychart_options(panel: Panel) -> Json:
    series = [
        {
            "name": {"fixed": query.legend},
            "x": {"matcher": {"id": "byName", "options": query.against}},
            "y": {"matcher": {"id": "byName", "options": query.legend}},
        }
        for query in panel.queries
        if query.against
    ]
    return {
        "mapping": "manual",
        "series": series,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "single", "sort": "none"},
    }


_OPTIONS = {"stat": _stat_options, "timeseries": _timeseries_options, "xychart": _xychart_options}
