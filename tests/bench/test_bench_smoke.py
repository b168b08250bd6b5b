"""`harness bench` at work: quick, but with every figure. No figure is judged, nor is the machine for being busy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.system.harness_run import run_command

pytestmark = [pytest.mark.system, pytest.mark.alone]


def test_the_quick_bench_gives_complete_numbers(tmp_path: Path) -> None:
    """Subjects, lag, scrapes, memory and trace tools have figures above zero; whatever is missing has its reason."""
    finished = run_command("bench", "--quick", "--json", scratch=tmp_path, timeout_s=240)
    assert finished.exit_code == 0, finished.explain()
    document: dict[str, Any] = json.loads(finished.stdout)
    assert (document["schema"], document["quick"], document["rounds"]) == ("harness.bench/1", True, 1)
    missing = {entry["figure"].rpartition(": ")[2]: entry["reason"] for entry in document["missing"]}
    (row,) = document["throughput"]
    assert row["connections"] == 50
    rates = row["attempts_per_cpu_s"]
    assert set(rates) == {"harness", "engine", "fast_http_user", "http_user", "wrk"}
    unmeasured = {subject for subject, rate in rates.items() if rate is None}
    assert all(rate > 0 for subject, rate in rates.items() if subject not in unmeasured)
    tools = {row["tool"]: row for row in document["trace_tools"]}
    assert list(tools) == ["stat", "sample", "slice", "warp", "merge", "anonymize"]
    untaken = {tool for tool, row in tools.items() if row["visits_per_cpu_s"] is None}
    for tool in tools.keys() - untaken:
        taken = tools[tool]
        assert taken["visits"] == 3_200 and taken["rounds"] == [taken["visits_per_cpu_s"]] and taken["rounds"][0] > 0
        # A Python process with what reads traces, within what these commands promise.
        assert 10 < taken["rss_max_mb"] < 200
    assert set(missing) == unmeasured | untaken
    assert missing.pop("wrk", "wrk is not installed") == "wrk is not installed"
    assert ("wrk" in unmeasured) == (shutil.which("wrk") is None)
    # What two short runs cost says nothing where somebody else took the cores in the shorter one.
    assert all(reason.endswith("the machine is too busy to measure on") for reason in missing.values())
    for stock in ("fast_http_user", "http_user"):
        assert (row[f"ratio_to_{stock}"] is None) == bool({"harness", stock} & unmeasured)
    (lag,) = document["lag"]
    assert lag["rate_hz"] == 500 and 0 < lag["p50_ms"] <= lag["p99_ms"] <= lag["max_ms"]
    scrapes = document["scrapes"]
    assert [row["format"] for row in scrapes["cost"]] == ["text", "openmetrics", "protobuf"]
    # Three seconds, ten scrapes a second, the formats in turn; 437 series are 20 kB in any of them.
    assert all(row["scrapes"] == 10 and row["cpu_ms"] > 0 and row["page_bytes"] > 20_000 for row in scrapes["cost"])
    assert [row["scrapers"] for row in scrapes["stalls"]] == ["quiet", "scraped", "flooded"]
    for row in scrapes["stalls"]:
        assert row["worker_stall_max_ms"] > 0 and row["master_stall_max_ms"] > 0
        assert 0 < row["lag_p99_ms"] <= row["lag_max_ms"]
    assert [row["master_asked"] for row in scrapes["stalls"]] == [300, 240, 300]
    (memory,) = document["memory"]
    assert memory["connections"] == "pooled" and memory["kb_per_open_visit"] > 0
    assert document["machine"]["cores"] >= 1 and document["versions"]["locust"]
    assert 0 < document["server"]["service_us"]["p50"] <= document["server"]["service_us"]["p99"]
