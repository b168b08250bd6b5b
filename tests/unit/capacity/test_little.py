"""Little's law as a self-test: sound data agree, and each file that was tampered with is found out."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

import msgspec
import pytest

from harness.capacity.little import little
from harness.measure.histogram import Histogram
from harness.measure.snapshot import Snapshot
from harness.units import NS_PER_MS, NS_PER_S

SECONDS = 60
Data = tuple[dict[str, Any], dict[int, Snapshot], list[dict[str, Any]]]


def stored(seed: int, rate_hz: float = 50.0, stay_s: float = 0.6) -> Data:
    """A run as it would be stored: visits of one call, exponential stays, Poisson arrivals, drained to the end."""
    rng = Random(seed)
    visits, now = [], 0.0
    while (now := now + rng.expovariate(rate_hz)) < SECONDS:
        visits.append((now, now + rng.expovariate(1 / stay_s)))
    last = int(max(end for _, end in visits)) + 1
    slices, series, whole = {}, [], Histogram()
    for second in range(last):
        ended = [(begin, end) for begin, end in visits if second <= end < second + 1]
        times = Histogram()
        times.add_all([round((end - begin) * NS_PER_S) for begin, end in ended])
        whole.merge(times)
        began = sum(second <= begin < second + 1 for begin, _ in visits)
        slices[second] = Snapshot(
            counters={
                ("visits_started", "all"): began,
                ("visits_ended", "all"): len(ended),
                ("attempts", "get_engagement", "all", "available"): len(ended),
            },
            histograms={("service_time", "get_engagement", "all", "ok"): times},
            sums={"visit_ns": times.total_ns},
        )
        open_visits = sum(begin < second + 1 <= end for begin, end in visits)
        series.append({"t_s": second, "started": began, "open": open_visits})
    mean_ms = whole.total_ns / whole.finite / NS_PER_MS
    summary = {
        "phases": {"warmup_s": 0.0, "measured_s": float(last)},
        "latency_ms": {"service_time": {"count": whole.count, "mean": mean_ms}},
    }
    return summary, slices, series


@pytest.mark.parametrize(("rate_hz", "stay_s"), [(50, 0.6), (200, 0.04), (2, 10.0), (0.3, 0.05)])
def test_sound_data_agree(rate_hz: float, stay_s: float) -> None:
    """Busy or nearly idle, short visits or long: over four runs every side agrees with every other."""
    for seed in range(4):
        found = little(*stored(seed, rate_hz, stay_s))
        assert [str(each) for each in found if not each.ok] == []
        assert len(found) == 3


def _open(data: Data) -> None:
    for line in data[2]:
        line["open"] = round(line["open"] * 1.5)


def _started(data: Data) -> None:
    data[2][3]["started"] += 1


def _mean(data: Data) -> None:
    data[0]["latency_ms"]["service_time"]["mean"] *= 0.9


def _times(data: Data) -> None:
    for snapshot in data[1].values():
        for histogram in snapshot.histograms.values():
            histogram.total_ns = round(histogram.total_ns * 0.7)


def _stays(data: Data) -> None:
    for snapshot in data[1].values():
        snapshot.sums["visit_ns"] //= 2


def _lost(data: Data) -> None:
    for second in range(20, 30):
        del data[1][second]


def _counts(data: Data) -> None:
    for snapshot in data[1].values():
        key = ("attempts", "get_engagement", "all", "available")
        snapshot.counters[key] = round(snapshot.counters[key] * 1.2)


@pytest.mark.parametrize("tamper", [_open, _started, _mean, _times, _stays, _lost, _counts])
def test_tampering_is_found_out(tamper: Any) -> None:
    """Whichever of series, slices and summary is changed, some side does not agree any more, and says both numbers."""
    data = copy.deepcopy(stored(1))
    tamper(data)
    broken = [each for each in little(*data) if not each.ok]
    assert broken
    assert " against " in str(broken[0])


def test_what_a_run_did_not_measure_is_left_out() -> None:
    """Without times that visits stayed, or replies, only the counts are compared."""
    summary, slices, series = stored(1)
    bare = {second: msgspec.structs.replace(each, sums={}) for second, each in slices.items()}
    summary["latency_ms"] = {}
    assert [each.what for each in little(summary, bare, series)] == ["visits begun, in series.jsonl against the slices"]
