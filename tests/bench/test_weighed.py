"""The memory of a child, as the bench reads it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.bench.children import run_weighed

pytestmark = pytest.mark.system

MB = 1_000_000


def test_a_child_is_not_charged_with_what_its_parent_holds(tmp_path: Path) -> None:
    """A child that takes 100 MB has them and a bare Python, whatever this process held when it was started."""
    held = b"x" * (400 * MB)
    code = f'held = b"x" * {100 * MB}; print(len(held)); raise SystemExit(3)'
    ended, rss_max_bytes = run_weighed([sys.executable, "-c", code], tmp_path, limit_s=60)
    assert (ended.exit_code, int(ended.stdout)) == (3, 100 * MB)
    assert 100 * MB < rss_max_bytes < 200 * MB < len(held)
    assert ended.cpu_s > 0
