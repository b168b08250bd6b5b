"""A capacity search in virtual time: each step is a rehearsal of its plan against the behaviour model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from harness.capacity.criterion import Criterion, criteria_of
from harness.capacity.evidence import Evidence
from harness.capacity.search import Found, SearchPlan, Step, Trial, conclude, next_trial
from harness.capacity.step_verdict import judged
from harness.cli.planned import plan_end_ns, planned_visits
from harness.config.model import RunConfig
from harness.judge.threshold import parse_thresholds
from harness.measure.recorder import Recorder
from harness.measure.snapshot import Snapshot
from harness.sim.behaviour import Behaviour
from harness.sim.rehearsal import rehearse
from harness.sim.scenario_file import load_scenario
from harness.units import NS_PER_S


class _Enough(Exception):
    """The test has decided: nothing more of the step is played."""


@dataclass
class VirtualSearch:
    """A search of a scenario by a trace, in the virtual time of its rehearsals; `whole` is all that was measured."""

    trace: Path
    scenario: str
    slos: Sequence[str]
    plan: SearchPlan
    seed: int
    whole: Snapshot = field(default_factory=Snapshot)

    def run(self) -> tuple[Found, list[Step]]:
        """The whole search."""
        criteria = criteria_of(parse_thresholds(self.slos))
        steps: list[Step] = []
        while (trial := next_trial(self.plan, steps)) is not None:
            steps.append(self._step(trial, criteria))
        return conclude(self.plan, steps), steps

    def _step(self, trial: Trial, criteria: Sequence[Criterion]) -> Step:
        plan = self.plan
        evidence = Evidence(criteria, plan.settle_s, plan.hold_s, whole=trial.whole)
        recorder, played = Recorder(), 0

        def on_second(second: int) -> None:
            nonlocal played
            played = second + 1
            snapshot = recorder.take()
            self.whole.merge(snapshot)
            evidence.add(second, snapshot)
            if evidence.decided:
                raise _Enough

        length_s = plan.settle_s + plan.hold_s
        config = RunConfig(
            run_id="virtual",
            trace=str(self.trace),
            arrivals=f"poisson:{trial.rate_hz}/s",
            duration_ns=length_s * NS_PER_S,
            drain_ns=0,
            seed=self.seed,
            loop=1_000_000,
            connections="pooled",
        )
        # The same visits in the same order at every step; what chance does at the service is another each time, as at
        # a simulator that has been asked before.
        behaviour = Behaviour(load_scenario(self.scenario), seed=1000 * self.seed + trial.number)
        visits, end_ns = planned_visits(config), plan_end_ns(config)
        with suppress(_Enough):
            rehearse(visits, behaviour, config, recorder, plan_end_ns=end_ns, on_second=on_second)
        step = judged(trial, evidence)
        return msgspec.structs.replace(step, took_s=float(min(played, length_s)))
