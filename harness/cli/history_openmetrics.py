"""The history as OpenMetrics: every night as it stood on its day, with the baseline that it was compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from random import Random
from typing import TYPE_CHECKING

from harness.judge.gate import gate
from harness.judge.nights import baseline, new_changes

if TYPE_CHECKING:
    from harness.config.model import Regression
    from harness.export.history import HistoryRun
    from harness.judge.metric import Followed
    from harness.judge.nights import KnownChange, Night
    from harness.store.history import History

_MS_PER_S = 1000


def history_runs(
    opened: History, metrics: Sequence[Followed], rules: Regression, series: str | None = None
) -> Iterator[HistoryRun]:
    """The runs of a history (of one series, if given) with bands and changes, for `export.history`.

    Changes are those that were reported, and those that the whole series shows now.
    """
    scenarios = {entry.series: entry.scenario for entry in opened.entries(series)}
    exits = {entry.run_id: entry.exit_code or 0 for entry in opened.entries(series)}
    for name, scenario in scenarios.items():
        nights = opened.nights(name, metrics)
        known = list(opened.log.changes.values())
        changes = {
            metric.text: [
                *(change for change in known if change.metric == metric.text),
                *new_changes(nights, known, metric, rules, Random(f"{name}/{metric.text}")),
            ]
            for metric in metrics
        }
        for at, night in enumerate(nights):
            if night.status:
                yield _run(scenario, night, exits[night.run_id], nights[:at], changes, metrics, rules)


def _run(
    scenario: str,
    night: Night,
    exit_code: int,
    earlier: Sequence[Night],
    changes: dict[str, list[KnownChange]],
    metrics: Sequence[Followed],
    rules: Regression,
) -> HistoryRun:
    from harness.export.history import HistoryRun

    by_text = {metric.text: metric for metric in metrics}
    bands = {text: _band(by_text[text], value, earlier, changes[text], rules) for text, value in night.values.items()}
    moved = {
        text: change.after / change.before - 1
        for text, found in changes.items()
        for change in found
        if change.run_id == night.run_id and change.before
    }
    return HistoryRun(
        scenario=scenario,
        at_s=datetime.fromisoformat(night.started_at).timestamp(),
        status=night.status,
        exit_code=exit_code,
        values={text: _base(by_text[text], value) for text, value in night.values.items()},
        baseline={text: band for text, band in bands.items() if band is not None},
        changes=moved,
    )


def _band(
    metric: Followed, value: float, earlier: Sequence[Night], known: Sequence[KnownChange], rules: Regression
) -> tuple[float, float, float] | None:
    """Low, median and high of what the gate lets pass on both sides; None without history enough."""
    nights = [night.values[metric.text] for night in baseline(earlier, known, metric, rules)]
    least = metric.least(rules.min_effect)
    low, high = (
        gate(value, nights, worse=worse, least=least, alpha=rules.alpha, absolute=metric.absolute)
        for worse in ("down", "up")
    )
    if low is None or high is None:
        return None
    return _base(metric, low.limit), _base(metric, low.center), _base(metric, high.limit)


def _base(metric: Followed, value: float) -> float:
    """A value in Prometheus's base unit: seconds instead of milliseconds."""
    return value / _MS_PER_S if metric.unit == "ms" else value
