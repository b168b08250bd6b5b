"""Runs the real parent of `harness run` with the fake master: conduct_with.py MASTER_SCENE WORKER_SCENE OUT_DIR."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.cli import main as door
from harness.cli.conduct import conduct
from harness.cli.fabric import Commands
from harness.cli.options import checks
from harness.cli.run import run_config
from harness.config.resolve import settle

import click

FAKE = str(Path(__file__).with_name("fake_master.py"))
TRACE = str(Path(__file__).parents[2] / "fixtures" / "small.jsonl")


@click.command("conduct")
def command() -> int:
    """The run under test."""
    master, worker, out = sys.argv[1:]
    settled = settle({"target": "sim", "out": out, "metrics": "off"}, {}, checks())
    settled.values["trace"] = TRACE
    commands = Commands([sys.executable, FAKE, master, out], [sys.executable, FAKE, worker, out])
    return conduct(run_config(settled), as_json=False, quiet=False, people=sys.stderr, commands=commands)


if __name__ == "__main__":
    # Through the product's own door, so that errors look as they do for users.
    door.COMMANDS["conduct"] = ("__main__", "command")
    door.cli.add_command(command)
    door.import_module = lambda _name: type("Module", (), {"conduct": command})  # type: ignore[assignment,attr-defined]
    sys.exit(door.run_command(["conduct"]))
