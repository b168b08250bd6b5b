"""Starting what the system tests look at from outside: `harness` commands, the oracle, and the traces they play.

Everything is a child process with a time limit; whatever is still alive when a test ends or fails is killed by pid.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.system.oracle_log import OracleLog

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "12345678"
ERROR_LINE = re.compile(r"^harness: (internal )?error: .+", re.MULTILINE)

Summary = dict[str, Any]
VISIT_ENDS = ("completed", "censored", "dropped", "lost", "undealt")
STEP_ENDS = (
    "available", "not_available", "accepted", "exhausted", "rejected", "failed", "skipped", "censored", "dropped",
    "lost", "undealt",
)  # fmt: skip
WORKER_ENDS = ("completed", "censored", "dropped", "lost", "revoked")


@dataclass(frozen=True)
class Finished:
    """A command that ended: what it said, what it left behind and what it cost (with all its reaped children)."""

    exit_code: int
    stdout: str
    stderr: str
    out: Path
    cpu_s: float
    wall_s: float

    @property
    def summary(self) -> Summary:
        """summary.json of the run folder."""
        loaded: Summary = json.loads((self.out / "summary.json").read_text())
        return loaded

    @property
    def manifest(self) -> dict[str, Any]:
        """manifest.json of the run folder."""
        loaded: dict[str, Any] = json.loads((self.out / "manifest.json").read_text())
        return loaded

    @property
    def error_lines(self) -> list[str]:
        """The lines on stderr that tell of an error."""
        return [match[0] for match in ERROR_LINE.finditer(self.stderr)]

    def explain(self) -> str:
        """All that helps to see why a command did not end as expected."""
        return f"exit {self.exit_code}\n--- stdout\n{self.stdout[-4000:]}\n--- stderr\n{self.stderr[-4000:]}"


class Command:
    """A running `python -m harness …`, its output going to files, so that nothing can block on a pipe."""

    def __init__(self, *args: str, scratch: Path, out: Path, prepare: Callable[[], None] | None = None) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self.out = out
        self._files = (scratch / "stdout.txt", scratch / "stderr.txt")
        self._began = time.monotonic()
        env = {name: value for name, value in os.environ.items() if not name.startswith("HARNESS_")}
        with self._files[0].open("wb") as stdout, self._files[1].open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "harness", *args],
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                preexec_fn=prepare,
                start_new_session=True,
            )
        self.pid = self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the command still runs."""
        return self._process.returncode is None and self._process.poll() is None

    def age_s(self) -> float:
        """Seconds since the command was started."""
        return time.monotonic() - self._began

    def signal(self, number: int) -> None:
        """Sends a signal to the command's own process only."""
        os.kill(self.pid, number)

    def wait(self, timeout_s: float) -> Finished:
        """The finished command; kills it with all its descendants and fails when it takes too long."""
        deadline = self._began + timeout_s
        usage: resource.struct_rusage | None = None
        try:
            while usage is None:
                pid, status, rusage = os.wait4(self.pid, os.WNOHANG)
                if pid:
                    self._process.returncode = os.waitstatus_to_exitcode(status)
                    usage = rusage
                elif time.monotonic() > deadline:
                    raise AssertionError(f"no end after {timeout_s:.0f} s\n--- stderr\n{self._read(1)[-4000:]}")
                else:
                    time.sleep(0.02)
        finally:
            if usage is None:
                kill_tree(self.pid)
                self._process.wait()
        return Finished(
            self._process.returncode,
            self._read(0),
            self._read(1),
            self.out,
            usage.ru_utime + usage.ru_stime,
            time.monotonic() - self._began,
        )

    def stderr_so_far(self) -> str:
        """What the command has said to people until now."""
        return self._read(1)

    def kill(self) -> None:
        """Ends the command and all its descendants at once, if it still runs."""
        if self.alive:
            kill_tree(self.pid)
            self._process.wait()

    def _read(self, index: int) -> str:
        return self._files[index].read_text(errors="replace")


def run_command(*args: str, scratch: Path, timeout_s: float = 60.0) -> Finished:
    """Runs one `harness` command that leaves no run folder to its end."""
    return Command(*args, scratch=scratch, out=scratch / "none").wait(timeout_s)


def start_run(
    trace: Path,
    target: str,
    *args: str,
    scratch: Path,
    out: Path | None = None,
    prepare: Callable[[], None] | None = None,
) -> Command:
    """Starts `harness run TRACE` against `target`; the run folder is `scratch/run` unless `out` says otherwise."""
    folder = out or scratch / "run"
    metrics = () if "--metrics" in args else ("--metrics", "off")
    everything = ("run", str(trace), "--target", target, "--account", ACCOUNT, "--out", str(folder), *metrics, *args)
    return Command(*everything, scratch=scratch, out=folder, prepare=prepare)


