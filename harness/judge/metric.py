"""`Followed`: what is followed from night to night, one number of a run, written like the left side of a threshold.

`p95(response_time)`, `availability(eventual)`, `ratio(failed)`, … are read by the language of thresholds, so a metric
means the same in `[slo]` and in `[regression]`. A metric also knows which way is worse, and how its changes are
counted: relatively, but for ratios in absolute terms, where a tenth of the smallest effect counts (with `min_effect =
0.05` an availability must fall by half a percentage point, a p95 rise by 5 %).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from harness.errors import UsageError
from harness.judge.evaluate import TAIL_SAMPLES, evaluate
from harness.judge.gate import Worse
from harness.judge.metric_change import POINTS_OF_EFFECT
from harness.judge.threshold import Metric, Threshold, parse_metric
from harness.measure.snapshot import Snapshot

DEFAULT_METRICS: Final = (
    "p50(response_time)",
    "p95(response_time)",
    "p99(response_time)",
    "p95(time_to_available)",
    "availability(eventual)",
)
_STATS: Final = {0.5: "p50", 0.9: "p90", 0.95: "p95", 0.99: "p99", 0.999: "p999"}
_BETTER_HIGH: Final = {"availability", "rate"}
_UNITS: Final = {"ratio": "ratio", "availability": "ratio", "rate": "/s", "retry_amplification": "", "chain": ""}


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """A metric; `text` is its name everywhere, `worse` the bad direction, `absolute` says how changes are counted."""

    text: str
    metric: Metric
    worse: Worse
    absolute: bool
    unit: str

    def effect(self, before: float, after: float) -> float:
        """How far the value moved from `before` to `after`: a difference of ratios, else a relative change."""
        if self.absolute:
            return after - before
        return after / before - 1 if before else 0.0 if after == before else float("inf")

    def said(self, before: float, after: float) -> str:
        """The effect for people: `+10.3 %`, or `-0.52 points` of a ratio."""
        return f"{self.effect(before, after) * 100:+.3g} {'points' if self.absolute else '%'}"

    def least(self, min_effect: float) -> float:
        """The smallest effect that counts, in the terms of `effect`."""
        return min_effect * POINTS_OF_EFFECT if self.absolute else min_effect

    def is_worse(self, before: float, after: float) -> bool:
        """Whether the value moved the bad way."""
        return after > before if self.worse == "up" else after < before


def follow(text: str) -> Followed:
    """The metric that `text` names; raises `UsageError` with one line that says what could be written."""
    metric = parse_metric(text)
    good = metric.function in _BETTER_HIGH or (
        metric.function == "ratio" and metric.subject in ("available", "accepted")
    )
    return Followed(
        text=metric.text,
        metric=metric,
        worse="down" if good else "up",
        absolute=metric.function in ("ratio", "availability"),
        unit=_UNITS.get(metric.function, "ms"),
    )


def follow_all(texts: Iterable[str]) -> list[Followed]:
    """All metrics, in order; raises one `UsageError` that lists every problem."""
    metrics, problems = [], []
    for text in texts:
        try:
            metrics.append(follow(text))
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError(f"{len(problems)} of the metrics cannot be read", problems)
    return metrics


def observe(followed: Followed, measured: Snapshot, *, arrivals_s: float, measured_s: float) -> float | None:
    """The metric's value in its unit (ms, ratio, per second); None without one, or from too small a sample."""
    [check] = evaluate([_any_threshold(followed.metric)], measured, arrivals_s=arrivals_s, measured_s=measured_s)
    return check.observed if check.enough_data else None


def _any_threshold(metric: Metric) -> Threshold:
    """A condition on the metric; of ratios, a limit of one half asks least of the sample."""
    return Threshold(**msgspec.structs.asdict(metric), operator="<", limit=0.5)


def in_summary(followed: Followed, summary: Mapping[str, Any]) -> tuple[bool, float | None]:
    """(whether a summary alone can tell, the value as `observe` would give it).

    Percentiles of the usual kinds and availability stand in every summary, so that a history of long runs need not
    read their slices.
    """
    metric = followed.metric
    if metric.cohort is not None or metric.row != "ok":
        return False, None
    if metric.function == "quantile" and metric.q in _STATS:
        holder = summary if metric.op is None else summary.get("by_op", {}).get(metric.op, {})
        block = holder.get("latency_ms", {}).get(metric.subject)
        if block is None:
            return True, None
        # The summary's count of times to available leaves out those that never came; the sample has them.
        count = block["count"] + block.get("censored", 0) + block.get("never", 0)
        enough = count * (1 - metric.q) >= TAIL_SAMPLES - 1e-6
        return True, block[_STATS[metric.q]] if enough else None
    return False, None
