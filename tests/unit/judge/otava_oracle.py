"""Writes otava_changes.json beside this file: what apache-otava finds in made-up series, for test_changes.py.

It pins an old numpy, so it has an environment of its own:

    python3 -m venv otava && otava/bin/pip install apache-otava==0.8.0
    otava/bin/python tests/unit/judge/otava_oracle.py
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

SEEDS = range(5)
ALPHA, ORDERS = 0.01, 199
# kind -> levels of stretches of nights: (nights, level); a ramp is a stretch whose level grows with each night.
KINDS: dict[str, list[tuple[int, float, float]]] = {
    "flat": [(40, 100, 0)],
    "step up": [(30, 100, 0), (12, 112, 0)],
    "step down": [(20, 100, 0), (20, 90, 0)],
    "two steps": [(20, 100, 0), (15, 115, 0), (15, 130, 0)],
    "there and back": [(20, 100, 0), (12, 120, 0), (20, 100, 0)],
}
NOISE = 0.02


def series(kind: str, seed: int) -> list[float]:
    """One series of that kind, rounded as it is stored."""
    rng = Random(f"{kind}/{seed}")
    return [
        round((level + growth * at) * (1 + NOISE * rng.gauss(0, 1)), 4)
        for nights, level, growth in KINDS[kind]
        for at in range(nights)
    ]


def answer(values: list[float]) -> dict[str, Any]:
    """Otava's best first split with its Q, and the change points that its permutation test lets stand."""
    import numpy as np
    from otava.analysis import ChangePointDetector, PairDistanceCalculator, PermutationsSignificanceTester

    data = np.array(values)
    best = PairDistanceCalculator(data).get_candidate_change_point(slice(0, len(values)))
    tester = PermutationsSignificanceTester(
        max_pvalue=ALPHA, permutations=ORDERS, calculator=PairDistanceCalculator, seed=1
    )
    points = ChangePointDetector(tester, PairDistanceCalculator).get_change_points(data)
    return {
        "values": values,
        "split": int(best.index),
        "q": float(best.qhat),
        "changes": [int(point.index) for point in points],
    }


if __name__ == "__main__":
    found = [{"kind": kind, "seed": seed, **answer(series(kind, seed))} for kind in KINDS for seed in SEEDS]
    content = {"otava": version("apache-otava"), "alpha": ALPHA, "orders": ORDERS, "series": found}
    lines = json.dumps(content).replace('{"kind"', '\n{"kind"')
    Path(__file__).with_name("otava_changes.json").write_text(lines + "\n")
