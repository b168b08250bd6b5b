"""Two runs, or N pairs of runs, compared: did the target become slower or less available, and how sure is that?

    comparison = compare(base, new)             # two `ComparedRun`s: Comparison
    comparison.status                           # "PASS", "FAIL" (a regression: exit 4) or "INVALID" (exit 5, or 2)
    comparison.message                          # one line that says why
    comparison.changes                          # one `Change` a metric: both values, ratio, 95 % interval, outcome
    comparison.differences                      # fields of the fingerprint that differ; not judged unless allowed
    comparison.checks()                         # the same as checks of kind "regression", for `verdict.judge(more=...)`

`store.compared_run(path)` reads a run folder into a `ComparedRun`. Everything here is pure; the same runs and seed
give the same answer.

**One pair** is judged by the seconds of its runs (`harness.judge.sample`): the change of a metric over its standard
error, both runs' errors added, is Student's t with Welch's degrees of freedom. This cannot know what differs from one
run to the next (a neighbour, a cold cache): **several pairs** (`compare_pairs`) are judged on the pairs alone, the mean
of their changes over its spread between pairs, which needs at least three.

**What counts as a change.** Outcome "worse" or "better" needs both: it is surely one (Holm's correction over all
metrics keeps the chance of any false alarm below `alpha`) and it is large enough to matter. `min_effect` is relative
for times and rates (0.05: five per cent); for shares it is a tenth of it in points (0.05: half a point). "same" says
that the 95 % interval lies within what does not matter, "small" that the change is sure but does not matter, "unclear"
that a change that matters can neither be seen nor excluded: such a pass is worth little, and more data helps.

A percentile that lies on attempts without a reply is "never". Where it, or some of its draws, does, the question
becomes whether the share of values beyond the finite percentile has changed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import ceil, exp, inf, isfinite, log, sqrt
from random import Random
from typing import Any, Literal

import msgspec

from harness.errors import ExitCode
from harness.judge.check import Check, quantity
from harness.judge.fingerprint import Difference, differences, fingerprint
from harness.judge.sample import Sample, beyond, sample, seconds_of
from harness.judge.significance import holm, t_quantile, two_sided_p
from harness.judge.threshold import Metric, parse_metric
from harness.measure.snapshot import Snapshot
from harness.units import NS_PER_MS

DEFAULT_METRICS = (
    "p50(response_time)",
    "p95(response_time)",
    "p99(response_time)",
    "p50(service_time)",
    "p95(service_time)",
    "p99(service_time)",
    "p50(time_to_available)",
    "p95(time_to_available)",
    "availability(first)",
    "availability(eventual)",
)
MIN_EFFECT = 0.05
ALPHA = 0.01
MIN_PAIRS = 3
POINTS_OF_EFFECT = 0.1

Outcome = Literal["worse", "better", "same", "small", "unclear", "no_data"]
Status = Literal["PASS", "FAIL", "INVALID"]

# Everything else that can be compared is the worse the more of it there is.
_MORE_IS_BETTER = frozenset({"available", "accepted", "first", "eventual", "visits", "attempts", "steps"})
_UNITS = {"ratio": "ratio", "availability": "ratio", "rate": "/s", "retry_amplification": ""}
_WORDS = {
    "worse": "worse",
    "better": "better",
    "same": "no change that matters",
    "small": "changed, but less than matters",
    "unclear": "a change that matters can neither be seen nor excluded",
}


class ComparedRun(msgspec.Struct, kw_only=True):
    """A finished run: its manifest and summary as plain data, its slices by second."""

    manifest: dict[str, Any]
    summary: dict[str, Any]
    slices: dict[int, Snapshot]

    @property
    def run_id(self) -> str:
        """The run's id."""
        return str(self.summary.get("run_id", ""))

    @property
    def status(self) -> str:
        """The run's own verdict."""
        return str(self.summary.get("verdict", {}).get("status", ""))

    def seconds(self) -> list[Snapshot]:
        """The measured seconds, the drain joined to the last of them."""
        phases = self.summary["phases"]
        first = ceil(phases["warmup_s"])
        return seconds_of(self.slices, first, ceil(phases["warmup_s"] + phases["arrivals_s"]))


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one metric.

    `base` and `new` are in `unit` ("ms", "ratio", "/s", ""), None for "never" and for nothing; of several pairs they
    are the means (of times the geometric ones). `effect` is new / base - 1, of shares new - base; `ci95` is its
    interval; None where it is not known. `p` is corrected by Holm. `min_effect` is what matters, in the same scale.
    """

    metric: str
    unit: str
    scale: Literal["relative", "points"]
    base: float | None
    new: float | None
    effect: float | None
    ci95: tuple[float, float] | None
    p: float | None
    min_effect: float
    outcome: Outcome
    message: str

    @property
    def ratio(self) -> float | None:
        """new / base."""
        return self.new / self.base if self.base and self.new is not None else None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The answer: see the module. `forced` are the fields of the fingerprint that were allowed to differ."""

    status: Status
    exit_code: int
    message: str
    base: list[str]
    new: list[str]
    pairs: int
    alpha: float
    min_effect: float
    differences: list[Difference]
    forced: list[str]
    changes: list[Change]

    def checks(self) -> list[Check]:
        """One check of kind "regression" for each metric that could be judged, in order."""
        return [_check(change) for change in self.changes if change.outcome != "no_data"]

    def to_obj(self) -> dict[str, Any]:
        """Plain data for JSON (schema harness.comparison/1); the ratio new / base stands beside each change."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        for change, told in zip(self.changes, plain["changes"], strict=True):
            told["ratio"] = change.ratio
        return {"schema": "harness.comparison/1", **plain}


class _Found(msgspec.Struct, frozen=True, kw_only=True):
    """A change before it is judged: on the scale of `Sample.error`; `lacking` when there is none to judge."""

    metric: Metric
    base: float | None = None
    new: float | None = None
    shift: float | None = None
    error: float = 0.0
    degrees: float = 1.0
    p: float | None = None
    lacking: str = ""


def compare(
    base: ComparedRun,
    new: ComparedRun,
    *,
    metrics: Sequence[str] = (),
    min_effect: float = MIN_EFFECT,
    alpha: float = ALPHA,
    force: Collection[str] = (),
    seed: int = 1,
) -> Comparison:
    """One run against another, judged by their seconds.

    `metrics` are texts such as `p99(response_time{op=update})`; without any, `DEFAULT_METRICS` as far as they were
    measured. `force` names fields of the fingerprint (`fingerprint.FIELDS`) that may differ, "invalid" allows runs
    whose own verdict is INVALID, "all" both. Raises `UsageError` for a metric that cannot be read or compared.
    """
    return compare_pairs(
        [(base, new)], metrics=metrics, min_effect=min_effect, alpha=alpha, force=force, seed=seed, least=1
    )


def compare_pairs(
    pairs: Sequence[tuple[ComparedRun, ComparedRun]],
    *,
    metrics: Sequence[str] = (),
    min_effect: float = MIN_EFFECT,
    alpha: float = ALPHA,
    force: Collection[str] = (),
    seed: int = 1,
    least: int = MIN_PAIRS,
) -> Comparison:
    """Pairs of runs (base, new), played alternately, judged on the pairs; a single pair is judged by its seconds.

    Pairs with an INVALID run are left out (unless forced); fewer than `least` of the others make the answer INVALID.
    """
    wanted = [parse_metric(text) for text in metrics or DEFAULT_METRICS]
    apart = _apart(pairs)
    refused = [each for each in apart if each.field not in force and "all" not in force]
    usable = [
        pair for pair in pairs if {"invalid", "all"} & set(force) or "INVALID" not in (pair[0].status, pair[1].status)
    ]
    changes: list[Change] = []
    if not refused and len(usable) >= max(least, 1):
        rng = Random(f"compare/{seed}")
        found = [_single(metric, *usable[0], rng) if least == 1 else _paired(metric, usable) for metric in wanted]
        changes = _judged(found, min_effect, alpha)
    status, exit_code, message = _verdict(pairs, usable, refused, changes, asked=bool(metrics), least=least)
    return Comparison(
        status=status,
        exit_code=int(exit_code),
        message=message,
        base=[base.run_id for base, _ in pairs],
        new=[new.run_id for _, new in pairs],
        pairs=len(usable),
        alpha=alpha,
        min_effect=min_effect,
        differences=apart,
        forced=sorted(force),
        changes=changes,
    )


def _apart(pairs: Sequence[tuple[ComparedRun, ComparedRun]]) -> list[Difference]:
    found: dict[str, Difference] = {}
    for base, new in pairs:
        sides = (fingerprint(run.manifest, run.summary) for run in (base, new))
        for difference in differences(*sides):
            found.setdefault(difference.field, difference)
    return list(found.values())


def _verdict(
    pairs: Sequence[tuple[ComparedRun, ComparedRun]],
    usable: Sequence[object],
    refused: Sequence[Difference],
    changes: Sequence[Change],
    *,
    asked: bool,
    least: int,
) -> tuple[Status, ExitCode, str]:
    if refused:
        told = "; ".join(map(str, refused))
        fields = " ".join(f"--force {each.field}" for each in refused)
        return "INVALID", ExitCode.USAGE, f"the runs are not comparable: {told}; {fields} compares them all the same"
    if len(usable) < least:
        invalid = [run.run_id for pair in pairs for run in pair if run.status == "INVALID"]
        told = f"INVALID in itself: {', '.join(invalid)}"
        if least > 1:
            told = f"{len(usable)} valid pairs, {least} are needed" + (f"; {told}" if invalid else "")
        return "INVALID", ExitCode.INVALID, told
    thin = [change for change in changes if change.outcome == "no_data"]
    if thin and (asked or len(thin) == len(changes)):
        return "INVALID", ExitCode.INVALID, f"not enough data: {thin[0].metric}: {thin[0].message}"
    worse = [change for change in changes if change.outcome == "worse"]
    if worse:
        told = "; ".join(f"{change.metric}: {change.message}" for change in worse)
        return "FAIL", ExitCode.FAIL_REGRESSION, f"{len(worse)} of {len(changes)} metrics are worse: {told}"
    unclear = sum(change.outcome == "unclear" for change in changes)
    told = f"no regression in {len(changes) - len(thin)} metrics"
    return "PASS", ExitCode.PASS, told + (f"; {unclear} of them could not exclude one" if unclear else "")


def _shares(metric: Metric) -> bool:
    return metric.function in ("ratio", "availability")


def _single(metric: Metric, base: ComparedRun, new: ComparedRun, rng: Random) -> _Found:
    """The change of a metric between two runs, by their seconds."""
    seconds = base.seconds(), new.seconds()
    was, now = (sample(metric, side, rng) for side in seconds)
    lacking = [f"{name} has {each.lacking}" for name, each in (("base", was), ("new", now)) if each.lacking]
    if was.value is None or now.value is None or lacking:
        return _Found(metric=metric, base=was.value, new=now.value, lacking="; ".join(lacking))
    if was.error is None or now.error is None:
        return _beyond(metric, seconds, was, now, rng)
    shift = now.value - was.value if _shares(metric) else log(now.value / was.value)
    error, degrees = _welch(was.error, was.degrees, now.error, now.degrees)
    p = two_sided_p(shift / error, degrees)
    return _Found(metric=metric, base=was.value, new=now.value, shift=shift, error=error, degrees=degrees, p=p)


def _welch(error: float, degrees: float, other: float, other_degrees: float) -> tuple[float, float]:
    squares = error * error, other * other
    total = squares[0] + squares[1]
    return sqrt(total), total * total / (squares[0] ** 2 / degrees + squares[1] ** 2 / other_degrees)


def _beyond(
    metric: Metric, seconds: tuple[Sequence[Snapshot], Sequence[Snapshot]], was: Sample, now: Sample, rng: Random
) -> _Found:
    """Where "never" is near: has the share beyond the smaller percentile changed?"""
    assert was.value is not None and now.value is not None
    limit_ns = min(was.value, now.value)
    if limit_ns == inf:
        return _Found(metric=metric, base=inf, new=inf, shift=0.0, p=1.0)
    shares = [beyond(metric, side, limit_ns, rng) for side in seconds]
    if shares[0] is None or shares[1] is None:
        return _Found(metric=metric, base=was.value, new=now.value, lacking="nothing was measured")
    error, degrees = _welch(shares[0].error, shares[0].degrees, shares[1].error, shares[1].degrees)
    p = two_sided_p((shares[1].share - shares[0].share) / error, degrees)
    finite = isfinite(was.value) and isfinite(now.value)
    shift = log(now.value / was.value) if finite else inf if now.value == inf else -inf
    return _Found(metric=metric, base=was.value, new=now.value, shift=shift, error=inf, p=p)


def _paired(metric: Metric, pairs: Sequence[tuple[ComparedRun, ComparedRun]]) -> _Found:
    """The mean change over pairs, with their spread as its error."""
    rng = Random("paired")
    sides: list[tuple[float, float]] = []
    for base, new in pairs:
        was, now = (sample(metric, run.seconds(), rng) for run in (base, new))
        lacking = was.lacking or now.lacking
        if was.value is None or now.value is None or lacking:
            return _Found(metric=metric, lacking=f"a run has {lacking or 'nothing'}")
        sides.append((was.value, now.value))
    if not all(isfinite(value) for pair in sides for value in pair):
        return _signed(metric, sides)
    flat = _shares(metric)
    scaled = [(was, now) if flat else (log(was), log(now)) for was, now in sides]
    shifts = [now - was for was, now in scaled]
    n, shift = len(shifts), sum(shifts) / len(shifts)
    error = sqrt(sum((each - shift) ** 2 for each in shifts) / (n - 1) / n)
    was, now = (sum(column) / n for column in zip(*scaled, strict=True))
    p = two_sided_p(shift / error, n - 1) if error else float(shift == 0)
    told = (was, now) if flat else (exp(was), exp(now))
    return _Found(metric=metric, base=told[0], new=told[1], shift=shift, error=error, degrees=n - 1, p=p)


def _signed(metric: Metric, sides: Sequence[tuple[float, float]]) -> _Found:
    """Pairs with a "never" have a direction and no size: the sign test."""
    signs = [(now > was) - (now < was) for was, now in sides]
    decided = [sign for sign in signs if sign]
    was, now = (sorted(column)[len(column) // 2] for column in zip(*sides, strict=True))
    if not decided:
        return _Found(metric=metric, base=was, new=now, shift=0.0, p=1.0)
    total = sum(decided)
    p = min(1.0, 2 * 0.5 ** len(decided)) if abs(total) == len(decided) else 1.0
    shift = inf if total > 0 else -inf if total < 0 else 0.0
    return _Found(metric=metric, base=was, new=now, shift=shift, error=inf, p=p)


def _judged(found: Sequence[_Found], min_effect: float, alpha: float) -> list[Change]:
    corrected = iter(holm([each.p for each in found if each.p is not None]))
    return [_change(each, next(corrected) if each.p is not None else None, min_effect, alpha) for each in found]


def _change(found: _Found, p: float | None, min_effect: float, alpha: float) -> Change:
    metric, flat = found.metric, _shares(found.metric)
    matters = min_effect * POINTS_OF_EFFECT if flat else min_effect
    effect, ci95 = None, None
    if found.shift is not None and isfinite(found.shift):
        effect = found.shift if flat else exp(found.shift) - 1
        if isfinite(found.error):
            half = t_quantile(0.95, found.degrees) * found.error
            ends = found.shift - half, found.shift + half
            ci95 = ends if flat else (exp(ends[0]) - 1, exp(ends[1]) - 1)
    outcome = _outcome(metric, found.shift, ci95, p, matters, alpha, flat)
    unit = "ms" if metric.timed else _UNITS[metric.function]
    base, new = (_in_unit(value, metric) for value in (found.base, found.new))
    change = Change(
        metric=metric.text, unit=unit, scale="points" if flat else "relative", base=base, new=new, effect=effect,
        ci95=ci95, p=p, min_effect=matters, outcome=outcome, message="",
    )  # fmt: skip
    message = found.lacking if outcome == "no_data" else _message(change, found)
    return msgspec.structs.replace(change, message=message)


def _outcome(
    metric: Metric,
    shift: float | None,
    ci95: tuple[float, float] | None,
    p: float | None,
    matters: float,
    alpha: float,
    flat: bool,
) -> Outcome:
    if shift is None or p is None:
        return "no_data"
    # Ratios are symmetric on their scale: five per cent slower is undone by five per cent of a speed-up.
    bound = matters if flat else log(1 + matters)
    if p < alpha:
        if abs(shift) < bound:
            return "small"
        more = shift > 0
        return "better" if more == (metric.subject in _MORE_IS_BETTER) else "worse"
    if ci95 is None:
        return "unclear" if shift else "same"
    within = [abs(end if flat else log(1 + end)) < bound for end in ci95]
    return "same" if all(within) else "unclear"


def _in_unit(value: float | None, metric: Metric) -> float | None:
    if value is None or not isfinite(value):
        return None
    return round(value / NS_PER_MS, 6) if metric.timed else round(value, 9)


def _message(change: Change, found: _Found) -> str:
    was, now = (
        "never" if value == inf else "nothing" if told is None else quantity(told, change.unit)
        for value, told in ((found.base, change.base), (found.new, change.new))
    )
    text = f"{was} became {now}"
    if change.effect is not None:
        text += f", {_signed_text(change.effect, change.scale)}"
        if change.ci95 is not None:
            low, high = (_signed_text(end, change.scale) for end in change.ci95)
            text += f" ({low} to {high})"
    return f"{text}: {_WORDS[change.outcome]}"


def _signed_text(effect: float, scale: str) -> str:
    return f"{effect * 100:+.2f} points" if scale == "points" else f"{effect * 100:+.1f} %"


def _check(change: Change) -> Check:
    return Check(
        name=change.metric,
        kind="regression",
        ok=change.outcome != "worse",
        observed=None if change.effect is None else round(change.effect, 6),
        limit=change.min_effect,
        unit="ratio",
        message=change.message,
    )
