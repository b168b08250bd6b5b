"""A capacity search from its first step to its result: trials in, runs out, everything kept after each step.

`search.json` in the search's folder is all that a later call needs: what comes next follows from the steps in it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, TextIO
from uuid import uuid4

import msgspec

import harness
from harness.capacity.criterion import criteria_of
from harness.capacity.load_point import LoadPoint, load_point
from harness.capacity.search import REPLIES, Found, Step, Trial, conclude, next_trial
from harness.capacity.steps import StepResult
from harness.capacity.usl import fit_usl
from harness.cli.capacity_report import write_reports
from harness.cli.run import run_config
from harness.cli.search_metrics import SearchMetrics
from harness.cli.search_start import Request, look_at, open_search, planned, require_own_steps
from harness.cli.search_step import StepRuns
from harness.cli.simulator import is_simulator, simulator
from harness.cli.supervise import Death, nothing_died
from harness.cli.traces import keep_stdin
from harness.cli.verdict import near
from harness.config.model import RunConfig
from harness.config.resolve import Settled
from harness.errors import ExitCode, UsageError
from harness.judge.threshold import Threshold, parse_thresholds
from harness.measure.slices import from_lines
from harness.store.layout import default_run_name
from harness.store.search_folder import free_step_folder, only_search, save_search
from harness.store.stored_run import load_run
from harness.units import NS_PER_MS, NS_PER_S, format_rate


def search_capacity(settled: Settled, request: Request, *, people: TextIO) -> int:
    """Searches, and returns the exit code; the result goes to stdout, progress to `people`.

    Raises `HarnessError` when a step cannot be made, `KeyboardInterrupt` when the user ended the search; finished steps
    are kept in either case.
    """
    if request.start_hz > request.max_hz:
        raise UsageError(f"--start {format_rate(request.start_hz)} is above --max {format_rate(request.max_hz)}")
    if request.hold_s is not None and request.hold_s <= 0:
        raise UsageError(
            "--hold 0s holds nothing: give how long a rate must hold, 30s or more where nothing is hurried"
        )
    as_json, quiet = bool(settled.values["json"]), bool(settled.values["quiet"])
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="harness-search-")))
        if settled.values["trace"] == "-":
            settled.values["trace"] = str(keep_stdin(scratch))
        running = _Search(settled, request, scratch, people if not quiet else None, stack)
        try:
            running.go_on()
        except KeyboardInterrupt:
            kept = len(running.steps)
            print(
                f"interrupted: {kept} finished step(s) are kept in {near(running.out)}; the same command with "
                f"--out {near(running.out)} goes on from there",
                file=people,
                flush=True,
            )
            raise
        found = conclude(running.plan, running.steps)
        result = running.finish(found)
    _print_result(result, running.out, as_json=as_json, people=people)
    if found.max_rate_hz is not None:
        return int(ExitCode.PASS)
    return int(ExitCode.INVALID if running.steps[-1].verdict == "invalid" else ExitCode.FAIL_SLO)


class _Search:
    """A search that goes on."""

    def __init__(
        self, settled: Settled, request: Request, scratch: Path, people: TextIO | None, stack: ExitStack
    ) -> None:
        self._people = people
        self._request = request
        if settled.values["bind"] is not None:
            raise UsageError(
                f"{settled.origins['bind']}: a search starts all its workers itself, step by step: leave it out"
            )
        # What a profile says about the load of a run is not about a step; how visitors behave is.
        settled.values |= {
            "arrivals": f"{request.process}:{request.start_hz}/s", "duration_ns": None, "warmup_ns": 0, "loop": 1,
            "limit_visits": None, "speed": 1.0, "warp_think": False, "out_dir": None, "web": False,
        }  # fmt: skip
        config = run_config(settled)
        self._thresholds: list[Threshold] = parse_thresholds(config.thresholds)
        criteria = criteria_of(self._thresholds)
        shape, facts = look_at(config, self._say)
        self.out = request.out or Path("runs") / _name(config)
        stack.enter_context(only_search(self.out))
        self._state = open_search(self.out, request, config, facts.digest, shape, self._say)
        self.steps = [msgspec.convert(step, Step) for step in self._state.steps]
        self._metrics_address, self._linger_s = config.metrics, config.linger_ns / NS_PER_S
        config = msgspec.structs.replace(config, trace_digest=facts.digest, cohorts=facts.cohorts, metrics=None)
        require_own_steps(self.out, self.steps, config)
        self._config = config
        self.plan = planned(request, self._state, config, shape, self._say)
        self._state.plan = msgspec.to_builtins(self.plan)
        self._measured: dict[str, LoadPoint | None] = {}
        self._metrics: SearchMetrics | None = None
        if self._metrics_address is not None:
            info = {
                "run_id": config.run_id,
                "scenario": config.scenario,
                "trace": facts.digest,
                "version": harness.__version__,
            }
            self._metrics = SearchMetrics(self._metrics_address, info)
            stack.callback(self._metrics.close)
            self._say(f"metrics at {self._metrics.url}")
        death: Death = nothing_died
        if is_simulator(config.target) and next_trial(self.plan, self.steps) is not None:
            # One for all steps, as a real target would be: what a step leaves behind is there for the next.
            embedded = stack.enter_context(simulator(config.target, seed=config.seed, folder=scratch))
            self._say(f"simulator at {embedded.url}")
            config, death = msgspec.structs.replace(config, target=embedded.url), embedded.death
        self._runs = StepRuns(
            config,
            self.plan,
            criteria,
            process=request.process,
            visits=max(1, round(shape.visits * config.amplify)),
            people=people or sys.stderr,
            tick=self._tick,
            death=death,
        )
        save_search(self.out, self._state)

    # Step by step

    def go_on(self) -> None:
        """Makes the steps that are left."""
        if self.steps and self.steps[-1].cooling and next_trial(self.plan, self.steps) is not None:
            self._cool_down()
        while (trial := next_trial(self.plan, self.steps)) is not None:
            self._say(f"step {trial.number}  {trial.stage:<7}  {format_rate(trial.rate_hz)} …")
            self._keep(self._made(trial), len(self.steps))
            if self.steps[-1].cooling:
                self._cool_down()
            self._say(_line(self.steps[-1]))
            self._show(None)

    def _made(self, trial: Trial) -> Step:
        began = monotonic()
        folder = free_step_folder(self.out, f"step-{trial.number:02d}-{trial.rate_hz:g}hz")
        run_id = uuid4().hex[:12]
        step = self._runs.step(trial, folder, run_id)
        cooling = not self._clean(step, folder)
        took_s = round(monotonic() - began, 3)
        return msgspec.structs.replace(step, run=folder.name, run_id=run_id, cooling=cooling, took_s=took_s)

    def _cool_down(self) -> None:
        """Waits for the target's rest after the newest step."""
        step = self.steps[-1]
        resting = self._runs.rest(self._base_p50_ns(), self._request.cooldown_s)
        took_s = round(step.took_s + resting.took_s, 3)
        rested = {"cooldown_s": resting.took_s, "idle": resting.idle, "unrest": resting.why}
        self._keep(msgspec.structs.replace(step, cooling=False, took_s=took_s, **rested), len(self.steps) - 1)

    def _keep(self, step: Step, place: int) -> None:
        """Writes the step down, as a new one or in the place of what was known of it."""
        self.steps[place:] = [step]
        self._state.steps[place:] = [msgspec.to_builtins(step)]
        save_search(self.out, self._state)

    def _clean(self, step: Step, folder: Path) -> bool:
        """Whether nothing of the step is left at the target: it held, and all its visits came to their end."""
        if step.verdict != "held" and not self._counting():
            return True  # the search is over, or tries the same again from rest
        summary = load_run(folder).summary or {}
        return step.verdict == "held" and not summary.get("visits", {}).get("censored")

    def _counting(self) -> list[Step]:
        """The finished steps whose instrument held."""
        return [step for step in self.steps if step.verdict != "invalid"]

    def _base_p50_ns(self) -> int:
        """The median response time of the first step that counts, when the target had little to do."""
        first = next(iter(self._counting()), self.steps[-1])
        summary = load_run(self.out / first.run).summary or {}
        p50_ms = summary.get("latency_ms", {}).get("response_time", {}).get("p50")
        return round((p50_ms or 1000.0) * NS_PER_MS)

    def _tick(self) -> None:
        if self._metrics is not None:
            self._metrics.tick()

    # The end

    def points(self) -> list[LoadPoint]:
        """What the steps that count measured, for the law and the page."""
        return [point for step in self.steps if (point := self._point(step)) is not None]

    def _point(self, step: Step) -> LoadPoint | None:
        if step.run not in self._measured:
            stored = load_run(self.out / step.run)
            point = None
            # A target that gave no reply at all was down, which is no point of its curve.
            if step.verdict != "invalid" and step.slo != REPLIES and stored.summary is not None:
                point = load_point(stored.summary, from_lines(stored.slices()), self._thresholds, label=step.run)
            self._measured[step.run] = point
        return self._measured[step.run]

    def _show(self, found: Found | None) -> None:
        if self._metrics is None:
            return
        points = self.points()
        if points:
            newest: StepResult = points[-1].result
            law = fit_usl([(each.concurrency, each.goodput_hz) for each in points if each.concurrency > 0])
            self._metrics.show(self.steps, newest, law, found)

    def finish(self, found: Found) -> dict[str, Any]:
        """Writes the result beside the steps and returns it."""
        result = {
            "max_rate_hz": found.max_rate_hz,
            "ci95": found.ci95,
            "bound": found.bound,
            "limiting_slo": found.limiting_slo,
            "reason": found.reason,
            "steps": [_told(step) for step in self.steps],
        }
        self._state.result = msgspec.to_builtins(found)
        save_search(self.out, self._state)
        write_reports(self.out, self._state, result, self.points(), self._config)
        self._show(found)
        if self._metrics is not None:
            self._metrics.linger(self._linger_s)
        return result

    def _say(self, line: str) -> None:
        if self._people is not None:
            print(line, file=self._people, flush=True)


