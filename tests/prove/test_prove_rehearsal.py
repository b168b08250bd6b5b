"""What a rehearsal promises: queueing theory is met, a real run is met, a million visits cost little.

Slow; the comparison with a real run measures real time and wants the machine for itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

from harness.cli.rehearsing import rehearsed
from harness.compiled import compiled
from harness.config.model import RunConfig
from harness.judge.latency import latency_blocks
from harness.plan.arrivals import parse_arrivals
from harness.plan.schedule import PlannedVisit
from harness.sim.behaviour import Behaviour
from harness.sim.ids import draw, unit
from harness.sim.queue import service_time
from harness.sim.rehearsal import rehearse
from harness.sim.scenario import Ns, Scenario, Service
from harness.sim.scenario_file import load_scenario
from harness.units import NS_PER_MS, NS_PER_S
from harness.visitor.records import Attempt, StepOutcome, VisitOutcome
from harness.visitor.retry import POLICIES
from tests.prove.evidence import store
from tests.system.harness_run import run_to_end

ROOT = Path(__file__).resolve().parents[2]
SEED = 1
ACCOUNT = "12345678"
MEAN_NS = 40 * NS_PER_MS
# (servers, load, visits): enough for a standard error well below half of the 1 % that is asked for.
QUEUES = ((1, 0.4, 1_000_000), (2, 0.5, 1_000_000), (8, 0.8, 2_000_000))
# Many times as long as any of these queues remembers (M/M/8 at 0.8: some 70 arrivals), so batches are independent.
BATCH = 2_000
VISITS = int(os.environ.get("PROVE_REHEARSED_VISITS", "1000000"))


def erlang_c_wait(servers: int, load: float, mean: float) -> float:
    """The mean wait of M/M/c (Erlang 1917): the blocking recursion of Erlang B, then C, then the mean."""
    offered = servers * load
    blocked = 1.0
    for n in range(1, servers + 1):
        blocked = offered * blocked / (n + offered * blocked)
    waits = blocked / (1.0 - load * (1.0 - blocked))
    return waits * mean / (servers * (1.0 - load))


class Waits:
    """Sums of each batch of visits in order of arrival: the waits, from the attempts alone, and their controls.

    The controls have mean zero whatever the queue does: service and gap with their squares, and the wait at a single
    server as quick as all together, which meets the same visits (Lindley 1952; its mean is known from Pollaczek and
    Khinchine). It follows the queue so closely that nine tenths of the chance in the mean wait go.
    """

    def __init__(self, visits: int, servers: int, load: float) -> None:
        self.sums = [[0.0] * 7 for _ in range(-(-visits // BATCH))]
        self._servers, self._rate_hz = servers, servers * load / (MEAN_NS / NS_PER_S)
        self._single_mean = load / (1.0 - load) / servers
        self._service = service_time(Service(distribution="exponential", mean_ns=Ns(MEAN_NS)))
        # The model's own draw for each call that is to come: what is left of its time is the wait.
        self._drawn: dict[int, int] = {}
        self._single = 0.0
        self._last_ns = 0

    def attempts(self, batch: list[Attempt]) -> None:
        for each in batch:
            number = int(each.visit)
            service = self._drawn.pop(number)
            row = self.sums[number // BATCH]
            relative = service / MEAN_NS
            row[0] += 1
            row[1] += each.done_ns - each.sent_ns - service
            row[2] += relative - 1.0
            row[3] += relative * relative - 2.0

    def steps(self, batch: list[StepOutcome]) -> None:
        return

    def visits(self, batch: list[VisitOutcome]) -> None:
        return

    def visit_started(self, planned_ns: int, cohort: str) -> None:
        return

    def connection(self, event: str, n: int = 1) -> None:
        return

    def arrivals(self, visits: int) -> Iterator[PlannedVisit]:
        """Visits of one call by the plan's own Poisson process."""
        offsets = parse_arrivals(f"poisson:{self._rate_hz}/s").offsets_ns(SEED)
        for number, due_ns in zip(range(visits), offsets, strict=False):
            gap_ns = due_ns - self._last_ns
            self._last_ns = due_ns
            gap = gap_ns * self._rate_hz / NS_PER_S
            service = self._service(unit(draw(SEED, f"{ACCOUNT}/{number}/0/1", 0).service_bits))
            self._drawn[number] = service
            self._single = max(0.0, self._single - gap_ns / MEAN_NS)
            row = self.sums[number // BATCH]
            row[4] += gap - 1.0
            row[5] += gap * gap - 2.0
            row[6] += self._single - self._single_mean
            self._single += service / MEAN_NS / self._servers
            line = b'{"visit":"%d","visitor":"p","at":0,"steps":[{"op":"get_engagement","identity":"fresh"}]}' % number
            yield PlannedVisit(due_ns, str(number), "p", "", 1, line)


def controlled_mean(rows: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The mean of the first column and its standard error, the others (of mean zero) taken as control variates.

    Least squares by hand; batches count as independent (Lavenberg and Welch 1981).
    """
    n, controls = len(rows), len(rows[0]) - 1
    means = [sum(column) / n for column in zip(*rows, strict=True)]
    centred = [[value - mean for value, mean in zip(row, means, strict=True)] for row in rows]
    system = [
        [sum(row[i] * row[j] for row in centred) for j in range(1, controls + 1)]
        + [sum(row[i] * row[0] for row in centred)]
        for i in range(1, controls + 1)
    ]
    for i in range(controls):
        for other in range(controls):
            if other != i:
                factor = system[other][i] / system[i][i]
                system[other] = [a - factor * b for a, b in zip(system[other], system[i], strict=True)]
    slopes = [row[-1] / row[i] for i, row in enumerate(system)]
    left = [row[0] - sum(slope * value for slope, value in zip(slopes, row[1:], strict=True)) for row in centred]
    estimate = means[0] - sum(slope * mean for slope, mean in zip(slopes, means[1:], strict=True))
    return estimate, sqrt(sum(value * value for value in left) / (n - 1 - controls) / n)


def test_the_mean_wait_is_erlangs() -> None:
    """M/M/c: the mean wait of every load within 1 % of Erlang's formula, which lies in the interval of 99.9 %."""
    figures = []
    for servers, load, visits in QUEUES:
        scenario = Scenario(service=Service(distribution="exponential", mean_ns=Ns(MEAN_NS), slots=servers))
        config = RunConfig(
            run_id="r", trace="t", account=ACCOUNT, seed=SEED, connections="pooled", retry=POLICIES["none"]
        )
        waits = Waits(visits, servers, load)
        rehearse(waits.arrivals(visits), Behaviour(scenario, SEED), config, waits)
        # The first tenth is left out: the queue began empty.
        # One server is its own control: there it would prove nothing.
        used = slice(1, 6) if servers == 1 else slice(1, 7)
        rows = [[value / row[0] for value in row[used]] for row in waits.sums[len(waits.sums) // 10 :]]
        seen, error = controlled_mean(rows)
        expected = erlang_c_wait(servers, load, MEAN_NS)
        figures.append(
            {
                "servers": servers,
                "load": load,
                "visits": visits,
                "erlang_c_ms": round(expected / NS_PER_MS, 4),
                "rehearsed_ms": round(seen / NS_PER_MS, 4),
                "deviation": round(seen / expected - 1.0, 5),
                "standard_error": round(error / expected, 5),
            }
        )
    store("rehearsal-erlang-c", "Mean wait in virtual time within 1 % of Erlang C", figures, seeds=[SEED])
    for figure in figures:
        assert abs(figure["deviation"]) < 0.01, figure
        assert abs(figure["deviation"]) < 3.3 * figure["standard_error"], figure
        assert figure["standard_error"] < 0.004, figure


# What takes a real target long enough that the millisecond of a real network and loop is small beside it.
SLOW = """
[service]
distribution = "lognormal"
mean = "120ms"
cv = 0.6
slots = 24

[availability]
not_available_first = [0, 2]
ratio = 0.9

[sessions]
max_calls = 20

[[fault]]
kind = "unavailable"
ratio = 0.01
"""


def test_a_real_run_of_the_same_plan_is_met(tmp_path: Path) -> None:
    """100 s of retail traffic against the real simulator: concurrency and time to available within 5 %."""
    trace, scenario = tmp_path / "trace.jsonl", tmp_path / "slow.toml"
    scenario.write_text(SLOW)
    command = [sys.executable, "-m", "harness", "trace", "synth", "retail", "--visits", "4000", "-o", str(trace)]
    subprocess.run(command, check=True, cwd=ROOT, timeout=60)
    shape = {"arrivals": "poisson:40/s", "duration_ns": 100 * NS_PER_S, "max_think_ns": 6 * NS_PER_S}
    options = ("--arrivals", "poisson:40/s", "--duration", "100s", "--max-think", "6s", "--seed", str(SEED))
    finished = run_to_end(trace, f"sim:{scenario}", *options, scratch=tmp_path, timeout_s=170)
    summary = finished.summary
    series = [json.loads(line) for line in (finished.out / "series.jsonl").read_text().splitlines()]
    during = [line for line in series if line["t_s"] < 100]

    config = RunConfig(run_id="r", trace=str(trace), account=ACCOUNT, seed=SEED, **shape)
    end, measured = rehearsed(config, load_scenario(str(scenario)), 0)
    blocks = latency_blocks(measured)
    real, virtual = summary["latency_ms"], {name: blocks[name] for name in ("time_to_available", "service_time")}
    pairs: dict[str, tuple[float, float]] = {
        "visits open, mean": (sum(line["open"] for line in during) / len(during), end.visits_open_mean or 0.0),
        "time in flight of all calls, ms": (
            real["service_time"]["mean"] * summary["attempts"]["total"],
            virtual["service_time"]["mean"] * measured.total("attempts"),
        ),
        "attempts": (summary["attempts"]["total"], measured.total("attempts")),
    }
    for stat in ("mean", "p50", "p95"):
        pairs[f"time to available, {stat}"] = (real["time_to_available"][stat], virtual["time_to_available"][stat])
    figures = {
        name: {"real": round(there, 3), "rehearsed": round(here, 3), "deviation": round(here / there - 1.0, 4)}
        for name, (there, here) in pairs.items()
    }
    verdict = summary["verdict"]["status"]
    store(
        "rehearsal-real-run",
        "Mean concurrency and time to available within 5 % of a real run",
        {"verdict": verdict, "visits": end.visits, **figures},
        seeds=[SEED],
    )
    assert verdict != "INVALID", summary["verdict"]
    for name, figure in figures.items():
        assert abs(figure["deviation"]) < 0.05, (name, figure)


def _retail(path: Path) -> Path:
    """`VISITS` visits of the preset `retail`, 100 a second: all kinds of attributes, and many bodies that are new."""
    options = ["--visits", str(VISITS), "--rate", "poisson:100/s", "--seed", str(SEED), "-o", str(path)]
    subprocess.run([sys.executable, "-m", "harness", "trace", "synth", "retail", *options], cwd=ROOT, check=True)
    return path


def _short(path: Path) -> Path:
    """A trace of `VISITS` visits of 1 to 3 steps, 1.67 on average, of recurring bodies, 100 a second."""
    bodies = [
        json.dumps({"appType": "EXTERNAL", "consumerSections": [f"section-{n % 40}"], "appDetails": {"os": "IOS"}})
        for n in range(200)
    ]
    with path.open("w") as file:
        file.write('{"harness_trace":1,"source":"made for a proof","anonymized":true}\n')
        for n in range(VISITS):
            steps = [f'{{"op":"get_engagement","identity":"fresh","request":{bodies[n % 200]}}}']
            if n % 6 > 2:
                steps.append(f'{{"op":"get_engagement","think":{5 + n % 40},"request":{bodies[(n + 7) % 200]}}}')
            if n % 6 == 5:
                steps.append('{"op":"update","think":2,"request":{"impAttributes":[{"type":"impDisplay"}]}}')
            file.write(f'{{"visit":"v{n}","visitor":"p{n}","at":{n / 100},"steps":[{",".join(steps)}]}}\n')
    return path


# What a process says of itself: the peak that its parent is told holds the parent's own size, from before the exec.
_MEASURED = """
import json, re, sys, time
from pathlib import Path
from harness.cli.main import run_command
code = run_command(sys.argv[1:])
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(json.dumps({"cpu_s": time.process_time(), "rss_mb": int(peak[1]) / 1_000}), file=sys.stderr)
sys.exit(code)
"""


def _planned(*arguments: str) -> tuple[dict[str, Any], float, float]:
    """The document of `harness plan`, its CPU seconds and its largest resident memory in MB."""
    command = [sys.executable, "-c", _MEASURED, "plan", *arguments, "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    cost = json.loads(done.stderr.splitlines()[-1])
    return json.loads(done.stdout), cost["cpu_s"], cost["rss_mb"]


_PROMISES = {
    "short": "1,000,000 visits of 1.67 steps in under 2 minutes and 500 MB on one core",
    "retail": "1,000,000 visits of retail, 3 calls each, in 500 MB on one core; over 2 minutes",
}


@pytest.mark.parametrize(("name", "make"), [("short", _short), ("retail", _retail)])
def test_what_a_million_visits_cost(tmp_path: Path, name: str, make: Callable[[Path], Path]) -> None:
    """`harness plan` on a plain file, everything included, one core."""
    assert compiled(), "the promise is of the compiled product: make compile"
    document, cpu_s, rss_mb = _planned(str(make(tmp_path / "million.jsonl")))
    figures = {
        "visits": document["visits"]["planned"],
        "steps": document["steps"]["settled"],
        "calls": document["calls"]["total"],
        "cpu_s": round(cpu_s, 1),
        "us_a_call": round(cpu_s / document["calls"]["total"] * 1e6, 1),
        "rss_mb": round(rss_mb),
        "visits_open_peak": document["concurrency"]["visits_open"]["peak"],
    }
    store(f"rehearsal-million-{name}", _PROMISES[name], figures, seeds=[SEED])
    assert figures["visits"] == VISITS
    assert rss_mb < 500, figures
    if make is _short:
        assert cpu_s < 120, figures
    # Three calls a visit and many new bodies are another matter: what that takes is told, in docs/planning.md.
