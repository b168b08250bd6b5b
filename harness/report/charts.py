"""Charts as data: what `report.html` draws, and the table that stands beside each drawing.

A chart is made from the lines of `series.jsonl` or from percentile curves. Long runs are thinned to a bounded number of
points: rates become means, times the worst second of each stretch – a spike must not vanish because a run was long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from harness.measure.histogram import Histogram
from harness.report.words import MEASURES, NOTHING, clean, name, number
from harness.units import NS_PER_MS, NS_PER_US

MAX_POINTS = 900
TABLE_ROWS = 24
CURVE_MEASURES = ("response_time", "service_time", "time_to_available")

_GOOD = ("available", "accepted")
_OUTCOME_COLOURS = {
    "available": "green",
    "accepted": "blue",
    "not_available": "grey",
    "exhausted": "orange",
    "rejected": "purple",
    "failed": "red",
    "skipped": "gold",
    "censored": "brown",
    "dropped": "pink",
}
_ERROR_COLOURS = ("red", "orange", "purple", "gold", "blue", "brown", "pink", "green", "grey")

Combine = Callable[[list[float]], float]
Curve = Sequence[tuple[float, float]]


class Line(msgspec.Struct):
    """One line (or layer) of a chart; `values` go with the chart's `x`, None is a gap. `dash` tells lines apart.

    `dots` are drawn as points without a line.
    """

    label: str
    colour: str
    values: list[float | None]
    dash: Sequence[int] = ()
    dots: bool = False


class Chart(msgspec.Struct):
    """A drawing: `x` is "time" (s), "percentile" (1 / (1 - q)), "wait" (ms), "night" (its place, named by `labels`),
    or "load": any quantity, named by `across`, where lines go on over gaps.

    `gaps` are spans of x that are marked by a band.
    """

    key: str
    section: str
    title: str
    caption: str
    unit: str
    x: list[float]
    lines: list[Line]
    kind: str = "time"
    stacked: bool = False
    gaps: list[tuple[float, float]] = []
    labels: list[str] = []
    across: str = ""

    def rows(self) -> list[list[str]]:
        """The chart as a table: head row, then at most `TABLE_ROWS` evenly chosen rows of text."""
        step = max(1, -(-len(self.x) // TABLE_ROWS))
        firsts = {"time": "second", "night": "night", "wait": "ms", "load": self.across}
        first = firsts.get(self.kind, "percentile")
        head = [first, *(line.label for line in self.lines)]
        body = [
            [
                self._place(at, x),
                *(NOTHING if line.values[at] is None else number(line.values[at]) for line in self.lines),
            ]
            for at, x in list(enumerate(self.x))[::step]
        ]
        return [head, *body]

    def _place(self, at: int, x: float) -> str:
        if self.kind == "night":
            return self.labels[at]
        return number(x) if self.kind in ("time", "wait", "load") else f"{number(100 * (1 - 1 / x))} %"


def percentile_curve(histogram: Histogram) -> list[tuple[float, float]]:
    """(q, ms) from the median's side of 0 up to the last value, ending before values that are infinite."""
    quantiles, tail = [step / 20 for step in range(20)], 0.05
    while tail > 1 / max(histogram.count, 1):
        quantiles += [1 - tail, 1 - tail * 0.7, 1 - tail * 0.5, 1 - tail * 0.3]
        tail /= 5
    quantiles = sorted({round(q, 9) for q in quantiles})
    values = zip(quantiles, histogram.quantiles(quantiles), strict=True)
    # The axis is logarithmic, so nothing may stand at zero: less than a microsecond is drawn as one.
    return [(q, max(value_ns, NS_PER_US) / NS_PER_MS) for q, value_ns in values if value_ns is not None]


def charts(series: Sequence[Mapping[str, Any]], curves: Mapping[str, Curve]) -> list[Chart]:
    """Every chart that the data allow, in the order of the story; `series` as in series.jsonl, in order of time."""
    drawn = [_rates(series), _lag(series), _latency(series), _percentiles(curves), _outcomes(series), _errors(series)]
    return [chart for chart in drawn if chart.x and chart.lines]


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 3)


