"""`render_preview`: the dashboards as one HTML file, drawn with uPlot from what a Prometheus answered.

The file loads nothing. As in the HTML report, a Content-Security-Policy allows its one script by hash, and data stand
in a JSON block that no text can end.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import resources
from math import isfinite
from typing import Any

import jinja2
from markupsafe import Markup

from harness.dashboards.check import Answer
from harness.dashboards.model import Dashboard, Panel
from harness.dashboards.window import Window

_SCRIPT_ESCAPES = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)
_COLOURS = ("green", "blue", "orange", "purple", "red", "gold", "brown", "pink", "grey")
_MAX_SERIES = 12

Json = dict[str, Any]


def render_preview(drawn: Sequence[tuple[Dashboard, Sequence[Answer]]], window: Window) -> str:
    """The page for dashboards with the answers to their queries, in order (`check.execute`)."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    vendor = resources.files("harness.report").joinpath("vendor")
    script = vendor.joinpath("uPlot.iife.min.js").read_text(encoding="utf-8") + "\n" + _file("preview.js")
    boards = [_board(dashboard, answers, window) for dashboard, answers in drawn]
    charts = [panel for board in boards for row in board["rows"] for panel in row["panels"] if "chart" in panel]
    return environment.from_string(_file("preview.html.j2")).render(
        boards=boards,
        span=f"{_said(window.start_s)} to {_said(window.end_s)} UTC",
        styles=Markup(vendor.joinpath("uPlot.min.css").read_text(encoding="utf-8") + "\n" + _file("preview.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=Markup(json.dumps([{**each["chart"], "id": each["id"]} for each in charts]).translate(_SCRIPT_ESCAPES)),
    )


def _file(name: str) -> str:
    return resources.files("harness.dashboards").joinpath("page", name).read_text(encoding="utf-8")


def _said(moment_s: float) -> str:
    return datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _board(dashboard: Dashboard, answers: Sequence[Answer], window: Window) -> Json:
    rows: list[Json] = []
    for row in dashboard.rows:
        panels: list[Json] = []
        for panel in row.panels:
            mine = [answer for answer in answers if answer.panel is panel]
            panels.append(_panel(panel, mine, f"{dashboard.uid}-{len(rows)}-{len(panels)}", window))
        rows.append({"title": row.title, "panels": panels})
    return {"title": dashboard.title, "about": dashboard.about, "rows": rows}


def _panel(panel: Panel, answers: Sequence[Answer], identifier: str, window: Window) -> Json:
    shown: Json = {"id": identifier, "title": panel.title, "about": panel.about, "width": panel.width}
    if panel.kind == "stat":
        shown["tiles"] = _tiles(panel, answers)
        shown["empty"] = not shown["tiles"]
    else:
        shown["chart"] = _points(panel, answers) if panel.kind == "xychart" else _lines(panel, answers, window)
        shown["empty"] = not shown["chart"]["lines"]
    return shown


def _tiles(panel: Panel, answers: Sequence[Answer]) -> list[Json]:
    """The newest finite value of each series, as a word where the panel gives numbers a meaning."""
    meanings = {meaning.value: meaning for meaning in panel.meanings}
    tiles = []
    for answer in answers:
        for series in answer.series[:_MAX_SERIES]:
            values = [value for _, value in series.points if isfinite(value)]
            if not values:
                continue
            meaning = meanings.get(round(values[-1]))
            colour = meaning.colour if meaning else _limit_colour(panel, values[-1])
            text = meaning.word if meaning else quantity(values[-1], panel.unit)
            name = series.named(answer.query.legend)
            tiles.append({"text": text, "colour": colour, "name": "" if name == panel.title else name})
    return tiles


def _limit_colour(panel: Panel, value: float) -> str:
    colour = "text"
    for least, name in panel.limits:
        if least is None or value >= least:
            colour = name
    return colour


def quantity(value: float, unit: str) -> str:
    """A value with its unit as people write it."""
    if unit == "s":
        for factor, name in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
            if abs(value) * factor >= 1 or name == "µs":
                return f"{value * factor:.3g} {name}"
    if unit == "percentunit":
        return f"{value * 100:.4g} %"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{text}/s" if unit == "reqps" else text


def _line(label: str, at: int, query: Any, values: list[float | None]) -> Json:
    style = "points" if query.points else "dashed" if query.dashed else "line"
    return {
        "label": label,
        "colour": _COLOURS[at % len(_COLOURS)],
        "style": style,
        "values": values,
        "band": query.band_to,
    }


def _lines(panel: Panel, answers: Sequence[Answer], window: Window) -> Json:
    """Aligned columns over time; gaps where a series has no finite value."""
    step_s = window.step_s(panel)
    count = int((window.end_s - window.start_s) / step_s) + 1
    x = [round(window.start_s + at * step_s, 3) for at in range(count)]
    lines: list[Json] = []
    for answer in answers:
        for series in answer.series[:_MAX_SERIES]:
            found = {round((at - window.start_s) / step_s): value for at, value in series.points if isfinite(value)}
            if found:
                values = [found.get(at) for at in range(count)]
                lines.append(_line(series.named(answer.query.legend), len(lines), answer.query, values))
    return _chart(panel, x, lines, time=True)


def _points(panel: Panel, answers: Sequence[Answer]) -> Json:
    """y against x, matched by their times, in the order of x."""
    by_legend = {answer.query.legend: answer for answer in answers}
    pairs: list[tuple[Answer, dict[float, float]]] = []
    for answer in answers:
        if answer.query.against and answer.series:
            xs = (
                dict(by_legend[answer.query.against].series[0].points) if by_legend[answer.query.against].series else {}
            )
            points = {xs[at]: value for at, value in answer.series[0].points if at in xs and isfinite(value)}
            if points:
                pairs.append((answer, points))
    x = sorted({at for _, points in pairs for at in points})
    lines = [
        _line(answer.query.legend, place, answer.query, [points.get(at) for at in x])
        for place, (answer, points) in enumerate(pairs)
    ]
    return _chart(panel, x, lines, time=False)


def _chart(panel: Panel, x: list[float], lines: list[Json], *, time: bool) -> Json:
    return {
        "x": x,
        "lines": lines,
        "time": time,
        "unit": panel.unit,
        "stacked": panel.stacked,
        "x_title": panel.x_title,
        "joined": bool(panel.least_interval) or not time,
        "zero": panel.unit in ("s", "short", "reqps"),
    }
