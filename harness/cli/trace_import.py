"""`harness trace import`: make a trace of what others recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from harness.cli.trace_options import on_bad_line_option, output_option, read_key, tell_skipped

if TYPE_CHECKING:
    from collections import Counter

    from harness.trace.lines import BadLines, OnBadLine

KINDS = ("access-log", "har", "gor", "jsonl")
# Which kinds an option is for.
_ONLY_FOR = {"--format": "access-log", "--steps": "access-log", "--key-file": "access-log", "--map": "jsonl"}


@click.command("import")
@click.argument("kind", type=click.Choice(KINDS), metavar="KIND")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@output_option
@click.option("--gap", default="30m", show_default=True, help="A longer pause between calls ends a visit.")
@click.option(
    "--retry-pause", default="20s", show_default=True, help="The same call again after an error: a retry until then."
)
@click.option(
    "--format", "log_format", metavar="FORMAT",
    help="access-log: auto (default), combined, common, json, or the server's own, '$remote_addr …' or '%h …'.",
)  # fmt: skip
@click.option(
    "--steps", type=click.Choice(["all", "pages", "calls"]), help="access-log: steps are page views, calls, or both."
)
@click.option("--key-file", help="access-log: secret (1 to 4096 bytes) for the pseudonyms; default: drawn anew.")
@click.option("--map", "map_file", metavar="TOML", help="jsonl: which field is what; see docs/trace-format.md.")
@on_bad_line_option
def import_(
    kind: str,
    files: tuple[str, ...],
    output: str,
    gap: str,
    retry_pause: str,
    log_format: str | None,
    steps: str | None,
    key_file: str | None,
    map_file: str | None,
    on_bad_line: OnBadLine,
) -> None:
    """Make a trace of other recordings.

    \b
    KIND access-log   page views and engagement calls in web server logs
         har          engagement calls in HAR files of browsers and proxies
         gor          engagement calls in GoReplay files
         jsonl        any JSON lines, mapped by --map

    Files may be compressed and in any order. Visits are told by vid and sid where there are any, else by client and
    pauses. What cannot be used is counted by reason. Access logs leave no address and no agent text in the trace; the
    other kinds keep what visitors sent: anonymize.
    """
    from harness.trace.lines import SKIP_THEM, BadLines
    from harness.units import parse_duration_ns

    given = {"--format": log_format, "--steps": steps, "--key-file": key_file, "--map": map_file}
    _check_options(kind, given)
    bad = BadLines(on_bad_line, SKIP_THEM)
    gap_ns = parse_duration_ns(gap)
    if kind == "access-log":
        _import_log(files, output, bad, gap_ns, log_format or "auto", steps or "all", key_file)
    else:
        _import_calls(kind, files, output, bad, gap_ns, parse_duration_ns(retry_pause), map_file)
    tell_skipped(bad)


def _check_options(kind: str, given: Mapping[str, str | None]) -> None:
    from harness.errors import UsageError

    wrong = [option for option, value in given.items() if value is not None and _ONLY_FOR[option] != kind]
    if wrong:
        raise UsageError(f"{wrong[0]} is for {_ONLY_FOR[wrong[0]]}, not for {kind}")
    if kind == "jsonl" and given["--map"] is None:
        raise UsageError("jsonl needs --map TOML, a file that says which field is what (docs/trace-format.md)")


def _import_log(
    files: tuple[str, ...], output: str, bad: BadLines, gap_ns: int, log_format: str, steps: str, key_file: str | None
) -> None:
    from secrets import token_bytes

    from harness.trace.accesslog import AccessLog
    from harness.trace.intake.assemble import write_drafts
    from harness.trace.intake.logformat import line_reader
    from harness.trace.sessions import cut_sessions, drafts, in_time

    key = token_bytes(32) if key_file is None else read_key(key_file)
    log = AccessLog(files, key, bad, reader=line_reader(log_format), steps=steps)  # type: ignore[arg-type]
    visits = drafts(cut_sessions(in_time(log), gap_ns))
    totals = write_drafts(
        visits,
        output,
        source="access log",
        anonymized=True,
        nothing=lambda: (
            f"{', '.join(files)}: no page view of a person and no engagement call: nothing was written; "
            f"{log.lines} lines, left out: {_counted(log.left_out, bad)}"
        ),
    )
    click.echo(
        f"{log.lines} access-log lines: {totals.steps} steps in {totals.visits} visits; "
        f"left out: {_counted(log.left_out)}",
        err=True,
    )
    if log.without_agent:
        click.echo(
            f"note: {log.without_agent} of them name no agent: a visitor is an address, and robots cannot be told",
            err=True,
        )


def _import_calls(
    kind: str, files: tuple[str, ...], output: str, bad: BadLines, gap_ns: int, retry_ns: int, map_file: str | None
) -> None:
    from harness.cli.trace_record import tell_tying
    from harness.trace.intake.gor import GorFiles
    from harness.trace.intake.har import HarFiles
    from harness.trace.intake.jsonlines import JsonLines, read_mapping
    from harness.trace.intake.recording import Recording, write_recording

    recording: Recording
    if kind == "har":
        recording, source, noun = HarFiles(files, bad), "HAR", "entries"
    elif kind == "gor":
        recording, source, noun = GorFiles(files, bad), "GoReplay", "records"
    else:
        assert map_file is not None
        recording, source, noun = JsonLines(files, read_mapping(map_file), bad), "JSON lines", "lines"
    tying, totals = write_recording(
        recording,
        output,
        source=source,
        nothing=lambda tying: (
            f"{', '.join(files)}: no engagement call that a trace could keep: nothing was written; "
            f"{recording.count} {noun}, left out: {_counted(recording.left_out + tying.left_out, bad)}"
        ),
        gap_ns=gap_ns,
        retry_ns=retry_ns,
    )
    click.echo(
        f"{recording.count} {kind} {noun}: {totals.steps} steps in {totals.visits} visits; "
        f"left out: {_counted(recording.left_out + tying.left_out)}",
        err=True,
    )
    tell_tying(tying)


def _counted(left_out: Counter[str], bad: BadLines | None = None) -> str:
    told = [f"{count} {reason}" for reason, count in left_out.most_common()]
    if bad is not None and bad.count:
        told.append(f"{bad.count} bad ones (the first: {bad.messages[0]})")
    return ", ".join(told) or "nothing"
