"""`harness trace head|slice|sample|warp|merge`: traces made of traces. Each is a filter: `-` is stdin or stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli.trace_options import on_bad_line_option, output_option, tell_skipped

if TYPE_CHECKING:
    from harness.trace.lines import OnBadLine

_MOST_SPEED = 1e9

_source = click.argument("source", metavar="TRACE")


@click.command()
@_source
@click.option("-n", "--visits", type=click.IntRange(min=0), default=10, show_default=True, help="How many visits.")
@on_bad_line_option
@output_option
def head(source: str, visits: int, on_bad_line: OnBadLine, output: str) -> None:
    """Write the header and the first visits of TRACE: a shorter trace."""
    from harness.trace.lines import BadLines
    from harness.trace.reshape import head_trace

    bad = BadLines(on_bad_line)
    head_trace(source, output, bad, visits)
    tell_skipped(bad)


@click.command("slice")
@_source
@click.option("--from", "start", default="0s", show_default=True, metavar="D", help="Begin of the slice, as 90s or 2h.")
@click.option("--to", "end", metavar="D", help="End of the slice: the first moment outside.  [default: the trace's]")
@on_bad_line_option
@output_option
def slice_(source: str, start: str, end: str | None, on_bad_line: OnBadLine, output: str) -> None:
    """Write the visits of TRACE that begin from D on and before D; times begin at zero again.

    Visits stay whole. One that is marked `returns`, but whose visitor does not come again within the slice, is marked
    no more; one that comes back from before the slice begins `fresh`. Both are counted on stderr.
    """
    from harness.errors import UsageError
    from harness.trace.lines import BadLines
    from harness.trace.slice import slice_trace
    from harness.units import NS_PER_S, parse_duration_ns

    start_s = parse_duration_ns(start) / NS_PER_S
    end_s = float("inf") if end is None else parse_duration_ns(end) / NS_PER_S
    if start_s >= end_s:
        raise UsageError(f"--from {start} --to {end}: the slice ends before it begins")
    bad = BadLines(on_bad_line)
    sliced = slice_trace(source, output, bad, start_s, end_s)
    click.echo(
        f"{sliced.visits} visits; {sliced.left} of visitors who come again only after the slice (returns is false now),"
        f" {sliced.came} of visitors who came before it (they begin fresh)",
        err=True,
    )
    tell_skipped(bad)


@click.command()
@_source
@click.option("--fraction", required=True, type=click.FloatRange(0, 1, min_open=True), help="Share of the visitors.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed chooses other visitors.")
@on_bad_line_option
@output_option
def sample(source: str, fraction: float, seed: int, on_bad_line: OnBadLine, output: str) -> None:
    """Write all visits of a share of TRACE's visitors; times stay.

    A visitor is in or out by its name: a sample holds every smaller one of the same seed.
    """
    from harness.trace.lines import BadLines
    from harness.trace.reshape import sample_trace

    bad = BadLines(on_bad_line)
    kept = sample_trace(source, output, bad, fraction, seed)
    click.echo(f"{kept.written} of {kept.read} visits", err=True)
    tell_skipped(bad)


@click.command()
@_source
@click.option("--speed", required=True, type=click.FloatRange(0, min_open=True), help="2 is twice as fast, 0.5 half.")
@click.option("--think", is_flag=True, help="Shorten think times likewise.")
@on_bad_line_option
@output_option
def warp(source: str, speed: float, think: bool, on_bad_line: OnBadLine, output: str) -> None:
    """Write TRACE with faster or slower arrivals; think times stay as people took them, unless --think.

    How many visits are open at once, before and after, is told on stderr.
    """
    from harness.errors import UsageError
    from harness.trace.lines import BadLines
    from harness.trace.reshape import warp_trace

    # Not a number is in no range.
    if not 1 / _MOST_SPEED <= speed <= _MOST_SPEED:
        raise UsageError(f"--speed {speed}: must be a number from 1e-09 to 1e+09")
    bad = BadLines(on_bad_line)
    warped = warp_trace(source, output, bad, speed, think=think)
    early = f"; {warped.early} now come back before the earlier visit can have ended" if warped.early else ""
    click.echo(
        f"{warped.visits} visits; open at the peak {warped.peak_after}, before {warped.peak_before}"
        f" (think times only){early}",
        err=True,
    )
    tell_skipped(bad)


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="TRACE...")
@on_bad_line_option
@output_option
def merge(sources: tuple[str, ...], on_bad_line: OnBadLine, output: str) -> None:
    """Write the visits of several TRACEs in one, ordered by their times.

    Visits and visitors of the first get the name m1.NAME, of the second m2.NAME and so on, so they cannot meet.
    """
    from harness.errors import UsageError
    from harness.trace.lines import BadLines, source_name
    from harness.trace.merge import merge_traces

    if sources.count("-") > 1:
        raise UsageError("standard input can be merged once only")
    bad = BadLines(on_bad_line)
    counts = merge_traces(sources, output, bad)
    parts = ", ".join(
        f"{count} of {source_name(source)} (m{number}.)"
        for number, (source, count) in enumerate(zip(sources, counts, strict=True), start=1)
    )
    click.echo(f"{sum(counts)} visits: {parts}", err=True)
    tell_skipped(bad)
