"""`harness capacity`: how much more the target takes, searched by runs or read off runs that were made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from harness.cli.options import read_settings, setting_options
from harness.config.table import SETTINGS
from harness.errors import UsageError

# Of `harness run`'s settings those that a search decides itself, or that make no sense over several runs.
_OWN = (
    "arrivals", "duration_ns", "warmup_ns", "loop", "speed", "warp_think", "limit_visits", "bind", "expect_workers",
    "out_dir", "web", "log_attempts", "labels",
)  # fmt: skip
_OPTIONS = tuple(setting.name for setting in SETTINGS if setting.flag is not None and setting.name not in _OWN)


@click.group()
def capacity() -> None:
    """How much more can the target take: a search for the highest rate, and a model of what runs have shown."""


@capacity.command("search", short_help="Search for the highest rate that holds all thresholds.")
@click.argument("trace", required=False)
@click.option("--start", default="10/s", show_default=True, metavar="RATE", help="The first rate, in visits per time.")
@click.option("--max", "most", default="2000/s", show_default=True, metavar="RATE", help="The highest rate to try.")
@click.option("--budget", default="30m", show_default=True, metavar="D", help="The whole search takes no longer.")
@click.option(
    "--hold", metavar="D", help="The longest a step is held.  [default: a sixteenth of the budget, 30s at least]"
)
@click.option(
    "--settle",
    metavar="D",
    help="The first part of each step, not judged.  [default: a tenth of it, and longer than nine of ten visits think]",
)
@click.option("--cooldown", default="60s", show_default=True, metavar="D", help="Wait so long at most between steps.")
@click.option(
    "--process",
    type=click.Choice(["poisson", "constant"]),
    default="poisson",
    show_default=True,
    help="How visits arrive at a rate.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the search, its steps and its result; one that holds part of this search is gone on with."
    "  [default: a new one under runs/]",
)
@click.option("--resume", is_flag=True, help="Refuse to begin anew: go on with the search in --out.")
@setting_options(*_OPTIONS)
def search(trace: str | None, **options: Any) -> int:
    """Search for the highest rate of visits at which TRACE holds every threshold.

    Rates double from --start until one breaks, then the bracket is halved, then the rate that all steps point to is
    held for the whole time. A step ends as soon as a sequential test on percentiles and shares has decided. Each step
    plays the same visits in the same order, only faster, and is a run folder under --out. The result has a 95 %
    interval, or says "at least" when the generator, --max or the budget was the limit.

    Exit codes: 0 found, 3 already --start breaks a threshold, 5 the instrument does not hold at --start, 2, 6, 7 and
    130 as for a run; after Ctrl-C the same command goes on where it was.
    """
    from harness.cli.search import search_capacity
    from harness.cli.search_start import Request
    from harness.units import NS_PER_S, parse_duration_ns, parse_rate_hz

    own = {name: options.pop(name) for name in ("start", "most", "budget", "hold", "settle", "cooldown")}
    process, out, resume = (options.pop(name) for name in ("process", "out", "resume"))
    settled = read_settings(options)
    if trace is not None:
        settled.values["trace"], settled.origins["trace"] = trace, "argument TRACE"
    if resume and out is None:
        raise UsageError("--resume needs --out: the folder of the search to go on with")

    def seconds(name: str) -> float | None:
        return None if own[name] is None else parse_duration_ns(own[name]) / NS_PER_S

    request = Request(
        start_hz=parse_rate_hz(own["start"]),
        max_hz=parse_rate_hz(own["most"]),
        budget_s=seconds("budget") or 0.0,
        hold_s=seconds("hold"),
        settle_s=seconds("settle"),
        cooldown_s=seconds("cooldown") or 0.0,
        process=process,
        out=out,
        resume=resume,
    )
    return search_capacity(settled, request, people=sys.stderr)


@capacity.command("fit", short_help="Fit a scalability law to runs that were made; sends nothing.")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN…")
@click.option("--peak", metavar="RATE", help="Say the headroom over this rate of visits, as 50/s.")
@click.option("--trace", metavar="FILE", help="Say the headroom over the busiest minute of this trace.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Also write a page with charts.")
@click.option("--force", multiple=True, metavar="FIELD",
              help="Pool runs that differ in this (target trace retry think client workers host versions); all: in any."
              )  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout; the text goes to stderr.")
def fit(
    runs: tuple[Path, ...], peak: str | None, trace: str | None, html: Path | None, force: tuple[str, ...],
    as_json: bool,
) -> None:  # fmt: skip
    """Fit the Universal Scalability Law to the rates that runs have held: run folders, or the folder of a search.

    Throughput is useful steps per second: retries never count. INVALID and partial runs are left out, by name; runs
    that differ in more than their rate are refused.
    Intervals come from seconds drawn again; where nothing shows that throughput turns, no peak is given. First each
    run's data are held against Little's law: exit code 5 when they contradict themselves.
    """
    from harness.cli.capacity_fit import fit_runs
    from harness.units import parse_rate_hz

    if peak is not None and trace is not None:
        raise UsageError("--peak and --trace both say what is expected: give one of them")
    fit_runs(
        runs,
        peak_hz=None if peak is None else parse_rate_hz(peak),
        trace=trace,
        html=html,
        force=force,
        as_json=as_json,
        people=sys.stderr,
    )
