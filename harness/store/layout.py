"""The names of a run folder and of the files in it (interfaces section 4)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

MANIFEST = "manifest.json"
SUMMARY = "summary.json"
SERIES = "series.jsonl"
SLICES = "slices.jsonl.zst"
JOURNAL = "journal.jsonl"
REPORT = "report.html"
JUNIT = "junit.xml"
MARKDOWN = "summary.md"


def default_run_name(started: datetime, scenario: str, run_id: str) -> str:
    """The folder name of a run: UTC date and time, scenario, six characters of its id.

    `started` must know its time zone; letters of `scenario` that do not belong into a file name become dashes.
    Example: `2026-11-22T215138-checkout-3f9a1c`.
    """
    stamp = started.astimezone(UTC).strftime("%Y-%m-%dT%H%M%S")
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", scenario).strip("-.")[:40] or "run"
    return f"{stamp}-{plain}-{re.sub(r'[^A-Za-z0-9]', '', run_id)[-6:]}"
