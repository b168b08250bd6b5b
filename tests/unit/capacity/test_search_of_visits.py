"""A search over visits that think, come again and retry: its answer is in visits, the service's limit is in calls."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from harness.capacity.search import SearchPlan
from tests.prove.virtual_search import VirtualSearch
from tests.unit.capacity.test_evidence import border_hz

SLOTS, AVAILABLE = 2, 0.8
SCENARIO = f"""
[service]
distribution = "exponential"
mean = "40ms"
slots = {SLOTS}
[availability]
ratio = {AVAILABLE}
[sessions]
max_calls = 1000
"""
# Each getEngagement is asked again, about 0.1 s later, until it is available; the update is made once.
CALLS = 2 / AVAILABLE + 1


def visits_that_come_again(path: Path, visits: int = 600) -> Path:
    """Two calls and an update with up to 2 s of thought between; every other visit is of a visitor that comes again."""
    rng = Random("visits")

    def thinking(**step: object) -> dict[str, object]:
        return {"op": "get_engagement", "request": {}, "think": round(rng.uniform(0.2, 2.0), 3)} | step

    lines: list[dict[str, object]] = [{"harness_trace": 1, "source": "test", "anonymized": True}]
    for n in range(visits):
        # The second half brings every other visitor of the first again, who has left long before.
        again = n >= visits // 2 and n % 2 == 1
        steps = [
            thinking(think=0, identity="return" if again else "fresh"),
            thinking(identity="chain"),
            thinking(op="update", identity="chain", request={"impAttributes": [{"type": "impDisplay"}]}),
        ]
        visitor = f"p{n - visits // 2 if again else n}"
        lines.append({"visit": f"v{n}", "visitor": visitor, "at": n, "returns": n % 2 == 1, "steps": steps})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("seed", [1, 3])
def test_thoughts_returns_and_retries_count_as_the_calls_they_make(tmp_path: Path, seed: int) -> None:
    """M/M/2 by 3.5 calls a visit: the rate in visits, times the calls, is the queue's closed form within 8 %."""
    trace, scenario = visits_that_come_again(tmp_path / "trace.jsonl"), tmp_path / "service.toml"
    scenario.write_text(SCENARIO)
    slo = "p95(response_time) < 200ms"
    plan = SearchPlan(start_hz=3, max_hz=200, settle_s=6, hold_s=60, budget_s=3600)
    search = VirtualSearch(trace, str(scenario), [slo, "availability(eventual) > 99%"], plan, seed)
    found, steps = search.run()
    border = border_hz(SLOTS) / CALLS
    assert (found.bound, found.limiting_slo, found.confirmed) == ("estimate", slo, True)
    assert found.max_rate_hz == pytest.approx(border, rel=0.08)
    assert found.ci95 is not None
    assert found.ci95[1] is not None
    assert found.ci95[0] <= border <= found.ci95[1]
    # The premises: the service was asked as often as the closed form takes it to be, nothing was given up, and visitors
    # that came again were known.
    held = [step for step in steps if step.verdict == "held"]
    asked = sum(step.shown[0].count for step in held) / sum(step.rate_hz * step.seconds for step in held)
    assert asked == pytest.approx(CALLS, rel=0.05)
    assert all(shown.bad == 0 for step in steps for shown in step.shown[1:])
    assert search.whole.by_last("chain")["started"] < 0.9 * search.whole.total("visits_started")
