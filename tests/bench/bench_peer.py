"""Attempts per CPU-second of the whole process tree, ours and stock Locust's FastHttpUser, side by side.

Both play the same visits (three chained calls, JSON parsed, no think time) on kept connections against one fast server
whose cost is not counted. Each figure is the slope between a short and a long run, so what it costs to start and end
cancels; short, long, ours, theirs alternate, and the median over the rounds is printed. Nothing here passes or fails.

    python -m tests.bench.bench_peer [--rounds 3] [--slots 100] [--connections pooled|browser] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.system.harness_run import ROOT, get_engagement, start_run, write_trace

HERE = Path(__file__).parent
TIMEOUT_S = 300.0
STEPS = 3


@dataclass(frozen=True)
class Cost:
    """One run: calls that the server answered, and CPU seconds of the generator's whole process tree."""

    attempts: int
    cpu_s: float


@contextmanager
def fast_server() -> Iterator[str]:
    """The target as its own process; gives its URL."""
    process = subprocess.Popen([sys.executable, str(HERE / "fast_server.py")], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)


def answered(url: str) -> int:
    """Calls that the server has answered until now."""
    with urllib.request.urlopen(f"{url}/stats", timeout=10) as reply:
        return int(json.load(reply)["calls"])


def measure(url: str, run: Callable[[], float]) -> Cost:
    """What one run costs; `run` gives its CPU seconds."""
    before = answered(url)
    cpu_s = run()
    return Cost(answered(url) - before, cpu_s)


def run_ours(url: str, trace: Path, visits: int, options: argparse.Namespace, scratch: Path) -> float:
    """`harness run` with all its processes; CPU seconds."""
    load = ["--arrivals", options.arrivals or f"closed:{options.slots}", "--limit-visits", str(visits)]
    command = start_run(trace, url, *load, "--connections", options.connections, "--quiet", scratch=scratch)
    finished = command.wait(TIMEOUT_S)
    if finished.exit_code not in (0, 5):
        sys.exit(f"bench: our run failed: {finished.explain()}")
    return finished.cpu_s


def run_stock(url: str, visits: int, slots: int, scratch: Path) -> float:
    """Stock Locust in one process, which is its cheapest form; CPU seconds."""
    command = [sys.executable, "-m", "locust", "-f", str(HERE / "stock_fasthttp.py"), "--headless", "--only-summary"]
    command += [
        "-u",
        str(slots),
        "-r",
        str(slots),
        "--host",
        url,
        "--loglevel",
        "WARNING",
        "--run-time",
        f"{TIMEOUT_S:.0f}s",
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with (scratch / "stock.txt").open("wb") as output:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "BENCH_VISITS": str(visits)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S + 30,
            check=False,
        )
    if done.returncode != 0:
        sys.exit(f"bench: stock Locust failed: {(scratch / 'stock.txt').read_text()[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def slope(short: Cost, long: Cost) -> float:
    """Attempts per CPU-second between two runs."""
    return (long.attempts - short.attempts) / (long.cpu_s - short.cpu_s)


def bench(options: argparse.Namespace) -> dict[str, object]:
    """All rounds, as plain data."""
    rounds: list[dict[str, object]] = []
    ours: list[float] = []
    stock: list[float] = []
    with tempfile.TemporaryDirectory() as folder, fast_server() as url:
        scratch = Path(folder)
        trace = scratch / "trace.jsonl"
        steps = [get_engagement(identity="fresh"), get_engagement(), get_engagement()]
        write_trace(trace, (steps for _ in range(options.long)), rate_hz=1000)
        for number in range(options.rounds):
            place = scratch / f"round-{number}"
            costs = {
                (who, length): measure(url, run)
                for length, visits in (("short", options.short), ("long", options.long))
                for who, run in _both(url, trace, visits, options, place / length)
            }
            ours.append(slope(costs["ours", "short"], costs["ours", "long"]))
            stock.append(slope(costs["stock", "short"], costs["stock", "long"]))
            rounds.append({f"{who}_{length}": asdict(cost) for (who, length), cost in costs.items()})
    return {
        "ours_attempts_per_cpu_s": round(statistics.median(ours)),
        "stock_fasthttp_attempts_per_cpu_s": round(statistics.median(stock)),
        "ratio": round(statistics.median(ours) / statistics.median(stock), 2),
        "connections": options.connections,
        "arrivals": options.arrivals or f"closed:{options.slots}",
        "slots": options.slots,
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        "rounds": rounds,
    }


def _both(
    url: str, trace: Path, visits: int, options: argparse.Namespace, scratch: Path
) -> Iterator[tuple[str, Callable[[], float]]]:
    scratch.mkdir(parents=True)
    yield "ours", lambda: run_ours(url, trace, visits, options, scratch)
    yield "stock", lambda: run_stock(url, visits, options.slots, scratch)


def main() -> None:
    """Prints both figures and their ratio."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--short", type=int, default=2_000, help="visits of the short run")
    parser.add_argument("--long", type=int, default=22_000, help="visits of the long run")
    parser.add_argument("--slots", type=int, default=100, help="visits open at once, and stock users")
    parser.add_argument("--arrivals", help="our load instead of closed:SLOTS, e.g. constant:2000/s")
    parser.add_argument("--connections", default="pooled", help="ours; stock keeps one connection a user")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = bench(options)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    how = f"{options.rounds} rounds, {result['arrivals']}, {options.connections}"
    print(f"ours               {result['ours_attempts_per_cpu_s']:>8} attempts per CPU-second (all processes)")
    print(f"stock FastHttpUser {result['stock_fasthttp_attempts_per_cpu_s']:>8} attempts per CPU-second (one process)")
    print(f"ratio              {result['ratio']:>8}   {how}")


if __name__ == "__main__":
    main()
