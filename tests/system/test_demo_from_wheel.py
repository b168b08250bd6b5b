"""The demo as a user of the package meets it: a wheel, installed in an empty environment elsewhere, and one command."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.system.browser import find_chromium, opened
from tests.system.harness_run import ROOT, assert_ledger

pytestmark = [pytest.mark.system, pytest.mark.alone]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `harness` command of a fresh environment that holds the wheel and what it depends on, nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("engagement_harness-*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True, timeout=120)
    python = str(folder / "env" / "bin" / "python")
    uv = Path(sys.executable).with_name("uv")
    install = [str(uv), "pip", "install", "--python", python] if uv.exists() else [python, "-m", "pip", "install"]
    subprocess.run([*install, "--quiet", str(wheel)], check=True, timeout=600)
    return folder / "env" / "bin" / "harness"


@pytest.fixture(scope="module")
def ran(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """`harness demo` in a folder of its own, far from the source tree."""
    folder = tmp_path_factory.mktemp("elsewhere")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("HARNESS_", "PYTHON"))}
    done = subprocess.run([installed, "demo"], cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    runs = list((folder / "runs").iterdir())
    assert len(runs) == 1, done.stderr
    return done, runs[0]


@pytest.fixture(scope="module")
def summary(ran: tuple[subprocess.CompletedProcess[str], Path]) -> dict[str, Any]:
    """The summary of that run."""
    loaded: dict[str, Any] = json.loads((ran[1] / "summary.json").read_text())
    return loaded


def test_the_demo_passes_and_says_so(
    ran: tuple[subprocess.CompletedProcess[str], Path], summary: dict[str, Any]
) -> None:
    """Exit 0, PASS in the first line, progress on stderr, and the report's path at the end."""
    done, folder = ran
    assert (done.returncode, summary["verdict"]["status"]) == (0, "PASS"), done.stdout + done.stderr
    assert done.stdout.startswith("PASS")
    assert "visits 1500/1500" in done.stderr
    assert str(folder / "report.html") in (done.stdout + done.stderr).replace(
        "report: runs", f"report: {folder.parent}"
    )


def test_the_demo_is_a_real_load(ran: tuple[subprocess.CompletedProcess[str], Path], summary: dict[str, Any]) -> None:
    """At least 20 s, 1,000 visits, 50 open at the peak, updates, a cold account, and a chain that holds."""
    series = [json.loads(line) for line in (ran[1] / "series.jsonl").read_text().splitlines()]
    assert summary["duration_s"] >= 20
    assert summary["visits"]["completed"] >= 1_000
    assert max(line["open"] for line in series) >= 50
    assert summary["steps"]["accepted"] > 0
    assert summary["attempts"]["by_result"]["loading"] > 0
    assert summary["chain"]["crossed"] == 0 and summary["chain"]["kept"] > summary["chain"]["started"] > 0
    assert_ledger(summary)


def test_the_demo_trace_has_returning_visitors_and_long_visits() -> None:
    """At least 30 % of the visits have several steps, and some visitors return with the vid of an earlier visit."""
    with gzip.open(ROOT / "fixtures" / "demo.jsonl.gz") as file:
        visits = [json.loads(line) for line in file][1:]
    several = sum(len(visit["steps"]) > 1 for visit in visits)
    returning = sum(step["identity"] == "return" for visit in visits for step in visit["steps"])
    assert several / len(visits) >= 0.3
    assert returning >= 20 and sum(visit["returns"] for visit in visits) >= 20


def test_returning_visitors_were_recognised(summary: dict[str, Any]) -> None:
    """Every RETURN step of the demo found the vid of the visitor's earlier visit."""
    assert summary["chain"]["return_missed"] == 0


def test_the_report_opens_without_complaint(ran: tuple[subprocess.CompletedProcess[str], Path], tmp_path: Path) -> None:
    """In a real browser the report of the real run draws its charts, and the console stays silent."""
    document, console = opened(find_chromium(), ran[1] / "report.html", tmp_path / "profile")
    assert console == []
    assert document.count("<canvas") >= 6


def test_the_package_carries_its_files(installed: Path) -> None:
    """Locustfiles, fixtures and grafana travel inside the wheel."""
    site = next(installed.parents[1].glob("lib/python3*/site-packages"))
    files = site / "harness" / "_files"
    assert (files / "locustfiles" / "engagement.py").is_file()
    assert (files / "fixtures" / "demo.jsonl.gz").is_file()
    assert (files / "grafana").is_dir()
    assert shutil.which("harness", path=str(installed.parent)) is not None
