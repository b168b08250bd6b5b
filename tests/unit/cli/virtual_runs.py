"""`conduct` without processes: a run is a rehearsal in virtual time that leaves a run folder, judged as any other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, TextIO

import pytest

from harness.cli.planned import plan_end_ns, planned_visits
from harness.cli.supervise import Death, Wish, nothing_died
from harness.config.build import absolute_paths, public_config
from harness.config.model import RunConfig
from harness.errors import HarnessError
from harness.judge.facts import RunFacts, WorkerFacts
from harness.judge.summary import summarize
from harness.judge.threshold import parse_thresholds
from harness.judge.verdict import judge
from harness.measure.ledger import Ledger
from harness.measure.recorder import Recorder
from harness.measure.series import series_line
from harness.measure.slices import to_lines
from harness.measure.snapshot import Snapshot
from harness.sim.behaviour import Behaviour
from harness.sim.rehearsal import rehearse
from harness.sim.scenario import Scenario
from harness.store.run_folder import RunFolder
from harness.units import NS_PER_S, parse_rate_hz


class _Enough(Exception):
    """Nothing more of the run is played."""


class VirtualRuns:
    """Stands in for `conduct` of the steps of a search, and keeps the configurations that it was given.

    `service(config)` is what a run meets. `before(config)` may raise, or return an exit code, instead of a run, and
    `cpu(config)` says how busy the worker was.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, scenario: Scenario) -> None:
        self.configs: list[RunConfig] = []
        self.service: Callable[[RunConfig], Scenario] = lambda _: scenario
        self.before: Callable[[RunConfig], int | None] = lambda _: None
        self.cpu: Callable[[RunConfig], float] = lambda _: 0.1
        monkeypatch.setattr("harness.cli.search_step.conduct", self.conduct)

    @property
    def steps(self) -> list[float]:
        """The rates of the runs that were steps, in order."""
        return [rate_of(config) for config in self.configs if not is_trickle(config)]

    @property
    def trickles(self) -> int:
        """How many runs asked whether the target is at rest."""
        return sum(map(is_trickle, self.configs))

    def conduct(
        self,
        config: RunConfig,
        *,
        as_json: bool,
        quiet: bool,
        people: TextIO,
        wish: Callable[[], Wish],
        death: Death = nothing_died,
    ) -> int:
        """A run of `config` as `cli.conduct.conduct` would make it; returns its exit code."""
        self.configs.append(config)
        try:
            code = self.before(config)
        except HarnessError as error:
            folder = _folder(config)
            folder.mark_partial(str(error))
            folder.close()
            raise
        return self.play(absolute_paths(config), wish) if code is None else code

    def play(self, config: RunConfig, wish: Callable[[], Wish] = lambda: "go on") -> int:
        """The run itself, with what it leaves in its folder; returns its exit code."""
        folder = _folder(config)
        recorder, slices = Recorder(), list[tuple[int, Snapshot]]()
        behaviour = Behaviour(self.service(config), seed=1000 * config.seed + len(self.configs))
        end_ns = plan_end_ns(config)
        assert end_ns is not None

        def on_second(second: int) -> None:
            recorder.loop_delay(0)
            snapshot = recorder.take()
            slices.append((second, snapshot))
            folder.append_slices(to_lines(second, snapshot))
            folder.append_series(series_line(second, snapshot, planned=None, open_visits=0, workers=1))
            if wish() != "go on":
                raise _Enough

        with suppress(_Enough):
            rehearse(planned_visits(config), behaviour, config, recorder, plan_end_ns=end_ns, on_second=on_second)
        summary = self._summary(config, slices, min(end_ns / NS_PER_S, len(slices)))
        folder.finish(summary, None)
        return int(summary["verdict"]["exit_code"])

    def _summary(self, config: RunConfig, slices: list[tuple[int, Snapshot]], arrivals_s: float) -> dict[str, Any]:
        warmup_s = config.warmup_ns / NS_PER_S
        judged = [(second, snapshot) for second, snapshot in slices if second >= warmup_s]
        whole, measured = (Snapshot.merged(snapshot for _, snapshot in some) for some in (slices, judged))
        visits, steps = (dict(whole.by_last(what)) for what in ("visits", "steps"))
        # What an end before the plan's cuts off.
        visits["censored"] = visits.get("censored", 0) + whole.total("visits_started") - sum(visits.values())
        ledger = Ledger()
        ledger.plan(sum(visits.values()), sum(steps.values()))
        ledger.deal("w1", sum(visits.values()), sum(steps.values()))
        ledger.settle("w1", visits, steps)
        run = RunFacts(
            run_id=config.run_id,
            started_at="2026-11-26T00:00:00Z",
            duration_s=float(len(slices)),
            trace_digest=config.trace_digest,
            seed=config.seed,
            config=public_config(config),
            load_model="open",
            warmup_s=warmup_s,
            arrivals_s=max(arrivals_s - warmup_s, 1e-9),
            planned_visits=measured.total("visits_started"),
        )
        worker = WorkerFacts(id="w1", cpu_max_ratio=self.cpu(config))
        summary = summarize(
            run=run, measured=measured, whole=whole, slices=judged, ledger=ledger, workers=[worker], rng=Random(1)
        )
        summary["verdict"] = judge(
            summary, measured, thresholds=parse_thresholds(config.thresholds), limits=config.validity
        )
        return summary


def _folder(config: RunConfig) -> RunFolder:
    about = {"run_id": config.run_id, "trace_digest": config.trace_digest, "config": public_config(config)}
    return RunFolder.create(Path(config.out_dir), about)


def is_trickle(config: RunConfig) -> bool:
    """Whether a run only asks if the target is at rest."""
    return config.run_id.endswith("-rest")


def rate_of(config: RunConfig) -> float:
    """The rate that a run holds, in visits per second."""
    return parse_rate_hz(config.arrivals.partition(":")[2])
