"""Stored runs as OpenMetrics with times of their own, for `promtool tsdb create-blocks-from openmetrics`.

One sample a run and series, at the run's start. A family stands in one piece, and so does each series in it, its times
ascending, as the format asks. Of two runs of one scenario that start in the same second the later one counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from harness.export.families import Labels
from harness.export.names import HISTORY
from harness.export.text_format import number_text, series_text


class HistoryRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run as the history tells it, at `at_s` (Unix time); values in base units (s, ratio, 1/s), by metric.

    `baseline` holds low, median and high of the band that the run was compared with, where there was history enough.
    `changes` holds by how much (a share) the level moved with this run, for the metrics whose level did.
    """

    scenario: str
    at_s: float
    status: str
    exit_code: int
    values: Mapping[str, float]
    baseline: Mapping[str, tuple[float, float, float]] = {}
    changes: Mapping[str, float] = {}


def render_history(runs: Sequence[HistoryRun]) -> str:
    """The runs, in any order, as OpenMetrics text."""
    ordered = {(run.scenario, round(run.at_s)): run for run in sorted(runs, key=lambda run: run.at_s)}
    lines: list[str] = []
    for name, text in HISTORY.items():
        lines += [f"# TYPE {name} gauge", f"# HELP {name} {text}"]
        by_series: dict[str, list[str]] = {}
        for run in ordered.values():
            for labels, value in _SAMPLES[name](run):
                series = series_text(name, (("scenario", run.scenario), *labels))
                by_series.setdefault(series, []).append(f"{series} {number_text(value)} {run.at_s:.3f}")
        lines += [line for of_series in by_series.values() for line in of_series]
    return "\n".join((*lines, "# EOF")) + "\n"


def _values(run: HistoryRun) -> Iterator[tuple[Labels, float]]:
    for metric, value in run.values.items():
        yield (("metric", metric),), value


def _baseline(run: HistoryRun) -> Iterator[tuple[Labels, float]]:
    for metric, bounds in run.baseline.items():
        for bound, value in zip(("low", "median", "high"), bounds, strict=True):
            yield (("metric", metric), ("bound", bound)), value


def _changes(run: HistoryRun) -> Iterator[tuple[Labels, float]]:
    for metric, share in run.changes.items():
        yield (("metric", metric),), share


def _verdict(run: HistoryRun) -> Iterator[tuple[Labels, float]]:
    yield (("status", run.status),), 1


def _exit_code(run: HistoryRun) -> Iterator[tuple[Labels, float]]:
    yield (), run.exit_code


_SAMPLES = {
    "harness_history_value": _values,
    "harness_history_baseline": _baseline,
    "harness_history_change_ratio": _changes,
    "harness_history_verdict": _verdict,
    "harness_history_exit_code": _exit_code,
}
