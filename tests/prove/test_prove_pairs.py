"""Real runs compared: how often two of one target raise an alarm, and how often one that is 8 % slower is found."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from harness.judge.compare import Comparison, compare
from harness.store.compared import compared_run
from tests.prove.evidence import store
from tests.system.harness_run import get_engagement, start_run, write_trace

# A round is three runs of a minute: base, the same again, and the slower one.
ROUNDS = int(os.environ.get("PROVE_ROUNDS", "30"))
# So many rounds go side by side, which start and end together; the runs of one round never overlap, so that a machine
# that changes between them changes the pair.
LANES = int(os.environ.get("PROVE_LANES", "3"))
# "invalid" compares runs that this machine was too busy for, and says so in the evidence.
FORCE = tuple(os.environ.get("PROVE_FORCE", "").split())
RATE_HZ, SECONDS = 100, 60
MEAN_MS = 40.0
SLOWER = 1.08
# Name, factor of the service time, seed.
ARMS = (("base", 1.0, 1), ("same", 1.0, 2), ("slow", SLOWER, 3))


def play(trace: Path, mean_ms: float, seed: int, scratch: Path) -> Path:
    """One run of a minute against the practice target with this mean service time; returns its folder."""
    scratch.mkdir()
    scenario = scratch / "scenario.toml"
    scenario.write_text(f'[service]\nmean = "{round(mean_ms * 1000)}us"\ncv = 0.5\n')
    options = ["--arrivals", f"constant:{RATE_HZ}/s", "--duration", f"{SECONDS}s", "--loop", "100"]
    options += ["--seed", str(seed), "--drain", "10s"]
    finished = start_run(trace, f"sim:{scenario}", *options, scratch=scratch).wait(SECONDS + 90)
    assert finished.exit_code in (0, 5), finished.explain()
    return finished.out


def played(trace: Path, numbers: Sequence[int], scratch: Path) -> list[dict[str, Path]]:
    """The rounds with these numbers side by side: for each one the folders of its three runs."""
    out: list[dict[str, Path]] = [{} for _ in numbers]
    with ThreadPoolExecutor(len(numbers)) as pool:
        for turn in range(len(ARMS)):
            # Who plays when changes from round to round, so that a drift of the machine falls on all three.
            arms = [ARMS[(number + turn) % len(ARMS)] for number in numbers]
            folders = pool.map(
                lambda number, arm: play(
                    trace, MEAN_MS * arm[1], 10 * number + arm[2], scratch / f"{number:02d}-{arm[0]}"
                ),
                numbers,
                arms,
            )
            for folder, (name, _, _), round_ in zip(folders, arms, out, strict=True):
                round_[name] = folder
    return out


def told(comparison: Comparison) -> dict[str, Any]:
    return {
        "status": comparison.status,
        "message": comparison.message[:300],
        "changes": {change.metric: [change.outcome, change.effect, change.ci95] for change in comparison.changes},
    }


def test_one_target_is_quiet_and_a_slower_one_is_found(tmp_path: Path) -> None:
    """Of 30 pairs of one target at most 4 raise an alarm; of 30 with 8 % more service time at least 24 are found."""
    trace = tmp_path / "trace.jsonl"
    write_trace(trace, ([get_engagement(identity="fresh")] for _ in range(1000)), RATE_HZ)
    same, slower, loads = [], [], []
    for first in range(0, ROUNDS, LANES):
        for out in played(trace, range(first, min(first + LANES, ROUNDS)), tmp_path):
            base, again, slow = (compared_run(out[name]) for name in ("base", "same", "slow"))
            same.append(compare(base, again, force=FORCE))
            slower.append(compare(base, slow, force=FORCE))
        loads.append(round(os.getloadavg()[0], 1))
    alarms = sum(comparison.status == "FAIL" for comparison in same)
    found = sum(comparison.status == "FAIL" for comparison in slower)
    invalid = sum(comparison.status == "INVALID" for comparison in (*same, *slower))
    figures = {
        "rounds": ROUNDS,
        "side_by_side": LANES,
        "forced": list(FORCE),
        "alarms_of_one_target": alarms,
        "slower_found": found,
        "invalid_comparisons": invalid,
        "load_1m": loads,
        "same": [told(comparison) for comparison in same],
        "slower": [told(comparison) for comparison in slower],
    }
    store("comparison-runs", test_one_target_is_quiet_and_a_slower_one_is_found.__doc__ or "", figures,
          seeds=[1, 10 * ROUNDS])  # fmt: skip
    assert not invalid, figures
    assert alarms <= ROUNDS * 4 / 30, figures
    assert found >= ROUNDS * 24 / 30, figures
