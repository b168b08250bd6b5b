"""Importing the package does nothing: no patching, no threads, no third party that a command may not need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What no command should pay for before it knows that it needs it.
HEAVY = {
    "gevent", "httptools", "jinja2", "locust", "msgspec", "orjson", "prometheus_client", "requests", "rich", "zmq",
    "zstandard",
}  # fmt: skip
PROBE = """
import json, sys, threading
before = (threading.active_count(), sys.getswitchinterval())
import {module}
import socket, select
print(json.dumps({{
    "modules": sorted({{name.split(".")[0] for name in sys.modules}}),
    "undisturbed": before == (threading.active_count(), sys.getswitchinterval()),
    "socket": socket.socket.__module__,
    "epoll": hasattr(select, "epoll"),
}}))
"""


def probe(module: str) -> dict[str, object]:
    """What a fresh interpreter looks like after importing `module`; the import itself must print nothing."""
    command = [sys.executable, "-c", PROBE.format(module=module)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.count("\n") == 1, done.stdout
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("module", ["harness", "harness.cli.main"])
def test_importing_the_door_loads_nothing_heavy(module: str) -> None:
    """`import harness` and the CLI's door load no third party but click, start no thread and patch nothing."""
    found = probe(module)
    modules = found["modules"]
    assert isinstance(modules, list)
    assert sorted(HEAVY.intersection(modules)) == []
    assert found["undisturbed"] is True
    assert (found["socket"], found["epoll"]) == ("socket", True)


def test_no_room_but_the_fleet_brings_locust_in() -> None:
    """Importing every module outside fleet/ (and the door that Locust itself opens) never loads locust or patches."""
    files = [path for path in (ROOT / "harness").rglob("*.py") if path.name != "__main__.py"]
    names = sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in files
        if "fleet" not in path.parts and "harness.fleet" not in path.read_text()
    )
    assert len(names) > 30
    found = probe(", ".join(names))
    modules = found["modules"]
    assert isinstance(modules, list)
    assert "locust" not in modules
    assert (found["socket"], found["epoll"]) == ("socket", True)
