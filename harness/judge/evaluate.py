"""Thresholds against what was measured.

A check is answered from counts and merged histograms, never from averages of parts. Two answers are not numbers:

- "never": the percentile falls on attempts without a reply (or steps that never became available). The check fails.
- "not enough data": fewer than 5 values are expected beyond the percentile (n * (1 - q) < 5: a p99 wants 500 values),
  or a single event would decide a ratio (n * distance of the limit from 0 or 1 < 1: `> 99.5%` wants 200), or waits were
  cut off before the limit, which leaves open whether they would have kept it. Then the check is not ok and the run
  INVALID, unless at least 5 values lie on the wrong side of the limit: so many losses are the target's, however small
  the sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

import msgspec

from harness.judge.check import Check, quantity
from harness.judge.threshold import Metric, Threshold
from harness.measure.availability import availability, eventual_counts, first_attempt_counts
from harness.measure.histogram import Histogram
from harness.measure.snapshot import Snapshot
from harness.measure.survival import followed_ns, time_to_event_quantile
from harness.units import NS_PER_MS

TAIL_SAMPLES = 5
_UNITS = {"ratio": "ratio", "availability": "ratio", "rate": "/s", "retry_amplification": "", "chain": ""}


class _Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What a threshold found: `value` in its limit's unit (None: no number), from `count` values.

    `above` counts those above the limit, `note` explains, `infinite` says that the value is "never". `unseen` says why
    no number of values would have told.
    """

    value: float | None
    count: int
    above: int = 0
    infinite: bool = False
    note: str = ""
    unseen: str = ""


def evaluate(
    thresholds: Iterable[Threshold],
    measured: Snapshot,
    *,
    arrivals_s: float,
    measured_s: float,
    slices: Sequence[Snapshot] = (),
    rng: Random | None = None,
) -> list[Check]:
    """One check of kind "slo" for each threshold, in order.

    `measured` holds what is judged; visits arrived for `arrivals_s` of it, all of it took `measured_s` (both in
    seconds, 0 or more; rates need them above 0). With the measured seconds as `slices` and an `rng`, checks of ratios
    carry the interval that blocks of seconds give: an outage hits everybody, so steps are not independent.
    """
    checks = []
    for threshold in thresholds:
        check = _check(threshold, _observe(threshold, measured, arrivals_s, measured_s), measured)
        if threshold.function in ("ratio", "availability") and rng is not None and check.enough_data:
            check = _with_interval(check, threshold, slices, rng)
        checks.append(check)
    return checks


def _with_interval(check: Check, threshold: Threshold, slices: Sequence[Snapshot], rng: Random) -> Check:
    found = availability([share_counts(threshold, snapshot) for snapshot in slices], rng)
    if found is None or found.ci95 is None:
        return check
    low, high = (round(end, 6) for end in found.ci95)
    message = f"{check.message} (95 % interval {quantity(low, 'ratio')} to {quantity(high, 'ratio')})"
    return msgspec.structs.replace(check, ci95=(low, high), message=message)


def share_counts(threshold: Metric, measured: Snapshot) -> tuple[int, int]:
    """(hits, base) of a metric whose function is "ratio" or "availability"."""
    if threshold.function == "ratio":
        return ratio_counts(threshold, measured)
    counts = first_attempt_counts if threshold.subject == "first" else eventual_counts
    return counts(measured, threshold.cohort)


def _check(threshold: Threshold, seen: _Observation, measured: Snapshot) -> Check:
    timed = threshold.timed
    unit = "ms" if timed else _UNITS[threshold.function]
    scale = NS_PER_MS if timed else 1
    if seen.infinite:
        ok = threshold.operator in (">", ">=", "!=")
    else:
        ok = seen.value is not None and threshold.holds(seen.value)
    wrong = seen.above if threshold.operator in ("<", "<=") else seen.count - seen.above
    plainly_violated = not ok and wrong >= TAIL_SAMPLES
    wanted = _wanted(threshold)
    enough = plainly_violated or (seen.count >= wanted and not seen.unseen)
    said = "never" if seen.infinite else "nothing" if seen.value is None else quantity(seen.value / scale, unit)
    message = f"{said} of {seen.count} values" if timed else said
    if not enough:
        message = f"not enough data: {_lacking(threshold, seen, wanted, measured)}"
    elif seen.note:
        message += f"; {seen.note}"
    return Check(
        name=threshold.text,
        kind="slo",
        ok=ok and enough,
        observed=None if seen.value is None or seen.infinite else round(seen.value / scale, 6),
        limit=round(threshold.limit / scale, 6),
        unit=unit,
        message=message,
        enough_data=enough,
    )


def _lacking(threshold: Threshold, seen: _Observation, wanted: int, measured: Snapshot) -> str:
    """What is missing, and what to do about it."""
    cohorts = measured.labels()[1]
    if threshold.cohort is not None and threshold.cohort not in cohorts:
        return f"there was no cohort '{threshold.cohort}', only {', '.join(cohorts) or 'none at all'}"
    if seen.unseen:
        return f"{seen.unseen}; make the --drain longer"
    return f"{seen.count} values, {wanted} are needed; make the run longer or faster"


