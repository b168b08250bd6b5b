"""The parent of a run against a fake master: events, endings, interrupts, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("conduct_with.py")

pytestmark = pytest.mark.system


class Parent:
    """A parent process under test; its output is collected by `end`."""

    def __init__(self, master: str, worker: str, out: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), master, worker, str(out)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def children(self) -> list[int]:
        """The pids of its direct children."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def end(self) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        stdout, stderr = self.process.communicate(timeout=60)
        assert "Traceback" not in stderr, stderr
        return self.process.returncode, stdout, stderr


Start = Callable[..., Parent]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts parents that do not survive the test."""
    parents: list[Parent] = []

    def begin(master: str, out: Path, worker: str = "worker") -> Parent:
        parents.append(Parent(master, worker, out))
        return parents[-1]

    yield begin
    for parent in parents:
        if parent.process.poll() is None:
            parent.process.kill()
            parent.process.wait()


def until(condition: Callable[[], bool]) -> None:
    """Waits for a condition, at most 30 s."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def manifest(out: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return loaded


def test_a_run_that_ends_well(start: Start, tmp_path: Path) -> None:
    """Progress goes to stderr, the summary to stdout, logs into the folder; words that are no events do no harm."""
    out = tmp_path / "run"
    code, stdout, stderr = start("well", out).end()
    assert code == 0
    assert stdout.startswith("PASS ")
    assert "visits 3/9" in stderr and "simulator at http://127.0.0.1:" in stderr
    assert "a line of the master's log" in (out / "master.log").read_text()


@pytest.mark.parametrize(
    ("scene", "worker", "code", "line"),
    [
        ("refuse", "worker", 2, "harness: error: the port is taken"),
        ("die", "worker", 1, "harness: error: the master ended without a result (signal 9): Something broke"),
        ("never-start", "worker-dies", 5,
         "harness: error: worker-1 ended before the run began (exit code 3): cannot import engagement.py"),
    ],
)  # fmt: skip
def test_runs_that_fail(start: Start, tmp_path: Path, scene: str, worker: str, code: int, line: str) -> None:
    """Each failure is one error line with its exit code and leaves a folder that says it is partial, with the logs."""
    out = tmp_path / "run"
    found, stdout, stderr = start(scene, out, worker).end()
    errors = [text for text in stderr.splitlines() if "error:" in text]
    assert (found, stdout, errors) == (code, "", [line])
    assert f"partial run folder: {out}" in stderr
    assert manifest(out)["partial"] is True
    assert line.removeprefix("harness: error: ") == manifest(out)["reason"]
    # What reading the trace has shown goes with the configuration to the master.
    assert manifest(out)["config"]["cohorts"] == ["desktop", "mobile", "tablet"]
    assert (out / "master.log").exists()


def test_a_folder_that_is_taken_is_left_alone(start: Start, tmp_path: Path) -> None:
    """A run folder with files in it is refused before anything is started, and nothing is added to it."""
    out = tmp_path / "run"
    out.mkdir()
    (out / "theirs").write_text("x")
    code, _, stderr = start("well", out).end()
    assert (code, stderr) == (
        2,
        f"harness: error: the run folder {out} is not empty: name another with --out, or move it away\n",
    )
    assert [path.name for path in out.iterdir()] == ["theirs"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_lets_the_master_finish(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C, SIGTERM and a closed terminal ask the master to stop; its summary is printed; exit code 130."""
    out = tmp_path / "run"
    parent = start("interruptible", out)
    until(lambda: len(parent.children()) == 3)
    time.sleep(0.5)
    parent.process.send_signal(number)
    code, stdout, stderr = parent.end()
    assert code == 130
    assert stdout.startswith("INVALID ")
    assert "harness: error: stopped by interrupt" in stderr


def test_the_second_interrupt_ends_at_once(start: Start, tmp_path: Path) -> None:
    """A master that does not react is killed by the second Ctrl-C, and nothing is left running."""
    parent = start("stubborn", tmp_path / "run")
    until(lambda: len(parent.children()) == 3)
    children = parent.children()
    time.sleep(0.7)
    for _ in range(2):
        parent.process.send_signal(signal.SIGINT)
        time.sleep(0.7)
    began = time.monotonic()
    code, _, stderr = parent.end()
    assert time.monotonic() - began < 5
    assert code == 130 and "harness: interrupted" in stderr
    until(lambda: not any(map(alive, children)))


def test_nothing_outlives_a_killed_parent(start: Start, tmp_path: Path) -> None:
    """When the parent is killed outright, simulator, master and worker end with it."""
    parent = start("interruptible", tmp_path / "run")
    until(lambda: len(parent.children()) == 3)
    children = parent.children()
    parent.process.kill()
    parent.process.wait()
    until(lambda: not any(map(alive, children)))
