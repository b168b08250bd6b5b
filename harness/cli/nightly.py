"""`harness nightly`: a run, its thresholds, its history, a confirming re-run and the reports, as one command for CI."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import read_settings, setting_options
from harness.errors import ExitCode, InternalError, UsageError
from harness.store.layout import JUNIT, MARKDOWN, REPORT, SUMMARY

if TYPE_CHECKING:
    from harness.config.model import Regression
    from harness.config.resolve import Settled
    from harness.judge.compare import Comparison
    from harness.judge.metric import Followed
    from harness.judge.nights import KnownChange, Night, Standing
    from harness.store.history import Entry
    from harness.store.stored_run import StoredRun

_REPORTS = {REPORT: "html", JUNIT: "junit", MARKDOWN: "md"}

# Endings that the history has nothing to say about.
_JUDGED = (ExitCode.PASS, ExitCode.FAIL_SLO, ExitCode.FAIL_REGRESSION, ExitCode.INVALID)
_FAILED = (ExitCode.FAIL_SLO, ExitCode.FAIL_REGRESSION)
# Of `harness run`'s options those that a job may want to say beside its profile.
_OPTIONS = (
    "target", "account", "allowed_hosts", "resolve", "yes_production", "arrivals", "duration_ns", "seed", "workers",
    "metrics", "labels", "json", "quiet",
)  # fmt: skip


@click.command("nightly", short_help="Run, judge against history, report: one command for CI.")
@click.argument("profile")
@click.option(
    "--runs",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="The folder that holds the run folders and their history; keep it from night to night.",
)
@click.option("--reports", type=click.Path(path_type=Path), metavar="DIR", help="Also put the reports here.")
@click.option("--rerun/--no-rerun", default=True, show_default=True, help="Confirm a FAIL by a second run.")
@setting_options(*_OPTIONS)
def nightly(profile: str, runs: Path, reports: Path | None, rerun: bool, **flags: Any) -> int:
    """Carry out the run that PROFILE describes and judge it by its thresholds and by the runs before it.

    The metrics of the profile's [regression] table are held against the last valid, accepted runs of the same series:
    a gate for jumps, change points for drift. A FAIL is run once more, and stands only if the second run fails too. The
    run folder gets summary.json, report.html, junit.xml and summary.md with all of this; the exit code says why:
    0 PASS, 3 a threshold, 4 a regression, 5 INVALID, 6 guard, 7 unreachable.
    """
    from harness.cli.verdict import print_result
    from harness.store.files import storage_errors
    from harness.store.history import History

    settled = read_settings({**flags, "profile": profile})
    if settled.values["out_dir"]:
        raise UsageError(
            f"{settled.origins['out_dir']}: a nightly run names its folder itself: leave it out, use --runs"
        )
    with storage_errors(runs):
        runs.mkdir(parents=True, exist_ok=True)
    # A history that cannot be read is told now, not after the run.
    History.open(runs).close()
    tried = _try(settled, runs)
    if tried.exit_code in _FAILED and rerun:
        click.echo(f"harness: {tried.why}; once more, to confirm", err=True)
        tried = _confirmed(tried, _try(settled, runs, tried), runs)
    _remember(tried, runs)
    if reports is not None:
        _copy_reports(tried.stored.path, reports)
    print_result(
        tried.summary,
        tried.stored.path,
        as_json=bool(settled.values["json"]),
        quiet=bool(settled.values["quiet"]),
        people=sys.stderr,
    )
    return tried.exit_code


@dataclass(frozen=True)
class _Tried:
    """One run of the night, judged; `standings` is empty when the history has nothing to say of it."""

    stored: StoredRun
    summary: dict[str, Any]
    standings: Sequence[Standing]

    @property
    def exit_code(self) -> int:
        return int(self.summary["verdict"]["exit_code"])

    @property
    def why(self) -> str:
        from harness.cli.verdict import verdict_line

        return f"run {self.summary['run_id']}: {verdict_line(self.summary)}"


def _try(settled: Settled, runs: Path, first: _Tried | None = None) -> _Tried:
    """One run, judged beside its history and reported in its folder; raises `HarnessError` when it gave no summary.

    `first` is the run of this night that this one is to confirm.
    """
    from harness.cli.conduct import conduct
    from harness.cli.run import run_config
    from harness.store.stored_run import load_run

    settled.values["out_dir"] = None
    config = run_config(settled, runs)
    # What a run prints as its result is not yet this command's.
    with redirect_stdout(sys.stderr):
        conduct(config, as_json=False, quiet=True, people=sys.stderr)
    stored = load_run(Path(config.out_dir))
    if stored.summary is None:
        raise InternalError(f"{stored.path} has no summary: {stored.reason or 'the run left none'}")
    summary = stored.summary
    standings: Sequence[Standing] = ()
    if first is not None:
        summary["confirms"] = {"run_id": first.summary["run_id"], "exit_code": first.exit_code, "why": first.why}
    if summary["verdict"]["exit_code"] in _JUDGED:
        standings = _judge(summary, runs, settled, "" if first is None else str(first.summary["run_id"]))
    _write(stored, summary)
    return _Tried(stored, summary, standings)


def _judge(summary: dict[str, Any], runs: Path, settled: Settled, leave_out: str) -> list[Standing]:
    """Adds what the history says to a run's summary and verdict; the run `leave_out` is taken for no night."""
    from harness.cli.history import regression_rules
    from harness.judge.history_view import history_block
    from harness.judge.nights import stand
    from harness.judge.verdict import extended
    from harness.store.history import History

    rules, metrics = regression_rules(settled)
    with History.open(runs) as history:
        entry = history.entry(str(summary["run_id"]))
        nights = [night for night in history.nights(entry.series, metrics) if night.run_id != leave_out]
        at = [night.run_id for night in nights].index(entry.run_id)
        tonight, earlier = nights[at], nights[:at]
        known = list(history.log.changes.values())
        for note in history.notes:
            click.echo(f"harness: {note}", err=True)
    ids = {night.run_id for night in nights}
    known = [change for change in known if change.run_id in ids]
    standings = [stand(tonight, earlier, known, metric, rules, Random(f"changes/{metric.text}")) for metric in metrics]
    checks = [check for standing in standings for check in standing.checks()]
    comparison = _beside_the_latest(runs, entry, earlier, known, metrics[0], rules)
    if comparison is not None:
        summary["comparison"] = comparison.to_obj()
        if all(standing.gate is None for standing in standings):
            # Too short a history to judge by: two runs are better than nothing.
            checks += comparison.checks()
    summary["verdict"] = extended(summary["verdict"], checks)
    summary["history"] = history_block(entry.series, tonight, earlier, standings, rules)
    return standings


