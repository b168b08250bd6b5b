"""`harness plan`: a dry run in virtual time, which says what a run will ask for."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import read_settings, setting_options
from harness.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from harness.capacity.forecast import Supply
    from harness.capacity.what_if import Variant
    from harness.config.model import RunConfig
    from harness.config.resolve import Settled
    from harness.sim.scenario import Scenario

_SETTINGS = (
    "arrivals", "duration_ns", "drain_ns", "limit_visits", "loop", "amplify", "speed", "warp_think", "max_think_ns",
    "on_bad_line", "retry", "connections", "timeout_ns", "connect_timeout_ns", "source_addresses", "account", "seed",
    "profile", "json",
)  # fmt: skip


@click.command("plan", short_help="A dry run in virtual time: what a run will ask for.")
@click.argument("trace", required=False)
@setting_options(*_SETTINGS)
@click.option(
    "--scenario",
    metavar="FILE|NAME",
    help="How the service behaves, as for harness sim. [default: that of a target sim:NAME, else healthy]",
)
@click.option("--rtt", default="0", metavar="D", show_default=True, help="Round trip between visitor and service.")
@click.option(
    "--what-if",
    "questions",
    multiple=True,
    metavar="KIND=VALUES",
    help="A table for retry=none,sdk-sample and availability=0.5,0.9, crossed (repeatable).",
)
@click.option(
    "--worker-rate",
    metavar="RATE|measure",
    help="Calls a second that one worker keeps, or measure it here as harness doctor does. [default: 4500/s]",
)
def plan(
    trace: str | None, scenario: str | None, rtt: str, questions: tuple[str, ...], worker_rate: str | None, **flags: Any
) -> int:
    """Play TRACE (a file, or - for standard input) in virtual time against a model of the service. Sends nothing.

    Says how many calls, new sessions, open visits and connections the same run would have at its peak, which
    workers, ports and memory it needs, and what visitors get. Exit code 6 when the plan breaks a ceiling of the
    profile's [limits].
    """
    import json

    import msgspec

    from harness.capacity.forecast import breaches, forecast
    from harness.capacity.what_if import variants
    from harness.cli.rehearsing import rehearsed
    from harness.cli.trace_options import tell_skipped
    from harness.report.plan import render_plan
    from harness.sim.scenario_file import load_scenario
    from harness.trace.lines import BadLines
    from harness.units import parse_duration_ns

    settled = read_settings(flags)
    rtt_ns = parse_duration_ns(rtt)
    name, chosen = _scenario(scenario, settled)
    model = load_scenario(name)
    with ExitStack() as stack:
        config = _config(trace, settled, stack)
        asked = list(variants(questions, settled.policies, config.retry)) if questions else []
        supply = _supply(worker_rate, len(config.source_addresses))
        bad = BadLines(config.on_bad_line)
        end, measured = rehearsed(config, model, rtt_ns, bad)
        tell_skipped(bad)
        broken = breaches(end, config.limits)
        document: dict[str, Any] = {
            "schema": "harness.plan/1",
            "trace": trace or config.trace,
            "scenario": name,
            "scenario_from": chosen,
            "arrivals": config.arrivals,
            "load_model": "open" if config.closed_slots is None else "closed",
            "retry": config.retry.name,
            "connections": config.connections,
            "seed": config.seed,
            "rtt_ms": rtt_ns / 1e6,
            **forecast(end, measured, supply),
            "breaches": msgspec.to_builtins(broken),
        }
        if asked:
            document["what_if"] = [_row(variant, config, model, rtt_ns) for variant in asked]
    if settled.values["json"]:
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(render_plan(document), nl=False)
    return int(ExitCode.GUARD if broken else ExitCode.PASS)


def _scenario(named: str | None, settled: Settled) -> tuple[str, str]:
    """The scenario's name or file, and who chose it."""
    from harness.cli.simulator import is_simulator

    if named is not None:
        return named, "--scenario"
    target = str(settled.values["target"])
    if is_simulator(target):
        return target.partition(":")[2] or "healthy", settled.origins["target"]
    return "healthy", "default"


def _config(trace: str | None, settled: Settled, stack: ExitStack) -> RunConfig:
    """The configuration of the run that is rehearsed; standard input is kept until `stack` ends."""
    import tempfile
    from pathlib import Path

    from harness.cli.traces import keep_stdin
    from harness.config.build import build_config

    source = trace or settled.values["trace"]
    if not source:
        raise UsageError("no trace given: write harness plan TRACE, or set load.trace in the profile")
    path = str(source)
    if path == "-":
        # Read once for the plan and once for each what-if.
        path = str(keep_stdin(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="harness-plan-")))))
    return build_config(settled, run_id="plan", trace=path, scenario="plan")


def _supply(worker_rate: str | None, sources: int) -> Supply:
    import resource

    from harness.capacity.forecast import WORKER_RATE_HZ, Supply
    from harness.doctor.host import local_ports
    from harness.errors import InstrumentError
    from harness.units import parse_rate_hz

    rate_hz = WORKER_RATE_HZ
    if worker_rate == "measure":
        from harness.doctor.engine import rate_finding

        finding, rate = rate_finding()
        if rate is None:
            raise InstrumentError(f"--worker-rate measure: {finding.observed}")
        rate_hz = float(rate.arrivals_hz)
    elif worker_rate is not None:
        rate_hz = parse_rate_hz(worker_rate)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    low, high = local_ports()
    return Supply(
        worker_rate_hz=rate_hz,
        ports=high - low + 1,
        source_addresses=max(1, sources),
        descriptors=None if hard == resource.RLIM_INFINITY else hard,
    )


def _row(variant: Variant, config: RunConfig, model: Scenario, rtt_ns: int) -> dict[str, Any]:
    """One row of the what-if table."""
    import msgspec

    from harness.capacity.forecast import outcome
    from harness.cli.rehearsing import rehearsed

    end, measured = rehearsed(msgspec.structs.replace(config, retry=variant.retry), variant.of(model), rtt_ns)
    came = outcome(measured)
    return {
        "retry": variant.retry.name,
        "availability": variant.availability,
        "calls": measured.total("attempts"),
        "calls_busiest_second": end.calls_per_s_max,
        "in_flight_peak": end.in_flight_max,
        "new_sessions_busiest_minute": end.new_sessions_per_min_max,
        "retry_amplification": came["retry_amplification"],
        **came["availability"],
        "time_to_available_ms": came["time_to_available_ms"],
    }
