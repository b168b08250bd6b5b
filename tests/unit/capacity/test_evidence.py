"""The sequential test of a step: how often it errs, how soon it answers, and what it sees of a growing queue."""

from __future__ import annotations

from math import exp, factorial
from random import Random

import pytest

from harness.capacity.criterion import criteria_of
from harness.capacity.evidence import LOOKS, Evidence, design_effect
from harness.judge.threshold import parse_thresholds
from harness.measure.histogram import Histogram
from harness.measure.snapshot import Snapshot
from harness.units import NS_PER_MS
from tests.unit.capacity.queue_trial import MEAN_S, SLOTS, queue_seconds

LIMIT_S, QUANTILE = 0.2, 0.95
CRITERIA = criteria_of(parse_thresholds([f"p95(response_time) < {LIMIT_S * 1000:g}ms"]))


def slower_share(rate_hz: float, limit_s: float, slots: int = SLOTS) -> float:
    """The share of an M/M/c queue's replies that take longer: Erlang C, and a wait and a service convolved."""
    load, service_hz = rate_hz * MEAN_S, 1 / MEAN_S
    below = sum(load**k / factorial(k) for k in range(slots))
    last = load**slots / factorial(slots) * slots / (slots - load)
    waits, drain_hz = last / (below + last), slots * service_hz - rate_hz
    both = (drain_hz * exp(-service_hz * limit_s) - service_hz * exp(-drain_hz * limit_s)) / (drain_hz - service_hz)
    return (1 - waits) * exp(-service_hz * limit_s) + waits * both


def border_hz(slots: int = SLOTS) -> float:
    """The rate at which exactly 5 % are slower than the limit, by halving."""
    low, high = 1.0, slots / MEAN_S - 1e-6
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if slower_share(middle, LIMIT_S, slots) < 1 - QUANTILE else (low, middle)
    return low


def answers(rate_hz: float, hold_s: int, seeds: range) -> list[tuple[str, int]]:
    """(answer, seconds judged until then) of steps at one rate."""
    found = []
    for seed in seeds:
        evidence = Evidence(CRITERIA, 5, hold_s)
        for second, snapshot in enumerate(queue_seconds(rate_hz, hold_s + 5, Random(seed))):
            if evidence.add(second, snapshot) != "open":
                break
        found.append((evidence.answer, evidence.seconds))
    return found


def test_at_the_border_it_rarely_decides_either_way() -> None:
    """Of 60 steps of 60 s at exactly the border few are called held, and few broken (docs/capacity.md: 6 %, 1 %)."""
    found = [answer for answer, _ in answers(border_hz(), 60, range(60))]
    assert found.count("held") <= 6
    assert found.count("broken") <= 6


@pytest.mark.parametrize(("share", "answer"), [(0.4, "held"), (0.75, "held"), (1.25, "broken"), (2.0, "broken")])
def test_far_from_the_border_it_decides_soon_and_rightly(share: float, answer: str) -> None:
    """A quarter and more beside the border every step is decided rightly, on average before half of the hold."""
    found = answers(share * border_hz(), 60, range(10))
    assert {each for each, _ in found} == {answer}
    assert sum(seconds for _, seconds in found) / len(found) <= 30


def second(times_ms: list[int], began: int, ended: int) -> Snapshot:
    """A second with replies after so long, and so many visits begun and ended."""
    histogram = Histogram()
    histogram.add_all([ms * NS_PER_MS for ms in times_ms])
    return Snapshot(
        counters={("visits_started", "all"): began, ("visits_ended", "all"): ended},
        histograms={("response_time", "get_engagement", "all", "ok"): histogram},
    )


def test_a_queue_that_grows_is_not_held_however_good_its_percentiles_look() -> None:
    """Two visits a second stay behind, every reply is quick: broken, and it says why."""
    evidence = Evidence(CRITERIA, 2, 60)
    seen = [evidence.add(at, second([20] * 48, 50, 48)) for at in range(62)]
    assert set(seen) == {"open", "broken"}
    assert evidence.growing.startswith("the queue grows: ")
    assert evidence.shown[0].bad == 0


def test_response_times_that_rise_tell_of_a_queue_as_well() -> None:
    """Visits come and go evenly while each reply takes a little longer, far below the limit: broken."""
    evidence = Evidence(CRITERIA, 0, 60)
    for at in range(60):
        evidence.add(at, second([10 + at] * 50, 50, 50))
    assert evidence.growing.startswith("the queue grows: the response time rose")


def test_it_looks_only_at_the_appointed_times() -> None:
    """Between the looks nothing is decided, what settles is left out, and seconds without a slice count as empty."""
    evidence = Evidence(CRITERIA, 3, 20)
    slow = [evidence.add(at, second([500] * 50, 50, 50)) for at in range(6)]
    assert slow == ["open"] * 6
    assert evidence.add(6, second([500] * 50, 50, 50)) == "broken"
    assert evidence.seconds == round(20 * LOOKS[0])
    late = Evidence(CRITERIA, 0, 20)
    late.add(10, second([5], 1, 1))
    assert late.seconds == 11


def test_only_a_step_that_must_hold_for_the_whole_time_can_still_break() -> None:
    """Quick at first and slow later: what was held stays held, unless the whole time was asked for."""
    for whole, answer, seconds in ((False, "held", {12}), (True, "broken", {27, 39, 48, 60})):
        evidence = Evidence(CRITERIA, 0, 60, whole=whole)
        for at in range(60):
            evidence.add(at, second([10 if at < 13 else 900] * 50, 50, 50))
        assert (evidence.answer, evidence.decided) == (answer, True)
        assert evidence.seconds in seconds
        assert evidence.shown[0].count == 50 * evidence.seconds
    steady = Evidence(CRITERIA, 0, 60, whole=True)
    for at in range(60):
        steady.add(at, second([10] * 50, 50, 50))
    assert (steady.answer, steady.seconds, steady.decided) == ("held", 60, False)


def test_a_step_that_ended_early_is_judged_by_what_there_is() -> None:
    """A look outside the plan fills in what was seen; without any second there is nothing."""
    evidence = Evidence(CRITERIA, 0, 100)
    evidence.look()
    assert evidence.shown == []
    evidence.add(0, second([10, 300], 2, 2))
    evidence.look()
    assert [(shown.bad, shown.count, shown.answer) for shown in evidence.shown] == [(1, 2, "open")]


def test_dependence_is_seen_and_independence_too() -> None:
    """Independent trials have an effect near 1; seconds that are all good or all bad for ten in a row one near 10 n."""
    rng = Random(1)
    sizes = [50] * 300
    alone = [float(sum(rng.random() < 0.2 for _ in range(50))) for _ in sizes]
    assert 1.0 <= design_effect(alone, sizes, 0.2 * 0.8)[0] < 2.0
    runs = [50.0 if rng.random() < 0.2 else 0.0 for _ in range(30) for _ in range(10)]
    runs = [runs[at // 10 * 10] for at in range(300)]
    share = sum(runs) / sum(sizes)
    assert 250 < design_effect(runs, sizes, share * (1 - share))[0] < 900
    assert design_effect([], [], 1.0)[0] == 1.0
