"""The figures of `harness plan` as text: what the run asks for, what it needs, what visitors get, what if."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from harness.report.parts import Table
from harness.report.text import WIDTH, table_lines
from harness.report.words import clean, integer, joined, name, number, percent, quantity

Document = Mapping[str, Any]

_INDENT = "  "
_HEAD = len("connections open") + 2 * len(_INDENT)


def render_plan(document: Document) -> str:
    """The document of `harness plan` for a terminal, every line at most `WIDTH` characters, ends with a newline."""
    chosen = ", the default" if document["scenario_from"] == "default" else ""
    title = (
        f"{document['trace']} · {document['arrivals']} · {document['retry']} · {document['connections']} · "
        f"seed {document['seed']} · scenario {document['scenario']}{chosen}"
    )
    lines = textwrap.wrap(clean(title), WIDTH, subsequent_indent=_INDENT)
    for title, rows in (("Load", _load(document)), ("Needs", _needs(document)), ("Visitors", _visitors(document))):
        lines += ["", title, *(line for row in rows for line in _row(*row))]
    if document["breaches"]:
        lines += ["", "Ceilings that it breaks", *(line for each in document["breaches"] for line in _breach(each))]
    if "what_if" in document:
        lines += ["", "What if", *table_lines(_what_if(document["what_if"]))]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _row(head: str, text: str) -> list[str]:
    first = f"{_INDENT}{head}".ljust(_HEAD)
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=" " * _HEAD)


def _breach(breach: Document) -> list[str]:
    return textwrap.wrap(breach["message"], WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT * 2)


def _load(document: Document) -> Iterator[tuple[str, str]]:
    visits, rates, duration = document["visits"], document["rates"], document["duration_s"]
    hz = "" if rates["visits_hz"] is None else f", {number(rates['visits_hz'])}/s"
    yield (
        "visits",
        f"{integer(visits['planned'])} within {number(duration['arrivals'])} s{hz}; "
        f"{integer(rates['visits_busiest_second'])} in the busiest second",
    )
    if visits.get("censored"):
        yield "", f"{integer(visits['censored'])} of them cut off by the end of the drain: give a longer --drain"
    yield "ends", f"after {number(duration['until_all_is_over'])} s"
    yield "steps", _counted(document["steps"], "settled")
    busiest = integer(rates["calls_busiest_second"])
    yield "calls", f"{_counted(document['calls'], 'total')}; {busiest} in the busiest second"
    yield (
        "new sessions",
        (f"{integer(rates['new_sessions'])}; {integer(rates['new_sessions_busiest_minute'])} in the busiest minute"),
    )
    yield "new connections", f"{integer(rates['new_connections_busiest_second'])} in the busiest second"
    for level, values in document["concurrency"].items():
        mean = "" if values["mean"] is None else f", {number(values['mean'])} on average while visits arrive"
        yield name(level), f"{integer(values['peak'])} at the peak{mean}"


def _needs(document: Document) -> Iterator[tuple[str, str]]:
    needs = document["needs"]
    reached = f"one keeps {number(needs['worker_rate_hz'])} calls/s"
    yield "workers", f"{integer(needs['workers'])} for the {needs['workers_because_of']} of the peak ({reached})"
    yield "memory", f"about {integer(needs['memory_mb'])} MB for the master, the workers and what they keep open"
    wanted, given = needs["source_addresses"], needs["source_addresses_given"]
    advice = "" if wanted <= given else f", {integer(given)} given: repeat --source-address"
    yield (
        "ports",
        f"{integer(needs['ports'])} open or in TIME_WAIT at the peak, an address of this machine has "
        f"{integer(needs['ports_of_an_address'])}: {integer(wanted)} source address{'es' if wanted > 1 else ''} "
        f"for each target address{advice}",
    )


def _visitors(document: Document) -> Iterator[tuple[str, str]]:
    shares, waits = document["availability"], document["time_to_available_ms"]
    at_once, in_the_end = percent(shares["first_attempt_ratio"]), percent(shares["eventual_ratio"])
    yield "available", f"{at_once} at once, {in_the_end} in the end"
    yield "after", ", ".join(f"{quantile} {_wait(value, 'ms')}" for quantile, value in waits.items())
    yield "calls per step", f"{number(document['retry_amplification'])} (retry amplification)"


def _what_if(rows: list[Document]) -> Table:
    columns = (
        "retry", "available", "calls", "per step", "in the end", "p50 ms", "p95 ms", "in flight", "sessions/min",
    )  # fmt: skip
    return Table(
        "",
        columns,
        [
            [
                clean(row["retry"], 20),
                "as it is" if row["availability"] is None else number(row["availability"]),
                integer(row["calls"]),
                number(row["retry_amplification"]),
                percent(row["eventual_ratio"]),
                _wait(row["time_to_available_ms"]["p50"]),
                _wait(row["time_to_available_ms"]["p95"]),
                integer(row["in_flight_peak"]),
                integer(row["new_sessions_busiest_minute"]),
            ]
            for row in rows
        ],
    )


def _counted(counts: Mapping[str, int], total: str) -> str:
    parts = joined({kind: n for kind, n in counts.items() if kind != total}, " + ")
    return f"{integer(counts[total])} = {parts}"


def _wait(value: float | None, unit: str = "") -> str:
    return "never" if value is None else quantity(value, unit)
