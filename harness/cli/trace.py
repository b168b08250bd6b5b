"""`harness trace`: look at, check and import traces. Results go to stdout, text for people to stderr; `-` is either."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli.trace_options import (
    json_option,
    on_bad_line_option,
    output_option,
    print_json,
    read_key,
    tell,
    tell_skipped,
)
from harness.cli.trace_reshape import head, merge, sample, slice_, warp

if TYPE_CHECKING:
    from harness.trace.lines import OnBadLine

_SHOWN = 20


@click.group()
def trace() -> None:
    """Look at, check and import traces: files of recorded visits."""


for command in (head, slice_, sample, warp, merge):
    trace.add_command(command)


@trace.command()
@click.argument("source", metavar="TRACE")
@on_bad_line_option
@json_option
def validate(source: str, on_bad_line: OnBadLine, as_json: bool) -> None:
    """Check every line of TRACE against the rules of the format and of the engagement contract.

    Exits with 2 when a line cannot be replayed; warnings do not change the exit code.
    """
    from harness.errors import TraceError
    from harness.trace.check import Validation
    from harness.trace.lines import BadLines, source_name

    name = source_name(source)
    # Everything is read in any case: a checker that stops at the first finding wastes its user's time.
    bad = BadLines("skip")
    validation = Validation(source, bad)
    found = [finding for _, findings in validation for finding in findings[: _SHOWN + 1]][:_SHOWN]
    found = (found + validation.finish())[:_SHOWN]
    if on_bad_line == "fail" and bad.count:
        more = f" (and {bad.count - 1} more bad lines)" if bad.count > 1 else ""
        raise TraceError(f"{bad.messages[0]}{more}", problems=bad.messages[1:])
    if not validation.visits:
        raise TraceError(f"{name}: the trace holds no usable visit")
    tell(bad.messages, bad.count)
    tell([f"{name}:{finding}" for finding in found], validation.warnings)
    totals = {
        "visits": validation.visits,
        "steps": validation.steps,
        "bad_lines": bad.count,
        "warnings": validation.warnings,
        "digest": validation.digest,
    }
    if as_json:
        print_json({"trace": name, **totals})
    else:
        counts = ", ".join(f"{value} {key.replace('_', ' ')}" for key, value in totals.items() if key != "digest")
        click.echo(f"{name}: {counts}, {validation.digest}")


@trace.command()
@click.argument("source", metavar="TRACE")
@on_bad_line_option
@json_option
def stat(source: str, on_bad_line: OnBadLine, as_json: bool) -> None:
    """Say what TRACE holds: visits, steps, arrivals, think times, operations, identities, cohorts, attributes."""
    from harness.errors import TraceError
    from harness.trace.check import Validation
    from harness.trace.lines import BadLines, source_name
    from harness.trace.stat import TraceStat

    bad = BadLines(on_bad_line)
    validation = Validation(source, bad, requests=False)
    numbers = TraceStat()
    for read, _ in validation:
        numbers.add(read.visit)
    if not numbers.visits:
        raise TraceError(f"{source_name(source)}: the trace holds no usable visit")
    tell_skipped(bad)
    if as_json:
        about = {"schema": "harness.trace-stat/1", "trace": source_name(source), "digest": validation.digest}
        print_json({**about, "bad_lines": bad.count, **numbers.to_obj()})
    else:
        click.echo(f"digest       {validation.digest}")
        for line in numbers.lines():
            click.echo(line)


@trace.command("import")
@click.argument("kind", type=click.Choice(["access-log"]), metavar="KIND")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@output_option
@click.option("--gap", default="30m", show_default=True, help="A longer pause between page views ends a visit.")
@click.option("--reorder", default="2m", show_default=True, help="How far behind its neighbours a line may stand.")
@click.option("--key-file", help="Secret (1 to 64 bytes) for the pseudonyms; default: drawn anew, then forgotten.")
@on_bad_line_option
def import_(
    kind: str, files: tuple[str, ...], output: str, gap: str, reorder: str, key_file: str | None, on_bad_line: OnBadLine
) -> None:
    """Make a trace of other recordings: KIND is access-log (combined format, oldest FILE first).

    A visitor is an address with a user agent; page views become getEngagement steps. Robots, assets, other methods
    and errors are left out and counted. No address and no agent text is written.
    """
    from secrets import token_bytes

    from harness.trace.accesslog import AccessLog
    from harness.trace.lines import BadLines
    from harness.trace.sessions import cut_sessions, import_visits, in_order

    bad = BadLines(on_bad_line)
    key = token_bytes(32) if key_file is None else read_key(key_file)
    log = AccessLog(files, key, bad)
    views = in_order(log, bad, _seconds("--reorder", reorder))
    visits, steps = import_visits(cut_sessions(views, _seconds("--gap", gap)), output)
    left_out = ", ".join(f"{count} {reason}" for reason, count in log.left_out.most_common()) or "nothing"
    click.echo(f"{log.lines} {kind} lines: {steps} page views in {visits} visits; left out: {left_out}", err=True)
    tell_skipped(bad)


@trace.command()
def schema() -> None:
    """Print the JSON Schema of a trace's lines."""
    from harness.trace.schema import schema_text

    click.echo(schema_text(), nl=False)


@trace.command("demo-fixture", hidden=True)
@click.argument("log_file", metavar="LOG")
@output_option
def demo_fixture(log_file: str, output: str) -> None:
    """Derive the demo's trace from the sample access log LOG (fixtures/README.md)."""
    from harness.trace.accesslog import AccessLog
    from harness.trace.codec import encode_visit
    from harness.trace.demo import demo_trace
    from harness.trace.lines import BadLines
    from harness.trace.sessions import cut_sessions, in_order
    from harness.trace.writer import write_trace

    bad = BadLines()
    # Pseudonyms only group the log's lines here and are not written, so any key gives the same trace.
    log = AccessLog([log_file], b"demo", bad)
    header, visits = demo_trace(cut_sessions(in_order(log, bad)))
    write_trace(output, header, map(encode_visit, visits))


def _seconds(option: str, text: str) -> int:
    from harness.errors import UsageError
    from harness.units import NS_PER_S, parse_duration_ns

    seconds = parse_duration_ns(text) // NS_PER_S
    if seconds < 1:
        raise UsageError(f"{option} {text}: at least one second is needed (logs know whole seconds)")
    return seconds
