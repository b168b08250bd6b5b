"""Histogram misuse, snapshot look-ups, series lines, slices and availability: fixed cases with known answers."""

from __future__ import annotations

from random import Random

import pytest

from harness.errors import UsageError
from harness.measure.availability import availability, eventual_counts, first_attempt_counts, wilson
from harness.measure.histogram import Histogram
from harness.measure.ledger import Ledger, LedgerError
from harness.measure.series import series_line
from harness.measure.slices import from_lines, to_lines
from harness.measure.snapshot import Snapshot

MS = 1_000_000


def of(*values: int, infinite: int = 0) -> Histogram:
    histogram = Histogram()
    histogram.add_all(values)
    histogram.add_infinite(infinite)
    return histogram


def test_negative_times_are_refused() -> None:
    """A negative time raises, alone or in a batch, and the histogram stays as it was."""
    histogram = of(5)
    with pytest.raises(ValueError, match="negative"):
        histogram.add(-1)
    with pytest.raises(ValueError, match="negative"):
        histogram.add_all([3, -1])
    assert histogram == of(5)


def test_impossible_questions_are_refused() -> None:
    """A quantile outside 0..1 and edges that do not ascend raise."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        of(5).quantile(1.5)
    with pytest.raises(ValueError, match="ascend"):
        of(5).cumulative([2, 1])


def test_lost_replies_move_the_percentile() -> None:
    """With 6 of 100 replies missing, p94 is the slowest reply and p95 is never."""
    histogram = of(*[MS] * 93, 9 * MS, infinite=6)
    assert (histogram.quantile(0.94), histogram.quantile(0.95)) == (9 * MS, None)


def test_unpack_refuses_anything_else() -> None:
    """Bytes that are no snapshot raise a ValueError."""
    for data in (b"", b"\xff\xfe", b"\x93\x01\x02\x03"):
        with pytest.raises(ValueError, match="not a snapshot"):
            Snapshot.unpack(data)


COUNTERS = {
    ("attempts", "get_engagement", "mobile", "available"): 5,
    ("attempts", "get_engagement", "desktop", "available"): 3,
    ("attempts", "update", "mobile", "accepted"): 2,
    ("steps", "get_engagement", "mobile", "available"): 4,
    ("steps", "get_engagement", "mobile", "censored"): 7,
    ("steps", "get_engagement", "mobile", "exhausted"): 1,
    ("steps", "update", "mobile", "failed"): 9,
    ("first_attempts", "get_engagement", "mobile"): 10,
    ("first_attempts", "update", "mobile"): 3,
    ("first_available", "get_engagement", "mobile"): 6,
    ("visits_started", "mobile"): 3,
    ("visits", "mobile", "completed"): 2,
}


def test_snapshot_look_ups() -> None:
    """Totals and splits sum what matches; labels are the ops and cohorts seen."""
    snapshot = Snapshot(counters=COUNTERS)
    assert snapshot.total("attempts") == 10
    assert snapshot.total("attempts", None, "mobile") == 7
    assert snapshot.by_last("attempts", "get_engagement") == {"available": 8}
    assert snapshot.labels() == (["get_engagement", "update"], ["desktop", "mobile"])


def test_availability_counts_leave_out_what_says_nothing() -> None:
    """First attempts are of get_engagement; the eventual base excludes censored steps and updates."""
    snapshot = Snapshot(counters=COUNTERS)
    assert first_attempt_counts(snapshot) == (6, 10)
    assert eventual_counts(snapshot) == (4, 5)
    assert eventual_counts(snapshot, "desktop") == (0, 0)


def test_wilson_interval() -> None:
    """The textbook value: 0 of 10 reaches up to 27.75 %, and 10 of 10 mirrors it."""
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=5e-5)
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=5e-5)


def test_outage_widens_the_interval() -> None:
    """The same 5 % of failures give a far wider interval when they came in one outage."""
    spread = availability([(19, 20)] * 100, Random(1))
    outage = availability([(20, 20)] * 45 + [(0, 20)] * 5 + [(20, 20)] * 50, Random(1))
    assert spread is not None and outage is not None
    assert spread.ratio == outage.ratio == 0.95
    assert spread.ci95 == wilson(1900, 2000)
    assert outage.ci95 is not None
    assert outage.ci95[0] < 0.91 < spread.ci95[0]


def test_interval_repeats_and_needs_slices() -> None:
    """The same seed gives the same interval; under 10 slices there is none; without trials there is no ratio."""
    slices = [(i % 5, 5) for i in range(40)]
    assert availability(slices, Random(7)) == availability(slices, Random(7))
    few = availability([(1, 2)] * 9, Random(7))
    assert few is not None and (few.ratio, few.ci95) == (0.5, None)
    assert availability([(0, 0)] * 20, Random(7)) is None
    assert availability([], Random(7)) is None


def test_damaged_slices_name_their_line() -> None:
    """A line that is no slice raises one clear error with its number."""
    good = to_lines(0, Snapshot(counters=COUNTERS))
    with pytest.raises(UsageError, match="slices, line 4"):
        from_lines([*good, {"second": 1, "op": "", "histograms": [{"measure": "x"}]}])


def test_series_line() -> None:
    """A second becomes one flat dict; a percentile on lost replies is null and unmeasured things are left out."""
    snapshot = Snapshot(
        counters=COUNTERS,
        histograms={("response_time", "get_engagement", "mobile", "ok"): of(4 * MS, 4 * MS, infinite=1)},
        sums={"cpu_ns": 250 * MS},
        maxima={"loop_stall_max_ns": 3 * MS, "last_arrival_ns": 1500 * MS},
    )
    assert series_line(12, snapshot, planned=4, open_visits=1, workers=2) == {
        "t_s": 12,
        "planned": 4,
        "started": 3,
        "settled": 2,
        "open": 1,
        "attempts": 10,
        "results": {"accepted": 2, "available": 8},
        "outcomes": {"available": 4, "censored": 7, "exhausted": 1, "failed": 9},
        "visits": {"completed": 2},
        "workers": 2,
        "response_time_ms": {"p50": 4.0, "p95": None, "p99": None, "max": None},
        "loop_stall_max_ms": 3.0,
        "cpu_s": 0.25,
        "last_arrival_s": 1.5,
    }
    assert "planned" not in series_line(0, Snapshot(), planned=None, open_visits=0, workers=1)


def test_ledger_of_a_run_with_a_lost_worker() -> None:
    """Dealt, settled, revoked, dealt again, lost: the totals name what became of each visit and step."""
    ledger = Ledger()
    ledger.plan(10, 30)
    ledger.deal("w1", 6, 18)
    ledger.deal("w2", 4, 12)
    ledger.settle("w1", {"completed": 2, "dropped": 1}, {"available": 6, "dropped": 3})
    ledger.revoke("w1", 2, 6)
    assert ledger.problems() == [
        "worker w1: 1 of 6 dealt visits are not accounted for",
        "worker w2: 4 of 4 dealt visits are not accounted for",
        "worker w1: 3 of 18 dealt steps are not accounted for",
        "worker w2: 12 of 12 dealt steps are not accounted for",
    ]
    assert ledger.lose("w1") == (1, 3)
    ledger.deal("w2", 1, 3)
    ledger.settle("w2", {"completed": 4, "censored": 1}, {"accepted": 10, "censored": 5})
    assert ledger.problems() == []
    assert ledger.totals()["visits"] == {
        "planned": 10, "completed": 6, "censored": 1, "dropped": 1, "lost": 1, "undealt": 1,
    }  # fmt: skip
    assert ledger.totals()["steps"] == {
        "planned": 30, "available": 6, "not_available": 0, "accepted": 10, "exhausted": 0, "rejected": 0, "failed": 0,
        "skipped": 0, "censored": 5, "dropped": 3, "lost": 3, "undealt": 3,
    }  # fmt: skip
    assert ledger.workers()["w1"] == {
        "dealt": 6, "completed": 2, "censored": 0, "dropped": 1, "lost": 1, "revoked": 2,
    }  # fmt: skip


def test_ledger_refuses_unknown_names() -> None:
    """`lost` cannot be settled, unknown ends and negative amounts neither."""
    ledger = Ledger()
    ledger.plan(1, 1)
    ledger.deal("w", 1, 1)
    for visits in ({"lost": 1}, {"revoked": 1}, {"melted": 1}, {"completed": -1}):
        with pytest.raises(LedgerError):
            ledger.settle("w", visits, {})
    assert ledger.open("w") == (1, 1)
    assert ledger.open("nobody") == (0, 0)
