"""The verdict: precedence of endings, validity, thresholds and regressions, with status and exit code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from harness.config.model import ValidityLimits
from harness.judge.check import Check
from harness.judge.threshold import parse_thresholds
from harness.judge.verdict import judge
from harness.measure.histogram import Histogram
from harness.measure.snapshot import Snapshot

MS = 1_000_000
RunSummary = Callable[..., dict[str, Any]]
GOOD, BAD, THIN = "p99(response_time) < 1s", "p99(response_time) < 1ms", "p999(response_time) < 1s"


def verdict(summary: dict[str, Any], measured: Snapshot, *texts: str, more: tuple[Check, ...] = ()) -> dict[str, Any]:
    return judge(summary, measured, thresholds=parse_thresholds(texts), limits=ValidityLimits(), more=more)


def outcome(*arguments: Any, **more: Any) -> tuple[str, int]:
    found = verdict(*arguments, **more)
    return found["status"], found["exit_code"]


def regression(ok: bool) -> Check:
    return Check(
        name="p95 against 14 nights", kind="regression", ok=ok, observed=1.2, limit=1.05, unit="ratio", message="slower"
    )


def test_pass_and_fail(run_summary: RunSummary, measured: Snapshot) -> None:
    """A healthy run passes its thresholds with 0 and fails a violated one with 3."""
    assert outcome(run_summary(), measured, GOOD) == ("PASS", 0)
    assert outcome(run_summary(), measured, GOOD, BAD) == ("FAIL", 3)


def test_invalid_beats_fail(run_summary: RunSummary, measured: Snapshot) -> None:
    """A broken instrument makes the run INVALID whatever the thresholds say; so does a threshold without data."""
    assert outcome(run_summary(slices_missing=1), measured, GOOD) == ("INVALID", 5)
    assert outcome(run_summary(slices_missing=1), measured, BAD) == ("INVALID", 5)
    assert outcome(run_summary(), measured, BAD, THIN) == ("INVALID", 5)


def test_regression_is_the_least(run_summary: RunSummary, measured: Snapshot) -> None:
    """A regression alone is exit 4; a violated threshold beside it is exit 3."""
    assert outcome(run_summary(), measured, GOOD, more=(regression(True),)) == ("PASS", 0)
    assert outcome(run_summary(), measured, GOOD, more=(regression(False),)) == ("FAIL", 4)
    assert outcome(run_summary(), measured, BAD, more=(regression(False),)) == ("FAIL", 3)


@pytest.mark.parametrize(
    ("reason", "expected", "kind"),
    [
        ("interrupted", ("INVALID", 130), "validity"),
        ("guard", ("FAIL", 6), "guard"),
        ("internal_error", ("INVALID", 1), "validity"),
    ],
)
def test_endings(
    run_summary: RunSummary, measured: Snapshot, reason: str, expected: tuple[str, int], kind: str
) -> None:
    """A run that did not finish carries its own exit code and says why, before any other finding."""
    summary = run_summary(ended=reason, ended_message="because", slices_missing=1)
    found = verdict(summary, measured, BAD)
    assert (found["status"], found["exit_code"]) == expected
    assert found["checks"][0] == {
        "name": reason, "kind": kind, "ok": False, "observed": None, "limit": None, "unit": "", "message": "because",
    }  # fmt: skip


def silent(result: str) -> Snapshot:
    """A run in which every attempt came to `result` and every step was exhausted."""
    never, lag = Histogram(), Histogram()
    never.add_infinite(1000)
    lag.add(MS, 1000)
    op, cohort = "get_engagement", "mobile"
    return Snapshot(
        counters={
            ("attempts", op, cohort, result): 1000,
            ("steps", op, cohort, "exhausted"): 1000,
            ("visits_started", cohort): 1000,
        },
        histograms={
            ("response_time", op, cohort, "ok"): never,
            ("dispatch_lag", op, cohort, "ok"): lag,
            ("loop_delay", "", "", "ok"): lag,
        },
    )


@pytest.mark.parametrize("result", ["timeout", "connect_error", "tls_error", "reset", "bad_reply"])
def test_not_one_reply_is_unreachable(run_summary: RunSummary, result: str) -> None:
    """When no attempt had a readable reply the target is unreachable: FAIL with 7."""
    assert outcome(run_summary(silent(result)), silent(result), GOOD) == ("FAIL", 7)


def test_error_replies_are_replies(run_summary: RunSummary) -> None:
    """A target that only refuses is reachable; without thresholds it fails with 3, since nothing became available."""
    found = verdict(run_summary(silent("server_error")), silent("server_error"))
    assert (found["status"], found["exit_code"]) == ("FAIL", 3)
    assert [check["name"] for check in found["checks"] if not check["ok"]] == ["something_available"]


def test_own_bug_beats_everything(run_summary: RunSummary) -> None:
    """One internal error among the attempts ends the run with exit 1."""
    snapshot = silent("timeout")
    snapshot.counters["attempts", "get_engagement", "mobile", "internal_error"] = 1
    assert outcome(run_summary(snapshot), snapshot) == ("INVALID", 1)


def test_no_threshold_and_something_available_passes(run_summary: RunSummary, measured: Snapshot) -> None:
    """Without thresholds a valid run in which something became available passes."""
    assert outcome(run_summary(), measured) == ("PASS", 0)


def test_stored_run_is_judged_alike(run_summary: RunSummary, measured: Snapshot) -> None:
    """A summary read back from JSON, with an old verdict in it, gets the same verdict; a new SLO changes it."""
    summary = run_summary()
    first = verdict(summary, measured, GOOD)
    stored = orjson.loads(orjson.dumps(summary | {"verdict": first}))
    again = Snapshot.unpack(measured.pack())
    assert verdict(stored, again, GOOD) == first
    assert outcome(stored, again, BAD) == ("FAIL", 3)


def test_only_thin_samples_carry_the_flag(run_summary: RunSummary, measured: Snapshot) -> None:
    """`enough_data` is written only where it is false."""
    checks = verdict(run_summary(), measured, GOOD, THIN)["checks"]
    assert [check["name"] for check in checks if "enough_data" in check] == [THIN]


def test_cause_is_what_decided(run_summary: RunSummary, measured: Snapshot) -> None:
    """The cause is the first check of the kind that decided, and a PASS has none."""
    assert "cause" not in verdict(run_summary(), measured, GOOD)
    assert verdict(run_summary(), measured, GOOD, BAD)["cause"].startswith(f"{BAD}: 20 ms of 1000 values")
    lost = verdict(run_summary(workers_lost=1, slices_missing=3), measured, BAD)
    assert lost["cause"].startswith("workers_lost: 1, at most 0: ")
    assert verdict(run_summary(), measured, BAD, THIN)["cause"].startswith(f"{THIN}: not enough data: 1000 values")
    slower = verdict(run_summary(), measured, GOOD, more=(regression(False),))
    assert slower["cause"] == "p95 against 14 nights: slower"


def test_ratios_carry_intervals_of_the_seconds(run_summary: RunSummary, measured: Snapshot) -> None:
    """One outage of three seconds in thirty widens the interval well beyond that of independent steps."""
    op, cohort = "get_engagement", "mobile"
    seconds = []
    for second in range(30):
        good = 0 if 10 <= second < 13 else 50
        counters = {("steps", op, cohort, "available"): good, ("steps", op, cohort, "exhausted"): 50 - good}
        seconds.append(Snapshot(counters=counters))
    whole = Snapshot.merged(seconds)
    found = judge(
        run_summary(), whole, thresholds=parse_thresholds(["availability(eventual) > 85%"]), limits=ValidityLimits(),
        slices=seconds,
    )  # fmt: skip
    [check] = [check for check in found["checks"] if check["kind"] == "slo"]
    low, high = check["ci95"]
    independent = 2 * 1.96 * (0.9 * 0.1 / 1500) ** 0.5
    assert low < check["observed"] == 0.9 < high
    assert high - low > 3 * independent
    assert "95 % interval" in check["message"]


def test_a_dead_instrument_is_the_cause_before_all_else(run_summary: RunSummary, measured: Snapshot) -> None:
    """INVALID, exit 5, named first, even where a lost worker is tolerated and every threshold holds."""
    summary = run_summary()
    summary["ended"] = {"reason": "instrument", "message": "no worker is left: worker-1 is lost"}
    found = verdict(summary, measured, GOOD)
    assert (found["status"], found["exit_code"]) == ("INVALID", 5)
    assert found["cause"] == "instrument: no worker is left: worker-1 is lost"
