"""Comparison of runs: what is found, what is not, what is refused."""

from __future__ import annotations

from math import log
from random import Random
from typing import Any

import orjson
import pytest

from harness.errors import UsageError
from harness.judge.compare import Comparison, compare, compare_pairs
from harness.measure.histogram import Histogram
from tests.unit.judge.runs import made_run

P95 = "p95(response_time)"
AVAILABLE = "availability(first)"


def only(comparison: Comparison) -> Any:
    [change] = comparison.changes
    return change


def test_a_slower_target_is_found_and_sized() -> None:
    """20 % slower replies are a regression with exit 4, sized within the interval; the other way they are a gain."""
    base, slow = made_run(1), made_run(2, slower=1.2)
    found = compare(base, slow, metrics=[P95])
    change = only(found)
    assert (found.status, found.exit_code, change.outcome) == ("FAIL", 4, "worse")
    assert change.ci95[0] < 0.2 < change.ci95[1]
    assert change.ratio == pytest.approx(1 + change.effect, rel=1e-6)
    assert [(check.kind, check.ok, check.limit) for check in found.checks()] == [("regression", False, 0.05)]
    back = compare(slow, base, metrics=[P95])
    assert (back.status, only(back).outcome) == ("PASS", "better")


def test_two_plays_of_one_target_are_no_regression() -> None:
    """The same process drawn twice passes, and enough data can say that nothing changed."""
    found = compare(made_run(3, rate=400), made_run(4, rate=400), metrics=["p50(response_time)"])
    assert (found.status, found.exit_code, only(found).outcome) == ("PASS", 0, "same")
    assert compare(made_run(3), made_run(3), metrics=[P95]).changes[0].effect == 0.0


def test_sure_but_small_changes_pass() -> None:
    """A certain change below the minimum effect is told and passes; a smaller minimum makes it a finding."""
    base, new = made_run(5, rate=400), made_run(6, rate=400, slower=1.04)
    assert only(compare(base, new, metrics=["p50(response_time)"])).outcome == "small"
    assert only(compare(base, new, metrics=["p50(response_time)"], min_effect=0.01)).outcome == "worse"


def test_availability_is_compared_in_points() -> None:
    """A fall of availability by three points is worse, a rise better; half a point is what matters by default."""
    base, new = made_run(7, available=0.95, rate=200), made_run(8, available=0.92, rate=200)
    change = only(compare(base, new, metrics=[AVAILABLE]))
    assert (change.outcome, change.scale, change.min_effect) == ("worse", "points", pytest.approx(0.005))
    assert change.effect == pytest.approx(new_share(new) - new_share(base), abs=1e-9)
    assert only(compare(new, base, metrics=[AVAILABLE])).outcome == "better"


def new_share(run: Any) -> float:
    good = sum(snapshot.total("first_available") for snapshot in run.slices.values())
    return float(good / sum(snapshot.total("first_attempts") for snapshot in run.slices.values()))


def test_amplification_and_error_ratio_are_worse_when_they_grow() -> None:
    """More errors are worse, whatever the metric's name."""
    base, new = made_run(9, available=0.95, rate=200), made_run(10, available=0.9, rate=200)
    assert only(compare(base, new, metrics=["ratio(server_error)"])).outcome == "worse"
    assert only(compare(new, base, metrics=["ratio(server_error)"])).outcome == "better"


def test_lost_replies_are_worse_than_any_time() -> None:
    """A p99 that becomes "never" is a regression without a size; both never is no change."""
    base, new = made_run(11, rate=200), made_run(12, rate=200, lost=0.03)
    change = only(compare(base, new, metrics=["p99(response_time)"]))
    assert (change.outcome, change.new, change.effect) == ("worse", None, None)
    assert "became never" in change.message
    assert only(compare(new, base, metrics=["p99(response_time)"])).outcome == "better"
    assert only(compare(new, new, metrics=["p99(response_time)"])).outcome == "same"


def test_holm_guards_the_family() -> None:
    """The p value of a metric is corrected for all that were asked: alone it is smaller than among others."""
    base, new = made_run(13), made_run(14, slower=1.1)
    alone = only(compare(base, new, metrics=["p50(response_time)"])).p
    among = compare(base, new, metrics=["p50(response_time)", P95, "p99(response_time)", AVAILABLE]).changes[0].p
    assert alone is not None and among is not None
    assert among == pytest.approx(4 * alone, rel=0.5) and among > alone


@pytest.mark.parametrize(
    ("config", "field", "told"),
    [
        ({"arrivals": "constant:60/s"}, "arrivals", "arrivals constant:50/s against arrivals constant:60/s"),
        ({"retry": {"name": "until-available"}}, "retry", "retry {'name': 'none'} against"),
        ({"duration_ns": 1}, "duration", "against duration 1"),
    ],
)
def test_apples_and_oranges(config: dict[str, Any], field: str, told: str) -> None:
    """Runs whose fingerprints differ are refused with the difference named, unless that field, or all, is allowed."""
    base, new = made_run(15), made_run(16, config=config)
    refused = compare(base, new, metrics=[P95])
    assert (refused.status, refused.exit_code, refused.changes) == ("INVALID", 2, [])
    assert told in refused.message and f"--force {field}" in refused.message
    for force in ([field], ["all"]):
        allowed = compare(base, new, metrics=[P95], force=force)
        assert (allowed.status, [each.field for each in allowed.differences]) == ("PASS", [field])


