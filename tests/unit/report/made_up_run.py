"""A made-up run of a minute for the report tests, folded by the real recorder, ledger, summary and verdict.

50 visits a second of two steps and, for some, an update. From second 20 to 25 the target is silent and requests time
out; some attempts meet errors whose message tries to be markup.
"""

from __future__ import annotations

from random import Random
from typing import Any

from harness.config.model import ValidityLimits
from harness.judge.facts import RunFacts, WorkerFacts
from harness.judge.summary import summarize
from harness.judge.threshold import parse_thresholds
from harness.judge.verdict import judge
from harness.measure.ledger import Ledger
from harness.measure.recorder import Recorder
from harness.measure.series import series_line
from harness.measure.snapshot import Snapshot
from harness.units import NS_PER_MS, NS_PER_S
from harness.visitor.records import Attempt, Chain, Outcome, Result, StepOutcome, VisitEnd, VisitOutcome

HOSTILE = "</script><script>alert(1)</script>\u001b[31m<img src=x onerror=alert(2)>|`@everyone`\u202e"
HZ = 50
SECONDS = 60
SILENT = range(20, 25)
THRESHOLDS = ("p95(response_time) < 300ms", "availability(eventual) > 99%", "chain(crossed) == 0")


def attempt(visit: str, cohort: str, op: str, step: int, result: Result, at_ns: int, took_ns: int) -> Attempt:
    lag_ns = 40_000 + at_ns % 90_000
    silent = result is Result.timeout
    return Attempt(
        visit=visit,
        cohort=cohort,
        op=op,
        step=step,
        number=1,
        result=result,
        chain=Chain.none if silent else Chain.started if step == 0 else Chain.kept,
        return_missed=False,
        stale=False,
        http_status={Result.timeout: 0, Result.server_error: 500, Result.accepted: 201}.get(result, 200),
        code=20 if result is Result.server_error else -1,
        planned_ns=at_ns,
        started_ns=at_ns + lag_ns,
        connected_ns=at_ns + lag_ns + (300_000 if step == 0 else 0),
        sent_ns=at_ns + lag_ns + 350_000,
        done_ns=-1 if silent else at_ns + lag_ns + 350_000 + took_ns,
        message=HOSTILE if result is Result.server_error else "no reply within 30 s" if silent else "",
    )


def play(recorder: Recorder, rng: Random, number: int) -> dict[str, int]:
    """One visit; returns its step outcomes."""
    at_ns, cohort = number * NS_PER_S // HZ, "mobile" if number % 3 else "desktop <b>"
    visit = f"v-{number}"
    silent = at_ns // NS_PER_S in SILENT
    recorder.visit_started(at_ns, cohort)
    recorder.connection("opened")
    outcomes: dict[str, int] = {}
    for step, op in enumerate(("get_engagement", "get_engagement", "update")[: 2 + (number % 4 == 0)]):
        took_ns = int(rng.lognormvariate(2.6, 0.5) * NS_PER_MS)
        good = Result.accepted if op == "update" else Result.available
        result = Result.timeout if silent else Result.server_error if number % 37 == 0 else good
        recorder.attempts([attempt(visit, cohort, op, step, result, at_ns, took_ns)])
        if result is Result.server_error:
            recorder.attempts([attempt(visit, cohort, op, step, good, at_ns + 100 * NS_PER_MS, took_ns)])
        outcome = Outcome.exhausted if silent else Outcome[good.name]
        recorder.steps([StepOutcome(visit, cohort, op, step, outcome, at_ns, at_ns + took_ns, 1, result is good)])
        outcomes[outcome.name] = outcomes.get(outcome.name, 0) + 1
    ended_ns = at_ns + NS_PER_S // 10
    recorder.visits([VisitOutcome(visit, cohort, VisitEnd.completed, at_ns, at_ns, ended_ns, sum(outcomes.values()))])
    return outcomes


def made_up_run() -> tuple[dict[str, Any], list[dict[str, Any]], Snapshot]:
    """(summary with verdict, series lines, whole snapshot)."""
    rng, recorder, ledger = Random(7), Recorder(), Ledger()
    slices, series = [], []
    for second in range(SECONDS):
        for number in range(second * HZ, (second + 1) * HZ):
            outcomes = play(recorder, rng, number)
            ledger.plan(1, sum(outcomes.values()))
            ledger.deal("w1", 1, sum(outcomes.values()))
            ledger.settle("w1", {"completed": 1}, outcomes)
        for _ in range(20):
            recorder.loop_delay(int(rng.expovariate(1 / 80_000)))
        recorder.usage(cpu_ns=60_000_000 + second * 1_000_000, rss_bytes=90 << 20)
        snapshot = recorder.take()
        slices.append((second, snapshot))
        series.append(series_line(second, snapshot, planned=HZ, open_visits=6, workers=1))
    whole = Snapshot.merged(snapshot for _, snapshot in slices)
    run = RunFacts(
        run_id="made-up-3f9a1c",
        started_at="2026-11-22T21:51:38Z",
        duration_s=float(SECONDS),
        trace_digest="sha256:0",
        seed=7,
        config={"scenario": "made up", "target": "http://127.0.0.1:8765", "labels": {"note": HOSTILE}},
        load_model="open",
        arrivals_s=float(SECONDS),
        planned_visits=HZ * SECONDS,
        cpu_s=9.5,
    )
    worker = WorkerFacts(id="w1", clock_offset_ms=0.02, cpu_s=5.4, cpu_max_ratio=0.12, rss_max_mb=90.0)
    summary = summarize(
        run=run, measured=whole, whole=whole, slices=slices, ledger=ledger, workers=[worker], rng=Random(1)
    )
    summary["verdict"] = judge(summary, whole, thresholds=parse_thresholds(THRESHOLDS), limits=ValidityLimits())
    return summary, series, whole
