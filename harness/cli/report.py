"""`harness report`: shows a stored run again, in the format that the reader needs; sends and judges nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from harness.store.stored_run import StoredRun

_MEASURES = ("response_time", "service_time", "connect_time", "dispatch_lag", "loop_delay", "time_to_available")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "md", "junit", "html", "hlog"]),
    default="text",
    show_default=True,
    help="text for terminals, md for pull requests, junit for CI, html with charts, hlog for other tools.",
)
@click.option("-o", "--output", default="-", show_default=True, help="File to write; - is stdout.")
@click.option(
    "--measure", type=click.Choice(_MEASURES), default="response_time", show_default=True, help="What hlog holds."
)
def report(run: Path, form: str, output: str, measure: str) -> None:
    """Show the stored run in the folder RUN as text, JSON, Markdown, JUnit, HTML or a histogram log.

    A partial run is shown as far as it goes, and that it is partial is said on stderr.
    """
    from harness.store.files import replace_file
    from harness.store.stored_run import load_run

    stored = load_run(run)
    text = rendered(stored, form, measure)
    for note in _notes(stored):
        click.echo(f"harness: {note}", err=True)
    if output == "-":
        click.echo(text, nl=False)
    else:
        replace_file(Path(output), text.encode())


def rendered(stored: StoredRun, form: str, measure: str = "response_time") -> str:
    """The report's text; the room is imported for the format that is asked for.

    Raises `UsageError` for a run without a summary, but for `hlog`, or with damaged slices.
    """
    from harness.errors import UsageError

    if form == "hlog":
        return _hlog(stored, measure)
    summary = stored.summary
    if summary is None:
        raise UsageError(
            f"{stored.path} has no summary.json: {stored.reason or 'the run left none'}; try --format hlog"
        )
    if form == "json":
        import orjson

        return orjson.dumps(summary, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
    if form == "md":
        from harness.report.markdown import render_markdown

        return render_markdown(summary)
    if form == "junit":
        from harness.report.junit import render_junit

        return render_junit(summary)
    if form == "html":
        return _html(stored, summary)
    from harness.report.text import render_text

    return render_text(summary)


def _html(stored: StoredRun, summary: dict[str, Any]) -> str:
    from math import ceil

    from harness.measure.slices import from_lines, merge_from
    from harness.report.charts import CURVE_MEASURES, percentile_curve
    from harness.report.html import render_html

    # The same part of the run that the summary's times are of: whole seconds after the warm-up.
    measured = merge_from(from_lines(stored.slices()), ceil(summary.get("phases", {}).get("warmup_s", 0)))
    curves = {measure: percentile_curve(measured.histogram(measure)) for measure in CURVE_MEASURES}
    known = {measure: curve for measure, curve in curves.items() if curve}
    return render_html(summary, stored.series, known or None, _notes(stored))


def _hlog(stored: StoredRun, measure: str) -> str:
    from datetime import datetime

    from harness.errors import UsageError
    from harness.measure.slices import from_lines
    from harness.report.hlog import render_hlog

    started_at = (stored.summary or stored.manifest).get("started_at")
    try:
        started_epoch_s = datetime.fromisoformat(str(started_at)).timestamp()
    except ValueError as error:
        raise UsageError(f"{stored.path}: neither summary nor manifest says when the run started") from error
    return render_hlog(from_lines(stored.slices()), measure, started_epoch_s)


def _notes(stored: StoredRun) -> list[str]:
    partial = [f"this run is partial: {stored.reason}"] if stored.partial else []
    return [*partial, *stored.notes]
