"""A million visits through a master and two workers: nothing lost or sent twice, memory flat; the dealer's pace."""

from __future__ import annotations

import json
import os
import time
from itertools import islice
from pathlib import Path
from typing import Any

import zstandard

from harness.bench.children import fast_server
from harness.fleet.dealer import Dealer
from harness.fleet.messages import TICKET_BITS, encode
from harness.measure.ledger import Ledger
from harness.plan.arrivals import parse_arrivals
from harness.plan.schedule import plan_visits
from harness.trace.codec import open_trace
from tests.prove.evidence import store
from tests.prove.memory import watch
from tests.system.harness_run import assert_ledger, failed_checks, get_engagement, start_run

VISITS = int(os.environ.get("PROVE_VISITS", "1000000"))
EVIDENCE = "fleet-million" if VISITS == 1_000_000 else f"fleet-{VISITS}"
DEALT = 200_000
SLOTS = 64
LIMIT_S = 3_600.0
MASTER_MB, WORKER_MB = 200.0, 300.0
PASS = 0


def write_visits(path: Path, visits: int) -> int:
    """Visits of one to three chained calls, compressed; returns the number of calls."""
    first, later = get_engagement(identity="fresh"), get_engagement()
    with zstandard.open(path, "wt") as file:
        file.write(json.dumps({"harness_trace": 1, "source": "proof", "visits": visits, "anonymized": True}) + "\n")
        for n in range(visits):
            steps = [first, later, later][: 1 + n % 3]
            line = {"visit": f"v-{n:07d}", "visitor": f"p{n}", "at": n / 1_000, "cohort": "all", "steps": steps}
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
    return sum(1 + n % 3 for n in range(visits))


def test_a_million_visits_pass_through_a_master_and_two_workers(tmp_path: Path) -> None:
    """A million visits, master and 2 workers: counts equal the server's, books balance, memory is flat and low."""
    trace = tmp_path / "trace.jsonl.zst"
    calls = write_visits(trace, VISITS)
    with fast_server() as server:
        options = ("--workers", "2", "--arrivals", f"closed:{SLOTS}", "--connections", "pooled", "--max-think", "0s")
        command = start_run(trace, server.url, *options, scratch=tmp_path)
        try:
            memory = watch(command, workers=2, every_s=2.0, limit_s=LIMIT_S)
            finished = command.wait(LIMIT_S)
        finally:
            command.kill()
        answered = server.calls()
    summary = finished.summary
    assert_ledger(summary)
    assert finished.exit_code == PASS or set(failed_checks(summary)) == {"loop_stall"}, finished.explain()
    assert (summary["visits"]["planned"], summary["visits"]["completed"]) == (VISITS, VISITS)
    assert answered == calls == summary["attempts"]["total"] == summary["attempts"]["by_result"]["available"]
    assert summary["chain"] | {"started": 0, "kept": 0} == dict.fromkeys(summary["chain"], 0)
    assert (summary["chain"]["started"], summary["chain"]["kept"]) == (VISITS, calls - VISITS)
    figures: dict[str, Any] = {
        "visits": VISITS,
        "calls_by_the_server": answered,
        "attempts_by_the_summary": summary["attempts"]["total"],
        "duration_s": round(summary["duration_s"], 1),
        "attempts_per_s": round(summary["rates"]["attempts_hz"]),
        **memory.figures(),
        "verdict": summary["verdict"]["status"],
        "failed_checks": sorted(failed_checks(summary)),
        "dealing": dealing(trace),
    }
    store(EVIDENCE, test_a_million_visits_pass_through_a_master_and_two_workers.__doc__ or "", figures, seeds=[1])
    memory.check(master_mb=MASTER_MB, worker_mb=WORKER_MB, growth_mb=10.0)


def dealing(trace: Path) -> dict[str, dict[str, int]]:
    """Visits a second of CPU that the master's part of dealing takes: read, plan, place, lease, pack, settle."""
    lines = list(islice((raw for _, raw in open_trace(str(trace))[1]), DEALT))
    return {f"{workers} workers": _deal(lines, workers) for workers in (1, 2, 4, 8)}


def _deal(lines: list[bytes], workers: int) -> dict[str, int]:
    dealer = Dealer(plan_visits(lambda: iter(lines), parse_arrivals("constant:20000/s"), seed=1), Ledger())
    for number in range(workers):
        dealer.join(f"host-{number}", f"worker-{number}")
    dealt, now_ns, packed = 0, 0, 0
    began = time.process_time()
    while not dealer.exhausted or dealer.open:
        for incarnation, lease in dealer.deal(now_ns):
            packed += len(encode(lease))
            dealer.acked(incarnation, lease.number)
            tickets = [lease.number << TICKET_BITS | place for place in range(len(lease.dues_ns))]
            dealer.settled(incarnation, {"completed": tickets, "censored": [], "dropped": []}, {})
            dealt += len(tickets)
        now_ns += 100_000_000
    cpu_s = time.process_time() - began
    assert dealt == len(lines)
    return {"visits_per_cpu_s": round(dealt / cpu_s), "bytes_per_visit": packed // dealt}
