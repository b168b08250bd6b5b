"""The made-up run of `made_up_run.py` with all that a nightly adds: history, comparison, changes, waits as a curve."""

from __future__ import annotations

import runpy
from pathlib import Path
from random import Random
from typing import Any

from harness.config.model import Regression
from harness.judge.check import Check
from harness.judge.history_view import history_block
from harness.judge.metric import follow
from harness.judge.nights import Night, stand
from harness.judge.verdict import extended

MADE_UP = runpy.run_path(str(Path(__file__).with_name("made_up_run.py")))
METRICS = [follow("p95(response_time)"), follow("availability(eventual)"), follow("p99(time_to_available)")]


def compared_run() -> tuple[dict[str, Any], list[dict[str, Any]], Any]:
    """(summary, series, whole snapshot): a night 15 % slower than twenty before it, whose level has just moved."""
    summary, series, whole = MADE_UP["made_up_run"]()
    rng = Random(3)
    nights = [
        Night(
            run_id=f"run-{at:02}",
            started_at=f"2026-11-{at + 1:02}T02:30:00+00:00",
            values={
                METRICS[0].text: (26.0 if at < 20 else 30.0) * rng.gauss(1, 0.015),
                METRICS[1].text: 0.995 + 0.001 * rng.random(),
            },
        )
        for at in range(24)
    ]
    tonight, earlier = nights[-1], nights[:-1]
    rules = Regression()
    standings = [stand(tonight, earlier, [], metric, rules, Random(1)) for metric in METRICS]
    checks: list[Check] = [check for standing in standings for check in standing.checks()]
    summary["verdict"] = extended(summary["verdict"], checks)
    summary["history"] = history_block("5f3a90c1d2", tonight, earlier, standings, rules)
    summary["confirms"] = {"run_id": "first-try", "exit_code": 4, "why": "run first-try: FAIL <b>"}
    summary["comparison"] = {
        "base": ["run-19"],
        "message": "1 of 2 metrics are worse",
        "changes": [
            {
                "metric": "p95(response_time)", "unit": "ms", "scale": "relative", "base": 26.1, "new": 30.2,
                "effect": 0.157, "ci95": [0.12, 0.19], "outcome": "worse",
            },
            {
                "metric": "availability(first)", "unit": "ratio", "scale": "points", "base": 0.99, "new": None,
                "effect": None, "ci95": None, "outcome": "no_data",
            },
        ],
    }  # fmt: skip
    summary["time_to_available"] = {
        "curve": [
            {
                "at_ms": 2.0 * 1.6**step,
                "available_ratio": 1 - 0.75**step,
                "ci95": [max(0.0, 0.97 - 0.75**step), min(1.0, 1.03 - 0.75**step)],
                "never_ratio": 0.001 * step,
            }
            for step in range(14)
        ]
    }
    return summary, series, whole