def run_to_end(trace: Path, target: str, *args: str, scratch: Path, timeout_s: float) -> Finished:
    """`harness run` to its end, the ledger of its summary checked."""
    finished = start_run(trace, target, *args, scratch=scratch).wait(timeout_s)
    assert (finished.out / "summary.json").exists(), finished.explain()
    assert_ledger(finished.summary)
    return finished


def assert_ledger(summary: Summary) -> None:
    """The ledger equations: every planned visit and step has exactly one end, per worker and in total."""
    visits, steps, workers = summary["visits"], summary["steps"], summary["workers"]
    assert visits["planned"] == sum(visits[end] for end in VISIT_ENDS), visits
    assert steps["planned"] == sum(steps[end] for end in STEP_ENDS), steps
    for worker in workers:
        assert worker["dealt"] == sum(worker[end] for end in WORKER_ENDS), worker
    for end in ("completed", "censored", "dropped", "lost"):
        assert visits[end] == sum(worker[end] for worker in workers), (end, visits, workers)
    assert summary["attempts"]["total"] == sum(summary["attempts"]["by_result"].values()), summary["attempts"]


def assert_proper_client(log: OracleLog) -> None:
    """No breach of the contract or of HTTP, no attempt sent twice, and nothing beside the calls but the probe."""
    report = log.report
    assert (report["problems"], report["duplicates"]) == ([], [])
    assert set(report["strays"]) <= {"HEAD / HTTP/1.1"}, report["strays"]


def failed_checks(summary: Summary) -> dict[str, str]:
    """The verdict's checks that are not ok: name to message."""
    return {check["name"]: check["message"] for check in summary["verdict"]["checks"] if not check["ok"]}


def logged_attempts(path: Path) -> dict[str, str]:
    """The attempts that the harness itself wrote down (`--log-attempts`): attempt id to result; each only once."""
    results: dict[str, str] = {}
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        assert entry["attempt"] not in results, f"{entry['attempt']} is listed twice"
        results[entry["attempt"]] = entry["result"]
    return results


# The oracle


class Oracle:
    """A running oracle."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url
        self.port = int(url.rpartition(":")[2])

    def log(self) -> OracleLog:
        """Everything the oracle has seen until now."""
        with urllib.request.urlopen(f"{self.url}/oracle/report", timeout=60) as reply:
            return OracleLog(json.load(reply))


@contextmanager
def oracle(*args: str) -> Iterator[Oracle]:
    """An oracle on a free port; ends with the block."""
    command = [sys.executable, str(Path(__file__).with_name("oracle.py")), "--port", "0", *args]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("oracle ready at "), f"the oracle did not start: {line!r}"
        yield Oracle(process, line.split()[-1])
    finally:
        process.terminate()
        process.wait(10)


# Traces

Steps = Sequence[Mapping[str, Any]]


def get_engagement(think_s: float = 0.0, identity: str = "chain") -> dict[str, Any]:
    """A getEngagement step."""
    request = {"appType": "EXTERNAL", "consumerSections": ["Support"], "appDetails": {"deviceFamily": "MOBILE"}}
    return {"op": "get_engagement", "think": think_s, "identity": identity, "request": request}


def update(think_s: float = 0.0) -> dict[str, Any]:
    """An update step that reports an impression of the visit's last engagement."""
    request = {"impAttributes": [{"type": "impDisplay"}]}
    return {"op": "update", "think": think_s, "identity": "chain", "request": request}


def write_trace(path: Path, visits: Iterable[Steps], rate_hz: float = 100.0) -> dict[str, list[str]]:
    """Writes a trace with evenly spaced arrivals; returns the ops of each visit's steps."""
    ops: dict[str, list[str]] = {}
    with path.open("w") as file:
        file.write(json.dumps({"harness_trace": 1, "source": "system test", "anonymized": True}) + "\n")
        for index, steps in enumerate(visits):
            name = f"v-{index:06d}"
            ops[name] = [step["op"] for step in steps]
            line = {"visit": name, "visitor": f"p{index}", "at": round(index / rate_hz, 6), "cohort": "all"}
            file.write(json.dumps({**line, "steps": steps}) + "\n")
    return ops


# Processes


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, parents first, read from /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The name in brackets may hold blanks; what follows the last bracket is regular.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # ended between the listing and the reading
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    queue = [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def command_line(pid: int) -> list[str]:
    """The arguments of a process; empty when it is gone or only waits to be reaped."""
    try:
        return [word for word in Path(f"/proc/{pid}/cmdline").read_text().split("\0") if word]
    except OSError:
        return []


def kill_tree(pid: int) -> None:
    """Kills a process of ours and everything below it, by pid."""
    for each in [*reversed(descendants(pid)), pid]:
        try:
            os.kill(each, signal.SIGKILL)
        except ProcessLookupError:
            continue  # ended by itself, or with its parent


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Polls until `condition` holds; fails with `what` when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.02)
