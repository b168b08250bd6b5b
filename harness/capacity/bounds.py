"""What bounds a search before anything is sent: ceilings that the user set, and ports that this machine has.

A ceiling of visits or new sessions holds in any second, or minute, wherever it begins, so the mean rate must stay below
it: arrivals that come by chance bunch, and what is held back makes the step late and INVALID. The square root of a
Poisson count varies by a half, whatever its mean (Anscombe 1948); so a mean of (sqrt(ceiling) - z/2)^2 finds it full
with the chance that belongs to z.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt
from typing import Final

import msgspec

# One visit in a thousand may find the ceiling reached: of the lag, which is judged at its p99, that is a tenth.
_Z: Final = 3.09
# Regular arrivals need room only to catch up after the generator's own delays.
_REGULAR: Final = 0.95


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
    process: str = "poisson",
    workers: int = 1,
) -> tuple[float, str]:
    """(the highest rate that may be tried, in visits per second; who says so).

    `process` says how visits arrive; each of `workers` keeps its part of the ceilings. `connections_hz` is how many
    connections a second this machine can open to the target, None where that is no limit; each visit takes one, each
    step if `fresh`.
    """
    limits = [(max_hz, "--max")]
    regular = process == "constant" and workers == 1
    room = "less 5 % to catch up in" if regular else "less the room that arrivals by chance need"
    if max_visits_per_s is not None:
        most_hz = _mean_below(max_visits_per_s, workers, regular=regular)
        limits.append((most_hz, f"limits.max_visits_per_s ({max_visits_per_s:g}, {room})"))
    if max_new_sessions_per_min is not None and shape.sessions > 0:
        # Sessions of one visit may come together: then it is the visits that come by chance.
        together = max(1.0, shape.sessions)
        most = _mean_below(max_new_sessions_per_min / together, workers, regular=regular) * together
        why = f"limits.max_new_sessions_per_min ({max_new_sessions_per_min:g}, {room})"
        limits.append((most / 60 / shape.sessions, why))
    if connections_hz is not None:
        each = shape.steps if fresh else 1.0
        why = f"the local ports of this machine (about {connections_hz:.0f} new connections a second)"
        limits.append((connections_hz / each, why))
    return min(limits)


def _mean_below(ceiling: float, workers: int, *, regular: bool) -> float:
    """The mean number whose chance leaves `ceiling` alone, divided as it is among workers, each for itself."""
    if regular:
        return _REGULAR * ceiling
    # A worker's ceiling is whole, and visits fall to workers by chance, however they arrive.
    own = max(1, int(ceiling / workers))
    return workers * max((max(0.0, sqrt(own) - _Z / 2)) ** 2, own / 1000)


def plan_times(budget_s: float, hold_s: float | None, settle_s: float | None, stay_s: float) -> tuple[int, int]:
    """(settling, longest hold) of a step, in whole seconds; what is not given follows from budget and visits."""
    hold = max(30.0, budget_s / 16) if hold_s is None else hold_s
    settle = max(hold / 10, stay_s, 2.0) if settle_s is None else settle_s
    return ceil(settle), ceil(hold)