def test_invalid_runs_are_not_compared() -> None:
    """A run whose own verdict is INVALID proves nothing: exit 5 with its id, unless forced."""
    base, new = made_run(17), made_run(18, run_id="bad", status="INVALID")
    refused = compare(base, new, metrics=[P95])
    assert (refused.status, refused.exit_code, refused.message) == ("INVALID", 5, "INVALID in itself: bad")
    assert compare(base, new, metrics=[P95], force=["invalid"]).status == "PASS"


def test_thin_samples_are_invalid_when_asked_for() -> None:
    """A metric without enough values makes the answer INVALID when it was named, and is left out when it was not."""
    base, new = made_run(19, rate=2), made_run(20, rate=2)
    asked = compare(base, new, metrics=["p99(response_time)"])
    assert (asked.status, asked.exit_code) == ("INVALID", 5)
    assert asked.message == (
        "not enough data: p99(response_time): base has 120 values, 500 are needed; new has 120 values, 500 are needed"
    )
    by_default = compare(base, new)
    assert by_default.status == "PASS"
    assert {change.metric for change in by_default.changes if change.outcome == "no_data"} >= {"p99(response_time)"}
    short = compare(made_run(1, seconds=10), made_run(2, seconds=10), metrics=[P95])
    assert "10 measured seconds, 20 are needed" in short.message


def test_same_seed_same_answer() -> None:
    """Two comparisons with one seed are equal to the last digit, and survive JSON."""
    base, new = made_run(21), made_run(22)
    assert compare(base, new, seed=7) == compare(base, new, seed=7)
    assert orjson.loads(orjson.dumps(compare(base, new).to_obj()))["schema"] == "harness.comparison/1"


@pytest.mark.parametrize("text", ["max(response_time)", "chain(crossed)", "p99(nothing)", "p99(response_time) < 1s"])
def test_metrics_that_cannot_be_compared(text: str) -> None:
    """A metric without an error of its own, or that is none, is refused by name."""
    with pytest.raises(UsageError, match="metric"):
        compare(made_run(1), made_run(2), metrics=[text])


def test_pairs_are_judged_by_their_spread() -> None:
    """Run-level noise that seconds cannot see is in the pairs: sure within each pair, unclear over them all."""
    noise = [1.3, 0.8, 1.25, 0.82, 1.0]
    pairs = [(made_run(30 + n), made_run(60 + n, slower=noise[n])) for n in range(5)]
    assert compare(*pairs[0], metrics=[P95]).status == "FAIL"
    over_all = compare_pairs(pairs, metrics=[P95])
    assert (over_all.status, only(over_all).outcome, over_all.pairs) == ("PASS", "unclear", 5)


def test_pairs_find_a_steady_change() -> None:
    """A change that every pair shows is found, and its size is the mean of the pairs' own."""
    pairs = [(made_run(30 + n, rate=200), made_run(60 + n, rate=200, slower=1.15)) for n in range(5)]
    change = only(compare_pairs(pairs, metrics=["p50(response_time)"]))
    assert change.outcome == "worse"
    singles = [only(compare(*pair, metrics=["p50(response_time)"])).effect for pair in pairs]
    assert log(1 + change.effect) == pytest.approx(sum(log(1 + each) for each in singles) / 5, rel=1e-6)


def test_too_few_valid_pairs() -> None:
    """Pairs with an INVALID run are left out; fewer than three others are not enough."""
    pairs = [(made_run(n), made_run(n + 10, run_id=f"n{n}", status="INVALID" if n == 2 else "PASS")) for n in range(3)]
    answer = compare_pairs(pairs, metrics=[P95])
    assert (answer.status, answer.exit_code) == ("INVALID", 5)
    assert answer.message == "2 valid pairs, 3 are needed; INVALID in itself: n2"


def test_waits_that_were_cut_off_are_compared_by_incidence() -> None:
    """With a third of the waits cut off, 30 % longer waits are found by their median, and the estimate is near."""
    base, slow = (made_waits(seed, middle_ms) for seed, middle_ms in ((1, 100.0), (2, 130.0)))
    change = only(compare(base, slow, metrics=["p50(time_to_available)"]))
    assert change.outcome == "worse"
    assert change.ci95[0] < 0.3 < change.ci95[1]
    assert only(compare(base, made_waits(3, 100.0), metrics=["p50(time_to_available)"])).outcome in ("same", "unclear")


def made_waits(seed: int, middle_ms: float) -> Any:
    """A minute of 50 lognormal waits a second, each followed for a uniform time, and one in twenty refused."""
    rng, run = Random(seed), made_run(seed)
    for snapshot in run.slices.values():
        held = {suffix: Histogram() for suffix in ("", "_censored", "_never")}
        for _ in range(50):
            wait, look = rng.lognormvariate(log(middle_ms), 0.8), rng.random() * 400
            kind = "_censored" if look < wait else "_never" if rng.random() < 0.05 else ""
            held[kind].add(int(min(wait, look) * 1_000_000))
        for suffix, histogram in held.items():
            snapshot.histograms[f"time_to_available{suffix}", "get_engagement", "mobile", "ok"] = histogram
    return run


def test_a_lag_of_nothing_is_comparable() -> None:
    """Metrics whose values are 0 have no logarithm and are compared all the same."""
    runs = made_run(1), made_run(2)
    for run in runs:
        for snapshot in run.slices.values():
            lag = Histogram()
            lag.add(0, 50)
            snapshot.histograms["dispatch_lag", "get_engagement", "mobile", "ok"] = lag
    assert only(compare(*runs, metrics=["p50(dispatch_lag)"])).outcome == "same"