def _stretches(series: Sequence[Mapping[str, Any]]) -> list[Sequence[Mapping[str, Any]]]:
    step = max(1, -(-len(series) // MAX_POINTS))
    return [series[at : at + step] for at in range(0, len(series), step)]


def _seconds(series: Sequence[Mapping[str, Any]]) -> list[float]:
    return [stretch[0]["t_s"] for stretch in _stretches(series)]


def _column(
    series: Sequence[Mapping[str, Any]], combine: Combine, pick: Callable[[Mapping[str, Any]], float | None]
) -> list[float | None]:
    column: list[float | None] = []
    for stretch in _stretches(series):
        values = [value for value in map(pick, stretch) if value is not None]
        column.append(combine(values) if values else None)
    return column


def _lines(lines: Iterable[Line]) -> list[Line]:
    """Those lines that have a value at all."""
    return [line for line in lines if any(value is not None for value in line.values)]


def _rates(series: Sequence[Mapping[str, Any]]) -> Chart:
    def per_second(label: str, key: str, colour: str, dash: Sequence[int] = ()) -> Line:
        return Line(label, colour, _column(series, _mean, lambda line: line.get(key)), dash)

    return Chart(
        key="rates",
        section="instrument",
        title="Planned and achieved rate",
        caption="Visits per second that the plan asked for, that began, and that ended.",
        unit="visits/s",
        x=_seconds(series),
        lines=_lines(
            [
                per_second("planned", "planned", "grey", (6, 4)),
                per_second("started", "started", "blue"),
                per_second("settled", "settled", "green", (2, 3)),
            ]
        ),
    )


def _stat(series: Sequence[Mapping[str, Any]], measure: str, stat: str) -> list[float | None]:
    return _column(series, max, lambda line: line.get(f"{measure}_ms", {}).get(stat))


def _lag(series: Sequence[Mapping[str, Any]]) -> Chart:
    return Chart(
        key="lag",
        section="instrument",
        title="Dispatch lag and loop delay",
        caption="The generator's own lateness: what it adds to no visitor's time, but would hide if it were large.",
        unit="ms",
        x=_seconds(series),
        lines=_lines(
            [
                Line("lag p99", "blue", _stat(series, "dispatch_lag", "p99")),
                Line("lag max", "orange", _stat(series, "dispatch_lag", "max"), (6, 4)),
                Line("loop delay max", "purple", _stat(series, "loop_delay", "max"), (2, 3)),
            ]
        ),
    )


def _latency(series: Sequence[Mapping[str, Any]]) -> Chart:
    x = _seconds(series)
    width = x[1] - x[0] if len(x) > 1 else 1
    gaps: list[tuple[float, float]] = []
    for at, stretch in zip(x, _stretches(series), strict=True):
        if any("response_time_ms" in line and line["response_time_ms"]["p99"] is None for line in stretch):
            if gaps and gaps[-1][1] == at:
                gaps[-1] = (gaps[-1][0], at + width)
            else:
                gaps.append((at, at + width))
    caption = "From the planned moment to the reply, by second."
    if gaps:
        caption += " Red bands: p99 lies beyond all replies, for some never came."
    return Chart(
        key="latency",
        section="times",
        title="Response time over time",
        caption=caption,
        unit="ms",
        x=x,
        lines=_lines(
            [
                Line("p50", "green", _stat(series, "response_time", "p50")),
                Line("p95", "blue", _stat(series, "response_time", "p95"), (6, 4)),
                Line("p99", "orange", _stat(series, "response_time", "p99"), (2, 3)),
            ]
        ),
        gaps=gaps,
    )


def _percentiles(curves: Mapping[str, Curve]) -> Chart:
    styles: dict[str, tuple[str, Sequence[int]]] = dict(
        zip(CURVE_MEASURES, (("blue", ()), ("green", (6, 4)), ("orange", (2, 3))), strict=True)
    )
    x = sorted({q for measure in styles for q, _ in curves.get(measure, ())})
    lines = []
    for measure, (colour, dash) in styles.items():
        values = dict(curves.get(measure, ()))
        lines.append(Line(MEASURES[measure], colour, [values.get(q) for q in x], dash))
    return Chart(
        key="percentiles",
        section="times",
        title="Time by percentile",
        caption="Without the warm-up; both axes are logarithmic, each step to the right is ten times rarer.",
        unit="ms",
        x=[1 / (1 - q) for q in x],
        lines=_lines(lines),
        kind="percentile",
    )


def waiting_chart(summary: Mapping[str, Any]) -> list[Chart]:
    """The curve of time to available, where the summary has one: shares available, with their interval, and refused."""
    curve = (summary.get("time_to_available") or {}).get("curve") or []
    if len(curve) < 2:
        return []

    def shares(pick: Callable[[Mapping[str, Any]], float | None]) -> list[float | None]:
        return [None if (value := pick(point)) is None else 100 * value for point in curve]

    lines = [
        Line("available", "green", shares(lambda point: point["available_ratio"])),
        Line("95 % interval, low", "grey", shares(lambda point: point["ci95"][0]), (2, 3)),
        Line("95 % interval, high", "grey", shares(lambda point: point["ci95"][1]), (2, 3)),
        Line("never available", "red", shares(lambda point: point["never_ratio"]), (6, 4)),
    ]
    return [
        Chart(
            key="waiting",
            section="times",
            title="Time to available",
            caption="Share of steps that were available, or never would be, so long after they were first due; those "
            "cut off count for as long as they were watched.",
            unit="%",
            # The axis is logarithmic, so nothing may stand at zero.
            x=[max(point["at_ms"], 0.001) for point in curve],
            lines=_lines(lines),
            kind="wait",
        )
    ]


def _layers(series: Sequence[Mapping[str, Any]], key: str, colours: Mapping[str, str]) -> list[Line]:
    def layer(word: str, colour: str) -> Line:
        return Line(name(word), colour, _column(series, _mean, lambda line: line.get(key, {}).get(word, 0)))

    return [
        layer(word, colour) for word, colour in colours.items() if any(line.get(key, {}).get(word) for line in series)
    ]


def _outcomes(series: Sequence[Mapping[str, Any]]) -> Chart:
    return Chart(
        key="outcomes",
        section="steps",
        title="Outcomes over time",
        caption="Steps settled per second, by outcome, one on top of the other.",
        unit="steps/s",
        x=_seconds(series),
        lines=_layers(series, "outcomes", _OUTCOME_COLOURS),
        stacked=True,
    )


def _errors(series: Sequence[Mapping[str, Any]]) -> Chart:
    words = dict.fromkeys(
        clean(word) for line in series for word in line.get("results", {}) if word not in (*_GOOD, "not_available")
    )
    colours = {word: _ERROR_COLOURS[at % len(_ERROR_COLOURS)] for at, word in enumerate(sorted(words))}
    return Chart(
        key="errors",
        section="retries",
        title="Errors over time",
        caption="Attempts per second that came to neither an engagement reply nor an accepted update, by result.",
        unit="attempts/s",
        x=_seconds(series),
        lines=_layers(series, "results", colours),
        stacked=True,
    )
