"""The bench as text for people: what it was taken on, what came of it, and what could not be taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_COLUMNS = {
    "harness": "harness run",
    "engine": "engine alone",
    "fast_http_user": "FastHttpUser",
    "http_user": "HttpUser",
    "wrk": "wrk",
}
_NOT_TAKEN = "-"


def render(document: Mapping[str, Any]) -> str:
    """The whole document as a few tables."""
    return "\n\n".join(
        part
        for part in (
            _machine(document),
            _throughput(document),
            _lag(document),
            _scrapes(document["scrapes"]),
            _memory(document["memory"]),
            _trace_tools(document["trace_tools"]),
            _missing(document["missing"]),
        )
        if part
    )


def _machine(document: Mapping[str, Any]) -> str:
    host, versions = document["machine"], document["versions"]
    known = ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())
    served = document["server"]["service_us"]
    return "\n".join(
        (
            f"{host['model']}, {host['cores']} cores, Linux {host['kernel']}, load before {host['load_1m']:g}",
            known,
            f"{document['started_at']}, {document['rounds']} round(s); the target needed "
            f"{_number(served['p50'])} us a call (p99 {_number(served['p99'])})",
        )
    )


def _throughput(document: Mapping[str, Any]) -> str:
    rows = [
        [
            f"{row['connections']:,}",
            *(_number(row["attempts_per_cpu_s"][subject]) for subject in _COLUMNS),
            _times(row["ratio_to_fast_http_user"]),
            _times(row["ratio_to_http_user"]),
        ]
        for row in document["throughput"]
    ]
    head = ["connections", *_COLUMNS.values(), "to FastHttpUser", "to HttpUser"]
    return f"Attempts per CPU-second (medians)\n{_table(head, rows)}"


def _lag(document: Mapping[str, Any]) -> str:
    rows = [
        [
            f"{row['rate_hz']:,}/s",
            *(_number(row[name]) for name in ("p50_ms", "p99_ms", "max_ms")),
            f"{row['worker_cpu_ratio']:.0%}",
            row["verdict"],
        ]
        for row in document["lag"]
    ]
    maximum = document["worker_maximum_hz"]
    title = "Dispatch lag at fixed rates, ms"
    if maximum is not None:
        title += f" (one worker would fill its core at {maximum:,} arrivals/s)"
    return f"{title}\n{_table(['arrivals', 'p50', 'p99', 'max', 'worker CPU', 'verdict'], rows)}" if rows else ""


def _scrapes(scrapes: Mapping[str, Any] | None) -> str:
    if scrapes is None:
        return ""
    costs = [
        [row["format"], f"{row['page_bytes']:,}", f"{row['scrapes']:,}", _number(row["cpu_ms"])]
        for row in scrapes["cost"]
    ]
    names = ("lag_p99_ms", "lag_max_ms", "worker_stall_max_ms", "master_stall_max_ms")
    stalls = [[row["scrapers"], *(_number(row[name]) for name in names)] for row in scrapes["stalls"]]
    return "\n".join(
        (
            "CPU of a scrape at the master, ms",
            _table(["format", "page bytes", "scrapes", "CPU"], costs),
            "",
            f"What scrapers hold up at {scrapes['rate_hz']:,} arrivals/s, ms",
            _table(["scrapers", "lag p99", "lag max", "worker's stall", "master's stall"], stalls),
        )
    )


def _memory(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [[row["connections"], f"{row['open_visits']:,}", _number(row["kb_per_open_visit"])] for row in rows]
    return f"Memory of one more open visit, kB\n{_table(['connections', 'open visits', 'kB'], cells)}" if cells else ""


def _trace_tools(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [
        [row["tool"], f"{row['visits']:,}", _number(row["visits_per_cpu_s"]), _number(row["rss_max_mb"])]
        for row in rows
    ]
    head = ["harness trace", "visits", "per CPU-second", "peak MB"]
    return f"Trace tools: visits per CPU-second (medians), and the most memory held\n{_table(head, cells)}"


def _missing(entries: Sequence[Mapping[str, str]]) -> str:
    return (
        "\n".join(["Not taken", *(f"  {entry['figure']}: {entry['reason']}" for entry in entries)]) if entries else ""
    )


def _number(value: float | None) -> str:
    if value is None:
        return _NOT_TAKEN
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _times(value: float | None) -> str:
    return _NOT_TAKEN if value is None else f"{value:.1f}x"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = ["  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True))
             for line in (head, *rows)]  # fmt: skip
    return "\n".join(lines)
