"""What bounds a search before anything is sent: ceilings that the user set, and ports that this machine has."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import msgspec


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What a visit of the trace asks for, on average; `stay_s` is how long nine of ten think in all."""

    visits: int
    steps: float
    sessions: float
    stay_s: float


def shape_of(visits: Sequence[tuple[int, int, float]]) -> Shape:
    """The shape of visits, each (steps, new sessions, think times added up in s); one at least."""
    stays = sorted(stay for _, _, stay in visits)
    return Shape(
        visits=len(visits),
        steps=sum(steps for steps, _, _ in visits) / len(visits),
        sessions=sum(sessions for _, sessions, _ in visits) / len(visits),
        stay_s=stays[ceil(0.9 * len(stays)) - 1],
    )


def highest_rate(
    max_hz: float,
    shape: Shape,
    *,
    max_visits_per_s: float | None = None,
    max_new_sessions_per_min: float | None = None,
    connections_hz: float | None = None,
    fresh: bool = False,
) -> tuple[float, str]:
    """(the highest rate that may be tried, in visits per second; who says so).

    `connections_hz` is how many connections a second this machine can open to the target, None where that is no limit;
    each visit takes one, each step if `fresh`.
    """
    limits = [(max_hz, "--max")]
    if max_visits_per_s is not None:
        limits.append((max_visits_per_s, "limits.max_visits_per_s"))
    if max_new_sessions_per_min is not None and shape.sessions > 0:
        limits.append((max_new_sessions_per_min / 60 / shape.sessions, "limits.max_new_sessions_per_min"))
    if connections_hz is not None:
        each = shape.steps if fresh else 1.0
        why = f"the local ports of this machine (about {connections_hz:.0f} new connections a second)"
        limits.append((connections_hz / each, why))
    return min(limits)


def plan_times(budget_s: float, hold_s: float | None, settle_s: float | None, stay_s: float) -> tuple[int, int]:
    """(settling, longest hold) of a step, in whole seconds; what is not given follows from budget and visits."""
    hold = max(30.0, budget_s / 16) if hold_s is None else hold_s
    settle = max(hold / 10, stay_s, 2.0) if settle_s is None else settle_s
    return ceil(settle), ceil(hold)
