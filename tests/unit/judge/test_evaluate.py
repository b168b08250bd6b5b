"""Thresholds against measurements: values, "never", and samples too small to answer."""

from __future__ import annotations

from random import Random

import pytest

from harness.judge.check import Check
from harness.judge.evaluate import evaluate
from harness.judge.threshold import parse_threshold
from harness.measure.histogram import Histogram
from harness.measure.snapshot import Snapshot

MS = 1_000_000
OP = "get_engagement"


def check(text: str, measured: Snapshot, arrivals_s: float = 10.0, measured_s: float = 20.0) -> Check:
    [answer] = evaluate([parse_threshold(text)], measured, arrivals_s=arrivals_s, measured_s=measured_s)
    return answer


def timed(values: list[int], infinite: int = 0, measure: str = "response_time", row: str = "ok") -> Snapshot:
    histogram = Histogram()
    histogram.add_all(values)
    histogram.add_infinite(infinite)
    return Snapshot(histograms={(measure, OP, "mobile", row): histogram})


def test_percentile_is_that_of_the_list() -> None:
    """The observed percentile is the sorted list's within 0.1 %, in ms, and decides the check."""
    rng = Random(3)
    values = [int(rng.lognormvariate(17, 1)) for _ in range(2000)]
    exact_ms = sorted(values)[1979] / MS
    answer = check("p99(response_time) < 10s", timed(values))
    assert answer.observed == pytest.approx(exact_ms, rel=0.001)
    assert (answer.ok, answer.kind, answer.limit, answer.unit) == (True, "slo", 10_000.0, "ms")
    assert not check(f"p99(response_time) < {exact_ms * 0.99:.3f}ms", timed(values)).ok


def test_never_fails_and_says_so() -> None:
    """A percentile on lost replies has no number, fails any upper limit, and names the longest reply."""
    assert check("p95(response_time) < 1m", timed([MS] * 90 + [7 * MS], infinite=9)) == Check(
        name="p95(response_time) < 1m", kind="slo", ok=False, observed=None, limit=60_000.0, unit="ms",
        message="never of 100 values; 9 without a reply; the longest that ended took 7 ms",
    )  # fmt: skip
    assert check("p90(response_time) < 1m", timed([MS] * 90 + [7 * MS], infinite=9)).ok
    assert check("p95(response_time) > 1s", timed([], infinite=100)).ok


def test_labels_narrow() -> None:
    """op, cohort and result choose what is looked at."""
    snapshot = Snapshot.merged([timed([MS] * 1000), timed([9 * MS] * 1000, row="error")])
    slow = Histogram()
    slow.add(5 * MS, 1000)
    snapshot.histograms["response_time", "update", "desktop", "ok"] = slow
    observed = {
        text: check(f"p50(response_time{text}) < 1s", snapshot).observed
        for text in ("{op=get_engagement}", "{op=update}", "{cohort=desktop}", "{cohort=mobile}", "{result=error}")
    }
    assert observed == {
        "{op=get_engagement}": 1.0, "{op=update}": 5.0, "{cohort=desktop}": 5.0, "{cohort=mobile}": 1.0,
        "{result=error}": 9.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("p50(response_time) < 1s", 10),
        ("p95(response_time) < 1s", 100),
        ("p99(response_time) < 1s", 500),
        ("p999(response_time) < 1s", 5000),
        ("max(response_time) < 1s", 1),
        ("mean(response_time) < 1s", 1),
    ],
)
def test_percentiles_need_a_tail(text: str, needed: int) -> None:
    """With one value less than needed the check is not ok for want of data; with exactly as many it is."""
    short, full = check(text, timed([MS] * (needed - 1))), check(text, timed([MS] * needed))
    assert (short.ok, short.enough_data, short.observed is None) == (False, False, needed == 1)
    assert f"{needed} are needed" in short.message
    assert (full.ok, full.enough_data) == (True, True)


def test_plain_violation_needs_no_tail() -> None:
    """Five values beyond the limit are the target's fault in any sample; four may be chance."""
    five = check("p99(response_time) < 5ms", timed([MS] * 15 + [9 * MS] * 5))
    four = check("p99(response_time) < 5ms", timed([MS] * 15 + [9 * MS] * 4))
    lost = check("p99(response_time) < 5ms", timed([MS] * 15, infinite=5))
    assert (five.ok, five.enough_data) == (False, True)
    assert (four.ok, four.enough_data) == (False, False)
    assert (lost.ok, lost.enough_data) == (False, True)


COUNTERS = {
    ("steps", OP, "mobile", "available"): 394,
    ("steps", OP, "mobile", "exhausted"): 6,
    ("steps", OP, "mobile", "censored"): 100,
    ("steps", "update", "mobile", "accepted"): 98,
    ("steps", "update", "mobile", "skipped"): 2,
    ("attempts", OP, "mobile", "available"): 394,
    ("attempts", OP, "mobile", "not_available"): 394,
    ("attempts", OP, "mobile", "timeout"): 12,
    ("first_attempts", OP, "mobile"): 400,
    ("first_available", OP, "mobile"): 100,
    ("visits_started", "mobile"): 300,
    ("visits_started", "desktop"): 100,
    ("chain", "renewed"): 3,
}


