"""`harness demo`: the whole product in one command, against the embedded simulator."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.options import setting_options


@click.command("demo", short_help="Replay a shipped trace against an embedded simulator.")
@setting_options("json", "quiet", "out_dir", "seed", "metrics")
def demo(**flags: Any) -> int:
    """Replay a shipped trace of a minute against an embedded simulator and judge it.

    The simulator's account is cold at first, offers engagements to most visitors only after some tries, and fails now
    and then; the default retry policy copes with that. Trace, profile and scenario are in the package's fixtures.
    """
    from harness.cli.options import checks
    from harness.cli.run import start
    from harness.config.files import packaged
    from harness.config.resolve import settle

    target = f"sim:{packaged('fixtures/demo-scenario.toml')}"
    profile = str(packaged("fixtures/demo.toml"))
    # The environment is left out: a target that is set there for real runs must not become the demo's.
    return start(settle({**flags, "target": target}, {}, checks(), profile))
