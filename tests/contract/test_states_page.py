"""docs/states.md is what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness.trace.model import IDENTITIES
from harness.visitor.records import Chain, Result
from harness.visitor.retry import POLICIES
from harness.visitor.session import TRANSITIONS
from harness.visitor.table import CHAIN_EVENTS, IDENTITY_RULES, states_page

PAGE = Path(__file__).parents[2] / "docs" / "states.md"


def test_committed_page_is_in_step() -> None:
    """The committed page is what `python -m harness.visitor.table` prints now."""
    printed = subprocess.run(
        [sys.executable, "-m", "harness.visitor.table"], capture_output=True, text=True, check=True, cwd=PAGE.parents[1]
    ).stdout
    assert PAGE.read_text() == states_page() == printed


def test_page_tells_everything() -> None:
    """Each move, result, policy, identity rule and chain event has exactly one row."""
    rows = [line.removeprefix("| ").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert sorted((old, event) for old, event, *rest in rows if len(rest) == 2) == sorted(
        (f"`{old}`", f"`{event}`") for old, event in TRANSITIONS
    )
    first = [row[0] for row in rows]
    for name in (*(result.name for result in Result if result is not Result.rejected), *POLICIES):
        assert first.count(f"`{name}`") == 1 + (name == "none"), name
    assert first.count("`rejected`") == 2
    assert set(IDENTITY_RULES) == set(IDENTITIES)
    assert set(CHAIN_EVENTS) == set(Chain)
