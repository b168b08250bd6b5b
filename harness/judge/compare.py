"""Two runs, or N pairs of runs, compared: did the target become slower or less available, and how sure is that?

    comparison = compare(base, new)             # two `ComparedRun`s: Comparison
    comparison.status                           # "PASS", "FAIL" (a regression: exit 4) or "INVALID" (exit 5, or 2)
    comparison.message                          # one line that says why
    comparison.changes                          # one `MetricChange` a metric: values, ratio, 95 % interval, outcome
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
from math import ceil
from random import Random
from typing import Any, Literal

import msgspec

from harness.errors import ExitCode
from harness.judge.check import Check
from harness.judge.fingerprint import Difference, differences, fingerprint
from harness.judge.metric_change import MetricChange, judged, paired, single
from harness.judge.sample import Seconds, seconds_of
from harness.judge.threshold import parse_metric
from harness.measure.snapshot import Snapshot

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

Status = Literal["PASS", "FAIL", "INVALID"]


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

    def seconds(self) -> Seconds:
        """The measured seconds, the drain joined to the last of them."""
        phases = self.summary["phases"]
        first = ceil(phases["warmup_s"])
        return seconds_of(self.slices, first, ceil(phases["warmup_s"] + phases["arrivals_s"]))


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
    changes: list[MetricChange]

    def checks(self) -> list[Check]:
        """One check of kind "regression" for each metric that could be judged, in order."""
        return [change.check() for change in self.changes if change.outcome != "no_data"]

    def to_obj(self) -> dict[str, Any]:
        """Plain data for JSON (schema harness.comparison/1); the ratio new / base stands beside each change."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        for change, told in zip(self.changes, plain["changes"], strict=True):
            told["ratio"] = change.ratio
        return {"schema": "harness.comparison/1", **plain}


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
    changes: list[MetricChange] = []
    if not refused and len(usable) >= max(least, 1):
        rng = Random(f"compare/{seed}")
        seconds = [(base.seconds(), new.seconds()) for base, new in usable]
        found = [single(metric, *seconds[0], rng) if least == 1 else paired(metric, seconds) for metric in wanted]
        changes = judged(found, min_effect, alpha)
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
        ours, theirs = (fingerprint(run.manifest, run.summary) for run in (base, new))
        for difference in differences(ours, theirs):
            found.setdefault(difference.field, difference)
    return list(found.values())


def _verdict(
    pairs: Sequence[tuple[ComparedRun, ComparedRun]],
    usable: Sequence[object],
    refused: Sequence[Difference],
    changes: Sequence[MetricChange],
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
