"""The `history` block of summary.json: tonight beside the nights before it, as plain data for reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from harness.config.model import Regression
from harness.judge.nights import Night, Standing, baseline

# So many nights before tonight are drawn.
SHOWN: Final = 45


def history_block(
    series: str, tonight: Night, earlier: Sequence[Night], standings: Sequence[Standing], rules: Regression
) -> dict[str, Any]:
    """{series, nights, rules, metrics, changes}; see docs/history.md for the fields.

    `earlier` are the nights of the series before tonight, in order of time; an unsound one is not shown.
    """
    return {
        "series": series,
        "nights": sum(night.sound for night in earlier),
        "rules": {"min_effect": rules.min_effect, "alpha": rules.alpha, "history": rules.history},
        "metrics": [_metric(standing, tonight, earlier, rules) for standing in standings],
        "changes": [
            msgspec.to_builtins(change) | {"new": change in standing.new}
            for standing in standings
            for change in standing.changes
        ],
    }


def _metric(standing: Standing, tonight: Night, earlier: Sequence[Night], rules: Regression) -> dict[str, Any]:
    metric = standing.metric
    chosen = {night.run_id for night in baseline(earlier, standing.changes, metric, rules)}
    measured = [night for night in earlier if night.sound and metric.text in night.values][-SHOWN:]
    points = [
        {
            "run_id": night.run_id,
            "started_at": night.started_at,
            "value": night.values[metric.text],
            "baseline": night.run_id in chosen,
        }
        for night in measured
    ]
    if standing.value is not None:
        points.append(
            {
                "run_id": tonight.run_id,
                "started_at": tonight.started_at,
                "value": standing.value,
                "baseline": False,
            }
        )
    block: dict[str, Any] = {
        "metric": metric.text,
        "unit": metric.unit,
        "worse": metric.worse,
        "baseline_nights": standing.nights,
        "points": points,
    }
    if standing.value is not None:
        block["value"] = standing.value
    if standing.gate is not None and standing.value is not None:
        center = standing.gate.center
        block |= {
            "median": center,
            "limit": round(standing.gate.limit, 6),
            "ok": standing.gate.ok,
            "effect": metric.effect(center, standing.value),
            "change": metric.said(center, standing.value),
        }
    return block
