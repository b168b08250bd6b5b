"""The chain at length: more visits than CI has time for, over two workers, under every fault, with three seeds."""

from __future__ import annotations

from pathlib import Path

from tests.prove.evidence import store
from tests.system.harness_run import assert_ledger, get_engagement, oracle, run_to_end, update, write_trace
from tests.system.test_chain_oracle import FAULTS, TIMEOUT_S, assert_chain

VISITS = 20_000
RATE_HZ = 400
SEEDS = [101, 202, 303]


def test_sixty_thousand_visits_over_two_workers_never_break_or_cross(tmp_path: Path) -> None:
    """3 × 20,000 visits of 3 steps, two workers, retries, timeouts, renewals: 0 breaks, 0 crossed, 0 unknown ids."""
    seen = []
    for seed in SEEDS:
        scratch = tmp_path / str(seed)
        scratch.mkdir()
        trace = scratch / "trace.jsonl"
        last_steps = (get_engagement(1.2), update(1.0))
        visits = (
            [get_engagement(identity="fresh"), get_engagement(1.0 + n % 10 / 10), last_steps[n % 2]]
            for n in range(VISITS)
        )
        write_trace(trace, visits, RATE_HZ)
        with oracle("--seed", str(seed), "--faults", FAULTS, "--delay-ms", "1..50") as server:
            options = ["--arrivals", f"poisson:{RATE_HZ}/s", "--timeout", f"{TIMEOUT_S}s", "--workers", "2"]
            options += ["--seed", str(seed), "--drain", "60s"]
            finished = run_to_end(trace, server.url, *options, scratch=scratch, timeout_s=240)
            log = server.log()
        assert_chain(log)
        summary = finished.summary
        assert_ledger(summary)
        assert summary["visits"]["completed"] == VISITS
        assert summary["chain"]["crossed"] == 0
        seen.append(
            {
                "seed": seed,
                "visits": summary["visits"]["completed"],
                "attempts": summary["attempts"]["total"],
                "open_at_peak": log.peak_open(),
                "chain": summary["chain"],
                "workers": [worker["completed"] for worker in summary["workers"]],
                "verdict": summary["verdict"]["status"],
            }
        )
    store("chain", test_sixty_thousand_visits_over_two_workers_never_break_or_cross.__doc__ or "", seen, seeds=SEEDS)