def _wanted(threshold: Threshold) -> int:
    """How many values a threshold needs before its answer means anything."""
    if threshold.function == "quantile" and threshold.q is not None:
        return _at_least(TAIL_SAMPLES / (1 - threshold.q))
    if threshold.function in ("ratio", "availability"):
        distance = min(threshold.limit, 1 - threshold.limit)
        return _at_least(1 / distance) if distance > 0 else 1
    return 0 if threshold.function == "chain" else 1


def _at_least(n: float) -> int:
    return -int(-(n - 1e-6) // 1)


def _observe(threshold: Threshold, measured: Snapshot, arrivals_s: float, measured_s: float) -> _Observation:
    op, cohort = threshold.op, threshold.cohort
    match threshold.function:
        case "quantile" | "mean" | "max":
            return _observe_time(threshold, measured)
        case "ratio" | "availability":
            return _ratio(*share_counts(threshold, measured))
        case "retry_amplification":
            firsts = measured.total("first_attempts", op, cohort)
            value = measured.total("attempts", op, cohort) / firsts if firsts else None
            return _Observation(value=value, count=firsts)
        case "chain":
            events = measured.total("chain", threshold.subject)
            return _Observation(value=events, count=events)
        case "rate":
            events = {
                "visits": lambda: measured.total("visits_started", cohort),
                "attempts": lambda: measured.total("attempts", op, cohort),
                "steps": lambda: measured.total("steps", op, cohort),
            }[threshold.subject]()
            over_s = arrivals_s if threshold.subject == "visits" else measured_s
            if over_s <= 0:
                return _Observation(value=None, count=0)
            return _Observation(value=events / over_s, count=max(events, 1))


def _ratio(hits: int, base: int) -> _Observation:
    # Of ratios, the hits are what lies above a limit: a lower bound counts misses, an upper bound hits.
    return _Observation(value=hits / base if base else None, count=base, above=hits)


def ratio_counts(metric: Metric, measured: Snapshot) -> tuple[int, int]:
    """(those that came to the ratio's subject, all that are its base) of a metric whose function is "ratio"."""
    split = measured.by_last(metric.of, metric.op, metric.cohort)
    if metric.of == "steps":
        split = {name: n for name, n in split.items() if name not in ("censored", "dropped") or name == metric.subject}
    return split.get(metric.subject, 0), sum(split.values())


def _observe_time(threshold: Threshold, measured: Snapshot) -> _Observation:
    def find(measure: str) -> Histogram:
        return measured.histogram(measure, op=threshold.op, cohort=threshold.cohort, row=threshold.row)

    if threshold.subject == "time_to_available":
        waits = [find(f"time_to_available{suffix}") for suffix in ("", "_censored", "_never")]
        return _observe_waits(threshold, *waits)
    histogram = find(threshold.subject)
    note = f"{histogram.infinite} without a reply" if histogram.infinite else ""
    if threshold.function == "mean":
        return _Observation(value=histogram.mean_ns, count=histogram.finite, note=f"{note}, left out" if note else "")
    if not histogram.count:
        return _Observation(value=None, count=0)
    value = histogram.quantile(1.0 if threshold.q is None else threshold.q)
    return _timed(value, histogram.count, histogram.count_above(int(threshold.limit)), histogram.max_ns, note)


def _observe_waits(threshold: Threshold, ended: Histogram, censored: Histogram, never: Histogram) -> _Observation:
    """Of waits: those cut off and those refused count, as `harness.measure.survival` says."""
    unfinished = censored.count + never.count
    note = f"{never.count} never became available, {censored.count} were cut off" if unfinished else ""
    if threshold.function == "mean":
        return _Observation(value=ended.mean_ns, count=ended.count, note=f"{note}, left out" if note else "")
    count, limit_ns = ended.count + unfinished, int(threshold.limit)
    if not count:
        return _Observation(value=None, count=0)
    value = time_to_event_quantile(ended, censored, never, 1.0 if threshold.q is None else threshold.q)
    above = ended.count_above(limit_ns) + censored.count_above(limit_ns) + never.count
    if value is None and not above:
        followed = quantity(followed_ns(ended, censored, never) / NS_PER_MS, "ms")
        return _Observation(value=None, count=count, unseen=f"{note} after {followed} at most, before the limit")
    return _timed(value, count, above, ended.max_ns, note)


def _timed(value: int | None, count: int, above: int, longest_ns: int | None, note: str) -> _Observation:
    if value is not None:
        return _Observation(value=value, count=count, above=above, note=note)
    if longest_ns is not None:
        note += f"; the longest that ended took {quantity(longest_ns / NS_PER_MS, 'ms')}"
    return _Observation(value=None, count=count, above=above, infinite=True, note=note)
