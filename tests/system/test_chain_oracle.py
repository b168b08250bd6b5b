"""The chain, proved by a witness: each request carries exactly the ids that its visit was last given."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.harness_run import (
    assert_proper_client,
    failed_checks,
    get_engagement,
    oracle,
    run_to_end,
    update,
    write_trace,
)
from tests.system.oracle_log import OracleLog

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("heavy")]

VISITS = 10_000
RATE_HZ = 400
TIMEOUT_S = 2
FAULTS = (
    "not_available=0.05,loading=0.03,server_error=0.01,internal=0.005,throttled=0.002,rejected=0.002,gone=0.001,"
    "hang=0.01,reset=0.01,cut=0.005,renew=0.05,revid=0.005,close=0.01"
)


@pytest.mark.parametrize("mode", ["browser", "pooled"])
def test_ten_thousand_chained_visits_never_break_or_cross(tmp_path: Path, mode: str) -> None:
    """10,000 visits of 3 steps with retries, timeouts and renewals: 0 breaks, 0 crossed, 0 unknown ids."""
    visits = VISITS if mode == "browser" else VISITS // 5
    last_steps = (get_engagement(1.2), update(1.0))
    trace = tmp_path / "trace.jsonl"
    write_trace(
        trace,
        (
            [get_engagement(identity="fresh"), get_engagement(1.0 + n % 10 / 10), last_steps[n % 2]]
            for n in range(visits)
        ),
        RATE_HZ,
    )
    with oracle("--seed", "11", "--faults", FAULTS, "--delay-ms", "1..50") as server:
        options = ["--arrivals", f"constant:{RATE_HZ}/s", "--timeout", f"{TIMEOUT_S}s", "--connections", mode]
        finished = run_to_end(trace, server.url, *options, "--drain", "60s", scratch=tmp_path, timeout_s=180)
        log = server.log()
    summary = finished.summary
    assert_chain(log)
    assert summary["chain"]["crossed"] == 0
    assert summary["visits"]["planned"] == len(log.by_visit) == visits
    assert summary["visits"]["completed"] == visits, summary["visits"]
    assert log.peak_open() >= 500
    # All kinds of trouble did happen, on both sides of the wire.
    events, results = log.chain_events(), log.results()
    assert min(events["renewed"], events["revid"], events["rejected"]) > 0, events
    assert min(results["hang"], results["reset"], results["cut"], results["loading"], results["throttled"]) > 0, results
    assert min(summary["attempts"]["by_result"][name] for name in ("timeout", "reset", "loading")) > 0
    # The machine may be too slow for an honest lag, but nothing in the books may be wrong.
    assert finished.exit_code in (0, 5), finished.explain()
    assert not {name for name in failed_checks(summary) if any(word in name for word in ("ledger", "slice", "crossed"))}


def assert_chain(log: OracleLog) -> None:
    chain = log.check_chain(TIMEOUT_S * 1000)
    assert chain.breaks == [], f"{len(chain.breaks)} breaks, first: {chain.breaks[:5]}"
    assert (log.report["crossed"], log.report["unknown"]) == (0, 0)
    assert_proper_client(log)
    assert chain.compared == len(log.calls)
    assert chain.with_ids > chain.compared // 2
    assert chain.doubtful < chain.compared / 100