def _beside_the_latest(
    runs: Path,
    entry: Entry,
    earlier: Sequence[Night],
    known: Sequence[KnownChange],
    metric: Followed,
    rules: Regression,
) -> Comparison | None:
    """The run compared, second by second, with the latest one of the baseline; None when there is none to compare."""
    from harness.judge.compare import compare
    from harness.judge.nights import baseline
    from harness.store.compared import compared_run
    from harness.store.history import History

    chosen = baseline(earlier, known, metric, rules)
    if not chosen or entry.status not in ("PASS", "FAIL"):
        return None
    with History.open(runs) as history:
        base = history.entry(chosen[-1].run_id)
    try:
        # Another version of ours or another host is told, and no reason not to look.
        return compare(
            compared_run(runs / base.folder),
            compared_run(runs / entry.folder),
            metrics=rules.metrics,
            min_effect=rules.min_effect,
            alpha=rules.alpha,
            force=("versions", "host"),
        )
    except UsageError as error:
        click.echo(f"harness: not compared with run {base.run_id}: {error}", err=True)
        return None


def _confirmed(first: _Tried, second: _Tried, runs: Path) -> _Tried:
    """Which of the two stands: the second, unless it could not be judged; then the first one's FAIL does."""
    from harness.store.history import History

    if second.exit_code not in (ExitCode.PASS, *_FAILED):
        click.echo(f"harness: not confirmed: {second.why}; the first run's verdict stands", err=True)
        return first
    with History.open(runs) as history:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        history.log.confirm(str(first.summary["run_id"]), str(second.summary["run_id"]), now)
    return second


def _remember(tried: _Tried, runs: Path) -> None:
    """Keeps the changes that this night told of, so that each fails one night only."""
    from harness.store.history import History

    new = [change for standing in tried.standings for change in standing.new]
    if new:
        with History.open(runs) as history:
            history.log.report(new)


def _write(stored: StoredRun, summary: dict[str, Any]) -> None:
    """Renews summary and reports of the run folder; raises `StorageError`."""
    import orjson

    from harness.cli.report import rendered
    from harness.store.files import replace_file

    replace_file(stored.path / SUMMARY, orjson.dumps(summary, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    for name, form in _REPORTS.items():
        replace_file(stored.path / name, rendered(stored, form).encode())


def _copy_reports(folder: Path, to: Path) -> None:
    """Puts summary and reports into the folder `to`, where a CI job finds them under names that stay."""
    from harness.store.files import replace_file, storage_errors

    with storage_errors(to):
        to.mkdir(parents=True, exist_ok=True)
    for name in (SUMMARY, *_REPORTS):
        replace_file(to / name, (folder / name).read_bytes())
