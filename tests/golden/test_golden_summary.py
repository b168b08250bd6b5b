"""A whole run, from records to verdict, series and slices: every byte of what a run folder would hold."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import orjson

from harness.config.model import ValidityLimits
from harness.judge.facts import RunFacts, WorkerFacts
from harness.judge.summary import summarize
from harness.judge.threshold import parse_thresholds
from harness.judge.verdict import judge
from harness.measure.ledger import Ledger
from harness.measure.recorder import Recorder
from harness.measure.series import series_line
from harness.measure.slices import from_lines, merge_from, to_lines
from harness.measure.snapshot import Snapshot
from harness.visitor.records import Attempt, Chain, Outcome, Result, StepOutcome, VisitEnd, VisitOutcome

MS, S = 1_000_000, 1_000_000_000
SECONDS, VISITS_A_SECOND = 12, 50
COHORTS = ("desktop", "mobile")
THRESHOLDS = (
    "p95(response_time{op=get_engagement}) < 200ms",
    "p95(service_time{cohort=mobile}) < 1s",
    "p90(time_to_available) < 1500ms",
    "availability(eventual) > 90%",
    "ratio(accepted) > 99%",
    "rate(visits) > 40/s",
    "retry_amplification() < 1.5",
    "chain(crossed) == 0",
)


def play(recorder: Recorder, rng: Random, second: int, ledger: Ledger) -> None:
    """One second: visits of an engagement (retried once when it fails) and an update, some of them cut off."""
    attempts, steps, visits = [], [], []
    ends = {end.name: 0 for end in VisitEnd if end is not VisitEnd.lost}
    outcomes = dict.fromkeys((outcome.name for outcome in Outcome), 0)
    for n in range(VISITS_A_SECOND):
        visit, cohort = f"v-{second}-{n}", COHORTS[n % 2]
        planned = due = second * S + n * S // VISITS_A_SECOND
        recorder.visit_started(planned, cohort)
        first = rng.choices([Result.available, Result.loading, Result.timeout], [90, 8, 2])[0]
        for number, result in enumerate([first] if first is Result.available else [first, Result.available], 1):
            attempts.append(attempt(rng, visit, cohort, "get_engagement", 0, number, result, due))
            done = attempts[-1].done_ns
            due = done + 100 * MS
        cut = rng.random() < 0.02
        steps.append(StepOutcome(visit, cohort, "get_engagement", 0, Outcome.available, planned, done,
                                 number, first is Result.available))  # fmt: skip
        if cut:
            steps.append(StepOutcome(visit, cohort, "update", 1, Outcome.censored, -1, due, 0, False))
        else:
            attempts.append(attempt(rng, visit, cohort, "update", 1, 1, Result.accepted, due))
            steps.append(StepOutcome(visit, cohort, "update", 1, Outcome.accepted, due, due + 9 * MS, 1, False))
        end = VisitEnd.censored if cut else VisitEnd.completed
        visits.append(VisitOutcome(visit, cohort, end, planned, planned, due, 2))
        ends[end.name] += 1
        for step in steps[-2:]:
            outcomes[step.outcome.name] += 1
    recorder.attempts(attempts)
    recorder.steps(steps)
    recorder.visits(visits)
    for probe in range(10):
        recorder.loop_delay(probe * 100_000)
    recorder.usage(cpu_ns=200 * MS, rss_bytes=60_000_000)
    recorder.connection("opened", VISITS_A_SECOND)
    ledger.settle("worker-1", ends, {name: n for name, n in outcomes.items() if n})


def attempt(rng: Random, visit: str, cohort: str, op: str, step: int, number: int, result: Result, due: int) -> Attempt:
    """One attempt, begun within 2 ms of its due time and answered in 5 to 60 ms (a timeout in 2 s)."""
    started = due + rng.randrange(2 * MS)
    connected = started + (MS if number == 1 and step == 0 else 0)
    done = connected + (2 * S if result is Result.timeout else rng.randrange(5 * MS, 60 * MS))
    chain = {Result.available: Chain.started if step == 0 else Chain.kept}.get(result, Chain.none)
    http_status, code = {Result.loading: (500, 20), Result.timeout: (0, -1)}.get(result, (200, -1))
    message = "Loading account: …" if result is Result.loading else ""
    return Attempt(visit, cohort, op, step, number, result, chain, False, False, http_status, code,
                   due, started, connected, connected + 20_000, done, message)  # fmt: skip


def run() -> tuple[dict[int, Snapshot], Ledger]:
    """The slices and the books of the run."""
    rng, recorder, ledger, slices = Random(42), Recorder(), Ledger(), {}
    visits = SECONDS * VISITS_A_SECOND
    ledger.plan(visits, 2 * visits)
    ledger.deal("worker-1", visits, 2 * visits)
    for second in range(SECONDS):
        play(recorder, rng, second, ledger)
        slices[second] = recorder.take()
    return slices, ledger


def summary_of(slices: dict[int, Snapshot], ledger: Ledger) -> dict[str, Any]:
    """The summary with its verdict; the first two seconds are warm-up."""
    measured = merge_from(slices, 2)
    facts = RunFacts(
        run_id="20300101T000000-golden", started_at="2030-01-01T00:00:00Z", duration_s=14.0, trace_digest="sha256:0",
        seed=42, config={"arrivals": "constant:50/s"}, load_model="open", warmup_s=2.0, arrivals_s=10.0,
        planned_visits=500, cpu_s=3.5,
    )  # fmt: skip
    summary = summarize(
        run=facts,
        measured=measured,
        whole=merge_from(slices),
        slices=[(second, snapshot) for second, snapshot in slices.items() if second >= 2],
        ledger=ledger,
        workers=[WorkerFacts(id="worker-1", clock_offset_ms=0.01, cpu_s=2.4, cpu_max_ratio=0.22, rss_max_mb=60.0)],
        rng=Random(42),
    )
    thresholds = parse_thresholds(THRESHOLDS)
    return summary | {"verdict": judge(summary, measured, thresholds=thresholds, limits=ValidityLimits())}


def pretty(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n"


def test_summary(golden: Callable[[str, str], None]) -> None:
    """The same records give the same summary.json, verdict included."""
    golden("summary.json", pretty(summary_of(*run())))


def test_series(golden: Callable[[str, str], None]) -> None:
    """The same records give the same series."""
    slices, _ = run()
    lines = [
        series_line(second, snapshot, planned=VISITS_A_SECOND, open_visits=0, workers=1)
        for second, snapshot in slices.items()
    ]
    golden("series.jsonl", "".join(orjson.dumps(line).decode() + "\n" for line in lines))


def test_stored_slices_give_the_same_summary() -> None:
    """A run judged again from its stored slices has the same summary and verdict."""
    slices, ledger = run()
    lines = [orjson.loads(orjson.dumps(line)) for second, held in slices.items() for line in to_lines(second, held)]
    assert summary_of(from_lines(lines), ledger) == summary_of(slices, ledger)
