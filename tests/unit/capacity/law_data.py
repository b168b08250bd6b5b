"""Data sets that follow the Universal Scalability Law, with noise that lasts from second to second."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from harness.capacity.load_point import LoadPoint
from harness.capacity.steps import StepResult
from harness.capacity.usl import Usl

NOISE, MEMORY = 0.08, 0.5


def law_points(law: Usl, concurrencies: Sequence[float], rng: Random, seconds: int = 60) -> list[LoadPoint]:
    """Steps at these mean concurrencies: goodput varies by 8 % from second to second and remembers half of it."""
    points = []
    for number, concurrency in enumerate(concurrencies):
        busy, useful, off, level = [], [], 0.0, 0.0
        for _ in range(seconds):
            off = MEMORY * off + rng.gauss(0, NOISE)
            level = MEMORY * level + rng.gauss(0, NOISE)
            busy.append(max(concurrency * (1 + level), 1e-3))
            # Goodput follows what is in flight by the law, and its own chance.
            useful.append(max(round(law.throughput_hz(busy[-1]) * (1 + off)), 0))
        result = StepResult(
            rate_hz=number + 1.0,
            achieved_hz=number + 1.0,
            goodput_hz=sum(useful) / seconds,
            concurrency=sum(busy) / seconds,
            latency_ns={},
            availability=None,
            ok={},
        )
        points.append(LoadPoint(label=f"step {number}", result=result, busy_s=tuple(busy), useful=tuple(useful)))
    return points
