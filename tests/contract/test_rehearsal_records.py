"""What a rehearsal records is what a run records: snapshots, thresholds and the summary take it unchanged."""

from __future__ import annotations

from pathlib import Path
from random import Random

from harness.cli.planned import plan_end_ns, planned_visits
from harness.config.model import RunConfig
from harness.judge.evaluate import evaluate
from harness.judge.facts import RunFacts
from harness.judge.summary import summarize
from harness.judge.threshold import parse_threshold
from harness.measure.ledger import Ledger
from harness.measure.recorder import Recorder
from harness.measure.snapshot import Snapshot
from harness.sim.behaviour import Behaviour
from harness.sim.rehearsal import rehearse
from harness.sim.scenario_file import load_scenario
from harness.units import NS_PER_S

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


def test_a_rehearsal_can_be_summarised_and_judged_like_a_run() -> None:
    """The demo in virtual time: the service's own truth, the summary's totals and the thresholds agree."""
    config = RunConfig(run_id="r", trace=str(FIXTURES / "demo.jsonl.gz"), timeout_ns=5 * NS_PER_S)
    behaviour = Behaviour(load_scenario(str(FIXTURES / "demo-scenario.toml")), config.seed)
    recorder = Recorder()
    slices: list[tuple[int, Snapshot]] = []
    end = rehearse(
        planned_visits(config),
        behaviour,
        config,
        recorder,
        plan_end_ns=plan_end_ns(config),
        on_second=lambda second: slices.append((second, recorder.take())),
    )
    whole = Snapshot.merged(snapshot for _, snapshot in slices)
    ledger = Ledger()
    ledger.plan(1_500, 3_323)
    ledger.deal("virtual", 1_500, 3_323)
    ledger.settle("virtual", whole.by_last("visits"), whole.by_last("steps"))
    facts = RunFacts(
        run_id="r", started_at="", duration_s=end.ended_ns / NS_PER_S, trace_digest="", seed=1, config={},
        load_model="open", arrivals_s=end.arrivals_ns / NS_PER_S, planned_visits=1_500,
    )  # fmt: skip
    summary = summarize(run=facts, measured=whole, whole=whole, slices=slices, ledger=ledger, workers=[], rng=Random(1))
    truth = behaviour.truth.to_obj()
    assert ledger.problems() == []
    assert [second for second, _ in slices] == list(range(len(slices)))
    by_result = {result: n for result, n in summary["attempts"]["by_result"].items() if n}
    assert by_result == truth["outcomes"]
    assert (summary["chain"]["started"], summary["chain"]["crossed"]) == (truth["chain"]["started"], 0)
    assert summary["connections"]["opened"] + summary["connections"]["reused"] == summary["attempts"]["total"]
    assert summary["latency_ms"]["dispatch_lag"]["max"] == 0.0
    assert (summary["visits"]["completed"], summary["visits"]["undealt"]) == (1_500, 0)
    assert whole.visits_open == 0
    thresholds = [parse_threshold(text) for text in ("p95(response_time) < 500ms", "availability(eventual) > 99%")]
    checks = evaluate(thresholds, whole, arrivals_s=facts.arrivals_s, measured_s=facts.duration_s)
    assert [check.ok for check in checks] == [True, True]
