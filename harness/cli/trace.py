"""`harness trace`: look at, check and import traces. Results go to stdout, text for people to stderr; `-` is either."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli.trace_anonymize import anonymize
from harness.cli.trace_import import import_
from harness.cli.trace_options import (
    json_option,
    on_bad_line_option,
    output_option,
    print_json,
    tell,
    tell_skipped,
)
from harness.cli.trace_record import record
from harness.cli.trace_reshape import head, merge, sample, slice_, warp
from harness.cli.trace_traffic import fit, synth

if TYPE_CHECKING:
    from harness.trace.lines import OnBadLine

_SHOWN = 20


@click.group()
@click.pass_context
def trace(context: click.Context) -> None:
    """Look at, check and import traces: files of recorded visits."""
    from harness.cli.trace_options import ending_cleanly

    context.with_resource(ending_cleanly())


for command in (head, slice_, sample, warp, merge, record, import_, anonymize, fit, synth):
    trace.add_command(command)


@trace.command()
@click.argument("source", metavar="TRACE")
@on_bad_line_option
@json_option
def validate(source: str, on_bad_line: OnBadLine, as_json: bool) -> None:
    """Check every line of TRACE against the rules of the format and of the engagement contract.

    Exits with 2 when a line cannot be replayed; warnings do not change the exit code. All problems of a line are told,
    of the file the first 20; with --json they are in `problems`, whatever the exit code.
    """
    from harness.errors import TraceError
    from harness.trace.check import Validation
    from harness.trace.lines import BadLines, source_name

    name = source_name(source)
    # Everything is read in any case: a checker that stops at the first finding wastes its user's time.
    bad = BadLines("skip")
    totals: dict[str, int | str] = {}
    warned: list[str] = []
    failure: TraceError | None = None
    try:
        validation = Validation(source, bad)
        found = [finding for _, findings in validation for finding in findings[: _SHOWN + 1]][:_SHOWN]
        warned = [f"{name}:{finding}" for finding in (found + validation.finish())[:_SHOWN]]
        totals = {
            "visits": validation.visits,
            "steps": validation.steps,
            "bad_lines": bad.count,
            "warnings": validation.warnings,
            "digest": validation.digest,
        }
        if on_bad_line == "fail" and bad.count:
            more = f" (and {bad.count - 1} more bad lines)" if bad.count > 1 else ""
            failure = TraceError(f"{bad.messages[0]}{more}", problems=bad.messages[1:])
        elif not validation.visits:
            failure = TraceError(f"{name}: the trace holds no usable visit: record, import or invent one that does")
    except TraceError as error:
        failure = error
    if as_json:
        # What ended the reading is not among the bad lines.
        errors = bad.messages if failure is None or bad.messages else [str(failure)]
        problems = [{"severity": "error", "message": message} for message in errors]
        problems += [{"severity": "warning", "message": message} for message in warned]
        print_json({"trace": name, **totals, "problems": problems})
    if failure is not None:
        raise failure
    if not as_json:
        tell(bad.messages, bad.count)
        tell(warned, int(totals["warnings"]))
        counts = ", ".join(f"{value} {key.replace('_', ' ')}" for key, value in totals.items() if key != "digest")
        click.echo(f"{name}: {counts}, {totals['digest']}")


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


@trace.command()
@click.option("--model", is_flag=True, help="The schema of a traffic model (trace fit) instead.")
def schema(model: bool) -> None:
    """Print the JSON Schema of a trace's lines."""
    if model:
        from harness.trace.traffic.model import model_schema_text

        click.echo(model_schema_text(), nl=False)
        return
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
    from harness.trace.sessions import cut_sessions, in_time
    from harness.trace.writer import write_trace

    bad = BadLines()
    # Pseudonyms only group the log's lines here and are not written, so any key gives the same trace.
    log = AccessLog([log_file], b"demo", bad)
    header, visits = demo_trace(cut_sessions(in_time(log)))
    write_trace(output, header, map(encode_visit, visits))
