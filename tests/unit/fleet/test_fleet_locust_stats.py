"""Locust's own statistics, fed slice by slice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def test_feeding_slices_equals_logging_every_request() -> None:
    """Counts, failures, rates, rounded times, percentiles and errors are what Locust itself would have logged."""
    command = [sys.executable, "-m", "tests.unit.fleet.stats_both_ways"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    both = json.loads(done.stdout)
    fed, logged = both["fed"], both["logged"]
    assert sorted(fed["entries"]) == ["POST get_engagement", "PUT update", "total"]
    for sides in zip(fed["entries"].values(), logged["entries"].values(), strict=True):
        # The sum of the times comes from midpoints; all else is exact.
        sums = [side.pop("total_ms") for side in sides]
        assert sums[0] == pytest.approx(sums[1], rel=0.001)
        assert sides[0] == sides[1]
    assert fed["errors"] == logged["errors"]
