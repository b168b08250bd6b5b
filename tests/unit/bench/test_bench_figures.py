"""From costs to figures: the slope, medians and ratios, and the tables that tell them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.bench.children import BenchError
from harness.bench.machine import cpu_model
from harness.bench.measure import SUBJECTS, throughput_row
from harness.bench.scrapes import Taken as TakenRun
from harness.bench.scrapes import Watch, cost_row, stall_row
from harness.bench.subjects import Cost, slope
from harness.bench.table import render
from harness.bench.trace_tools import TOOLS, Taken, tool_row, trace_tools


def test_the_slope_forgets_what_start_and_end_cost() -> None:
    """20 us an attempt is 50,000 a CPU-second, whatever both runs paid besides."""
    for overhead_s in (0.0, 3.7):
        short, long = (Cost(calls, overhead_s + calls * 20e-6) for calls in (600, 60_600))
        assert slope(short, long) == pytest.approx(50_000)


@pytest.mark.parametrize(("short", "long"), [(Cost(600, 3.0), Cost(6_600, 2.9)), (Cost(600, 3.0), Cost(600, 3.2))])
def test_a_slope_that_would_be_nonsense_is_refused(short: Cost, long: Cost) -> None:
    """A long run that cost less CPU, or made no more calls, gives no figure."""
    with pytest.raises(BenchError, match="too busy"):
        slope(short, long)


def test_a_row_holds_medians_and_their_ratios() -> None:
    """Medians over the rounds each subject has; a subject without any has none, and no ratio either."""
    figures = {"harness": [41_000.0, 39_000.0, 60_000.0], "engine": [70_000.0, 71_000.0], "fast_http_user": [5_000.4]}
    row = throughput_row(50, {subject: figures.get(subject, []) for subject in SUBJECTS})
    assert row == {
        "connections": 50,
        "attempts_per_cpu_s": {
            "harness": 41_000, "engine": 70_500, "fast_http_user": 5_000, "http_user": None, "wrk": None,
        },
        "ratio_to_fast_http_user": 8.2,
        "ratio_to_http_user": None,
        "rounds": {
            "harness": [41_000, 39_000, 60_000], "engine": [70_000, 71_000], "fast_http_user": [5_000],
            "http_user": [], "wrk": [],
        },
    }  # fmt: skip


def test_a_scrape_costs_what_it_adds_to_a_moment_without_one() -> None:
    """The median beyond the idle median: other work that falls into a few of the moments counts for nothing."""
    watched = [
        Watch(scrapes_s={"text": [0.0011, 0.0012, 0.2]}, idle_s=[0.0, 0.0002, 0.3], page_bytes={"text": 30_000}),
        Watch(scrapes_s={"text": [0.0010, 0.0013]}, idle_s=[0.0001, 0.0002], page_bytes={"text": 31_000}),
    ]
    assert cost_row("text", watched) == {"format": "text", "page_bytes": 31_000, "scrapes": 5, "cpu_ms": 1.0}


def test_stalls_are_the_longest_of_all_rounds() -> None:
    """Maxima over the rounds, the median of their p99, and how often the master was asked."""

    def taken(p99: float, longest: float, stall: float, waits_s: list[float]) -> TakenRun:
        lag = {"count": 9, "p99": p99, "max": longest}
        summary = {"latency_ms": {"dispatch_lag": lag}, "generator": {"loop_stall_max_ms": stall}}
        return TakenRun(summary, Watch(waits_s=waits_s))

    rounds = [taken(0.4, 3.0, 2.5, [0.001, 0.02]), taken(9.0, 30.0, 1.5, [0.001]), taken(0.6, 2.0, 4.5, [0.0305, 0.0])]
    assert stall_row("flooded", rounds) == {
        "scrapers": "flooded",
        "lag_p99_ms": 0.6,
        "lag_max_ms": 30.0,
        "worker_stall_max_ms": 4.5,
        "master_stall_max_ms": 30.5,
        "master_asked": 5,
    }


def test_a_trace_tool_has_its_median_rate_and_its_most_memory() -> None:
    """Medians over the rounds that were taken, the most memory of all; a tool that failed in each has neither."""
    taken = [Taken(9_000.0, 80_000_000), Taken(11_000.4, 95_250_000), Taken(10_000.0, 70_000_000)]
    assert tool_row("warp", 20_000, taken) == {
        "tool": "warp",
        "visits": 20_200,
        "visits_per_cpu_s": 10_000,
        "rss_max_mb": 95.2,
        "rounds": [9_000, 11_000, 10_000],
    }
    empty = tool_row("warp", 20_000, [])
    assert (empty["visits_per_cpu_s"], empty["rss_max_mb"], empty["rounds"]) == (None, None, [])


def test_the_trace_tools_take_turns_and_a_figure_may_be_missing(tmp_path: Path) -> None:
    """Each round asks for every tool once; one that could not be taken does not keep the others."""
    asked: list[str] = []

    def attempt(figure: str, _take: Callable[[], Taken]) -> Taken | None:
        asked.append(figure)
        return None if figure.endswith("merge") else Taken(1_000.0, 50_000_000)

    rows = trace_tools(tmp_path / "traces", 3_000, 2, attempt)
    assert asked == [f"trace tools, round {number} of 2: {tool}" for number in (1, 2) for tool in TOOLS]
    assert {row["tool"]: row["visits_per_cpu_s"] for row in rows} == dict.fromkeys(TOOLS, 1_000) | {"merge": None}


def test_the_processor_is_named_or_unknown() -> None:
    """The first `model name` of /proc/cpuinfo; machines without one exist."""
    assert cpu_model("processor\t: 0\nmodel name\t: Fast 9000\n\nmodel name\t: Fast 9000\n") == "Fast 9000"
    assert cpu_model("CPU implementer\t: 0x41\n") == "unknown"


def document() -> dict[str, Any]:
    """A small but complete result."""
    return {
        "started_at": "2026-01-02T03:04:05+00:00",
        "rounds": 3,
        "machine": {"cores": 2, "model": "Fast 9000", "kernel": "6.1", "architecture": "x86_64", "load_1m": 0.5},
        "versions": {"python": "3.11.2", "locust": None},
        "throughput": [
            throughput_row(500, {"harness": [40_000], "engine": [60_000], "fast_http_user": [5_000],
                                 "http_user": [1_600], "wrk": []}),
        ],
        "worker_maximum_hz": 20_000,
        "lag": [
            {"rate_hz": 10_000, "attempts_hz": 9_999.0, "p50_ms": 0.05, "p99_ms": 0.71, "max_ms": 3.0,
             "worker_cpu_ratio": 0.5, "verdict": "PASS"},
        ],
        "scrapes": {
            "rate_hz": 1_000,
            "cost": [{"format": "text", "page_bytes": 31_572, "scrapes": 240, "cpu_ms": 0.312}],
            "stalls": [
                {"scrapers": "quiet", "lag_p99_ms": 0.41, "lag_max_ms": 2.5, "worker_stall_max_ms": 3.0,
                 "master_stall_max_ms": 14.25, "master_asked": 2_400},
            ],
        },
        "memory": [{"connections": "pooled", "open_visits": 50_000, "kb_per_open_visit": 1.9}],
        "trace_tools": [
            tool_row("stat", 20_000, [Taken(18_000.4, 91_000_000), Taken(17_000, 90_500_000), Taken(19_000, 1)]),
            tool_row("sample", 20_000, []),
        ],
        "server": {"service_us": {"p50": 16.2, "p99": 102.8}, "calls": 1},
        "missing": [{"figure": "round 1 of 3, 500 connections: wrk", "reason": "wrk is not installed"}],
    }  # fmt: skip


def test_the_tables_say_every_figure_and_what_is_missing() -> None:
    """The whole text of a small result."""
    assert render(document()) == (
        "Fast 9000, 2 cores, Linux 6.1, load before 0.5\n"
        "python 3.11.2, locust missing\n"
        "2026-01-02T03:04:05+00:00, 3 round(s); the target needed 16.2 us a call (p99 103)\n"
        "\n"
        "Attempts per CPU-second (medians)\n"
        "  connections  harness run  engine alone  FastHttpUser  HttpUser  wrk  to FastHttpUser  to HttpUser\n"
        "          500       40,000        60,000         5,000     1,600    -             8.0x        25.0x\n"
        "\n"
        "Dispatch lag at fixed rates, ms (one worker would fill its core at 20,000 arrivals/s)\n"
        "  arrivals   p50   p99  max  worker CPU  verdict\n"
        "  10,000/s  0.05  0.71    3         50%     PASS\n"
        "\n"
        "CPU of a scrape at the master, ms\n"
        "  format  page bytes  scrapes    CPU\n"
        "    text      31,572      240  0.312\n"
        "\n"
        "What scrapers hold up at 1,000 arrivals/s, ms\n"
        "  scrapers  lag p99  lag max  worker's stall  master's stall\n"
        "     quiet     0.41      2.5               3            14.2\n"
        "\n"
        "Memory of one more open visit, kB\n"
        "  connections  open visits   kB\n"
        "       pooled       50,000  1.9\n"
        "\n"
        "Trace tools: visits per CPU-second (medians), and the most memory held\n"
        "  harness trace  visits  per CPU-second  peak MB\n"
        "           stat  20,200          18,000       91\n"
        "         sample  20,200               -        -\n"
        "\n"
        "Not taken\n"
        "  round 1 of 3, 500 connections: wrk: wrk is not installed"
    )
