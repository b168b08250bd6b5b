"""The same plan, seed and scenario, once in virtual time and once as a real run against the real simulator."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from harness.config.model import RunConfig
from harness.fleet.telling import TellingRecorder
from harness.plan.arrivals import parse_arrivals
from harness.plan.schedule import plan_visits
from harness.sim.behaviour import Behaviour
from harness.sim.rehearsal import rehearse
from harness.sim.scenario_file import load_scenario
from harness.testing import running_simulator
from harness.trace.codec import open_trace
from harness.visitor.records import Attempt
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
# What of the truth depends on the calls alone, not on how long anything took.
FACTS = (
    "attempts",
    "visitors_issued",
    "sessions_issued",
    "renewals",
    "unknown_ids",
    "chain",
    "ids_seen",
    "impressions",
)


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
    """Every attempt by id (visit, step, number), operation and answer, and all that the ids turned out to be: equal."""
    trace = _trace(tmp_path / "trace.jsonl")
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(SCENARIO)
    log = tmp_path / "sim.log"
    with running_simulator(scenario, seed=1, log=log) as simulator:
        finished = run_to_end(trace, simulator.url, "--seed", "1", scratch=tmp_path, timeout_s=60)
        truth = simulator.truth()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    real = Counter((line["attempt"], line["op"], line["outcome"]) for line in lines)

    config = RunConfig(run_id="r", trace=str(trace), account=ACCOUNT, seed=1)
    behaviour = Behaviour(load_scenario(str(scenario)), 1)
    made: list[Attempt] = []
    recorder = TellingRecorder([lambda attempts, _t0_ns: made.extend(attempts)], closed=False)
    visits = plan_visits(lambda: (raw for _, raw in open_trace(trace)[1]), parse_arrivals("recorded"), seed=1)
    rehearse(visits, behaviour, config, recorder)
    recorder.tell(0)

    seen = Counter((f"{each.visit}/{each.step}/{each.number}", each.op, each.result.name) for each in made)
    assert seen == real, finished.explain()
    known = json.loads(json.dumps(behaviour.truth.to_obj()))
    assert {name: known[name] for name in FACTS} == {name: truth[name] for name in FACTS}
    summary, whole = finished.summary, recorder.take()
    assert {name: n for name, n in summary["attempts"]["by_result"].items() if n} == whole.by_last("attempts")
    assert {name: n for name, n in summary["steps"].items() if n and name != "planned"} == whole.by_last("steps")
    assert {name: n for name, n in summary["chain"].items() if n} == whole.by_last("chain")
    assert summary["connections"]["opened"] == whole.total("connections", "opened")
    # The case is worth something: each kind of answer, ids that are kept, renewed and unknown.
    assert whole.by_last("attempts").keys() == {"available", "not_available", "accepted", "server_error"}
    assert {"kept", "renewed", "started", "stale_sent"} <= whole.by_last("chain").keys()
