"""Tests run on what stands in the sources: compiled modules that are older end the session."""

from __future__ import annotations

import pytest

from harness.compiled import compiled, stale


def pytest_report_header() -> str:
    """Says in which form the engine is tested."""
    return f"engine: {'compiled' if compiled() else 'interpreted'}"


def pytest_sessionstart() -> None:
    """Refuses to test an engine that is not the one in the sources."""
    if changed := stale():
        pytest.exit(f"compiled before the last change: {', '.join(changed)}; run make compile or make interpret", 2)
