"""A trace replayed through the recorder: what was recorded is the trace again."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from harness.testing import running_simulator
from tests.system.harness_run import get_engagement, run_command, run_to_end, update
from tests.system.recording import recorder, renamed, thinks_s, visits_of

SCENARIO = """
cold = { calls = 4 }
[service]
distribution = "constant"
mean = "5ms"
[availability]
not_available_first = [0, 1]
[[fault]]
kind = "reset"
ratio = 0.02
[[fault]]
kind = "unavailable"
ratio = 0.04
[[fault]]
kind = "throttled"
ratio = 0.02
"""


def close_the_loop(scratch: Path) -> list[float]:
    """Replays 200 visitors of all ops and identities under faults and retries through a recorder.

    The recorded trace has to equal the replayed one in visits, steps, requests and order; how far each think time is
    off in ms comes back, in ascending order.
    """
    trace = scratch / "t.jsonl"
    write_trace(trace, 200, seed=11)
    (scratch / "s.toml").write_text(SCENARIO)
    with running_simulator(scratch / "s.toml", seed=3) as simulator, recorder(simulator.url, scratch) as running:
        finished = run_to_end(trace, running.url, scratch=scratch, timeout_s=120)
        stopped = running.stop()
    summary = finished.summary
    assert summary["visits"]["completed"] == summary["visits"]["planned"], finished.explain()
    assert summary["chain"]["stale_sent"] > 10
    assert summary["attempts"]["total"] > summary["steps"]["planned"] + 100
    assert stopped.exit_code == 0, stopped.explain()
    assert "as the policy until-available does" in stopped.stderr
    validated = run_command("trace", "validate", str(running.out), scratch=scratch / "validate")
    assert (validated.exit_code, ", 0 warnings" in validated.stdout) == (0, True), validated.explain()
    played, recorded = visits_of(trace), visits_of(running.out)
    assert len(played) >= 200
    assert renamed(recorded) == renamed(played)
    thinks = zip(thinks_s(played), thinks_s(recorded), strict=True)
    return sorted(abs(seen - told) * 1000 for told, seen in thinks)


def write_trace(path: Path, visits: int, seed: int) -> None:
    """A trace with all ops and identities, returning visitors, and bodies that differ between steps and visitors."""
    rng = random.Random(seed)
    lines = []
    for number in range(visits):
        device = rng.choice(["DESKTOP", "MOBILE", "TABLET"])

        def body(step: int, number: int = number, device: str = device) -> dict[str, Any]:
            return {
                "appDetails": {"deviceFamily": device},
                "consumerSections": [f"s{step}"],
                "engagementAttributes": [{"type": "ctmrinfo", "info": {"customerId": f"C{number}"}}],
                "appType": "EXTERNAL",
            }

        steps = [{**get_engagement(identity="fresh"), "request": body(0)}]
        for step in range(1, rng.randrange(2, 5)):
            think_s = round(rng.uniform(0.3, 1.5), 3)
            kind = rng.choice(["chain", "chain", "update", "update", "stale", "fresh"])
            steps.append(
                update(think_s) if kind == "update" else {**get_engagement(think_s, kind), "request": body(step)}
            )
        returns = rng.random() < 0.25
        line = {"visitor": f"u{number}", "at": round(number * 0.03, 3), "cohort": device.lower()}
        lines.append({**line, "visit": f"v{number}", "returns": returns, "steps": steps})
        if returns:
            again = [{**get_engagement(identity="return"), "request": body(9)}, update(0.4)]
            later = {**line, "visit": f"v{number}-2", "at": round(number * 0.03 + 10 + rng.random() / 50, 3)}
            lines.append({**later, "returns": False, "steps": again})
    lines.sort(key=lambda line: line["at"])
    header = {"harness_trace": 1, "source": "loop", "anonymized": True}
    path.write_text("".join(json.dumps(line) + "\n" for line in [header, *lines]))
