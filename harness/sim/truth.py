"""What the practice target really did, in bounded memory: the counts and times that a run is checked against.

Outcomes are counted when they are decided; `abandoned` are those whose client had left before the reply. Service times
run from a call's arrival to the writing of its reply, measured, not planned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from harness.sim.acquaintance import UNKNOWN
from harness.units import NS_PER_MS, NS_PER_US

# Times below 2**12 microseconds are kept to the microsecond, longer ones to 12 binary digits: at most 0.05 % off.
_EXACT_BITS = 12

ENGAGED = frozenset({"available", "not_available", "accepted"})


class ServiceTimes:
    """A merged count of times, read as a summary in milliseconds."""

    def __init__(self) -> None:
        self.count = 0
        self._total_ns = 0
        self._max_ns = 0
        self._by_us: dict[int, int] = {}

    def add(self, time_ns: int) -> None:
        """Count one time of 0 or more."""
        self.count += 1
        self._total_ns += time_ns
        if time_ns > self._max_ns:
            self._max_ns = time_ns
        time_us = (time_ns + NS_PER_US // 2) // NS_PER_US
        shift = time_us.bit_length() - _EXACT_BITS
        if shift > 0:
            time_us = (time_us >> shift << shift) + (1 << shift >> 1)
        self._by_us[time_us] = self._by_us.get(time_us, 0) + 1

    def merge(self, other: ServiceTimes) -> None:
        """Add the times of `other`."""
        self.count += other.count
        self._total_ns += other._total_ns
        self._max_ns = max(self._max_ns, other._max_ns)
        for time_us, count in other._by_us.items():
            self._by_us[time_us] = self._by_us.get(time_us, 0) + count

    def to_obj(self) -> dict[str, float | int | None]:
        """count, mean, p50, p95, p99 and max in ms; None where there is no time. Quantiles are nearest-rank."""
        if self.count == 0:
            return {"count": 0, "mean": None, "p50": None, "p95": None, "p99": None, "max": None}
        ranks = {"p50": self._percentile(50), "p95": self._percentile(95), "p99": self._percentile(99)}
        mean = round(self._total_ns / self.count / NS_PER_MS, 3)
        return {"count": self.count, "mean": mean, **ranks, "max": round(self._max_ns / NS_PER_MS, 3)}

    def _percentile(self, percent: int) -> float:
        left = max(1, -(-percent * self.count // 100))
        for time_us in sorted(self._by_us):
            left -= self._by_us[time_us]
            if left <= 0:
                return time_us / 1000
        raise AssertionError("a rank within the count lies at one of the times")


class Truth:
    """Counts of everything that a run could be wrong about."""

    def __init__(self) -> None:
        self.visitors_issued = 0
        self.sessions_issued = 0
        self.capped = 0
        self.unrouted = 0
        self.in_flight = 0
        self.connections = 0
        self._decided: Counter[tuple[str, str, str]] = Counter()
        self._abandoned: Counter[str] = Counter()
        self._impressions = 0
        self._impressions_matched = 0
        self._pages_unmatched = 0
        self._service: dict[tuple[str, bool], ServiceTimes] = {}

    def decided(self, op: str, outcome: str, met: str) -> None:
        """Count a decision.

        `outcome` is the name of a `visitor.records.Result`, or `hang`; `met` says what the call's ids turned out to be,
        empty if it was answered without a look at them.
        """
        self._decided[op, outcome, met] += 1

    def reported(self, impressions: int, matched: int, page_matched: bool) -> None:
        """Count an accepted update: its impression events, and whether pageId was that of the last offer."""
        self._impressions += impressions
        self._impressions_matched += matched
        self._pages_unmatched += not page_matched

    def answered(self, op: str, outcome: str, service_ns: int) -> None:
        """Count the reply that was written `service_ns` after its call's arrival."""
        key = (op, outcome in ENGAGED)
        times = self._service.get(key)
        if times is None:
            times = self._service[key] = ServiceTimes()
        times.add(service_ns)

    def abandoned(self, outcome: str) -> None:
        """Count a reply that could not be written because the client had left."""
        self._abandoned[outcome] += 1

    def outcomes(self) -> dict[tuple[str, str], int]:
        """Decisions by (op, outcome)."""
        outcomes: Counter[tuple[str, str]] = Counter()
        for (op, outcome, _), count in self._decided.items():
            outcomes[op, outcome] += count
        return dict(sorted(outcomes.items()))

    def to_obj(self) -> dict[str, object]:
        """The plain data that `GET /sim/truth` answers, without what only the server knows.

        `ids_seen` counts what the ids of all calls turned out to be; `chain` only those of engagement calls that were
        served, and as `rejected` the calls refused for their ids.
        """
        by_op: Counter[str] = Counter()
        by_outcome: Counter[str] = Counter()
        by_op_outcome: dict[str, dict[str, int]] = {}
        for (op, outcome), count in self.outcomes().items():
            by_op[op] += count
            by_outcome[outcome] += count
            by_op_outcome.setdefault(op, {})[outcome] = count
        seen: dict[str, Counter[str]] = {}
        chain: Counter[str] = Counter()
        for (op, outcome, met), count in sorted(self._decided.items()):
            if met:
                seen.setdefault(op, Counter())[met] += count
            if outcome == "rejected":
                chain["rejected"] += count
            elif op == "get_engagement" and outcome in ENGAGED:
                chain[met] += count
        unknown = sum(count for (_, _, met), count in self._decided.items() if met in UNKNOWN)
        return {
            "outcomes": by_outcome,
            "attempts": {
                "total": by_op.total(),
                "by_op": dict(by_op),
                "by_op_outcome": by_op_outcome,
                "abandoned": dict(self._abandoned),
                "in_flight": self.in_flight,
            },
            "visitors_issued": self.visitors_issued,
            "sessions_issued": self.sessions_issued,
            "renewals": chain["renewed"] + chain["expired"],
            "capped": self.capped,
            "unknown_ids": unknown,
            "chain": chain,
            "ids_seen": seen,
            "impressions": {
                "accepted": self._impressions,
                "unmatched": self._impressions - self._impressions_matched,
                "pages_unmatched": self._pages_unmatched,
            },
            "unrouted": self.unrouted,
            "connections": self.connections,
            "service_ms": self._merged(lambda op, engaged: engaged).to_obj(),
            "service_ms_errors": self._merged(lambda op, engaged: not engaged).to_obj(),
            "service_ms_by_op": {op: self._service[op, True].to_obj() for op in by_op if (op, True) in self._service},
        }

    def _merged(self, wanted: Callable[[str, bool], bool]) -> ServiceTimes:
        merged = ServiceTimes()
        for key, times in self._service.items():
            if wanted(*key):
                merged.merge(times)
        return merged
