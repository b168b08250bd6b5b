"""What a trace holds, in numbers: one pass, in constant memory but for some 16 bytes a visitor.

Quantiles of think times come from counts of values rounded to three digits (off by at most 0.5 %). How visits arrive,
overlap and begin sessions is measured in `harness.trace.arrivals`, `openvisits` and `newsessions`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from harness.trace.arrivals import Arrivals
from harness.trace.known import KnownTexts
from harness.trace.model import Visit
from harness.trace.newsessions import NewSessions
from harness.trace.openvisits import OpenVisits

QUANTILES = (0.5, 0.9, 0.99)


class TraceStat:
    """Sums over visits, fed in the order of `at`; `to_obj` gives plain data, `lines` a text for people."""

    def __init__(self) -> None:
        self.visits = 0
        self.steps = 0
        self.multi_step_visits = 0
        self.returns = 0
        self.ops: Counter[str] = Counter()
        self.identities: Counter[str] = Counter()
        self.cohorts: Counter[str] = Counter()
        self.attribute_types: Counter[str] = Counter()
        self._visitors = KnownTexts()
        self._thinks_ms: Counter[int] = Counter()
        self._think_total_s = 0.0
        self._arrivals = Arrivals()
        self._open = OpenVisits()
        self._sessions = NewSessions()

    def add(self, visit: Visit) -> None:
        """Count one visit."""
        thinks_s = [step.think for step in visit.steps]
        self.visits += 1
        self.steps += len(visit.steps)
        self.multi_step_visits += len(visit.steps) > 1
        self.returns += visit.returns
        self.cohorts[visit.cohort] += 1
        self._visitors.add(visit.visitor)
        for index, step in enumerate(visit.steps):
            self.ops[step.op] += 1
            self.identities[step.identity] += 1
            self.attribute_types.update(_attribute_types(bytes(step.request)))
            if index:
                self._thinks_ms[_three_digits(step.think * 1000)] += 1
                self._think_total_s += step.think
        self._arrivals.add(visit.at)
        self._open.add(visit.at, sum(thinks_s))
        self._sessions.add(visit)

    def to_obj(self) -> dict[str, Any]:
        """Ends the counting. Plain data for JSON; names carry units, and what cannot be measured is null."""
        thinks = self._thinks_ms.total()
        mean_open, curve = self._open.curve()
        return {
            "visits": self.visits,
            "visitors": len(self._visitors),
            "returning_visits": self.returns,
            "multi_step_visits": self.multi_step_visits,
            "steps": self.steps,
            "steps_per_visit": round(self.steps / self.visits, 3) if self.visits else None,
            "span_s": round(self._arrivals.span_s, 3),
            "last_step_s": round(self._open.last_end_s, 3),
            "arrivals": self._arrivals.to_obj(),
            "think_s": {
                "count": thinks,
                "mean": round(self._think_total_s / thinks, 3) if thinks else None,
                **{f"p{q * 100:g}": value for q, value in zip(QUANTILES, self._think_quantiles_s(), strict=True)},
                "max": max(self._thinks_ms) / 1000 if thinks else None,
            },
            "peak_open_visits": self._open.peak,
            "open_visits": {
                "mean": round(mean_open, 2) if mean_open is not None else None,
                "peak": self._open.peak,
                "curve": {
                    "bin_s": curve.bin_s,
                    "mean": [round(total / curve.bin_s, 2) for total in curve.sums],
                    "peak": curve.peaks,
                },
            },
            "new_sessions": self._sessions.to_obj(),
            "ops": dict(self.ops.most_common()),
            "identities": dict(self.identities.most_common()),
            "cohorts": dict(self.cohorts.most_common()),
            "attribute_types": dict(self.attribute_types.most_common()),
        }

    def lines(self) -> Iterator[str]:
        """A table for people, one line each."""
        data = self.to_obj()
        share = f"{self.multi_step_visits / self.visits:.0%}" if self.visits else "none"
        yield f"visits       {self.visits} by {data['visitors']} visitors, {self.returns} come again"
        yield f"steps        {self.steps}, {data['steps_per_visit']} per visit; {share} of the visits have several"
        arrivals, think, sessions = data["arrivals"], data["think_s"], data["new_sessions"]
        yield f"span         {data['span_s']} s, last step at {data['last_step_s']} s or later"
        yield (
            f"arrivals     {arrivals['mean_hz']}/s on average, {arrivals['peak_hz']}/s in the busiest second,"
            f" gaps vary by {arrivals['gap_cv']} of their mean"
        )
        windows = ", ".join(f"{value} at {width}" for width, value in arrivals["dispersion_by_window"].items() if value)
        yield f"dispersion   {windows or 'the trace is too short'} (1 is Poisson)"
        yield f"think times  p50 {think['p50']} s, p90 {think['p90']} s, p99 {think['p99']} s, max {think['max']} s"
        yield (
            f"open visits  {data['peak_open_visits']} at the peak, {data['open_visits']['mean']} on average, or more"
            " (think times only)"
        )
        yield f"             {self._open.curve()[1].bars()}"
        yield (
            f"sessions     {sessions['count']} new ones, {sessions['mean_per_min']} a minute,"
            f" {sessions['peak_per_min']} in the busiest"
        )
        yield f"             {self._sessions.bars()}"
        for title in ("ops", "identities", "cohorts", "attribute_types"):
            counts = ", ".join(f"{name} {count}" for name, count in data[title].items())
            yield f"{title.replace('_types', 's'):<12} {counts or 'none'}"

    def _think_quantiles_s(self) -> list[float | None]:
        total = self._thinks_ms.total()
        if not total:
            return [None for _ in QUANTILES]
        values = sorted(self._thinks_ms.items())
        return [_rank(values, max(1, -int(-q * total // 1))) / 1000 for q in QUANTILES]


def _attribute_types(request: bytes) -> Iterator[str]:
    if b'"engagementAttributes"' not in request and b'"impAttributes"' not in request:
        return
    body = orjson.loads(request)
    if isinstance(body, dict):
        for key in ("engagementAttributes", "impAttributes"):
            items = body.get(key)
            for item in items if isinstance(items, list) else ():
                if isinstance(item, dict) and isinstance(item.get("type"), str):
                    yield item["type"]


def _rank(values: Iterable[tuple[int, int]], rank: int) -> int:
    """The value at a rank (from 1) among counted values in ascending order."""
    counted = 0
    for value, count in values:
        counted += count
        if counted >= rank:
            return value
    raise ValueError(f"rank {rank} is beyond {counted} values")


def _three_digits(value: float) -> int:
    whole = round(value)
    return int(float(f"{whole:.3g}")) if whole >= 1000 else whole
