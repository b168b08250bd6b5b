"""The bench's child processes: run to their end for their CPU time, or kept for the time of a block.

Every child gets a session of its own and is ended by its process id. Only one is waited for at a time, so what the
kernel adds to this process's account of ended children is that child's whole tree.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

import harness

_READY_LIMIT_S = 20.0
_STOP_LIMIT_S = 5.0
_TAIL_BYTES = 2_000
_WEIGHED = Path(__file__).with_name("weighed.py")


class BenchError(Exception):
    """A figure could not be taken; the text says why, in one line."""


@dataclass(frozen=True)
class Ended:
    """A child that ended: how, what it printed, and the CPU seconds of its whole tree."""

    exit_code: int
    stdout: bytes
    last_words: str
    cpu_s: float


def module(name: str, *arguments: str) -> list[str]:
    """The command line of a Python module under this very interpreter."""
    return [sys.executable, "-m", name, *arguments]


def run_child(
    command: Sequence[str], folder: Path, *, limit_s: float, env: Mapping[str, str] | None = None, stdin: bytes = b""
) -> Ended:
    """Runs a command in `folder` to its end; raises `BenchError` when that takes longer than `limit_s`."""
    before = _children_cpu_s()
    with (folder / "stdout").open("w+b") as stdout, (folder / "stderr").open("w+b") as stderr:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=_environment(env or {}),
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            process.communicate(stdin, timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise BenchError(f"it did not end within {limit_s:.0f} s") from None
        finally:
            _end(process)
        stdout.seek(0)
        printed = stdout.read()
        stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - _TAIL_BYTES))
        lines = [line.strip() for line in stderr.read().decode(errors="replace").splitlines() if line.strip()]
    return Ended(process.returncode, printed, lines[-1] if lines else "", _children_cpu_s() - before)


def run_weighed(command: Sequence[str], folder: Path, *, limit_s: float) -> tuple[Ended, int]:
    """Runs a command as `run_child` does; gives the most memory that it held, in bytes, too.

    `command` begins with an absolute path. The CPU seconds have those of a small process between (some 10 ms).
    """
    peak = folder / "peak"
    ended = run_child([sys.executable, "-S", str(_WEIGHED), str(peak), *command], folder, limit_s=limit_s)
    return ended, int(peak.read_text())


class Server:
    """A fast server that runs; `url` is its base URL."""

    def __init__(self, url: str) -> None:
        self.url = url

    def stats(self) -> dict[str, Any]:
        """What it has done until now: `calls`, `cpu_s`, `service_us`."""
        with urllib.request.urlopen(f"{self.url}/stats", timeout=_READY_LIMIT_S) as reply:
            stats: dict[str, Any] = orjson.loads(reply.read())
        return stats

    def calls(self) -> int:
        """Engagement calls that it has answered until now."""
        return int(self.stats()["calls"])


@contextmanager
def fast_server() -> Iterator[Server]:
    """Runs the fast server for the time of the block; raises `BenchError` when it does not start."""
    process = subprocess.Popen(
        module("harness.bench.fast_server"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=_environment({}),
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], _READY_LIMIT_S)
        url = process.stdout.readline().decode().strip() if ready else ""
        if not url:
            raise BenchError(f"the bench's server does not start (exit code {process.poll()})")
        yield Server(url)
    finally:
        _end(process)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment without settings of ours or of Locust's, able to import this very package."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("LOCUST_", "HARNESS_"))}
    paths = [str(Path(harness.__file__).resolve().parents[1]), env.get("PYTHONPATH", "")]
    return {**env, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **extra}


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
