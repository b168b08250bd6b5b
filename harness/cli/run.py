"""`harness run`: a trace is replayed against a target and judged."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click
import msgspec

from harness.cli.options import read_settings, setting_options, show_settings
from harness.config.model import RunConfig
from harness.config.resolve import Settled

if TYPE_CHECKING:
    from harness.config.model import RunConfig
from harness.errors import GuardError, UsageError


@click.command("run", short_help="Replay a trace against a target and judge it.")
@click.argument("trace", required=False)
@setting_options()
@click.option("--show-config", is_flag=True, help="Print every setting with its origin, and do nothing.")
def run(trace: str | None, show_config: bool, **flags: Any) -> int:
    """Replay TRACE (a file, or - for standard input) against a target and judge it.

    Every option has a mirror in the environment (HARNESS_ARRIVALS) and, but for a few, a key in the profile;
    flag > environment > profile > default.
    """
    settled = read_settings(flags)
    if trace is not None:
        settled.values["trace"], settled.origins["trace"] = trace, "argument TRACE"
    if show_config:
        click.echo(show_settings(settled))
        return 0
    return start(settled)


def start(settled: Settled) -> int:
    """Runs what the settings say and returns the verdict's exit code; raises `HarnessError` when it cannot."""
    from harness.cli.conduct import conduct

    return conduct(
        run_config(settled),
        as_json=bool(settled.values["json"]),
        quiet=bool(settled.values["quiet"]),
        people=sys.stderr,
    )


def run_config(settled: Settled, runs: Path = Path("runs")) -> RunConfig:
    """The configuration of a new run, with an id and a run folder of its own, under `runs` unless it is named.

    Raises `UsageError` when no trace is named or settings contradict each other.
    """
    from harness.config.build import build_config
    from harness.store.layout import default_run_name

    if not settled.values["trace"]:
        raise UsageError("no trace given: write harness run TRACE, or set load.trace in the profile")
    trace = str(settled.values["trace"])
    run_id = uuid4().hex[:12]
    scenario = "stdin" if trace == "-" else Path(trace).name.partition(".")[0]
    if not settled.values["out_dir"]:
        settled.values["out_dir"] = str(runs / default_run_name(datetime.now(UTC), scenario, run_id))
    config = build_config(settled, run_id=run_id, trace=trace, scenario=scenario)
    _keep_within_limits(config)
    return config


def _keep_within_limits(config: RunConfig) -> None:
    """Refuses a plan that says itself that it goes beyond the guard-rails: raises `GuardError`."""
    from harness.plan.arrivals import parse_arrivals
    from harness.units import format_rate

    limits, peak_hz, slots = config.limits, parse_arrivals(config.arrivals).peak_rate_hz(), config.closed_slots
    advice = "lower the load, or raise the limit if the target may be loaded so"
    if limits.max_visits_per_s is not None and peak_hz is not None and peak_hz > limits.max_visits_per_s:
        allowed = format_rate(limits.max_visits_per_s)
        raise GuardError(
            f"--arrivals {config.arrivals} plans up to {format_rate(peak_hz)}, "
            f"limits.max_visits_per_s allows {allowed}: {advice}"
        )
    if limits.max_open_visits is not None and slots is not None and slots > limits.max_open_visits:
        raise GuardError(
            f"--arrivals {config.arrivals} keeps {slots} visits open, "
            f"limits.max_open_visits allows {limits.max_open_visits}: {advice}"
        )


def settle_profile(path: str) -> RunConfig:
    """The configuration of a run that plain Locust starts from a profile, checked as `harness run` would.

    The environment's mirrors count, flags do not exist. Raises `HarnessError` for a profile or trace that cannot be
    used, and for `sim` as the target: plain Locust starts no simulator.
    """
    from harness.cli.simulator import is_simulator
    from harness.cli.traces import check_trace
    from harness.config.build import absolute_paths

    config = run_config(read_settings({"profile": path}))
    if is_simulator(config.target):
        raise UsageError(f"{path}: target.url: plain Locust starts no simulator: start harness sim and give its URL")
    facts = check_trace(config.trace, config.on_bad_line)
    return absolute_paths(msgspec.structs.replace(config, trace_digest=facts.digest, cohorts=facts.cohorts))
