"""The search for the highest rate that holds all thresholds: which rate to try next, and what all of them say.

    climb    doubles the rate from the start until a step breaks, or the highest rate allowed has held
    bisect   tries the geometric middle between the highest rate held and the lowest broken, until they are close
    confirm  holds the rate that all steps together point to for the whole time; where that breaks, a lower one

Nothing is kept but the steps: what comes next is a function of the plan and of the steps so far, so a search that was
interrupted goes on where it was. A step whose instrument did not hold (INVALID) says nothing about the target: it is
tried again once, and then its rate is the generator's ceiling, and the result "at least" what held below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Final, Literal

import msgspec

from harness.capacity.border import Border, Point, border
from harness.capacity.evidence import Shown
from harness.units import format_rate

Stage = Literal["climb", "bisect", "confirm"]
Verdict = Literal["held", "broken", "invalid"]

FACTOR: Final = 2.0
# The bisection ends when the lowest broken rate is so much above the highest held.
CLOSE: Final = 1.05
# Below a ceiling of the generator's own it ends sooner: the answer is "at least" anyway.
CLOSE_ENOUGH: Final = 1.2
# A rate that could not be confirmed is followed by one so much lower, or lower still if the steps say so.
DOWN: Final = 0.985
CONFIRMATIONS: Final = 5
MOST_STEPS: Final = 40
GROWTH: Final = "no growing queue"
REPLIES: Final = "replies at all"


class SearchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What to search; rates in visits per second, times in seconds.

    `max_why` says who set `max_hz`. A step lasts `settle_s` and then `hold_s` at most; the whole search `budget_s`.
    """

    start_hz: float
    max_hz: float
    max_why: str = "--max"
    settle_s: int
    hold_s: int
    budget_s: float


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A step to be made: `number` counts from 1; `whole` says that it must not end before its time when it holds."""

    number: int
    stage: Stage
    rate_hz: float
    whole: bool = False


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A step that was made, and what it showed.

    `sure`: the test decided, rather than the figures at its end. `why` is one line. `slo` names what broke.
    `took_s` is all it cost, cool-down included. `cooling`: the service has yet to come to rest after it.
    `idle`: whether it did, as far as is known; `unrest`: why not.
    """

    number: int
    stage: Stage
    rate_hz: float
    verdict: Verdict
    sure: bool
    why: str
    slo: str | None = None
    seconds: int = 0
    shown: tuple[Shown, ...] = ()
    took_s: float = 0.0
    cooldown_s: float = 0.0
    cooling: bool = False
    idle: bool = True
    unrest: str = ""
    run: str = ""
    run_id: str = ""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a search came to; rates in visits per second, None where nothing held.

    `ci95` is the 95 % interval; its upper end is None when `bound` is "at_least": the target may take more.
    """

    max_rate_hz: float | None
    ci95: tuple[float, float | None] | None
    bound: Literal["estimate", "at_least"]
    limiting_slo: str | None
    reason: str
    confirmed: bool = False


class _State(msgspec.Struct, frozen=True):
    """Where a search stands: the highest rate held below all broken ones, the lowest broken one, the ceiling."""

    held: Step | None
    broken: Step | None
    ceiling: Step | None


def next_trial(plan: SearchPlan, steps: Sequence[Step]) -> Trial | None:
    """The step to make after `steps`, or None when the search is over; see `conclude`."""
    rate = _next_rate(plan, steps)
    if rate is None or _over_budget(plan, steps) or len(steps) >= MOST_STEPS or not _rested(steps):
        return None
    stage, rate_hz = rate
    return Trial(number=len(steps) + 1, stage=stage, rate_hz=_plain(rate_hz), whole=stage == "confirm")


def _next_rate(plan: SearchPlan, steps: Sequence[Step]) -> tuple[Stage, float] | None:
    if not steps:
        return "climb", plan.start_hz
    last = steps[-1]
    if last.verdict == "invalid" and _invalid_at(steps, last.rate_hz) == 1:
        return last.stage, last.rate_hz
    state = _state(steps)
    tried = [step for step in steps if step.stage == "confirm" and step.verdict != "invalid"]
    if state.held is None:
        # What held before and was then not confirmed at a lower rate: on with the confirming, further down.
        unconfirmed = bool(tried) and state.ceiling is None and len(tried) < CONFIRMATIONS
        return ("confirm", _candidate_hz(plan, steps, state)) if unconfirmed else None
    low_hz = state.held.rate_hz
    if state.ceiling is not None and (state.broken is None or state.ceiling.rate_hz <= state.broken.rate_hz):
        high_hz = state.ceiling.rate_hz
        return ("bisect", sqrt(low_hz * high_hz)) if high_hz > low_hz * CLOSE_ENOUGH else None
    if state.broken is None:
        return ("climb", min(low_hz * FACTOR, plan.max_hz)) if low_hz < plan.max_hz else None
    if not tried and state.broken.rate_hz > low_hz * CLOSE:
        return "bisect", sqrt(low_hz * state.broken.rate_hz)
    if len(tried) >= CONFIRMATIONS or any(step.verdict == "held" for step in tried):
        return None
    return "confirm", _candidate_hz(plan, steps, state)


def _candidate_hz(plan: SearchPlan, steps: Sequence[Step], state: _State) -> float:
    """The rate to confirm: where the steps together see the border, but below what could not be confirmed."""
    assert state.broken is not None
    held_hz = 0.0 if state.held is None else state.held.rate_hz
    lowered = [step.rate_hz * DOWN for step in steps if step.stage == "confirm" and step.verdict == "broken"]
    # What broke in another way than by its shares has no line to follow: the bracket is all there is.
    otherwise = [max(held_hz, step.rate_hz / CLOSE) for step in steps if _broke_otherwise(step)]
    # After a rate that was not confirmed the border lies about there, however far below it the next held rate is.
    likely_hz = min(lowered) if lowered else held_hz
    found = _limiting(steps, likely_hz if lowered else sqrt(held_hz * state.broken.rate_hz))
    # Never above what the plan allows, nor above what broke.
    bounds = (plan.max_hz, state.broken.rate_hz)
    return min([found[1].rate_hz if found else likely_hz, *lowered, *otherwise, *bounds])


def _broke_otherwise(step: Step) -> bool:
    return step.verdict == "broken" and all(shown.ok for shown in step.shown)


def _limiting(steps: Sequence[Step], near_hz: float) -> tuple[str, Border] | None:
    """The criterion that breaks at the lowest rate, with the interval of the lowest border."""
    borders = borders_of(steps, near_hz)
    if not borders:
        return None
    slo, lowest = min(borders.items(), key=lambda item: item[1].rate_hz)
    # Another criterion may break first as well, if its border could be as low.
    rivals = [each for each in borders.values() if each.rate_hz <= lowest.high_hz]
    return slo, Border(lowest.rate_hz, min(each.low_hz for each in rivals), min(each.high_hz for each in rivals))


def borders_of(steps: Sequence[Step], near_hz: float) -> dict[str, Border]:
    """Where each criterion breaks, by its text; those that nothing is known of are left out."""
    points: dict[str, list[Point]] = {}
    allowed: dict[str, float] = {}
    for step in steps:
        for shown in step.shown if step.verdict != "invalid" else ():
            allowed[shown.slo] = shown.allowed
            weight = 1 / shown.effect
            points.setdefault(shown.slo, []).append(Point(step.rate_hz, shown.bad * weight, shown.count * weight))
    found = {slo: border(points[slo], allowed[slo], near_hz) for slo in points}
    return {slo: each for slo, each in found.items() if each is not None}


def conclude(plan: SearchPlan, steps: Sequence[Step]) -> Found:
    """What `steps` say, however far the search came."""
    state = _state(steps)
    if state.held is None:
        return _nothing(steps)
    held_hz = state.held.rate_hz
    confirmed = [step for step in steps if step.stage == "confirm" and step.verdict == "held"]
    if confirmed:
        return _estimate(steps, state, confirmed[-1].rate_hz)
    return Found(
        max_rate_hz=held_hz,
        ci95=(held_hz, None),
        bound="at_least",
        limiting_slo=None if state.broken is None else state.broken.slo,
        reason=_why_at_least(plan, steps, state),
    )


def _estimate(steps: Sequence[Step], state: _State, rate_hz: float) -> Found:
    """The result of a search that confirmed `rate_hz`."""
    assert state.held is not None and state.broken is not None
    slo, low_hz, high_hz = state.broken.slo, state.held.rate_hz, state.broken.rate_hz
    found = _limiting(steps, rate_hz)
    otherwise = min((step.rate_hz for step in steps if _broke_otherwise(step)), default=None)
    if found is not None and (otherwise is None or found[1].rate_hz < otherwise):
        slo, low_hz, high_hz = found[0], found[1].low_hz, found[1].high_hz
    return Found(
        max_rate_hz=rate_hz,
        ci95=(_plain(min(low_hz, rate_hz)), _plain(max(high_hz, rate_hz))),
        bound="estimate",
        limiting_slo=slo,
        reason=f"held for the whole time at {format_rate(rate_hz)}",
        confirmed=True,
    )


def _nothing(steps: Sequence[Step]) -> Found:
    if not steps:
        reason = "no step was made"
    else:
        last = steps[-1]
        what = "the instrument did not hold" if last.verdict == "invalid" else "the thresholds do not hold"
        reason = f"{what} already at {format_rate(last.rate_hz)}: {last.why}"
    slo = steps[-1].slo if steps else None
    return Found(max_rate_hz=None, ci95=None, bound="at_least", limiting_slo=slo, reason=reason)


def _why_at_least(plan: SearchPlan, steps: Sequence[Step], state: _State) -> str:
    if not _rested(steps):
        why = f" ({steps[-1].unrest})" if steps[-1].unrest else ""
        return f"the target did not come to rest after {format_rate(steps[-1].rate_hz)}{why}, so nothing more was tried"
    ceiling, broken = state.ceiling, state.broken
    if ceiling is not None and (broken is None or ceiling.rate_hz <= broken.rate_hz):
        return f"the generator was the limit at {format_rate(ceiling.rate_hz)}: {ceiling.why}"
    if broken is None and state.held is not None and state.held.rate_hz >= plan.max_hz:
        return f"{plan.max_why} allows no more than {format_rate(plan.max_hz)}"
    if _over_budget(plan, steps):
        return f"the budget of {plan.budget_s:.0f} s was used up"
    tried = [step for step in steps if step.stage == "confirm" and step.verdict == "broken"]
    if len(tried) >= CONFIRMATIONS:
        return f"{len(tried)} rates in a row could not be confirmed: the target does not do the same twice"
    return "the search was not brought to its end"


def _state(steps: Sequence[Step]) -> _State:
    ceilings = [step for step in steps if step.verdict == "invalid" and _invalid_at(steps, step.rate_hz) > 1]
    broken = _lowest(steps, "broken")
    held = [step for step in steps if step.verdict == "held"]
    below = [step for step in held if broken is None or step.rate_hz < broken.rate_hz]
    return _State(
        held=max(below, key=lambda step: step.rate_hz, default=None),
        broken=broken,
        ceiling=min(reversed(ceilings), key=lambda step: step.rate_hz, default=None),  # of equal ones the newest
    )


def _lowest(steps: Sequence[Step], verdict: Verdict) -> Step | None:
    return min((step for step in steps if step.verdict == verdict), key=lambda step: step.rate_hz, default=None)


def _invalid_at(steps: Sequence[Step], rate_hz: float) -> int:
    """How many of the newest steps at that rate were INVALID in a row; one that counted excuses those before it."""
    verdicts = [step.verdict for step in reversed(steps) if step.rate_hz == rate_hz]
    return next((count for count, verdict in enumerate(verdicts) if verdict != "invalid"), len(verdicts))


def _over_budget(plan: SearchPlan, steps: Sequence[Step]) -> bool:
    """Whether another step, as long as one can be, would go over the budget.

    What a step takes beside settling and holding (processes, drain, cool-down) is what it took at most until now.
    """
    beside_s = max((step.took_s - plan.settle_s - step.seconds for step in steps), default=0.0)
    spent_s = sum(step.took_s for step in steps)
    return spent_s + plan.settle_s + plan.hold_s + max(beside_s, 0.0) > plan.budget_s


def _rested(steps: Sequence[Step]) -> bool:
    return all(step.idle for step in steps)


def _plain(rate_hz: float) -> float:
    """Four digits: a rate that can be said, and that a folder can be named after."""
    return float(f"{rate_hz:.4g}")
