"""`harness dashboards`: Grafana's dashboards and Prometheus's rules, built, checked and drawn."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.dashboards.model import Dashboard
    from harness.dashboards.window import Window

_NAMES = ("run", "capacity", "regression")

_prometheus = click.option("--prometheus", metavar="URL", help="A Prometheus, such as http://127.0.0.1:9090.")
_start = click.option("--from", "start", metavar="TIME", default="-15m", show_default=True, help="Unix time, or -15m.")
_end = click.option("--to", "end", metavar="TIME", default="-0s", show_default=True, help="Unix time, or -0s for now.")
_scrape = click.option("--scrape", default=1, show_default=True, type=click.IntRange(1), help="Scrape interval in s.")
_only = click.option("--only", type=click.Choice(_NAMES), multiple=True, help="This one only (repeatable).")
_var = click.option("--var", "chosen", metavar="NAME=VALUE", multiple=True, help="Set a variable of the dashboards.")


@click.group()
def dashboards() -> None:
    """Grafana dashboards as code: build the files, check them, draw them without Grafana."""


@dashboards.command()
@click.option(
    "--slo", type=click.Path(path_type=Path), help="Alerts come from this SLO file. [default: the shipped one]"
)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder to write into.")
def build(slo: Path | None, out: Path) -> None:
    """Write dashboards/*.json and prometheus/rules.yml into a folder, such as grafana/.

    The files that are there already are replaced, each whole or not at all; others are left alone.
    """
    from harness.config.files import packaged
    from harness.dashboards.build import built
    from harness.judge.threshold import parse_slo
    from harness.store.files import replace_file, storage_errors

    path = slo or packaged("fixtures/slo.toml")
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    source = slo.name if slo is not None else "fixtures/slo.toml"
    for name, content in built(parse_slo(text, str(path)), source).items():
        file = out / name
        with storage_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, content.encode())
        click.echo(file)


@dashboards.command()
@_prometheus
@_start
@_end
@_scrape
@_only
@_var
def check(
    prometheus: str | None, start: str, end: str, scrape: int, only: tuple[str, ...], chosen: tuple[str, ...]
) -> int:
    """Check the dashboards: Grafana's schema, PromQL's grammar, names that are exported.

    With --prometheus every query of every panel is executed, too, over the range from --from to --to: each must give
    a finite value. Needs the extra `dashboards` (jsonschema, promql-parser). Exit code 2 if anything is wrong.
    """
    from harness.dashboards.check import execute, query_problems, schema_problems
    from harness.dashboards.grafana import to_json
    from harness.dashboards.prometheus_api import PrometheusApi

    wrong = 0
    for name, dashboard in _chosen(only).items():
        problems = schema_problems(to_json(dashboard)) + query_problems(dashboard)
        executed = 0
        if prometheus is not None and not problems:
            for answer in execute(
                dashboard, PrometheusApi(prometheus), _window(start, end, scrape), _variables(chosen)
            ):
                executed += 1
                if answer.problem:
                    problems.append(f"'{answer.panel.title}': {answer.problem}; from: {answer.expr}")
        for problem in problems:
            click.echo(f"{name}: {problem}")
        queries = sum(len(panel.queries) for panel in dashboard.panels)
        said = f", {executed} executed" if prometheus is not None else ""
        click.echo(f"{name}: {len(dashboard.panels)} panels, {queries} queries{said}, {len(problems)} problems")
        wrong += len(problems)
    return 2 if wrong else 0


@dashboards.command()
@_prometheus
@_start
@_end
@_scrape
@_only
@_var
@click.option("-o", "--output", default="-", show_default=True, help="File to write; - is stdout.")
def preview(
    prometheus: str | None,
    start: str,
    end: str,
    scrape: int,
    only: tuple[str, ...],
    chosen: tuple[str, ...],
    output: str,
) -> None:
    """Draw the dashboards from a Prometheus into one HTML file that loads nothing; Grafana is not needed.

    It is our drawing of the same queries, not a picture of Grafana.
    """
    from harness.dashboards.check import execute
    from harness.dashboards.preview import render_preview
    from harness.dashboards.prometheus_api import PrometheusApi
    from harness.store.files import replace_file

    if prometheus is None:
        raise UsageError("a preview needs a Prometheus to ask: --prometheus http://127.0.0.1:9090")
    window, api = _window(start, end, scrape), PrometheusApi(prometheus)
    drawn = [
        (dashboard, list(execute(dashboard, api, window, _variables(chosen)))) for dashboard in _chosen(only).values()
    ]
    html = render_preview(drawn, window)
    if output == "-":
        sys.stdout.write(html)
    else:
        replace_file(Path(output), html.encode())


def _chosen(only: tuple[str, ...]) -> dict[str, Dashboard]:
    from harness.dashboards.build import DASHBOARDS

    return {name: dashboard for name, dashboard in DASHBOARDS.items() if not only or name in only}


def _variables(chosen: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in chosen]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise UsageError(f"--var '{name}': write NAME=VALUE, as expected=50")
    return {name: value for name, _, value in pairs}


def _window(start: str, end: str, scrape: int) -> Window:
    import time

    from harness.dashboards.window import Window

    now_s = time.time()
    window = Window(start_s=_moment_s(start, now_s), end_s=_moment_s(end, now_s), scrape_s=scrape)
    if window.start_s >= window.end_s:
        raise UsageError("--from must lie before --to")
    return window


def _moment_s(text: str, now_s: float) -> float:
    """Unix time of a moment: a number, or a duration before now such as -15m."""
    from harness.units import NS_PER_S, parse_duration_ns

    if text.startswith("-"):
        return now_s - parse_duration_ns(text[1:]) / NS_PER_S
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"'{text}' is no moment: write a Unix time, or -15m for a quarter of an hour ago") from error
