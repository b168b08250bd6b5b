"""The search as a function of its steps: which rates it tries, when it ends, and what it says then."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import exp, log
from random import Random
from typing import Any

import msgspec
import pytest

from harness.capacity.evidence import Shown
from harness.capacity.search import GROWTH, Found, SearchPlan, Step, Trial, conclude, next_trial
from tests.unit.capacity.queue_trial import play, queue_seconds
from tests.unit.capacity.test_evidence import border_hz

SLO = "p99(response_time) < 100ms"
PLAN = SearchPlan(start_hz=20, max_hz=2000, settle_s=5, hold_s=60, budget_s=3600)
Play = Callable[[Trial], Step]


def shown(rate_hz: float, border: float, slo: str = SLO, effect: float = 10.0) -> Shown:
    """What a target shows whose share of slow ones is 1 % at the border, and grows with the 30th power of the rate."""
    share = 1 / (1 + exp(-min(log(0.01 / 0.99) + 30 * log(rate_hz / border), 30)))
    return Shown(slo=slo, allowed=0.01, bad=round(20_000 * share), count=20_000, effect=effect, answer="open")


def made(trial: Trial, verdict: str, seen: tuple[Shown, ...] = (), **more: Any) -> Step:
    """A step of one minute."""
    fields: dict[str, Any] = {"sure": True, "why": "because", "took_s": 65.0, "seconds": 60, "shown": seen} | more
    common = {"number": trial.number, "stage": trial.stage, "rate_hz": trial.rate_hz, "verdict": verdict}
    return Step(**common, **fields)


def target(border: float) -> Play:
    """A target that breaks at `border`."""

    def play_one(trial: Trial) -> Step:
        seen = shown(trial.rate_hz, border)
        return made(trial, "held" if seen.ok else "broken", (seen,), slo=None if seen.ok else SLO)

    return play_one


def search(play_one: Play, plan: SearchPlan = PLAN) -> tuple[Found, list[Step]]:
    """A whole search."""
    steps: list[Step] = []
    while (trial := next_trial(plan, steps)) is not None:
        assert trial.number == len(steps) + 1
        steps.append(play_one(trial))
    return conclude(plan, steps), steps


@pytest.mark.parametrize("border", [23.0, 77.7, 180.0, 1900.0])
def test_it_doubles_halves_and_confirms(border: float) -> None:
    """Rates double until one breaks, middles are geometric, and what is confirmed is the border within 2 %."""
    found, steps = search(target(border))
    climb = [step.rate_hz for step in steps if step.stage == "climb"]
    assert climb == [min(20.0 * 2**k, 2000) for k in range(len(climb))]
    assert [step.verdict for step in steps if step.stage == "climb"] == ["held"] * (len(climb) - 1) + ["broken"]
    low, high = climb[-2], climb[-1]
    for step in (step for step in steps if step.stage == "bisect"):
        assert step.rate_hz == pytest.approx((low * high) ** 0.5, rel=1e-3)
        low, high = (step.rate_hz, high) if step.verdict == "held" else (low, step.rate_hz)
    assert high / low <= 1.05
    assert (found.bound, found.limiting_slo, found.confirmed) == ("estimate", SLO, True)
    assert found.max_rate_hz == pytest.approx(border, rel=0.02)
    assert found.ci95 is not None
    assert found.ci95[1] is not None
    assert found.ci95[0] <= border <= found.ci95[1]
    assert steps[-1].stage == "confirm"
    assert steps[-1].verdict == "held"


def test_only_the_confirming_step_must_last() -> None:
    """Trials of climb and bisection may end as soon as they hold, those that confirm may not."""
    trials: list[Trial] = []

    def noting(trial: Trial) -> Step:
        trials.append(trial)
        return target(180)(trial)

    search(noting)
    assert all(trial.whole == (trial.stage == "confirm") for trial in trials)


def test_what_cannot_be_confirmed_is_tried_lower_and_then_given_up() -> None:
    """A target that never does it twice: each confirmation is lower than the last, and the result is "at least"."""

    def fickle(trial: Trial) -> Step:
        step = target(180)(trial)
        return msgspec.structs.replace(step, verdict="broken", slo=SLO) if trial.stage == "confirm" else step

    found, steps = search(fickle)
    confirming = [step.rate_hz for step in steps if step.stage == "confirm"]
    assert len(confirming) == 5
    assert confirming == sorted(confirming, reverse=True)
    assert all(after <= 0.986 * before for before, after in pairwise(confirming))
    assert found.bound == "at_least"
    assert "could not be confirmed" in found.reason
    assert found.max_rate_hz is not None
    assert found.max_rate_hz < confirming[-1]


@pytest.mark.parametrize(
    ("border", "start_hz", "unlucky"), [(158.0, 20, 0), (160.5, 20, 2), (81.0, 20, 1), (164.0, 20, 2), (158.0, 160, 1)]
)
def test_a_border_beside_a_rate_of_the_climb_is_found(border: float, start_hz: float, unlucky: int) -> None:
    """Where the climb held by luck and confirmations break, the search stays near: it never falls back to half."""
    broke: list[Step] = []

    def play_one(trial: Trial) -> Step:
        step = target(border)(trial)
        if trial.stage == "climb" and trial.rate_hz <= border * 1.02:
            return msgspec.structs.replace(step, verdict="held", slo=None)
        if trial.stage == "confirm" and len(broke) < unlucky:
            broke.append(step)
            return target(trial.rate_hz * 0.99)(trial)
        return step

    found, _ = search(play_one, msgspec.structs.replace(PLAN, start_hz=start_hz))
    assert (found.bound, found.max_rate_hz) == ("estimate", pytest.approx(border, rel=0.06))


def test_nothing_is_tried_above_what_is_allowed_or_what_broke() -> None:
    """A target that breaks by bad luck at --max: what is confirmed lies neither above it nor above what broke."""
    plan = msgspec.structs.replace(PLAN, max_hz=168)

    def play_one(trial: Trial) -> Step:
        unlucky = trial.stage == "climb" and trial.rate_hz == 168
        return target(167.5 if unlucky else 170)(trial)

    found, steps = search(play_one, plan)
    assert max(step.rate_hz for step in steps) == 168
    assert found.max_rate_hz == pytest.approx(168, rel=0.02)


def test_max_bounds_the_search() -> None:
    """A target that holds everything: the last step is at --max itself, and the result says who set it."""
    plan = msgspec.structs.replace(PLAN, max_hz=100, max_why="limits.max_visits_per_s")
    found, steps = search(target(1e6), plan)
    assert [step.rate_hz for step in steps] == [20, 40, 80, 100]
    assert found == Found(
        max_rate_hz=100, ci95=(100, None), bound="at_least", limiting_slo=None,
        reason="limits.max_visits_per_s allows no more than 100/s",
    )  # fmt: skip


def test_an_instrument_that_does_not_hold_is_a_ceiling() -> None:
    """Above 300/s every step is INVALID: each such rate is tried twice, the result is "at least", with the cause."""

    def weak(trial: Trial) -> Step:
        if trial.rate_hz > 300:
            return made(trial, "invalid", why="worker_cpu: 97 %, at most 80 %")
        return target(1000)(trial)

    found, steps = search(weak)
    invalid = [step.rate_hz for step in steps if step.verdict == "invalid"]
    assert len(invalid) == 2 * len(set(invalid))
    assert found.bound == "at_least"
    assert found.max_rate_hz is not None
    assert 250 <= found.max_rate_hz <= 300
    assert found.ci95 == (found.max_rate_hz, None)
    assert found.limiting_slo is None
    assert found.reason.startswith("the generator was the limit at ")
    assert "worker_cpu: 97 %" in found.reason


def test_a_step_that_is_invalid_once_is_made_again() -> None:
    """A single disturbance changes nothing but the time it took."""
    plain, _ = search(target(180))
    disturbed: list[float] = []

    def once(trial: Trial) -> Step:
        if trial.rate_hz == 80 and not disturbed:
            disturbed.append(trial.rate_hz)
            return made(trial, "invalid", why="loop_stall")
        return target(180)(trial)

    assert search(once)[0] == plain


def test_invalid_steps_count_at_their_own_rate_and_in_a_row() -> None:
    """INVALID at 20/s, then held; much later INVALID there again: tried once more, for that is its first in a row."""
    climb, confirm = (Trial(number=1, stage=stage, rate_hz=20.0) for stage in ("climb", "confirm"))
    broken = made(Trial(number=3, stage="climb", rate_hz=20.5), "broken", slo=GROWTH)
    steps = [made(climb, "invalid"), made(climb, "held"), broken, made(confirm, "invalid")]
    again = next_trial(PLAN, steps)
    assert again == Trial(number=5, stage="confirm", rate_hz=20.0, whole=True)
    found = conclude(PLAN, [*steps, made(again, "held")])
    assert (found.bound, found.max_rate_hz) == ("estimate", 20.0)
    # Twice in a row is the ceiling.
    twice = [*steps, made(again, "invalid", why="worker_cpu: 97 %")]
    assert conclude(PLAN, twice).reason == "the generator was the limit at 20/s: worker_cpu: 97 %"


def test_a_start_that_does_not_hold_ends_at_once() -> None:
    """Broken at the first step, or INVALID twice: there is no rate, and the reason says which."""
    found, steps = search(target(10))
    assert (found.max_rate_hz, found.ci95, len(steps)) == (None, None, 1)
    assert found.reason.startswith("the thresholds do not hold already at 20/s")
    found, steps = search(lambda trial: made(trial, "invalid"))
    assert (found.max_rate_hz, len(steps)) == (None, 2)
    assert found.reason.startswith("the instrument did not hold already at 20/s")


def test_the_budget_is_never_exceeded() -> None:
    """No step begins that could end after the budget, and the result is "at least" what held until then."""
    for beside_s, count in ((0.0, 5), (7.0, 4)):
        plan = msgspec.structs.replace(PLAN, budget_s=5 * 65.0 + 10)

        def slowly(trial: Trial, beside_s: float = beside_s) -> Step:
            step = target(180)(trial)
            return msgspec.structs.replace(step, took_s=step.took_s + beside_s)

        found, steps = search(slowly, plan)
        assert len(steps) == count
        assert (found.max_rate_hz, found.bound) == (160, "at_least")
        assert found.reason == "the budget of 335 s was used up"


def test_a_target_that_does_not_come_to_rest_ends_the_search() -> None:
    """What follows would be measured on a target that is still busy with what came before."""

    def stuck(trial: Trial) -> Step:
        step = target(180)(trial)
        return msgspec.structs.replace(step, idle=step.verdict == "held")

    found, steps = search(stuck)
    assert (len(steps), found.max_rate_hz, found.bound) == (5, 160, "at_least")
    assert found.reason.startswith("the target did not come to rest after 320/s")


def test_a_queue_that_grows_is_a_border_of_its_own() -> None:
    """Shares that look good say nothing about a rate at which the queue grows: the bracket is the interval."""

    def quick(trial: Trial) -> Step:
        seen = shown(trial.rate_hz, 1e5)
        grows = trial.rate_hz > 150
        return made(trial, "broken" if grows else "held", (seen,), slo=GROWTH if grows else None)

    found, steps = search(quick)
    assert (found.bound, found.limiting_slo) == ("estimate", GROWTH)
    assert found.max_rate_hz is not None
    assert found.ci95 is not None
    assert found.ci95[1] is not None
    assert 150 / 1.06 <= found.max_rate_hz <= 150
    assert found.ci95[0] <= 150 <= found.ci95[1]
    assert sum(step.stage == "confirm" for step in steps) == 1


def test_the_threshold_that_breaks_first_limits() -> None:
    """Of two criteria the one with the lower border is named, and the interval is its own."""
    other = "availability(eventual) > 99%"

    def both(trial: Trial) -> Step:
        seen = (shown(trial.rate_hz, 240), shown(trial.rate_hz, 180, other))
        bad = [each.slo for each in seen if not each.ok]
        return made(trial, "broken" if bad else "held", seen, slo=bad[-1] if bad else None)

    found, _ = search(both)
    assert found.limiting_slo == other
    assert found.max_rate_hz == pytest.approx(180, rel=0.02)


def test_a_search_goes_on_where_it_was() -> None:
    """After any number of steps, written down and read back, the same trial follows: nothing else is remembered."""
    found, steps = search(target(180))
    kept = [msgspec.convert(msgspec.json.decode(msgspec.json.encode(step)), Step) for step in steps]
    for count in range(len(steps)):
        trial, again = next_trial(PLAN, steps[:count]), next_trial(PLAN, kept[:count])
        assert trial == again
        assert trial is not None
        assert (trial.number, trial.rate_hz, trial.stage) == (count + 1, steps[count].rate_hz, steps[count].stage)
    assert conclude(PLAN, kept) == found


def test_simulated_queues_are_measured_within_their_interval() -> None:
    """Ten searches of an M/M/8 queue, 60 s a step: all within 6 % of the closed form, nine intervals hold it."""
    slo, border = "p95(response_time) < 200ms", border_hz()
    held, worst = 0, 0.0
    for seed in range(10):
        rng = Random(seed)

        def queue(trial: Trial, rng: Random = rng) -> Step:
            return play(trial, queue_seconds(trial.rate_hz, 65, rng), [slo], 5, 60)

        found, steps = search(queue)
        assert (found.bound, found.limiting_slo) == ("estimate", slo)
        assert found.max_rate_hz is not None
        assert found.ci95 is not None
        assert found.ci95[1] is not None
        worst = max(worst, abs(found.max_rate_hz / border - 1))
        held += found.ci95[0] <= border <= found.ci95[1]
        assert sum(step.took_s for step in steps) <= 15 * 65
    assert worst <= 0.06
    assert held >= 9
