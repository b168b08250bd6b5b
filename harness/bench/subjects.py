"""Who is measured: the harness, its bare engine, stock Locust's two users, and wrk as the machine's own limit.

A subject plays a number of visits over a number of connections against the fast server and says what that cost. Calls
are counted by the server, never by whom it measures, and every subject must have made exactly the calls it was asked
for: a generator that loses some is not fast.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import orjson

from harness.bench.children import BenchError, Server, module, run_child
from harness.bench.job import Job, Play, visit_line
from harness.config.files import packaged
from harness.errors import ExitCode

STEPS = 3
_LIMIT_S = 180.0
_ACCOUNT = "12345678"
_TRACE_VISITS = 1_000
# A run whose generator was disturbed still has its cost; whether it was valid is said beside the figures of lag.
_MEASURED = (ExitCode.PASS, ExitCode.INVALID)


@dataclass(frozen=True)
class Cost:
    """One run: what was done (calls that the server answered, visits read), and CPU seconds of its process tree."""

    done: int
    cpu_s: float


def slope(short: Cost, long: Cost) -> float:
    """What is done per CPU-second, between two runs, so that what it costs to start and to end cancels.

    Raises `BenchError` when the longer run did not cost more, as on a machine that is busy otherwise.
    """
    if long.cpu_s <= short.cpu_s or long.done <= short.done:
        raise BenchError("the long run cost no more CPU than the short one: the machine is too busy to measure on")
    return (long.done - short.done) / (long.cpu_s - short.cpu_s)


class Bench:
    """The subjects on one server, with a scratch folder for their files."""

    def __init__(self, server: Server, scratch: Path) -> None:
        self.server = server
        self._scratch = scratch
        self._numbers = count(1)

    def _folder(self) -> Path:
        folder = self._scratch / f"run-{next(self._numbers)}"
        folder.mkdir()
        return folder

    def _cost(self, visits: int, play: Callable[[], float]) -> Cost:
        before = self.server.calls()
        cpu_s = play()
        calls = self.server.calls() - before
        if calls != visits * STEPS:
            raise BenchError(f"it made {calls:,} calls where {visits * STEPS:,} were asked for")
        return Cost(calls, cpu_s)

    # The subjects

    def harness(self, visits: int, connections: int) -> Cost:
        """`harness run` in a closed loop, all its processes and all its measurement, over pooled connections."""
        load = ["--arrivals", f"closed:{connections}", "--limit-visits", str(visits)]
        return self._cost(visits, lambda: self.run(STEPS, visits, *load)[1])

    def stock(self, user: str, visits: int, connections: int) -> Cost:
        """Stock Locust in one process, which is its cheapest form; `user` is a class of locustfiles/stock.py."""
        command = [*module("locust"), "-f", str(packaged("locustfiles/stock.py")), "--headless", "--only-summary"]
        command += ["-u", str(connections), "-r", str(connections), "--host", self.server.url]
        command += ["--loglevel", "WARNING", "--run-time", f"{_LIMIT_S:.0f}s", user]

        def play() -> float:
            ended = run_child(command, self._folder(), limit_s=_LIMIT_S + 30, env={"BENCH_VISITS": str(visits)})
            if ended.exit_code != 0:
                raise BenchError(f"stock Locust ended with exit code {ended.exit_code}: {ended.last_words}")
            return ended.cpu_s

        return self._cost(visits, play)

    def engine(self, visits: int, connections: int) -> Cost:
        """The engine alone in one process; CPU seconds of the play itself."""
        job = Job(url=self.server.url, visits=visits, slots=connections, limit_s=_LIMIT_S)
        return self._cost(visits, lambda: self.bare(job).cpu_s)

    def wrk(self, connections: int, seconds: int) -> Cost:
        """wrk with one thread, one fixed request, nothing parsed; raises `BenchError` where it is not installed."""
        path = shutil.which("wrk")
        if path is None:
            raise BenchError("wrk is not installed")
        url = f"{self.server.url}/api/account/{_ACCOUNT}/app/engagement/visitors/vid?v=1.0&sid=sid"
        before = self.server.calls()
        ended = run_child([path, "-t1", f"-c{connections}", f"-d{seconds}s", url], self._folder(), limit_s=_LIMIT_S)
        if ended.exit_code != 0:
            raise BenchError(f"wrk ended with exit code {ended.exit_code}: {ended.last_words}")
        return Cost(self.server.calls() - before, ended.cpu_s)

    # What they are made of

    def run(
        self, steps: int, visits: int, *load: str, metrics: str = "off", cohorts: Sequence[str] = ("all",)
    ) -> tuple[dict[str, Any], float]:
        """`harness run` of `visits` visits of `steps` steps; gives its summary and the CPU seconds of its tree."""
        folder = self._folder()
        trace = self._trace(steps, cohorts)
        out = folder / "run"
        command = [*module("harness", "run"), str(trace), "--loop", str(-(-visits // _TRACE_VISITS))]
        command += ["--target", self.server.url, "--account", _ACCOUNT, "--connections", "pooled", *load]
        command += ["--metrics", metrics, "--out", str(out), "--quiet"]
        ended = run_child(command, folder, limit_s=_LIMIT_S)
        if ended.exit_code not in _MEASURED:
            raise BenchError(f"harness run ended with exit code {ended.exit_code}: {ended.last_words}")
        summary: dict[str, Any] = orjson.loads((out / "summary.json").read_bytes())
        return summary, ended.cpu_s

    def bare(self, job: Job) -> Play:
        """Plays a job with the bare engine; raises `BenchError` when it does not come to its end."""
        command = module("harness.bench.bare_engine")
        ended = run_child(command, self._folder(), limit_s=job.limit_s + 30, stdin=msgspec.json.encode(job))
        if ended.exit_code != 0:
            raise BenchError(f"the bare engine ended with exit code {ended.exit_code}: {ended.last_words}")
        return msgspec.json.decode(ended.stdout, type=Play)

    def _trace(self, steps: int, cohorts: Sequence[str]) -> Path:
        path = self._scratch / f"trace-{steps}-{len(cohorts)}.jsonl"
        if not path.exists():
            line = orjson.loads(visit_line(steps))
            visits = (
                {**line, "visit": f"v{n}", "visitor": f"p{n}", "at": n / 1_000, "cohort": cohorts[n % len(cohorts)]}
                for n in range(_TRACE_VISITS)
            )
            header = {"harness_trace": 1, "source": "bench", "visits": _TRACE_VISITS, "anonymized": True}
            path.write_bytes(b"\n".join(map(orjson.dumps, (header, *visits))) + b"\n")
        return path
