"""The engine against peers that misbehave, often enough for a leak to show."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.prove.evidence import store
from tests.system.engine_play import play, visit
from tests.system.misbehaving import peer
from tests.system.test_engine_peers import CASES

CALLS = int(os.environ.get("PROVE_BAD_CALLS", "100000"))
# They move megabytes each; the test-suite has every one of them.
HEAVY = {"big_body", "endless_head", "endless_chunks", "endless_body", "gzip_bomb", "just_too_big", "just_fits"}
GROWTH_MB = 5.0
# Long enough for every answer of a machine that is busy for a moment.
TIMEOUT_NS = 3_000_000_000


@pytest.mark.parametrize("mode", ["browser", "pooled"])
def test_a_hundred_thousand_bad_calls_leave_nothing(mode: str) -> None:
    """100,000 calls of every kind of misbehaviour: each its one outcome, no descriptor, no cycle, no memory kept."""
    kinds = [kind for kind in CASES if kind not in HEAVY]
    visits = [visit(f"{kinds[number % len(kinds)]}-{number}", 2) for number in range(CALLS // 2)]
    with peer({kind: behaviour for kind, (behaviour, _, _) in CASES.items()}) as seen:
        target = f"http://127.0.0.1:{seen.port}"
        played = play(target, visits, slots=512, connections=mode, timeout_ns=TIMEOUT_NS, tally=True, limit_s=900)
    calls = {kind: sum(results.values()) for kind, results in played.tally.items()}
    figures: dict[str, Any] = {
        "calls": sum(calls.values()),
        "kinds": len(kinds),
        "by_result": {
            result: sum(results.get(result, 0) for results in played.tally.values())
            for result in sorted({result for results in played.tally.values() for result in results})
        },
        "descriptors": played.descriptors,
        "cycles": played.cycles,
        "rss_mb_by_tenth": [round(value, 1) for value in played.rss_mb],
    }
    store(f"engine-bad-calls-{mode}", test_a_hundred_thousand_bad_calls_leave_nothing.__doc__ or "", figures, seeds=[])
    assert sum(calls.values()) == CALLS, figures
    assert {kind: set(results) for kind, results in played.tally.items()} == {kind: {CASES[kind][1]} for kind in kinds}
    assert played.ends == {"completed": CALLS // 2}, figures
    assert played.descriptors[0] == played.descriptors[1], figures
    assert played.cycles == 0, figures
    assert played.rss_mb[-1] - played.rss_mb[1] <= GROWTH_MB, figures
