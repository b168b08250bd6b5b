"""Runs the real parent of `harness run` with the fake master: conduct_with.py MASTER_SCENE WORKER_SCENE OUT_DIR."""

from __future__ import annotations

import sys
from pathlib import Path

import click

import harness.cli.conduct as parent
from harness.cli import main as door
from harness.cli.fabric import Commands
from harness.cli.options import checks
from harness.cli.run import run_config
from harness.config.resolve import settle

FAKE = str(Path(__file__).with_name("fake_master.py"))
TRACE = str(Path(__file__).parents[2] / "fixtures" / "small.jsonl")


@click.command("conduct")
def conduct() -> int:
    """The run under test."""
    master, worker, out = sys.argv[1:]
    settled = settle({"target": "sim", "out": out, "metrics": "off"}, {}, checks())
    settled.values["trace"] = TRACE
    commands = Commands([sys.executable, FAKE, master, out], [sys.executable, FAKE, worker, out])
    config = run_config(settled)
    return parent.conduct(config, as_json=False, quiet=False, people=sys.stderr, commands=commands)


if __name__ == "__main__":
    # Through the product's own door, so that errors look as they do for users.
    door.COMMANDS["conduct"] = ("conduct_with", "The run under test.")
    sys.exit(door.run_command(["conduct"]))
