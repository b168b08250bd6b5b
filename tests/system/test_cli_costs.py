"""What it costs to ask: commands that load nothing must not pay for what they do not use."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.harness_run import run_command

pytestmark = pytest.mark.system


def cpu_of_importing_click() -> float:
    """What this machine needs now for the interpreter and click alone."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "import click"], check=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_costs_less_than_a_fifth_of_a_second(tmp_path: Path) -> None:
    """`harness --help` takes under 0.2 s of CPU (best of 5), or on a slow machine little more than click's import."""
    runs = [run_command("--help", scratch=tmp_path / str(n)) for n in range(5)]
    assert {run.exit_code for run in runs} == {0}
    assert "run" in runs[0].stdout
    floor_s = min(cpu_of_importing_click() for _ in range(5))
    assert min(run.cpu_s for run in runs) < max(0.2, 2 * floor_s)
