"""The chapter of comparison: the run beside the nights before it and beside one of them, and its charts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.report.charts import Chart, Line
from harness.report.parts import Section, Table
from harness.report.words import NOTHING, clean, integer, number, quantity

_PAIR_HEADS = ("", "metric", "change", "95 % interval", "then", "now")
_HEADS = ("", "metric", "change", "tonight", "median", "limit", "nights")


def comparison_section(summary: Mapping[str, Any]) -> list[Section]:
    """The chapter, or nothing when the run was compared with nothing."""
    history, confirms, pair = (summary.get(key) for key in ("history", "confirms", "comparison"))
    if history is None and confirms is None and pair is None:
        return []
    lead, tables = [], []
    if confirms is not None:
        lead.append(f"This run confirms an earlier try of the same night: {clean(confirms['why'])}.")
    if history is not None:
        lead.append(
            f"Series {clean(history['series'])}, {integer(history['nights'])} earlier runs; an alarm needs a change of "
            f"{number(100 * history['rules']['min_effect'])} % beyond what the baseline scatters."
        )
        tables.append(Table("Against history", _HEADS, [_row(metric) for metric in history["metrics"]], texts=3))
        changes = [_change(change, history) for change in history["changes"]]
        if changes:
            heads = ("id", "metric", "state", "direction", "begins with", "before", "after")
            tables.append(Table("Changes of the level", heads, changes, texts=5))
    if pair is not None:
        lead.append(f"Beside run {clean(', '.join(pair['base']))}, second by second: {clean(pair['message'])}.")
        rows = [_pair_row(change) for change in pair["changes"]]
        if rows:
            tables.append(Table("Against the latest baseline run", _PAIR_HEADS, rows, texts=4))
    return [Section("comparison", "Comparison", lead, tables)]


def _pair_row(change: Mapping[str, Any]) -> list[str]:
    points = change["scale"] == "points"

    def effect(value: float | None) -> str:
        return NOTHING if value is None else f"{100 * value:+.3g} {'points' if points else '%'}"

    low, high = change["ci95"] or (None, None)
    return [
        clean(change["outcome"].replace("_", " ")),
        clean(change["metric"]),
        effect(change["effect"]),
        NOTHING if low is None else f"{effect(low)} to {effect(high)}",
        *(quantity(change[side], change["unit"]) for side in ("base", "new")),
    ]


def _row(metric: Mapping[str, Any]) -> list[str]:
    unit = metric["unit"]
    state = "ok" if metric.get("ok", True) else "FAILED"
    change = metric.get("change") or ("not enough history" if "value" in metric else "not measured")
    return [
        state if "ok" in metric else NOTHING,
        clean(metric["metric"]),
        clean(change),
        *(quantity(metric.get(key), unit) for key in ("value", "median", "limit")),
        integer(metric["baseline_nights"]),
    ]


def _change(change: Mapping[str, Any], history: Mapping[str, Any]) -> list[str]:
    unit = next((metric["unit"] for metric in history["metrics"] if metric["metric"] == change["metric"]), "")
    return [
        clean(change["id"]),
        clean(change["metric"]),
        clean(change["state"]) + (", new" if change.get("new") else ""),
        "worse" if change["worse"] else "better",
        clean(change["run_id"]),
        quantity(change["before"], unit),
        quantity(change["after"], unit),
    ]


def history_charts(summary: Mapping[str, Any]) -> list[Chart]:
    """A chart for each metric that has at least two nights: values, the baseline's nights, tonight's limit."""
    history = summary.get("history") or {"metrics": [], "changes": []}
    drawn = []
    for at, metric in enumerate(history["metrics"]):
        points = metric["points"]
        if len(points) < 2:
            continue
        scale = 100 if metric["unit"] == "ratio" else 1
        values = [point["value"] * scale for point in points]
        begins = {change["run_id"] for change in history["changes"] if change["metric"] == metric["metric"]}
        lines = [
            Line("night", "blue", list(values)),
            Line(
                "baseline",
                "green",
                [value if point["baseline"] else None for value, point in zip(values, points, strict=True)],
                (2, 3),
            ),
        ]
        if "limit" in metric:
            lines.append(Line("tonight's limit", "red", [metric["limit"] * scale] * len(points), (6, 4)))
        drawn.append(
            Chart(
                key=f"history_{at}",
                section="comparison",
                title=clean(metric["metric"]),
                caption="Night by night, tonight last. A band marks the first night of a reported change.",
                unit="%" if metric["unit"] == "ratio" else metric["unit"] or "1",
                x=[float(place) for place in range(len(points))],
                lines=[line for line in lines if any(value is not None for value in line.values)],
                kind="night",
                gaps=[(place - 0.3, place + 0.3) for place, point in enumerate(points) if point["run_id"] in begins],
                labels=[clean(point["started_at"])[:16].replace("T", " ") for point in points],
            )
        )
    return drawn
