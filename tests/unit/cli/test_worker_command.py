"""`harness worker`: what it refuses before it starts anything."""

from __future__ import annotations

import pytest

from harness.cli.main import run_command
from harness.errors import ExitCode


@pytest.mark.parametrize("capacity", ["nan", "inf"])
def test_a_capacity_that_is_no_number_is_refused_at_once(capacity: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Not only when a master answers: one line that quotes it, exit code 2."""
    code = run_command(["worker", "127.0.0.1:1", "--wait", "1s", "--capacity", capacity])
    assert code == ExitCode.USAGE
    assert capsys.readouterr().err == (
        f"harness: error: --capacity {capacity}: write a number above 0, such as 1 or 2.5\n"
    )
