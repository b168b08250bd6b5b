"""`harness check`: a stored run judged again; sends nothing and changes nothing."""

from __future__ import annotations

import sys
from math import ceil
from pathlib import Path
from typing import Any

import click
import msgspec

from harness.cli.options import read_settings, setting_options
from harness.config.model import ValidityLimits
from harness.config.resolve import Settled
from harness.errors import UsageError


@click.command("check", short_help="Judge a stored run again; sends nothing.")
@click.argument("run", type=click.Path(path_type=Path))
@setting_options("slo", "thresholds", "profile", "json", "quiet")
def check(run: Path, **flags: Any) -> int:
    """Judge the run in the folder RUN again, by other thresholds or by its own.

    Without --slo, --threshold or a profile the run's own thresholds and limits count. The histograms of the run folder
    are judged, not rounded figures; the folder stays as it is. The exit code is the verdict's.
    """
    from harness.cli.verdict import print_result
    from harness.judge.threshold import parse_thresholds
    from harness.judge.verdict import judge
    from harness.measure.slices import from_lines, merge_from
    from harness.store.run_folder import RunFolder

    settled = read_settings(flags)
    stored = RunFolder.load(run)
    if stored.summary is None:
        raise UsageError(f"{run} has no summary to judge: {stored.reason or 'the run did not come to its end'}")
    slices = from_lines(stored.slices())
    for note in (*stored.notes, *([f"the run is partial: {stored.reason}"] if stored.partial else [])):
        click.echo(f"harness: {note}", err=True)
    config = stored.manifest.get("config", {})
    thresholds, limits = _rules(settled, config)
    # Whole seconds, as the run itself cut its warm-up off.
    measured = merge_from(slices, ceil(stored.summary["phases"]["warmup_s"]))
    summary = stored.summary
    first = ceil(summary["phases"]["warmup_s"])
    seconds = [snapshot for second, snapshot in slices.items() if second >= first]
    summary["verdict"] = judge(
        summary, measured, thresholds=parse_thresholds(thresholds), limits=limits, slices=seconds
    )
    as_json, quiet = bool(settled.values["json"]), bool(settled.values["quiet"])
    print_result(summary, None, as_json=as_json, quiet=quiet, people=sys.stderr)
    return int(summary["verdict"]["exit_code"])


def _rules(settled: Settled, config: dict[str, Any]) -> tuple[tuple[str, ...], ValidityLimits]:
    """Thresholds and limits to judge by: those given now, else those that the run was started with."""
    thresholds: Any = settled.values["thresholds"] or config.get("thresholds", ())
    if settled.values["profile"] is None:
        limits = msgspec.convert(config.get("validity", {}), ValidityLimits)
        return tuple(thresholds), limits.tolerating(config.get("tolerate_worker_loss", 0))
    names = msgspec.structs.fields(ValidityLimits)
    given = {item.name: settled.values[f"validity.{item.name}"] for item in names}
    limits = msgspec.convert(given, ValidityLimits)
    return tuple(thresholds), limits.tolerating(int(str(settled.values["tolerate_worker_loss"])))
