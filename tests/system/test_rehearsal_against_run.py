"""The same plan, seed and scenario, once in virtual time and once as a real run against the real simulator."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from harness.config.model import RunConfig
from harness.measure.recorder import Recorder
from harness.plan.arrivals import parse_arrivals
from harness.plan.schedule import plan_visits
from harness.sim.behaviour import Behaviour, Decision
from harness.sim.rehearsal import rehearse
from harness.sim.scenario import Scenario
from harness.sim.scenario_file import load_scenario
from harness.testing import running_simulator
from harness.trace.codec import open_trace
from harness.wire.route import Call
from tests.system.harness_run import ACCOUNT, run_to_end

# Ids of all kinds, retries with and without ids, renewals; nothing that depends on which moment it is.
SCENARIO = """
[service]
distribution = "exponential"
mean = "10ms"

[availability]
not_available_first = [0, 2]
ratio = 0.8

[sessions]
max_calls = 4

[[fault]]
kind = "internal"
ratio = 0.05
"""
# Of a line of the log: which call it was, the ids it carried, and what it was answered.
FIELDS = ("attempt", "op", "vid_in", "sid_in", "outcome", "vid", "sid")


class Written(Behaviour):
    """The model, writing down each call as the simulator's log does."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        super().__init__(scenario, seed)
        self.lines: Counter[tuple[object, ...]] = Counter()

    def handle(self, now_ns: int, call: Call, body: bytes) -> Decision:
        decision = super().handle(now_ns, call, body)
        self.lines[call.attempt, call.op, call.vid, call.sid, decision.outcome, decision.vid, decision.sid] += 1
        return decision


def _trace(path: Path) -> Path:
    """60 visits, half of them by visitors that come again; first steps fresh, returning and stale; updates."""
    request = {"appType": "EXTERNAL"}
    shown = {"impAttributes": [{"type": "impDisplay"}]}
    lines: list[dict[str, object]] = [{"harness_trace": 1, "source": "test", "anonymized": True}]
    for n in range(60):
        again = n >= 30 and n % 2 == 0
        identity = "return" if again else "stale" if n % 7 == 3 else "fresh"
        steps = [
            {"op": "get_engagement", "identity": identity, "request": request},
            {"op": "update", "think": 0.2, "request": shown},
            {"op": "get_engagement", "think": 0.3, "request": request},
        ]
        visitor = f"p{n - 30 if again else n}"
        lines.append(
            {"visit": f"v{n}", "visitor": visitor, "at": n / 10, "returns": n < 30, "steps": steps[: 1 + n % 3]}
        )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_rehearsal_makes_the_very_calls_of_a_real_run(tmp_path: Path) -> None:
    """Every attempt by id (visit, step, number), operation, ids sent and what it was answered: equal, one by one."""
    trace = _trace(tmp_path / "trace.jsonl")
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(SCENARIO)
    log = tmp_path / "sim.log"
    with running_simulator(scenario, seed=1, log=log) as simulator:
        finished = run_to_end(trace, simulator.url, "--seed", "1", scratch=tmp_path, timeout_s=60)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    real = Counter(tuple(line[field] for field in FIELDS) for line in lines)

    config = RunConfig(run_id="r", trace=str(trace), account=ACCOUNT, seed=1)
    behaviour = Written(load_scenario(str(scenario)), 1)
    recorder = Recorder()
    visits = plan_visits(lambda: (raw for _, raw in open_trace(trace)[1]), parse_arrivals("recorded"), seed=1)
    rehearse(visits, behaviour, config, recorder)

    assert behaviour.lines == real, finished.explain()
    summary, whole = finished.summary, recorder.take()
    assert {name: n for name, n in summary["attempts"]["by_result"].items() if n} == whole.by_last("attempts")
    assert {name: n for name, n in summary["steps"].items() if n and name != "planned"} == whole.by_last("steps")
    assert {name: n for name, n in summary["chain"].items() if n} == whole.by_last("chain")
    assert summary["connections"]["opened"] == whole.total("connections", "opened")
    # The case is worth something: each kind of answer, ids that are kept, renewed and unknown.
    assert whole.by_last("attempts").keys() == {"available", "not_available", "accepted", "server_error"}
    assert {"kept", "renewed", "started", "stale_sent"} <= whole.by_last("chain").keys()
