"""The summary's block of waits: counts, quantiles with intervals, and a curve of bounded size."""

from __future__ import annotations

from typing import Any

from harness.judge.waiting import waiting_block
from harness.measure.histogram import Histogram
from harness.measure.snapshot import Snapshot

MS = 1_000_000


def waits(available: list[int], censored: list[int], never: list[int]) -> dict[str, Any]:
    histograms = {}
    for suffix, values in (("", available), ("_censored", censored), ("_never", never)):
        held = Histogram()
        held.add_all([value * MS for value in values])
        histograms[f"time_to_available{suffix}", "get_engagement", "mobile", "ok"] = held
    return waiting_block(Snapshot(histograms=histograms))


def test_block_by_hand() -> None:
    """Eight waits: three end at 10 ms, one is refused at 20, two are cut off at 30, two end at 40."""
    block = waits([10, 10, 10, 40, 40], [30, 30], [20])
    curve = [
        (round(point["at_ms"], 1), point["available_ratio"], point["never_ratio"], point["waiting"])
        for point in block["curve"]
    ]
    # At 40 ms the two that are left stand for the four that waited on: 3/8 + 4/8.
    assert curve == [(10.0, 0.375, 0.0, 8), (20.0, 0.375, 0.125, 5), (40.0, 0.875, 0.125, 2)]
    assert {name: block[name] for name in ("steps", "available", "censored", "never")} == {
        "steps": 8, "available": 5, "censored": 2, "never": 1,
    }  # fmt: skip
    assert round(block["quantiles_ms"]["p50"]["value"], 1) == 40.0
    assert block["quantiles_ms"]["p90"]["value"] is None


def test_median_interval_holds_the_median() -> None:
    """With many waits the interval of the median is finite and holds it; that of p99 may be open above."""
    median = waits(list(range(1, 401)), [200] * 40, [])["quantiles_ms"]["p50"]
    assert median["ci95"][0] < median["value"] < median["ci95"][1]


def test_curve_stays_small_and_nothing_is_nothing() -> None:
    """Ten thousand distinct waits give at most 52 points, the last one included; no wait gives no block."""
    curve = waits(list(range(1, 10_001)), [], [])["curve"]
    assert len(curve) <= 52
    assert curve[-1]["available_ratio"] == 1.0
    assert waits([], [], []) == {}
