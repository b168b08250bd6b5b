"""`harness check`: a stored run is judged by its own rules or by others, from its histograms, and stays as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.cli.main import run_command
from harness.measure.histogram import Histogram
from harness.measure.slices import to_lines
from harness.measure.snapshot import Snapshot
from harness.store.run_folder import RunFolder
from harness.units import NS_PER_MS

SUMMARY = Path(__file__).parents[2] / "contract" / "fake_summary.json"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of two seconds: 200 replies of 50 ms in the first, which was the warm-up, 200 of 10 ms in the second."""
    summary: dict[str, Any] = json.loads(SUMMARY.read_text())
    summary["phases"]["warmup_s"] = 0.5
    config = {"thresholds": ["p95(response_time) < 30ms"], "validity": {"lag_p99_ms": 10.0}}
    folder = RunFolder.create(tmp_path / "run", {"run_id": "r", "config": config})
    for second, value_ms in enumerate((50, 10)):
        histogram = Histogram()
        histogram.add(value_ms * NS_PER_MS, 200)
        snapshot = Snapshot(histograms={("response_time", "get_engagement", "all", "ok"): histogram})
        folder.append_slices(to_lines(second, snapshot))
    folder.finish(summary | {"verdict": {"status": "PASS", "exit_code": 0, "checks": []}}, None)
    return tmp_path / "run"


def judged(capsys: pytest.CaptureFixture[str], run: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    code = run_command(["check", str(run), "--json", "--quiet", *arguments])
    verdict: dict[str, Any] = json.loads(capsys.readouterr().out)["verdict"]
    return code, {check["name"]: check["ok"] for check in verdict["checks"] if check["kind"] == "slo"}


def test_without_rules_its_own_count(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The thresholds of the run itself are judged again, the warm-up left out."""
    assert judged(capsys, run) == (0, {"p95(response_time) < 30ms": True})


def test_other_rules_take_their_place(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--threshold and --slo are judged together, instead of the run's own; a violation is exit code 3."""
    slo = tmp_path / "slo.toml"
    slo.write_text('[slo]\n"max(response_time)" = "< 20ms"\n')
    found = judged(capsys, run, "--slo", str(slo), "--threshold", "p95(response_time) < 5ms")
    assert found == (3, {"max(response_time) < 20ms": True, "p95(response_time) < 5ms": False})


def test_limits_of_a_profile_judge_the_instrument(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A profile's [validity] counts: with a lag limit below what was measured the run is INVALID."""
    profile = tmp_path / "p.toml"
    profile.write_text("[validity]\nlag_p99_ms = 0.001\n")
    assert judged(capsys, run, "--profile", str(profile)) == (5, {"p95(response_time) < 30ms": True})


def test_the_folder_stays_as_it_is(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Checking writes nothing."""
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    judged(capsys, run, "--threshold", "p95(response_time) < 5ms")
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_run_without_a_summary(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that ended before its summary is one line."""
    (run / "summary.json").unlink()
    assert run_command(["check", str(run)]) == 2
    assert "has no summary to judge" in capsys.readouterr().err
