"""`harness sim`: the practice target, a LivePerson-like engagement service."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("sim")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 picks a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--scenario",
    default="healthy",
    show_default=True,
    metavar="FILE|NAME",
    help="A TOML file, or a preset: healthy cold-account flaky freeze caps knee.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same calls: same replies.")
@click.option("--tls", is_flag=True, help="Serve HTTPS with a self-signed certificate (its path is printed).")
@click.option("--metrics", is_flag=True, help="Answer GET /metrics, too.")
@click.option("--log", type=click.Path(path_type=Path), metavar="FILE", help="One JSON line for each call.")
@click.option("--exit-with-stdin", is_flag=True, hidden=True, help="Stop when standard input ends.")
def sim(
    port: int,
    host: str,
    scenario: str,
    seed: int,
    tls: bool,
    metrics: bool,
    log: Path | None,
    exit_with_stdin: bool,
) -> None:
    """Run the practice target until SIGTERM or Ctrl-C.

    It prints one line with its URL when it is ready. GET /sim/truth tells what it really did.
    """
    from harness.sim.scenario_file import load_scenario
    from harness.sim.server import Options, serve

    options = Options(
        host=host, port=port, seed=seed, tls=tls, metrics=metrics, log=log, exit_with_stdin=exit_with_stdin
    )
    serve(load_scenario(scenario), options, ready=lambda line: click.echo(line))
