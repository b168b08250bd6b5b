"""Made-up histories of nights, judged as `harness nightly` judges them, beside the rule "previous night + 10 %".

A night is one value of one metric: a level times a normal factor. Every night passes through `judge.nights.stand`, gets
refused or not, and its change points are reported, exactly as in the product; nobody accepts or rejects anything, and
no confirming re-run is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from harness.config.model import Regression
from harness.judge.metric import follow
from harness.judge.nights import KnownChange, Night, stand

METRIC = follow("p95(response_time)")
RULES = Regression()
# A change begins after so many quiet nights, which are taken as judged and passed.
QUIET = 20

Level = Callable[[int], float]


def flat(_night: int) -> float:
    """Nothing changes."""
    return 1.0


def step(night: int) -> float:
    """+10 % from night `QUIET` on."""
    return 1.1 if night >= QUIET else 1.0


def leak(night: int) -> float:
    """1 % more each night from night `QUIET` on, compounded: +15 % is passed with the fifteenth."""
    return 1.01 ** max(0, night - QUIET + 1)


@dataclass(frozen=True)
class Told:
    """What one history of nights gave: for each night, whether the judge and whether the rival alarmed."""

    judge: list[bool]
    rival: list[bool]


def history(level: Level, noise: float, nights: int, seed: int, *, judged_from: int = 0) -> Told:
    """`nights` nights of a level with a relative night-to-night noise; those before `judged_from` passed unjudged."""
    rng = Random(f"history/{seed}")
    past: list[Night] = []
    known: list[KnownChange] = []
    judge, rival = [], []
    previous = None
    for at in range(nights):
        value = 200 * level(at) * (1 + noise * rng.gauss(0, 1))
        tonight = Night(run_id=f"run-{at:03}", started_at=f"2026-{at:03}", values={METRIC.text: value})
        if at < judged_from:
            past.append(tonight)
            judge.append(False)
            rival.append(previous is not None and value > 1.1 * previous)
            previous = value
            continue
        standing = stand(tonight, past, known, METRIC, RULES, Random(f"orders/{seed}/{at}"))
        failed = [check for check in standing.checks() if not check.ok]
        refused = standing.gate is not None and not standing.gate.ok
        past.append(
            Night(
                run_id=tonight.run_id,
                started_at=tonight.started_at,
                values=tonight.values,
                refused=frozenset({METRIC.text}) if refused else frozenset(),
            )
        )
        known += standing.new
        judge.append(bool(failed))
        rival.append(previous is not None and value > 1.1 * previous)
        previous = value
    return Told(judge, rival)
