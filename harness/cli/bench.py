"""`harness bench`: what one worker reaches on this machine, beside stock Locust users in the same run."""

from __future__ import annotations

import json

import click

from harness.errors import InternalError, UsageError


@click.command("bench", short_help="What one worker reaches here, beside stock Locust users.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON on stdout.")
@click.option("--quick", is_flag=True, help="About two minutes: one round at 50 connections, rough figures.")
@click.option("--rounds", type=click.IntRange(min=1), metavar="N", help="Rounds to take medians of. [default: 3]")
@click.option("--connections", metavar="N,N,…", help="Numbers of connections. [default: 1,50,500,2000]")
def bench(as_json: bool, quick: bool, rounds: int | None, connections: str | None) -> int:
    """Measure attempts per CPU-second, lag, scrapes and memory, and print them beside those of stock Locust and wrk.

    All take turns on the same chained calls against a server of our own on 127.0.0.1. The commands that read traces are
    measured beside them: visits per CPU-second, and memory. What could not be measured is listed with its reason.
    Leave the machine alone meanwhile: about 20 minutes without --quick. Nothing passes or fails; method: docs/bench.md.
    """
    from dataclasses import replace

    from harness.bench import measure
    from harness.bench.children import BenchError
    from harness.bench.table import render

    extent = measure.QUICK if quick else measure.FULL
    if rounds is not None:
        extent = replace(extent, rounds=rounds)
    if connections is not None:
        extent = replace(extent, connections=_numbers(connections))
    try:
        document = measure.bench(extent, lambda line: click.echo(f"bench: {line}", err=True))
    except BenchError as error:
        raise InternalError(f"nothing could be measured: {error}") from error
    click.echo(json.dumps({**document, "quick": quick}, indent=2) if as_json else render(document))
    return 0


def _numbers(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and int(word) > 0 for word in words):
        raise UsageError(f"--connections: '{text}' is not a list of numbers: write 1,50,500")
    return tuple(dict.fromkeys(int(word) for word in words))
