"""The chapter of whole visits: an overview, and each exemplar's transcript, call by call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.report.parts import Section, Table
from harness.report.words import NOTHING, clean, integer, name, number

_KINDS = {
    "slowest": "slowest",
    "exhausted": "spent a retry budget",
    "renewed": "session renewed",
}
_COLUMNS = (
    "operation", "result", "ids", "message", "at ms", "step", "try", "status", "code", "lag ms", "connect ms",
    "service ms", "response ms",
)  # fmt: skip


def exemplars_section(summary: Mapping[str, Any]) -> list[Section]:
    """The chapter, or nothing when the summary tells of no visit."""
    told = summary.get("exemplars")
    if not told:
        return []
    rows = [
        [
            _KINDS.get(each["kind"], clean(each["kind"])),
            clean(each["visit"]),
            name(each["cohort"]),
            name(each["end"]),
            number(each["took_ms"]),
            integer(len(each["calls"]) + each["left_out"]),
            number(each["arrived_s"]),
        ]
        for each in told
    ]
    heads = ("why", "visit", "cohort", "end", "slowest step ms", "attempts", "arrived at s")
    return [
        Section(
            "exemplars",
            "Visits told",
            ["Some visits of the measured part, whole: the slowest, and others that something happened to."],
            [Table("Visits", heads, rows, texts=4)],
            folded=[_transcript(each) for each in told],
        )
    ]


def _transcript(exemplar: Mapping[str, Any]) -> Table:
    rows = [
        [
            name(call["op"]),
            name(call["result"]),
            name(call.get("chain", NOTHING)),
            clean(call.get("message", "")),
            number(call["at_ms"]),
            integer(call["step"] + 1),
            integer(call["number"]),
            *(number(call.get(key)) for key in ("http_status", "code")),
            *(number(call.get(f"{key}_ms")) for key in ("lag", "connect", "service", "response")),
        ]
        for call in exemplar["calls"]
    ]
    left_out = f", {integer(exemplar['left_out'])} attempts left out" if exemplar["left_out"] else ""
    why = _KINDS.get(exemplar["kind"], clean(exemplar["kind"]))
    title = f"{clean(exemplar['visit'])}: {why}, {number(exemplar['took_ms'])} ms{left_out}"
    return Table(title, _COLUMNS, rows, texts=4)
