"""A made-up capacity.json: a search with every kind of step, a load curve, and a law with a knee."""

from __future__ import annotations

from random import Random
from typing import Any

from harness.capacity.usl import Usl
from harness.cli.capacity_report import SCHEMA, curve, law_of
from tests.unit.capacity.law_data import law_points

SLO = "p95(response_time) < 200ms"


def step(rate_hz: float, verdict: str, bad: int, stage: str = "climb", why: str = "as it was") -> dict[str, Any]:
    """A step of a search as the result tells it."""
    shares = [] if verdict == "invalid" else [{"slo": SLO, "bad": bad, "count": 1000, "allowed": 0.05}]
    return {
        "rate_hz": rate_hz, "verdict": verdict, "stage": stage, "sure": True, "why": why, "slo": None, "seconds": 30,
        "took_s": 35.2, "run": f"step-{rate_hz:g}hz", "shares": shares,
    }  # fmt: skip


def capacity_result(**more: Any) -> dict[str, Any]:
    """The result of a search that found an estimate; `more` takes the place of its parts."""
    law = Usl(lambda_hz=100.0, sigma=0.05, kappa=0.001, reach=0)
    points = law_points(law, (1, 2, 4, 8, 16, 24, 32, 48, 64), Random(1))
    drawn = curve(points, law_of(points))
    for point in drawn["points"]:
        point["latency_ms"] = {"p50": 10 + point["rate_hz"], "p95": 30 + point["rate_hz"] ** 2, "p99": None}
    return {
        "schema": SCHEMA,
        "started_at": "2026-11-26T02:00:00.000+00:00",
        "max_rate_hz": 174.6,
        "ci95": (166.2, 186.0),
        "bound": "estimate",
        "limiting_slo": SLO,
        "reason": "held for the whole time at 174.6/s",
        "steps": [
            step(20, "held", 1), step(40, "invalid", 0, why="<img src=x> worker_cpu: 97 %"), step(40, "held", 2),
            step(320, "broken", 900), step(174.6, "held", 40, "confirm"),
        ],
        **drawn,
        "plan": {"start_hz": 20},
    } | more  # fmt: skip
