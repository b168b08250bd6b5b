"""Starting plain Locust on our locustfile, or on one that plays a trick on it, for tests that look from outside."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.system.harness_run import ACCOUNT, ROOT, Summary, command_line, kill_tree

LOCUSTFILE = ROOT / "locustfiles" / "engagement.py"
OURS = "from harness.cli.locust_entry import EngagementUser, RunShape\n"


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def write_profile(scratch: Path, trace: Path, target: str, load: str = "") -> Path:
    """A profile for a run of `trace` into `scratch/run`; `load` holds more lines of its [load] table."""
    path = scratch / "profile.toml"
    path.write_text(
        f'[target]\nurl = "{target}"\naccount = "{ACCOUNT}"\n'
        f'[load]\ntrace = "{trace}"\nout = "{scratch / "run"}"\nmetrics = "off"\n{load}\n'
    )
    return path


def write_locustfile(scratch: Path, trick: str) -> Path:
    """A locustfile that is ours after `trick`, a piece of Python that patches something."""
    path = scratch / "tricky.py"
    path.write_text(trick + "\n" + OURS)
    return path


class Locust:
    """A running Locust process with its children in a session of their own."""

    def __init__(
        self,
        *args: str,
        scratch: Path,
        name: str = "locust",
        locustfile: Path = LOCUSTFILE,
        env: Mapping[str, str] | None = None,
    ) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self.name = name
        self._files = (scratch / f"{name}.out", scratch / f"{name}.err")
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("HARNESS_", "LOCUST_"))}
        command = [sys.executable, "-m", "locust", "-f", str(locustfile), "--loglevel", "WARNING", *args]
        with self._files[0].open("wb") as out, self._files[1].open("wb") as err:
            self._process = subprocess.Popen(
                command, cwd=scratch, env=clean | (env or {}) | {"PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL,
                stdout=out, stderr=err, start_new_session=True,
            )  # fmt: skip
        self.pid = self._process.pid

    def __enter__(self) -> Locust:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            kill_tree(self.pid)
            self._process.wait()

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    @property
    def stdout(self) -> str:
        """What it printed until now."""
        return self._files[0].read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """What it said to people until now."""
        return self._files[1].read_text(errors="replace")

    def signal(self, number: int, *, group: bool = False) -> None:
        """Sends a signal to the process, or like a terminal to all of its group."""
        (os.killpg if group else os.kill)(self.pid, number)

    def wait(self, timeout_s: float) -> int:
        """The exit code; fails when there is none in time."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end in {timeout_s} s\n{self.explain()}") from None

    def explain(self) -> str:
        """All that helps to see why it did not end as expected."""
        return f"--- stdout\n{self.stdout[-4000:]}\n--- stderr\n{self.stderr[-4000:]}"


def master_args(profile: Path, port: int) -> list[str]:
    """A headless master of 127.0.0.1."""
    where = ["--master-bind-host", "127.0.0.1", "--master-bind-port", str(port)]
    return ["--master", "--headless", "--only-summary", "--harness-config", str(profile), *where]


def worker_args(port: int) -> list[str]:
    """A worker of this machine."""
    return ["--worker", "--master-host", "127.0.0.1", "--master-port", str(port)]


def summary_of(folder: Path) -> Summary:
    """summary.json of a run folder."""
    loaded: Summary = json.loads((folder / "summary.json").read_text())
    return loaded


def journal_of(folder: Path) -> list[dict[str, Any]]:
    """The entries of a run folder's journal."""
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


def begun_second(folder: Path) -> int:
    """The last second that the run folder knows of; -1 before the first."""
    series = folder / "series.jsonl"
    lines = series.read_text().splitlines() if series.exists() else []
    return len(lines) - 1


def listening(pids: Sequence[int]) -> set[str]:
    """The addresses (hex, as the kernel prints them) on which these processes listen for TCP connections."""
    sockets = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                link = str(descriptor.readlink())
            except OSError:
                continue  # closed between the listing and the reading
            if link.startswith("socket:["):
                sockets.add(link[len("socket:[") : -1])
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                found.add(fields[1].partition(":")[0])
    return found


def post(url: str, **form: str) -> dict[str, Any]:
    """Posts a form and returns the JSON reply."""
    with urllib.request.urlopen(url, urllib.parse.urlencode(form).encode(), timeout=30) as reply:
        answered: dict[str, Any] = json.load(reply)
        return answered


def wait_for_page(url: str, timeout_s: float = 20) -> None:
    """Waits until a page answers."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            urllib.request.urlopen(url, timeout=10).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(0.1)


def is_worker(pid: int) -> bool:
    """Whether a process is one of Locust's workers."""
    return "--worker" in command_line(pid)
