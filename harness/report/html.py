"""`report.html`: the story with charts in one file that asks the network for nothing.

Script, styles and data are inlined. A Content-Security-Policy allows exactly the one script by its hash, so even a text
that slipped through escaping could run nothing and load nothing. The data stand in a JSON block in which `<`, `>` and
`&` are written as escapes, so no text can end the block.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import jinja2
import msgspec
import orjson
from markupsafe import Markup

from harness.report.charts import Chart, Curve, charts, waiting_chart
from harness.report.nights import history_charts
from harness.report.parts import Story
from harness.report.story import tell
from harness.report.words import clean, integer, number, percent, percentile

_SCRIPT_ESCAPES = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


def render_html(
    summary: Mapping[str, Any],
    series: Sequence[Mapping[str, Any]] = (),
    curves: Mapping[str, Curve] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """The report as one HTML document.

    `series`: the lines of series.jsonl, in order of time. `curves`: (q, ms) points by measure, see
    `charts.percentile_curve`; without them the percentiles of the summary are drawn. `notes`: warnings about the run,
    such as why it is partial.
    """
    curves = _curves_of(summary) if curves is None else curves
    drawn = [*charts(series, curves), *waiting_chart(summary), *history_charts(summary)]
    return render_page(tell(summary), _tiles(summary), drawn, notes, _config(summary))


def render_page(
    story: Story,
    tiles: Sequence[tuple[str, str, str]],
    drawn: Sequence[Chart],
    notes: Sequence[str],
    config: str,
) -> str:
    """One HTML document of a story, (label, value, remark) tiles, charts by section, warnings, and a configuration."""
    script = _file("vendor/uPlot.iife.min.js") + "\n" + _file("page/report.js")
    return _template().render(
        story=story,
        tiles=tiles,
        charts=drawn,
        notes=[clean(note) for note in notes],
        config=config,
        styles=Markup(_file("vendor/uPlot.min.css") + "\n" + _file("page/report.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=Markup(_data(drawn)),
    )


@cache
def _file(path: str) -> str:
    return resources.files("harness.report").joinpath(path).read_text(encoding="utf-8")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_file("page/report.html.j2"))


def _data(drawn: Sequence[Chart]) -> str:
    return orjson.dumps([msgspec.to_builtins(chart) for chart in drawn]).decode().translate(_SCRIPT_ESCAPES)


def _curves_of(summary: Mapping[str, Any]) -> dict[str, Curve]:
    """The few points of a percentile curve that a summary knows."""
    stats = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
    return {
        measure: [(q, block[stat]) for stat, q in stats.items() if block.get(stat) is not None]
        for measure, block in summary.get("latency_ms", {}).items()
    }


def _tiles(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(label, value, remark) of the figures at the top."""
    latency, rates = summary.get("latency_ms", {}), summary.get("rates", {})
    response, lag = latency.get("response_time", {}), latency.get("dispatch_lag", {})
    available = summary.get("availability", {})
    visits = summary.get("visits", {})
    return [
        ("visits", integer(visits.get("completed")), f"completed of {integer(visits.get('planned'))} planned"),
        (
            "rate",
            f"{number(rates.get('achieved_visits_hz'))}/s",
            f"of {number(rates.get('planned_visits_hz'))}/s planned",
        ),
        ("response time p95", f"{percentile(response, 'p95')} ms", f"p99 {percentile(response, 'p99')} ms"),
        (
            "available in the end",
            percent(available.get("eventual_ratio")),
            f"{percent(available.get('first_attempt_ratio'))} at the first attempt",
        ),
        ("dispatch lag p99", f"{percentile(lag, 'p99')} ms", "the generator's own lateness"),
    ]


def _config(summary: Mapping[str, Any]) -> str:
    """The effective configuration as indented JSON, each line cleaned."""
    config = summary.get("config", {})
    text = json.dumps(config, indent=2, ensure_ascii=False, default=str)
    return "\n".join(" " * (len(line) - len(line.lstrip(" "))) + clean(line.lstrip(" ")) for line in text.split("\n"))
