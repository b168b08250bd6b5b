"""`harness history`: the stored runs as a history, its change points, and people's word on both."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from harness.config.model import Regression
    from harness.config.resolve import Settled
    from harness.judge.metric import Followed
    from harness.judge.nights import KnownChange
    from harness.store.history import Entry, History

F = TypeVar("F", bound=Callable[..., Any])


def history_options(function: F) -> F:
    """Where the runs are, and by what rules they are followed."""
    function = click.option(
        "--profile", metavar="FILE", help="Profile whose [regression] table names metrics and limits."
    )(function)
    return click.option(
        "--runs",
        type=click.Path(path_type=Path),
        default=Path("runs"),
        show_default=True,
        help="The folder that holds the run folders.",
    )(function)


@click.group("history", short_help="Stored runs as a history: list, change points, accept, reject, export.")
def history() -> None:
    """Look at the runs stored under one folder as a history, and say which of them are as they should be.

    The history lies beside the run folders: history.jsonl holds what was reported and decided, history.sqlite is an
    index that is made from the folders whenever it is missing.
    """


@history.command("list")
@history_options
@click.option("--series", metavar="S", help="Only runs of this series.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a run.")
@click.option("--rebuild", is_flag=True, help="Make the index anew from the run folders.")
def list_runs(runs: Path, profile: str | None, series: str | None, as_json: bool, rebuild: bool) -> None:
    """List the runs in order of time: series, verdict, whether it is in the baseline, the first metric.

    Runs of one series can be compared; a change of trace, target, arrivals or client begins another.
    """
    from harness.store.history import History

    rules, metrics = _rules(profile)
    with History.open(runs, rebuild=rebuild) as opened:
        rows = [row for row in _rows(opened, metrics, rules) if series in (None, row["series"])]
        _tell_notes(opened)
        open_changes = [change for change in opened.log.changes.values() if change.state == "open"]
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
        return
    first = metrics[0]
    heads = ("started", "run", "scenario", "series", "verdict", "baseline", first.text)
    cells = [
        (
            row["started_at"][:19],
            row["run_id"],
            row["scenario"],
            row["series"],
            row["status"] or "partial",
            row["place"],
            _value(row["metrics"].get(first.text), first.unit),
        )
        for row in rows
    ]
    _print_table(heads, cells)
    for change in open_changes:
        click.echo(f"open: {_change_line(change)}")


@history.command("show")
@click.argument("name")
@history_options
def show(name: str, runs: Path, profile: str | None) -> None:
    """Show a run or a reported change by its id: its values, whether it is in the baseline, what was decided."""
    from harness.store.history import History

    rules, metrics = _rules(profile)
    with History.open(runs) as opened:
        change = opened.log.changes.get(name)
        if change is not None:
            click.echo(_change_line(change))
            return
        entry = opened.entry(name)
        [row] = [row for row in _rows(opened, metrics, rules) if row["folder"] == entry.folder]
        changes = [change for change in opened.log.changes.values() if change.run_id == entry.run_id]
        _tell_notes(opened)
    for key in ("run_id", "folder", "started_at", "scenario", "series", "status", "exit_code", "place"):
        click.echo(f"{key.replace('_', ' '):<12}{row[key]}")
    for metric in metrics:
        click.echo(f"{metric.text:<32}{_value(row['metrics'].get(metric.text), metric.unit)}")
    for change in changes:
        click.echo(_change_line(change))


@history.command("detect")
@history_options
@click.option("--series", metavar="S", help="Only this series.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a change.")
def detect(runs: Path, profile: str | None, series: str | None, as_json: bool) -> None:
    """Find the change points of every series and metric, those reported already and new ones.

    Nothing is stored and nothing fails: a nightly run reports what is new. Ids stay the same.
    """
    import msgspec

    from harness.judge.nights import new_changes
    from harness.store.history import History

    rules, metrics = _rules(profile)
    found = []
    with History.open(runs) as opened:
        for of in dict.fromkeys(entry.series for entry in opened.entries(series)):
            nights = opened.nights(of, metrics)
            ids = {night.run_id for night in nights}
            known = [change for change in opened.log.changes.values() if change.run_id in ids]
            for metric in metrics:
                mine = [change for change in known if change.metric == metric.text]
                rng = _orders(metric.text)
                found += [*mine, *new_changes(nights, mine, metric, rules, rng)]
        _tell_notes(opened)
    for change in found:
        click.echo(json.dumps(msgspec.to_builtins(change)) if as_json else _change_line(change))
    if not found and not as_json:
        click.echo("no change points", err=True)


@history.command("accept")
@click.argument("name")
@history_options
@click.option("--reason", default="", help="Why, for those who look later.")
def accept(name: str, runs: Path, profile: str | None, reason: str) -> None:
    """Accept a run or a reported change by its id: it is as it should be, and belongs into the baseline.

    An accepted change makes its level the one that later runs are compared with. An INVALID or partial run cannot be
    accepted.
    """
    _decide(name, runs, "accepted", reason)


@history.command("reject")
@click.argument("name")
@history_options
@click.option("--reason", default="", help="Why, for those who look later.")
def reject(name: str, runs: Path, profile: str | None, reason: str) -> None:
    """Reject a run or a reported change by its id: a rejected run is no baseline, a rejected change must be repaired.

    While a rejected change lasts, every run that shows it fails.
    """
    _decide(name, runs, "rejected", reason)


@history.command("export")
@history_options
@click.option("--series", metavar="S", help="Only runs of this series.")
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
@click.option("--openmetrics", is_flag=True, help="For promtool tsdb create-blocks-from openmetrics, instead.")
@click.option("-o", "--output", default="-", show_default=True, help="File to write; - is stdout.")
def export(runs: Path, profile: str | None, series: str | None, form: str, openmetrics: bool, output: str) -> None:
    """Write every run with its verdict, its place in the history and its metrics, as JSON lines or CSV.

    With --openmetrics values, bands, change points and verdicts are written as Prometheus's past takes them.
    """
    from harness.cli.history_openmetrics import history_runs
    from harness.export.history import render_history
    from harness.store.files import replace_file
    from harness.store.history import History

    rules, metrics = _rules(profile)
    with History.open(runs) as opened:
        if openmetrics:
            text = render_history(list(history_runs(opened, metrics, rules, series)))
        else:
            rows = [row for row in _rows(opened, metrics, rules) if series in (None, row["series"])]
            text = _csv(rows, metrics) if form == "csv" else "".join(json.dumps(row) + "\n" for row in rows)
        _tell_notes(opened)
    if output == "-":
        click.echo(text, nl=False)
    else:
        replace_file(Path(output), text.encode())


def _rules(profile: str | None) -> tuple[Regression, list[Followed]]:
    """The [regression] table of the profile, or the defaults, and its metrics."""
    from harness.cli.options import read_settings

    return regression_rules(read_settings({"profile": profile}))


def regression_rules(settled: Settled) -> tuple[Regression, list[Followed]]:
    """The settled [regression] table, and its metrics or the default ones."""
    from harness.config.build import regression_of
    from harness.judge.metric import DEFAULT_METRICS, follow_all

    rules = regression_of(settled)
    return rules, follow_all(rules.metrics or DEFAULT_METRICS)


def _rows(opened: History, metrics: Sequence[Followed], rules: Regression) -> list[dict[str, Any]]:
    """Every run as plain data; `place` says what it is to the baseline of the first metric."""
    from harness.judge.nights import baseline

    in_baseline: set[str] = set()
    for series in {entry.series for entry in opened.entries()}:
        nights = opened.nights(series, metrics)
        chosen = baseline(nights, opened.log.changes.values(), metrics[0], rules)
        in_baseline |= {night.run_id for night in chosen}
    return [
        {
            "run_id": entry.run_id,
            "folder": entry.folder,
            "started_at": entry.started_at,
            "scenario": entry.scenario,
            "series": entry.series,
            "status": entry.status,
            "exit_code": entry.exit_code,
            "place": _place(opened, entry, in_baseline),
            "metrics": opened.values(entry, metrics),
        }
        for entry in opened.entries()
    ]


def _place(opened: History, entry: Entry, in_baseline: set[str]) -> str:
    decision = opened.log.decisions.get(entry.run_id)
    if entry.run_id in opened.log.first_tries:
        return "first try"
    if entry.run_id in in_baseline:
        return "yes, accepted" if decision == "accepted" else "yes"
    return decision or ("no" if entry.sound else "never")


def _csv(rows: Sequence[dict[str, Any]], metrics: Sequence[Followed]) -> str:
    heads = ("run_id", "folder", "started_at", "scenario", "series", "status", "exit_code", "place")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*heads, *(metric.text for metric in metrics)])
    for row in rows:
        values = row["metrics"]
        writer.writerow([*(row[head] for head in heads), *(values.get(metric.text, "") for metric in metrics)])
    return text.getvalue()


def _decide(name: str, runs: Path, decision: Any, reason: str) -> None:
    from harness.store.history import History

    # What a terminal sends need not be text.
    reason = reason.encode(errors="replace").decode()
    with History.open(runs) as opened:
        whole = opened.decide(name, decision, at=datetime.now(UTC).isoformat(timespec="milliseconds"), reason=reason)
        _tell_notes(opened)
    click.echo(f"{whole} {decision}")


def _orders(metric: str) -> Any:
    from random import Random

    return Random(f"changes/{metric}")


def _value(value: float | None, unit: str) -> str:
    from harness.judge.check import quantity

    return "–" if value is None else quantity(value, unit)


def _change_line(change: KnownChange) -> str:
    from harness.judge.metric import follow

    metric = follow(change.metric)
    return (
        f"{change.id}  {change.state:<8}  {'worse' if change.worse else 'better':<6}  {change.metric}  "
        f"{_value(change.before, metric.unit)} to {_value(change.after, metric.unit)} "
        f"({metric.said(change.before, change.after)}) with run {change.run_id}"
        f"{f', reported by {change.reported_by}' if change.reported_by else ', not reported yet'}"
    )


def _tell_notes(opened: History) -> None:
    for note in opened.notes:
        click.echo(f"harness: {note}", err=True)


def _print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    for row in (heads, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