@pytest.mark.parametrize(
    ("text", "ok", "observed"),
    [
        ("ratio(available) > 98%", True, 394 / 400),
        ("ratio(available) > 99%", False, 394 / 400),
        ("ratio(available{of=attempts}) > 40%", True, 394 / 800),
        ("ratio(available{op=update}) == 0", True, 0.0),
        ("ratio(exhausted) < 2%", True, 6 / 500),
        ("ratio(censored) < 50%", True, 100 / 600),
        ("ratio(skipped) <= 2%", True, 2 / 100),
        ("ratio(timeout) < 1%", False, 12 / 800),
        ("availability(first) > 20%", True, 0.25),
        ("availability(eventual) > 99%", False, 394 / 400),
        ("rate(visits) > 39/s", True, 40.0),
        ("rate(visits{cohort=desktop}) > 39/s", False, 10.0),
        ("rate(attempts) > 39/s", True, 40.0),
        ("rate(steps{op=update}) == 5/s", True, 5.0),
        ("retry_amplification() < 2.5", True, 2.0),
        ("chain(renewed) <= 2", False, 3.0),
        ("chain(crossed) == 0", True, 0.0),
    ],
)
def test_counted_subjects(text: str, ok: bool, observed: float) -> None:
    """Ratios, availability, rates and counts equal hand-made fractions of the counters, on their stated base."""
    answer = check(text, Snapshot(counters=COUNTERS))
    assert (answer.ok, answer.observed, answer.enough_data) == (ok, round(observed, 6), True)


def test_ratios_need_a_sample() -> None:
    """`> 99.5%` needs 200 steps to pass, but five failures out of any number are a FAIL."""
    few = Snapshot(counters={("steps", OP, "m", "available"): 199})
    enough = Snapshot(counters={("steps", OP, "m", "available"): 200})
    broken = Snapshot(counters={("steps", OP, "m", "available"): 5, ("steps", OP, "m", "exhausted"): 5})
    answers = [check("ratio(available) > 99.5%", snapshot) for snapshot in (few, enough, broken)]
    assert [(answer.ok, answer.enough_data) for answer in answers] == [(False, False), (True, True), (False, True)]


@pytest.mark.parametrize(
    "text",
    [
        "p50(response_time) < 1s", "mean(response_time) < 1s", "max(time_to_available) < 1s", "ratio(available) > 1%",
        "ratio(timeout) == 0", "availability(first) > 1%", "retry_amplification() < 2",
    ],
)  # fmt: skip
def test_nothing_measured_is_not_enough(text: str) -> None:
    """Without any value every check is not ok for want of data."""
    answer = check(text, Snapshot())
    assert (answer.ok, answer.observed, answer.enough_data) == (False, None, False)


def test_rates_need_a_time() -> None:
    """Over no time at all a rate cannot be told."""
    assert not check("rate(visits) > 1/s", Snapshot(counters=COUNTERS), arrivals_s=0.0).enough_data


def test_time_to_available_counts_the_cut_off() -> None:
    """Cut-off and refused steps push the percentile out: Kaplan-Meier by hand."""
    snapshot = Snapshot.merged(
        [
            timed([100] * 50 + [300] * 30, measure="time_to_available"),
            timed([200] * 10, measure="time_to_available_censored"),
            timed([50] * 10, measure="time_to_available_never"),
        ]
    )
    # 90 wait on at 100 ns, of which 50 end: 0.9 * 50/90 = 50 %. The 30 that are still followed at 300 ns all end, and
    # stand for the 10 cut off: 50 % + 40 %.
    assert check("p50(time_to_available) < 1s", snapshot).observed == pytest.approx(100 / MS)
    assert check("p90(time_to_available) < 1s", snapshot).observed == pytest.approx(300 / MS)
    never = check("p91(time_to_available) < 1s", snapshot)
    assert (never.ok, never.observed) == (False, None)
    assert never.message.startswith("never of 100 values; 10 never became available, 10 were cut off")


def test_waits_cut_off_before_the_limit_tell_nothing() -> None:
    """Where too few were followed up to the limit there is no answer; followed beyond it, it is a violation."""
    waits = [timed([100] * 80, measure="time_to_available")]
    short, followed = (
        check("p95(time_to_available) < 5ms", Snapshot.merged([*waits, cut_off]))
        for cut_off in (timed([n * MS] * 20, measure="time_to_available_censored") for n in (2, 6))
    )
    assert (short.ok, short.enough_data) == (False, False)
    assert short.message == (
        "not enough data: 0 never became available, 20 were cut off after 2 ms at most, before the limit; "
        "make the --drain longer"
    )
    assert (followed.ok, followed.enough_data) == (False, True)


def test_unknown_cohort_is_told() -> None:
    """A cohort that the run did not have is named beside those it had, not taken for a short run."""
    answer = check("p50(response_time{cohort=mobil}) < 1s", Snapshot(counters=COUNTERS))
    assert answer.message == "not enough data: there was no cohort 'mobil', only mobile"


def test_mean_says_what_it_leaves_out() -> None:
    """A mean is of the replies that came, and says how many did not."""
    answer = check("mean(response_time) < 1s", timed([MS, 3 * MS], infinite=2))
    assert (answer.ok, answer.observed) == (True, 2.0)
    assert "2 without a reply, left out" in answer.message