def _name(config: RunConfig) -> str:
    return default_run_name(datetime.now(UTC), f"capacity-{config.scenario}", config.run_id)


def _line(step: Step) -> str:
    sure = "" if step.sure else " (not surely)"
    rest = "" if step.idle else "; the target did not come to rest"
    return f"        {step.verdict}{sure} after {step.seconds} s: {step.why}{rest}"


def _told(step: Step) -> dict[str, Any]:
    """A step as the result tells it."""
    plain: dict[str, Any] = {"rate_hz": step.rate_hz, "verdict": step.verdict, "stage": step.stage, "sure": step.sure}
    plain |= {"why": step.why, "slo": step.slo, "seconds": step.seconds, "took_s": step.took_s, "run": step.run}
    plain["shares"] = [
        {"slo": shown.slo, "bad": shown.bad, "count": shown.count, "allowed": shown.allowed} for shown in step.shown
    ]
    return plain


def _print_result(result: dict[str, Any], out: Path, *, as_json: bool, people: TextIO) -> None:
    if as_json:
        print(json.dumps(result, indent=2), flush=True)
    stream = people if as_json else sys.stdout
    if result["max_rate_hz"] is None:
        print(f"no rate held: {result['reason']}", file=stream)
    else:
        at_least = "at least " if result["bound"] == "at_least" else ""
        low, high = result["ci95"]
        interval = f" (95 % interval {format_rate(low)} to {format_rate(high)})" if high is not None else ""
        print(f"capacity {at_least}{format_rate(result['max_rate_hz'])}{interval}: {result['reason']}", file=stream)
        if result["limiting_slo"]:
            print(f"limited by {result['limiting_slo']}", file=stream)
    print(f"report: {near(out / 'capacity.html')}", file=stream, flush=True)
