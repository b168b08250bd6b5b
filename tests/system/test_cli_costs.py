"""What it costs to ask: commands that load nothing must not pay for what they do not use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.harness_run import run_command

pytestmark = pytest.mark.system


@pytest.mark.alone
def test_help_costs_less_than_a_fifth_of_a_second(tmp_path: Path) -> None:
    """`harness --help` takes under 0.2 s of CPU, the interpreter's start included (best of 15)."""
    runs = [run_command("--help", scratch=tmp_path / str(n)) for n in range(15)]
    assert {run.exit_code for run in runs} == {0}
    assert "run" in runs[0].stdout
    assert min(run.cpu_s for run in runs) < 0.2
