"""`harness compare`: two stored runs, or two targets played in turns: has anything become worse?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import read_settings, setting_options
from harness.config.resolve import Settled
from harness.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from harness.judge.compare import Comparison


@click.command("compare", short_help="Compare two runs: has anything become worse?")
@click.argument("base")
@click.argument("new")
@click.option("--metric", "metrics", multiple=True, metavar="METRIC",
              help="What to compare, such as 'p99(response_time{op=update})' (repeatable).")  # fmt: skip
@click.option("--min-effect", type=click.FloatRange(0, min_open=True), metavar="X",
              help="Smallest change that matters, as a ratio; of shares, a tenth of it. [default: 0.05]")  # fmt: skip
@click.option("--alpha", type=click.FloatRange(0, 1, min_open=True, max_open=True), metavar="X",
              help="Accepted share of false alarms, over all metrics together. [default: 0.01]")  # fmt: skip
@click.option("--force", multiple=True, metavar="FIELD",
              help="Compare although this differs (trace retry arrivals duration think client workers host versions), "
              "or although a run is INVALID (invalid); all: whatever differs.")  # fmt: skip
@click.option("--repeat", type=click.IntRange(3), metavar="N",
              help="BASE and NEW are targets: play both in turns N times and judge on the runs.")  # fmt: skip
@setting_options("profile", "out_dir", "seed", "json", "quiet")
def compare(
    base: str,
    new: str,
    metrics: tuple[str, ...],
    min_effect: float | None,
    alpha: float | None,
    force: tuple[str, ...],
    repeat: int | None,
    **flags: Any,
) -> int:
    """Compare the run in folder NEW with the one in folder BASE, by their stored seconds.

    A regression (exit 4) is a change for the worse that is both sure and large enough to matter. Runs that differ in
    more than their target are refused (exit 2), runs that are INVALID too (exit 5).

    With --repeat, BASE and NEW are two targets (URLs, or sim:SCENARIO). The trace and all else come from --profile;
    the runs alternate and are kept under --out.
    """
    from harness.judge.compare import compare as compare_runs
    from harness.judge.compare import compare_pairs
    from harness.store.compared import compared_run

    settled = read_settings(flags)
    rules: dict[str, Any] = {
        "metrics": metrics or settled.values["regression.metrics"],
        "min_effect": settled.values["regression.min_effect"] if min_effect is None else min_effect,
        "alpha": settled.values["regression.alpha"] if alpha is None else alpha,
        "force": _forced(force),
    }
    if repeat is None:
        comparison = compare_runs(compared_run(Path(base)), compared_run(Path(new)), **rules)
    else:
        _check_metrics(rules["metrics"])
        from harness.cli.turns import play_in_turns

        folders = play_in_turns(settled, base, new, repeat, people=sys.stderr)
        pairs = [(compared_run(was), compared_run(now)) for was, now in folders]
        comparison = compare_pairs(pairs, **rules)
    _print(comparison, settled)
    return comparison.exit_code


def _forced(fields: tuple[str, ...]) -> tuple[str, ...]:
    from harness.judge.fingerprint import FIELDS

    known = (*FIELDS, "invalid", "all")
    for field in fields:
        if field not in known:
            raise UsageError(f"--force {field}: there is nothing of that name; known: {', '.join(known)}")
    return fields


def _check_metrics(metrics: tuple[str, ...]) -> None:
    """Refuses now what would be refused after hours of runs."""
    from harness.judge.sample import sample
    from harness.judge.threshold import parse_metric
    from harness.measure.snapshot import Snapshot

    for metric in metrics:
        sample(parse_metric(metric), [Snapshot()], None)


def _print(comparison: Comparison, settled: Settled) -> None:
    import json

    from harness.report.compared import render_comparison

    if settled.values["json"]:
        print(json.dumps(comparison.to_obj(), indent=2))
    if comparison.exit_code == ExitCode.USAGE:
        raise UsageError(comparison.message)
    if settled.values["quiet"]:
        if not settled.values["json"]:
            print(f"{comparison.status}  {comparison.message}")
    else:
        print(render_comparison(comparison), end="", file=sys.stderr if settled.values["json"] else sys.stdout)
