"""A run beside its history: who enters the baseline, when it alarms, and when it stops."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

import pytest

from harness.config.model import Regression
from harness.judge.metric import Followed, follow
from harness.judge.nights import ADOPT_AFTER, KnownChange, Night, Standing, baseline, change_id, new_changes, stand

P95 = follow("p95(response_time)")
EVENTUAL = follow("availability(eventual)")
RULES = Regression()
WOBBLE = (0.0, 1.0, -1.0, 0.5, -0.5, 1.5, -1.5)


def night(at: int, value: float, metric: Followed = P95, **changes: Any) -> Night:
    fields: dict[str, Any] = {"run_id": f"r-{at:02}", "started_at": f"2026-01-{at:02}", "values": {metric.text: value}}
    return Night(**(fields | changes))


def nights(count: int, level: float = 100.0, start: int = 0, **changes: Any) -> list[Night]:
    """Nights whose values wobble by up to 1.5 around a level."""
    return [night(at, level + WOBBLE[at % len(WOBBLE)], **changes) for at in range(start, start + count)]


def known(at: int, **changes: Any) -> KnownChange:
    run_id = f"r-{at:02}"
    fields: dict[str, Any] = {"id": change_id(P95.text, run_id), "metric": P95.text, "run_id": run_id,
                              "before": 100.0, "after": 110.0, "worse": True}  # fmt: skip
    return KnownChange(**(fields | changes))


def ids(chosen: list[Night]) -> list[int]:
    return [int(each.run_id[2:]) for each in chosen]


def standing(tonight: Night, past: list[Night], *changes: KnownChange, metric: Followed = P95) -> Standing:
    return stand(tonight, past, changes, metric, RULES, Random(1))


REFUSED = {"status": "FAIL", "refused": frozenset({P95.text})}


def test_the_baseline_is_the_last_fourteen() -> None:
    """Of twenty good nights the newest fourteen, in order."""
    assert ids(baseline(nights(20), [], P95, RULES)) == list(range(6, 20))


@pytest.mark.parametrize(
    ("what", "enters"),
    [
        ({}, True),
        ({"status": "INVALID", "sound": False}, False),
        ({"status": "INVALID", "sound": False, "decision": "accepted"}, False),
        ({"status": "FAIL", "kept_slo": False}, False),
        ({"status": "FAIL", "kept_slo": False, "decision": "accepted"}, True),
        (REFUSED, False),
        ({**REFUSED, "decision": "accepted"}, True),
        ({"status": "FAIL", "refused": frozenset({"p50(response_time)"})}, True),
        ({"decision": "rejected"}, False),
        ({"values": {}}, False),
    ],
)  # fmt: skip
def test_who_enters_the_baseline(what: dict[str, Any], enters: bool) -> None:
    """Valid runs that kept their thresholds and were not refused in this metric, unless people said otherwise."""
    past = [*nights(6), night(6, 100.0, **what), *nights(2, start=7)]
    assert (6 in ids(baseline(past, [], P95, RULES))) is enters


def test_a_jump_is_refused_every_night_until_it_is_adopted() -> None:
    """A lasting +10 % fails for a week, then it is the level; the change stays open, and nothing alarms any more."""
    past, changes, alarms = nights(14), [], []
    for at in range(14, 40):
        found = standing(night(at, 110 + WOBBLE[at % len(WOBBLE)]), past, *changes)
        failed = [check for check in found.checks() if not check.ok]
        refused = found.gate is not None and not found.gate.ok
        past.append(night(at, 110 + WOBBLE[at % len(WOBBLE)], **(REFUSED if refused else {})))
        changes += found.new
        alarms += [at] if failed else []
    assert alarms == list(range(14, 14 + ADOPT_AFTER))
    assert [(change.run_id, change.state) for change in changes] == [("r-14", "open")]


def test_a_rejected_change_fails_until_the_old_level_is_back() -> None:
    """Nobody gets used to a level that must be repaired; once it is repaired, nothing alarms."""
    past = [*nights(14), *nights(20, 110, start=14, **REFUSED)]
    rejected = known(14, state="rejected", decided_at="2026-01-20")
    assert ids(baseline(past, [rejected], P95, RULES)) == list(range(14))
    still = standing(night(34, 110.0), past, rejected)
    assert still.gate is not None
    assert not still.gate.ok
    assert all(check.ok for check in standing(night(34, 100.0), past, rejected).checks())


def test_an_accepted_change_begins_a_baseline_at_once() -> None:
    """The refused nights since the change count as soon as people accept it; a later jump does not slip in."""
    past = [*nights(14), *nights(5, 110, start=14, **REFUSED)]
    accepted = known(14, state="accepted", decided_at="2026-01-18")
    assert ids(baseline(past, [accepted], P95, RULES)) == list(range(14, 19))
    later = [*past, night(19, 150.0, **REFUSED)]
    assert ids(baseline(later, [accepted], P95, RULES)) == list(range(14, 19))


def test_a_change_for_the_better_is_told_fails_nothing_and_tightens_the_baseline() -> None:
    """After -20 % the old, slower nights no longer excuse anything."""
    past = [*nights(14), *nights(5, 80, start=14)]
    found = standing(night(19, 80.0), past)
    assert [(change.run_id, change.worse) for change in found.new] == [("r-14", False)]
    assert [check.ok for check in found.checks()] == [True]
    assert ids(baseline(past, found.new, P95, RULES)) == [14, 15, 16, 17, 18]


def test_a_leak_is_not_swallowed() -> None:
    """One per cent a night, never accepted by anybody, alarms again and again, first before +15 %."""
    past, changes, alarms = nights(30), [], []
    for at in range(30, 65):
        level = 100 * 1.01 ** (at - 29)
        found = standing(night(at, level + WOBBLE[at % len(WOBBLE)]), past, *changes)
        refused = found.gate is not None and not found.gate.ok
        past.append(night(at, level + WOBBLE[at % len(WOBBLE)], **(REFUSED if refused else {})))
        changes += found.new
        alarms += [at] if not all(check.ok for check in found.checks()) else []
    assert alarms[0] <= 43
    assert len(changes) >= 2
    assert max(later - earlier for earlier, later in pairwise(alarms)) <= 15


def test_small_steps_are_held_against_where_the_drift_began() -> None:
    """+3 % does not count, +3 % more does: the change is told from the level before the first of them."""
    past = [
        night(at, level + 0.1 * WOBBLE[at % 7]) for at, level in enumerate([100.0] * 15 + [103.0] * 10 + [106.0] * 10)
    ]
    [change] = new_changes(past, [], P95, RULES, Random(1))
    assert (change.run_id, change.worse) == ("r-25", True)
    assert (change.before, change.after) == (pytest.approx(100, abs=0.2), pytest.approx(106, abs=0.2))


def test_a_reported_change_keeps_its_id_and_is_not_reported_again() -> None:
    """The same series, a night later, has the same change; the id follows from metric and run."""
    past = [*nights(14), *nights(8, 110, start=14)]
    [first] = new_changes(past, [], P95, RULES, Random(1))
    assert first.id == change_id(P95.text, "r-14")
    assert new_changes([*past, night(22, 110.0)], [first], P95, RULES, Random(2)) == []
    near = known(12)
    assert new_changes(past, [near], P95, RULES, Random(1)) == []


def test_an_invalid_night_is_neither_judged_nor_searched() -> None:
    """No value, no check, no change, whatever its numbers."""
    found = standing(night(14, 500.0, status="INVALID", sound=False), nights(14))
    assert (found.value, found.checks(), found.new) == (None, [], ())


def test_a_short_history_says_so_and_passes() -> None:
    """With four nights the check holds and its message says what is missing."""
    [check] = standing(night(4, 500.0), nights(4)).checks()
    assert (check.ok, check.enough_data) == (True, True)
    assert check.message == "not enough history: 4 baseline nights, 5 are needed"


def test_an_availability_counts_in_points() -> None:
    """0.6 points below a steady 99.9 % is refused, 0.4 are not; the message speaks of points."""
    past = [night(at, 0.999, EVENTUAL) for at in range(10)]
    assert all(check.ok for check in standing(night(10, 0.995, EVENTUAL), past, metric=EVENTUAL).checks())
    [check] = standing(night(10, 0.993, EVENTUAL), past, metric=EVENTUAL).checks()
    assert not check.ok
    assert check.message == "99.3 %, -0.6 points against 99.9 %, the median of 10 nights"


@pytest.mark.parametrize("alpha", [0.01, 0.003, 0.0007])
def test_a_strict_alpha_still_finds_a_plain_step(alpha: float) -> None:
    """Fifteen nights at 100, fifteen at 120: one change at every alpha, for there are as many orders as it asks for."""
    past = [*nights(15), *nights(15, level=120.0, start=15)]
    [change] = new_changes(past, [], P95, Regression(alpha=alpha), Random(1))
    assert (change.run_id, change.worse) == ("r-15", True)
