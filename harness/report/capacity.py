"""`capacity.html`: what a search or a fit came to, as a story with charts; made from capacity.json alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from harness.report.charts import Chart, Line
from harness.report.html import render_page
from harness.report.parts import Section, Story, Table
from harness.report.words import NOTHING, clean, integer, number, percent

_VERDICTS = {"held": "ok", "broken": "FAILED", "invalid": NOTHING}


def render_capacity(result: Mapping[str, Any], about: str, notes: Sequence[str] = ()) -> str:
    """The page of a result (docs/capacity.md, capacity.json): of a search, of a fit, or of both."""
    searched = "max_rate_hz" in result
    sections = [*([_search_section(result)] if searched else []), _curve_section(result), _law_section(result)]
    if result.get("headroom") is not None:
        sections.append(_headroom_section(result["headroom"]))
    story = Story(
        status=NOTHING,
        exit_code="",
        run_id=_answer(result) if searched else "Load curve",
        about=clean(about),
        why=[clean(result["reason"])] if searched else [clean(line) for line in _law_lines(result)],
        cause="",
        sections=sections,
    )
    drawn = [*_search_charts(result), *_curve_charts(result), *_law_charts(result)]
    config = orjson.dumps(result.get("plan") or {}, option=orjson.OPT_INDENT_2).decode()
    return render_page(story, _tiles(result), drawn, notes, config)


def _answer(result: Mapping[str, Any]) -> str:
    if result["max_rate_hz"] is None:
        return "No rate held"
    at_least = "at least " if result["bound"] == "at_least" else ""
    return f"Capacity {at_least}{number(float(result['max_rate_hz']))} visits/s"


def _tiles(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    tiles = []
    if result.get("max_rate_hz") is not None:
        low, high = result["ci95"]
        interval = f"95 % interval {number(low)} to {number(high)}" if high is not None else "the target may take more"
        sign = "≥ " if result["bound"] == "at_least" else ""
        tiles.append(("visits per second", f"{sign}{number(float(result['max_rate_hz']))}", interval))
    if result.get("limiting_slo"):
        tiles.append(("limited by", clean(result["limiting_slo"]), "the threshold that breaks first"))
    law = result.get("law")
    if law:
        peak = law.get("peak_hz")
        value, remark = "not identifiable", "nothing shows where it turns"
        if peak is not None:
            value, remark = number(peak), f"with {number(law['knee'])} attempts in flight"
        tiles.append(("peak, useful steps/s", value, remark))
    headroom = result.get("headroom")
    if headroom:
        tiles.append(("headroom", _more(headroom), f"over {number(headroom['peak_hz'])} visits/s"))
    return tiles


def _more(headroom: Mapping[str, Any]) -> str:
    ratio = headroom["ratio"]
    if ratio is None:
        return NOTHING
    return f"{'≥ ' if headroom['bound'] == 'at_least' else ''}{'+' if ratio >= 0 else '−'}{percent(abs(ratio))}"


# The search


def _search_section(result: Mapping[str, Any]) -> Section:
    rows = [
        [
            _VERDICTS[step["verdict"]],
            step["stage"],
            clean(f"INVALID: {step['why']}" if step["verdict"] == "invalid" else step["why"]),
            number(float(step["rate_hz"])),
            integer(step["seconds"]),
            "yes" if step["sure"] else "no",
            number(step["took_s"]),
        ]
        for step in result["steps"]
    ]
    heads = ("", "stage", "why", "visits/s", "seconds judged", "surely", "took s")
    lead = [
        "Each step held one rate. The test on its percentiles and shares ended it as soon as it was sure; where it was "
        "not, the figures at its end decided."
    ]
    return Section(
        "search", "Search", lead, [Table("Steps, in the order in which they were made", heads, rows, texts=3)]
    )


def _search_charts(result: Mapping[str, Any]) -> list[Chart]:
    """How much of what each threshold allows was used up, by rate."""
    steps = [step for step in result.get("steps", ()) if step["verdict"] != "invalid" and step["shares"]]
    if not steps:
        return []
    steps.sort(key=lambda step: step["rate_hz"])
    x = [float(step["rate_hz"]) for step in steps]
    colours = ("blue", "green", "purple", "orange", "brown", "pink", "gold")
    slos = list(dict.fromkeys(share["slo"] for step in steps for share in step["shares"]))
    lines = []
    for slo, colour in zip(slos, colours, strict=False):
        shares = [next((share for share in step["shares"] if share["slo"] == slo), None) for step in steps]
        used = [
            None if share is None or not share["count"] else 100 * share["bad"] / share["count"] / share["allowed"]
            for share in shares
        ]
        # What is far beyond the limit would press the rest of the picture to the ground.
        lines.append(Line(clean(slo), colour, [None if value is None else min(value, 400.0) for value in used]))
    lines.append(Line("limit", "red", [100.0] * len(x), (6, 4)))
    ends = result["ci95"]
    gaps = [(float(ends[0]), float(ends[1]))] if ends and ends[1] is not None else []
    return [
        Chart(
            key="used",
            section="search",
            title="How much of what is allowed was used up",
            caption="Share of slow or failed ones over the share that the threshold allows, by rate, cut at 400 %. The "
            "band is the interval of the capacity.",
            unit="% of what is allowed",
            x=x,
            lines=lines,
            kind="load",
            gaps=gaps,
            across="visits/s",
        )
    ]


# The load curve


def _curve_section(result: Mapping[str, Any]) -> Section:
    rows = [
        [
            clean(point["label"]),
            *(number(point[key]) for key in ("rate_hz", "achieved_hz", "goodput_hz", "concurrency")),
            *(number(point["latency_ms"].get(stat)) for stat in ("p50", "p95", "p99")),
            percent(point["availability"]),
        ]
        for point in result["points"]
    ]
    heads = ("run", "planned/s", "begun/s", "useful steps/s", "in flight", "p50 ms", "p95 ms", "p99 ms", "available")
    left_out = [f"Left out: {clean(line)}." for line in result.get("left_out", ())]
    return Section("curve", "Load curve", left_out, [Table("What each rate did", heads, rows)])


def _curve_charts(result: Mapping[str, Any]) -> list[Chart]:
    points = sorted(result["points"], key=lambda point: point["rate_hz"])
    if len(points) < 2:
        return []
    lines = [
        Line(stat, colour, [point["latency_ms"].get(stat) for point in points], dash)
        for stat, colour, dash in (("p50", "green", ()), ("p95", "blue", (6, 4)), ("p99", "orange", (2, 3)))
    ]
    lines = [line for line in lines if any(value is not None for value in line.values)]
    if not lines:
        return []
    return [
        Chart(
            key="load",
            section="curve",
            title="Response time by rate",
            caption="A bend upwards is a queue. A percentile that falls on attempts without reply is left out.",
            unit="ms",
            x=[float(point["rate_hz"]) for point in points],
            lines=lines,
            kind="load",
            across="visits/s",
        )
    ]


# The law


def _law_lines(result: Mapping[str, Any]) -> list[str]:
    law = result.get("law")
    if not law:
        return ["These points say no law: three different rates or more are needed, and throughput that follows them."]
    if law["why"]:
        return [law["why"]]
    low, high = law["peak_ci95"]
    knee_low, knee_high = law["knee_ci95"]
    return [
        f"Throughput turns at {number(law['knee'])} attempts in flight ({number(knee_low)} to {number(knee_high)}), at "
        f"{number(law['peak_hz'])} useful steps per second ({number(low)} to {number(high)})."
    ]


def _law_section(result: Mapping[str, Any]) -> Section:
    law = result.get("law")
    tables = []
    if law:
        names = (
            ("lambda", "lambda_hz", "steps per second of one attempt in flight"),
            ("sigma", "sigma", "share that waits for what is shared"),
            ("kappa", "kappa", "cost of agreeing, each with each"),
        )
        rows = [
            [name, meaning, *(_small(value) for value in (law[key], *law[f"{name}_ci95"]))]
            for name, key, meaning in names
        ]
        tables.append(Table("Universal Scalability Law", ("", "meaning", "value", "95 % from", "to"), rows, texts=2))
    return Section("law", "Scalability", _law_lines(result), tables)


def _small(value: float) -> str:
    return number(value) if value == 0 or value >= 0.001 else f"{value:.3g}"


def _law_charts(result: Mapping[str, Any]) -> list[Chart]:
    law, points = result.get("law"), result["points"]
    if not law:
        return []
    band = {float(n): (low, middle, high) for n, low, middle, high in law["band"]}
    measured = {float(point["concurrency"]): float(point["goodput_hz"]) for point in points}
    x = sorted({*band, *measured})

    def column(place: int) -> list[float | None]:
        return [band[n][place] if n in band else None for n in x]

    knee = law["knee"]
    return [
        Chart(
            key="law",
            section="law",
            title="Throughput by concurrency",
            caption="Useful steps per second (retries do not count) against the mean number of attempts in flight: the "
            "steps, the law through them, and its 95 % band." + (" The band across marks the knee." if knee else ""),
            unit="steps/s",
            x=x,
            lines=[
                Line("measured", "blue", [measured.get(n) for n in x], dots=True),
                Line("law", "green", column(1)),
                Line("95 % band, low", "grey", column(0), (2, 3)),
                Line("95 % band, high", "grey", column(2), (2, 3)),
            ],
            kind="load",
            gaps=[(knee, knee)] if knee else [],
            across="attempts in flight",
        )
    ]


def _headroom_section(headroom: Mapping[str, Any]) -> Section:
    if headroom["ratio"] is None:
        lead = f"Against {number(headroom['peak_hz'])} visits/s: no rate is known to hold."
    else:
        lead = (
            f"The expected peak is {number(headroom['peak_hz'])} visits/s ({clean(headroom['peak_of'])}); "
            f"{clean(headroom['capacity_of'])} is {number(headroom['capacity_hz'])} visits/s: {_more(headroom)}."
        )
    return Section("headroom", "Headroom", [lead])
