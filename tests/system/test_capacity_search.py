"""A capacity search by real runs: interrupted, gone on with, reused, fitted, and tampered with."""

from __future__ import annotations

import json
import shutil
import signal
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from harness.cli.fabric import free_port
from tests.system.harness_run import (
    Command,
    Finished,
    assert_ledger,
    get_engagement,
    run_command,
    wait_until,
    write_trace,
)

# What the search is about is not how busy the test's machine is.
PROFILE = """
[target]
url = "sim"
[validity]
lag_p99_ms = 2000
loop_stall_max_ms = 5000
cpu_max_ratio = 1.0
arrivals_deviation_ratio = 0.5
dropped_ratio = 0.5
[slo]
"p95(response_time)" = "< 5s"
"availability(eventual)" = "> 90%"
"""
KEYS = ["max_rate_hz", "ci95", "bound", "limiting_slo", "reason", "steps"]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A trace of sixty visits of one call, and a profile."""
    trace, profile = tmp_path / "trace.jsonl", tmp_path / "team.toml"
    write_trace(trace, ([get_engagement(identity="fresh")] for _ in range(60)), 20)
    profile.write_text(PROFILE)
    return trace, profile


def arguments(files: tuple[Path, Path], out: Path, *more: str) -> list[str]:
    """A search of two steps: --max is twice --start."""
    trace, profile = files
    search = ["capacity", "search", str(trace), "--profile", str(profile), "--out", str(out), "--json"]
    times = ["--start", "20/s", "--max", "40/s", "--budget", "2m", "--hold", "3s", "--settle", "1s"]
    return [*search, *times, "--connections", "pooled", *more]


def state(out: Path) -> dict[str, Any]:
    """search.json; without a step while there is none."""
    path = out / "search.json"
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"steps": []}
    return content


def scraped(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        return str(reply.read().decode())


def interrupted(files: tuple[Path, Path], out: Path, scratch: Path) -> Finished:
    """A search that gets Ctrl-C in its second step."""
    command = Command(*arguments(files, out, "--metrics", "off"), scratch=scratch, out=out)
    try:
        second = out / "step-02-40hz" / "series.jsonl"
        wait_until(lambda: second.exists() and second.read_text().count("\n") >= 1, 60, "a second of the second step")
        command.signal(signal.SIGINT)
        return command.wait(90)
    finally:
        command.kill()


def test_a_search_is_interrupted_gone_on_with_and_reused(files: tuple[Path, Path], tmp_path: Path) -> None:
    """Ctrl-C keeps the finished step; the same command goes on, ends "at least" at --max, and then only tells again."""
    out, port = tmp_path / "search", free_port()
    stopped = interrupted(files, out, tmp_path / "first")
    assert stopped.exit_code == 130, stopped.explain()
    assert [(step["rate_hz"], step["verdict"]) for step in state(out)["steps"]] == [(20, "held")]
    assert json.loads((out / "step-02-40hz" / "manifest.json").read_text())["partial"]

    command = Command(
        *arguments(files, out, "--metrics", f"127.0.0.1:{port}", "--resume"), scratch=tmp_path / "second", out=out
    )
    try:
        again = out / "step-02-40hz-2" / "series.jsonl"
        wait_until(lambda: again.exists() and again.read_text().count("\n") >= 1, 60, "the second step again")
        page = scraped(port)
        # What was scraped once is waited for at the end, until the last page was scraped, too.
        wait_until(lambda: 'harness_capacity_rate_hz{bound="at_least"} 40' in scraped(port), 60, "the last page")
        finished = command.wait(90)
    finally:
        command.kill()
    assert "harness_run_info" in page
    assert finished.exit_code == 0, finished.explain()
    result = json.loads(finished.stdout)
    assert list(result) == KEYS
    told = [(step["rate_hz"], step["verdict"], step["run"]) for step in result["steps"]]
    assert told == [(20, "held", "step-01-20hz"), (40, "held", "step-02-40hz-2")]
    del result["steps"]
    assert result == {
        "max_rate_hz": 40, "ci95": [40, None], "bound": "at_least", "limiting_slo": None,
        "reason": "--max allows no more than 40/s",
    }  # fmt: skip
    for _, _, run in told:
        _is_complete(out / run)
    assert {"capacity.json", "capacity.html", "search.json"} <= {path.name for path in out.iterdir()}

    before = sorted(path.name for path in out.iterdir())
    reused = run_command(*arguments(files, out, "--metrics", "off"), scratch=tmp_path / "third")
    assert (reused.exit_code, json.loads(reused.stdout)) == (0, json.loads(finished.stdout))
    assert sorted(path.name for path in out.iterdir()) == before

    other = run_command(*arguments(files, out, "--metrics", "off", "--seed", "2"), scratch=tmp_path / "other")
    assert other.exit_code == 2, other.explain()
    assert "holds a search with other options" in other.stderr
    assert "seed was 1 and is 2" in other.stderr
    _fits(out, tmp_path)


def _is_complete(run: Path) -> None:
    """A step is a run like any other: complete, its books balanced, played as far as its plan went."""
    manifest, summary = (json.loads((run / name).read_text()) for name in ("manifest.json", "summary.json"))
    assert "partial" not in manifest
    assert_ledger(summary)
    assert summary["visits"]["planned"] == summary["visits"]["completed"] > 0
    assert summary["ended"]["reason"] == "finished"
    assert (run / "report.html").exists()


def _fits(out: Path, tmp_path: Path) -> None:
    """Two rates say no law, but headroom; a run folder that was tampered with is found out."""
    fitted = run_command(
        "capacity", "fit", str(out), "--peak", "25/s", "--html", str(tmp_path / "fit.html"), scratch=tmp_path / "fit"
    )
    assert fitted.exit_code == 0, fitted.explain()
    assert "no law: three different rates or more are needed" in fitted.stdout
    assert "at least +60.0%; the capacity that the search found is 40/s" in fitted.stdout
    assert "Content-Security-Policy" in (tmp_path / "fit.html").read_text()
    tampered = tmp_path / "tampered"
    shutil.copytree(out / "step-01-20hz", tampered)
    summary = json.loads((tampered / "summary.json").read_text())
    summary["latency_ms"]["service_time"]["mean"] *= 0.8
    (tampered / "summary.json").write_text(json.dumps(summary))
    refused = run_command("capacity", "fit", str(tampered), scratch=tmp_path / "refused")
    assert refused.exit_code == 5, refused.explain()
    assert len(refused.error_lines) == 1
    assert "the data contradict themselves (Little's law)" in refused.stderr


def test_a_start_that_breaks_the_thresholds_ends_with_3(files: tuple[Path, Path], tmp_path: Path) -> None:
    """No rate, the reason on stdout, and what broke by name."""
    slo = "p50(response_time) < 100us"
    finished = run_command(
        *arguments(files, tmp_path / "out", "--metrics", "off", "--threshold", slo), scratch=tmp_path / "run"
    )
    assert finished.exit_code == 3, finished.explain()
    result = json.loads(finished.stdout)
    assert (result["max_rate_hz"], result["limiting_slo"], len(result["steps"])) == (None, slo, 1)
    assert result["reason"].startswith("the thresholds do not hold already at 20/s")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--start", "50/s"], "--start 50/s is above --max 40/s"),
        (["--budget", "3s"], "--budget 3s is shorter than one step"),
        (["--threshold", "mean(response_time) < 1s"], "a search judges no means"),
        (["--start", "fast"], "'fast' is not a rate"),
        (["--resume"], "there is no search to go on with"),
    ],
)
def test_what_cannot_be_searched_is_refused_at_once(
    files: tuple[Path, Path], tmp_path: Path, options: list[str], words: str
) -> None:
    """One line, exit code 2, and no folder."""
    out = tmp_path / "out"
    finished = run_command(*arguments(files, out, "--metrics", "off", *options), scratch=tmp_path / "run")
    assert finished.exit_code == 2, finished.explain()
    assert words in finished.stderr
    assert not out.exists()
