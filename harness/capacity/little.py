"""Little's law as a self-test of a run's data: what is in the system on average is what comes times how long it stays.

That holds whatever the service does (Little 1961), so where a stored run breaks it, the files are not what the run
wrote, or what it wrote is wrong. Three sources are held against each other: the series (a look at every second's end),
the slices (counts and times), the summary (figures).

    visits      mean of `open` at the seconds' ends   against   visits begun per second x time a visit stayed
    attempts    time in flight by the slices          against   replies counted x mean service time of the summary
    counts      visits begun, in the series           against   those in the slices

The first is a sample, and may be off by as much as samples scatter; the others must agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import ceil, sqrt
from typing import Any, Final

import msgspec

from harness.judge.check import number
from harness.measure.snapshot import Snapshot
from harness.units import NS_PER_MS, NS_PER_S

_EXACT_RATIO: Final = 0.002
_SAMPLED_RATIO: Final = 0.02
_SIGMAS: Final = 4.0
_FEW: Final = 10


class Agreement(msgspec.Struct, frozen=True):
    """One side against the other; `limit` is how far apart they may be, `what` names them."""

    what: str
    seen: float
    expected: float
    limit: float

    @property
    def ok(self) -> bool:
        """Whether they agree."""
        return abs(self.seen - self.expected) <= self.limit

    def __str__(self) -> str:
        return f"{self.what}: {number(self.seen)} against {number(self.expected)}"


def little(
    summary: Mapping[str, Any], slices: Mapping[int, Snapshot], series: Sequence[Mapping[str, Any]]
) -> list[Agreement]:
    """What can be held against each other in a stored run; sides that it lacks are left out."""
    found = [_begun(slices, series)]
    visits = _visits(slices, series)
    attempts = _attempts(summary, slices)
    return [*found, *(each for each in (visits, attempts) if each is not None)]


def _begun(slices: Mapping[int, Snapshot], series: Sequence[Mapping[str, Any]]) -> Agreement:
    told = sum(int(line["started"]) for line in series)
    counted = sum(snapshot.total("visits_started") for snapshot in slices.values())
    return Agreement("visits begun, in series.jsonl against the slices", told, counted, 0)


def _visits(slices: Mapping[int, Snapshot], series: Sequence[Mapping[str, Any]]) -> Agreement | None:
    stayed_ns = sum(snapshot.sums.get("visit_ns", 0) for snapshot in slices.values())
    looks = [float(line["open"]) for line in series]
    if not stayed_ns or len(looks) < _FEW:
        return None
    seconds = max(float(series[-1]["t_s"]) + 1, 1.0)
    mean = sum(looks) / seconds
    begun = sum(snapshot.total("visits_started") for snapshot in slices.values())
    expected = begun / seconds * (stayed_ns / begun / NS_PER_S)
    # How far one look may be from its second's mean is seen in how far it is from the next.
    jumps = sum((after - before) ** 2 for before, after in pairwise(looks))
    error = sqrt(jumps / 2 / (len(looks) - 1) / len(looks))
    # Little is there to be seen where hardly anybody is: a look finds one or none.
    error = max(error, sqrt(max(expected, 1 / seconds) / len(looks)))
    limit = _SAMPLED_RATIO * expected + _SIGMAS * error
    return Agreement("visits open on average, at the seconds' ends against rate x time", mean, expected, limit)


def _attempts(summary: Mapping[str, Any], slices: Mapping[int, Snapshot]) -> Agreement | None:
    first = ceil(summary["phases"]["warmup_s"])
    measured = [snapshot for second, snapshot in slices.items() if second >= first]
    mean_ms = summary["latency_ms"].get("service_time", {}).get("mean")
    measured_s = float(summary["phases"]["measured_s"])
    if mean_ms is None or not measured or measured_s <= 0:
        return None
    in_flight_ns = replies = 0
    for snapshot in measured:
        in_flight_ns += snapshot.histogram("service_time").total_ns
        counted = snapshot.by_last("attempts")
        replies += sum(counted.get(result, 0) for result in ("available", "not_available", "accepted"))
    expected = replies * mean_ms * NS_PER_MS / measured_s / NS_PER_S
    seen = in_flight_ns / measured_s / NS_PER_S
    what = "attempts in flight on average, by the slices against rate x the summary's mean time"
    return Agreement(what, seen, expected, _EXACT_RATIO * max(expected, seen) + 1e-9)
