"""`harness trace fit` and `harness trace synth`: traffic models learned from traces, and traces made of models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.trace_options import on_bad_line_option, output_option, tell_skipped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.trace.lines import OnBadLine
    from harness.trace.traffic.model import TrafficModel


@click.command()
@click.argument("source", metavar="TRACE")
@output_option
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the syntheses that are compared.")
@on_bad_line_option
def fit(source: str, output: str, seed: int, on_bad_line: OnBadLine) -> None:
    """Learn a traffic model from TRACE: arrivals, journeys, think times, cohorts, returns, and the shape of values.

    A table on stderr says how true a fit without every fifth hour is to these hours, beside two naive models. The
    model that is written is fitted to all visits. It holds no visit and no personal value: what fewer than 5 visitors
    share is left out.
    """
    import msgspec

    from harness.trace.check import Validation
    from harness.trace.lines import BadLines, source_name
    from harness.trace.traffic.fidelity import fidelity
    from harness.trace.traffic.fit import about, fit_model, prepare
    from harness.trace.traffic.gather import Gathered
    from harness.trace.traffic.harvest import KEPT_FROM
    from harness.trace.traffic.model import encode_model
    from harness.trace.writer import open_output

    bad = BadLines(on_bad_line)
    validation = Validation(source, bad, requests=False)
    gathered = Gathered(KEPT_FROM, anonymized=validation.header.anonymized)
    for read, _ in validation:
        gathered.add(read.visit)
    learned = prepare(gathered, validation.header, source_name(source))
    table = fidelity(learned, seed)
    model = msgspec.structs.replace(fit_model(learned), fit=about(learned, validation.digest, table))
    with open_output(output) as stream:
        stream.write(encode_model(model))
    for line in _about_fit(model):
        click.echo(line, err=True)
    if gathered.refused:
        click.echo(
            f"{gathered.refused} requests that the contract refuses: nothing learned from their values", err=True
        )
    tell_skipped(bad)


@click.command()
@click.argument("model", metavar="MODEL|PRESET")
@click.option("--visits", type=click.IntRange(min=1), required=True, help="How many visits.")
@click.option(
    "--rate",
    metavar="SPEC",
    help="When visits begin: poisson:50/s, bursty:50/s,cv=3, diurnal(peak=120/s, trough=10/s) or another"
    " arrivals spec with a rate; default: as the model says.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of everything drawn.")
@output_option
def synth(model: str, visits: int, rate: str | None, seed: int, output: str) -> None:
    """Invent a trace: visits as MODEL (a file of `trace fit`, or -) or a PRESET (retail, bank, telco) describes them.

    The same model, options and seed give the same bytes. Personal values are made up, from what is reserved for
    examples.
    """
    from itertools import islice

    from harness.trace.model import Header
    from harness.trace.traffic.synth import Synthesiser
    from harness.trace.writer import write_trace

    traffic = _traffic(model)
    moments_s = list(islice(_moments_s(traffic, rate, seed), visits))
    lines = Synthesiser(traffic, seed).lines(moments_s)
    span_s = round(moments_s[-1] - moments_s[0], 6) if moments_s else 0.0
    source = f"synthesis from {traffic.source}"
    header = Header(
        harness_trace=1, source=source, seed=seed, visits=len(moments_s), span_s=span_s, anonymized=traffic.anonymized
    )
    written = write_trace(output, header, lines)
    if written < visits:
        click.echo(f"{written} visits, not {visits}: --rate {rate} ends there", err=True)


def _traffic(name: str) -> TrafficModel:
    from harness.errors import UsageError
    from harness.trace.traffic.model import read_model
    from harness.trace.traffic.presets import NAMES, preset

    if name in NAMES:
        return preset(name)
    if name != "-" and not Path(name).exists():
        raise UsageError(f"'{name}' is neither a preset ({', '.join(NAMES)}) nor a file that harness trace fit wrote")
    return read_model(name)


def _moments_s(traffic: TrafficModel, rate: str | None, seed: int) -> Iterator[float]:
    from harness.errors import UsageError
    from harness.plan.arrivals import parse_arrivals
    from harness.trace.traffic.synth import model_arrivals_s
    from harness.units import NS_PER_S

    if rate is None:
        return model_arrivals_s(traffic, seed)
    plan = parse_arrivals(rate)
    if plan.recorded or plan.closed_slots is not None:
        raise UsageError(f"--rate {rate}: has no rate of its own: write poisson:50/s or bursty:50/s,cv=3")
    return (offset_ns / NS_PER_S for offset_ns in plan.offsets_ns(seed))


def _about_fit(model: TrafficModel) -> Iterator[str]:
    """What was learned, and the fidelity table, for people."""
    arrivals, fitted = model.arrivals, model.fit
    assert fitted and arrivals.mean_hz and arrivals.burstiness
    rate, cv = arrivals.mean_hz, arrivals.burstiness
    yield f"{fitted.visits} visits, {fitted.steps} steps in {fitted.span_s:.6g} s: {model.source}"
    yield (
        f"rate {rate.value:.4g}/s ({rate.low:.4g} to {rate.high:.4g}), burstiness cv {cv.value:.3g}"
        f" ({cv.low:.3g} to {cv.high:.3g}; 1 is Poisson), both intervals together 95 %"
    )
    minutes = " and the minutes of the hour" if arrivals.minutes else ""
    yield (
        f"{len(arrivals.rates_hz)} rates over {arrivals.period_s:.6g} s{minutes}, {len(model.states)} kinds of step,"
        f" {len(model.journeys)} journeys, {len(model.cohorts)} cohorts"
    )
    if dropped := sum(model.values.dropped.values()):
        yield f"{dropped} values that fewer than {model.values.kept_from} visitors share were left out"
    if not fitted.fidelity:
        held_out = f"of {fitted.visits} visits {fitted.held_out_visits} were held out"
        yield f"no fidelity table: {held_out}, too few on one side"
        return
    yield ""
    yield f"Fidelity on {fitted.held_out}: {fitted.held_out_visits} visits"
    columns = ("held out", "fitted", "piecewise", "poisson", "limit")
    yield f"{'':<26} {'':<9}{''.join(f'{each:>10}' for each in columns)}"
    for each in fitted.fidelity:
        values = (each.held_out, each.fitted, each.piecewise_poisson, each.poisson, each.limit)
        shown = "".join(f"{'' if value is None else format(value, '.3f'):>10}" for value in values)
        yield f"{each.name:<26} {each.measure:<9}{shown}  {'ok' if each.passes else 'NO'}"
    passed = sum(each.passes for each in fitted.fidelity)
    yield f"{passed} of {len(fitted.fidelity)} dimensions within their limits"
