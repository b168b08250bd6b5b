"""A comparison as text: what was decided and why, then every metric with both values, the change and its interval."""

from __future__ import annotations

import textwrap

from harness.judge.compare import Comparison
from harness.judge.metric_change import MetricChange, change_text
from harness.report.parts import Table
from harness.report.text import WIDTH, table_lines
from harness.report.words import NOTHING, clean, quantity

_MARKS = {"worse": "WORSE", "no_data": "no data"}


def comparison_table(comparison: Comparison) -> Table:
    """The metrics as a table: outcome, metric, base, new, change, 95 % interval."""
    columns = ("", "metric", "base", "new", "change", "95 % interval")
    return Table("Comparison", columns, [_row(change) for change in comparison.changes], texts=2)


def render_comparison(comparison: Comparison) -> str:
    """The comparison for a terminal, verdict first; lines of at most `WIDTH` characters, ends with a newline."""
    lines = textwrap.wrap(f"{comparison.status}  {clean(comparison.message, 1000)}", WIDTH, subsequent_indent="  ")
    lines += _about(comparison)
    if comparison.changes:
        lines += ["", *table_lines(comparison_table(comparison))]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _about(comparison: Comparison) -> list[str]:
    sides = f"base {_ids(comparison.base)} · new {_ids(comparison.new)}"
    rules = f"a change matters from {comparison.min_effect * 100:g} % on · alpha {comparison.alpha:g} over all metrics"
    pairs = [f"{comparison.pairs} pairs of runs, judged on the pairs"] if len(comparison.base) > 1 else []
    differing = [f"differing, as allowed: {clean(each)}" for each in comparison.differences if comparison.changes]
    said = [" · ".join([sides, *pairs]), rules, *differing]
    return [line for each in said for line in textwrap.wrap(each, WIDTH, initial_indent="  ", subsequent_indent="    ")]


def _ids(ids: list[str]) -> str:
    return ", ".join(clean(each) for each in ids) or NOTHING


def _row(change: MetricChange) -> list[str]:
    interval = NOTHING
    if change.ci95 is not None:
        interval = " to ".join(change_text(end, change.scale) for end in change.ci95)
    effect = NOTHING if change.effect is None else change_text(change.effect, change.scale)
    mark = _MARKS.get(change.outcome, change.outcome)
    return [mark, clean(change.metric), _value(change, change.base), _value(change, change.new), effect, interval]


def _value(change: MetricChange, value: float | None) -> str:
    if value is None:
        return NOTHING if change.outcome == "no_data" else "never"
    return quantity(value, change.unit)
