"""What a search or a fit leaves behind: the load curve and the law in numbers (capacity.json) and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from harness.capacity.law import Law, fit_law
from harness.capacity.load_point import LoadPoint
from harness.config.model import RunConfig
from harness.report.capacity import render_capacity
from harness.store.files import replace_file
from harness.store.search_folder import PAGE, SearchState, save_result
from harness.units import NS_PER_MS

SCHEMA = "harness.capacity/1"
_SEED = "capacity/law"


def law_of(points: Sequence[LoadPoint]) -> Law | None:
    """The law through the points; the same points give the same intervals."""
    return fit_law(points, Random(_SEED))


def curve(points: Sequence[LoadPoint], law: Law | None) -> dict[str, Any]:
    """The load curve and its law as capacity.json has them."""
    return {"points": [_point(point) for point in points], "law": None if law is None else _law(law)}


def _point(point: LoadPoint) -> dict[str, Any]:
    result = point.result
    return {
        "label": point.label,
        "rate_hz": result.rate_hz,
        "achieved_hz": round(result.achieved_hz, 6),
        "goodput_hz": round(result.goodput_hz, 6),
        "concurrency": round(result.concurrency, 6),
        "seconds": len(point.useful),
        "latency_ms": {
            stat: None if value_ns is None else round(value_ns / NS_PER_MS, 6)
            for stat, value_ns in result.latency_ns.items()
        },
        "availability": result.availability,
        "ok": dict(result.ok),
    }


def _law(law: Law) -> dict[str, Any]:
    return {
        "lambda_hz": law.usl.lambda_hz,
        "lambda_ci95": law.lambda_ci95,
        "sigma": law.usl.sigma,
        "sigma_ci95": law.sigma_ci95,
        "kappa": law.usl.kappa,
        "kappa_ci95": law.kappa_ci95,
        "reach": law.usl.reach,
        "knee": law.knee,
        "knee_ci95": law.knee_ci95,
        "peak_hz": law.peak_hz,
        "peak_ci95": law.peak_ci95,
        "why": law.why,
        "band": law.band,
    }


def write_reports(
    out: Path, state: SearchState, result: Mapping[str, Any], points: Sequence[LoadPoint], config: RunConfig
) -> None:
    """Writes capacity.json and capacity.html of a search; raises `StorageError`."""
    whole = {
        "schema": SCHEMA,
        "started_at": state.started_at,
        **result,
        **curve(points, law_of(points)),
        "plan": state.plan,
    }
    save_result(out, whole)
    about = f"{config.scenario} · {state.started_at} · against {config.target}"
    replace_file(out / PAGE, render_capacity(whole, about).encode())
