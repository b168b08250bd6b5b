"""A step of a capacity search as a run of its own, and the wait until the target is at rest again.

The parent reads the run's slices as they come to its folder and lets the plan end as soon as the test has decided: the
run then comes to its ordinary end, only sooner, and its folder is complete.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from math import ceil
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TextIO

import msgspec

from harness.capacity.criterion import Criterion
from harness.capacity.evidence import Evidence
from harness.capacity.search import SearchPlan, Step, Trial
from harness.capacity.step_verdict import Failed, judged, unanswered_step
from harness.cli.conduct import conduct
from harness.cli.supervise import Death, RunError, Wish, nothing_died
from harness.config.model import RunConfig
from harness.errors import ExitCode, InstrumentError, UnreachableError
from harness.measure.histogram import Histogram
from harness.measure.snapshot import Snapshot
from harness.store.slice_tail import SliceTail
from harness.store.stored_run import load_run
from harness.units import NS_PER_S, format_rate

# Endings that tell of the target or the instrument; with any other the search ends.
_JUDGED = (ExitCode.PASS, ExitCode.FAIL_SLO, ExitCode.INVALID, ExitCode.GUARD, ExitCode.UNREACHABLE)
UNANSWERED = "not one reply"
# How long a target that takes no connection is left alone before the trickle asks again.
_ASK_AGAIN_S = 1.0
# The trickle that asks whether the target is at rest: so many visits a second, and how much slower than at first its
# median may still be, over that many seconds.
TRICKLE_HZ = 5.0
REST_RATIO = 1.5
REST_SECONDS = 2


class Resting(msgspec.Struct, frozen=True):
    """How long the target took to come to rest, in seconds, whether it did, and what else kept it from being seen."""

    took_s: float
    idle: bool
    why: str = ""


class StepRuns:
    """Makes the runs of a search; `config` is complete but for what differs from step to step."""

    def __init__(
        self,
        config: RunConfig,
        plan: SearchPlan,
        criteria: Sequence[Criterion],
        *,
        process: str,
        visits: int,
        people: TextIO,
        tick: Callable[[], None],
        death: Death = nothing_died,
        clock: Callable[[], float] = monotonic,
        pause: Callable[[float], None] = sleep,
    ) -> None:
        """`visits` is how many the trace brings: it is played again where a step needs more; `tick` is called often,
        `death` tells when the simulator that all steps share has ended.

        `clock` and `pause`, in seconds, are for tests.
        """
        self._config = config
        self._plan = plan
        self._criteria = criteria
        self._process = process
        self._visits = visits
        self._people = people
        self._tick = tick
        self._death = death
        self._clock = clock
        self._pause = pause

    def step(self, trial: Trial, out: Path, run_id: str) -> Step:
        """Plays `trial` into the run folder `out` and judges it; without one reply it is broken.

        Raises `KeyboardInterrupt` when the user ended it, `HarnessError` when the run could not be made,
        `InstrumentError` when the simulator has ended, `UnreachableError` when the very first step got no reply: then
        it is not the rate.
        """
        plan = self._plan
        evidence = Evidence(self._criteria, plan.settle_s, plan.hold_s, whole=trial.whole)
        tail = SliceTail(out)

        def wish() -> Wish:
            self._tick()
            for second, snapshot in tail.read():
                evidence.add(second, snapshot)
            return "finish" if evidence.decided else "go on"

        length_s = plan.settle_s + plan.hold_s
        config = msgspec.structs.replace(
            self._config,
            run_id=run_id,
            out_dir=str(out),
            arrivals=f"{self._process}:{trial.rate_hz}/s",
            duration_ns=length_s * NS_PER_S,
            warmup_ns=plan.settle_s * NS_PER_S,
            # Poisson arrivals may be more than expected; a round too many costs nothing.
            loop=ceil(1.2 * trial.rate_hz * length_s / self._visits) + 1,
        )
        unanswered = ""
        try:
            code = self._conduct(config, wish, self._people)
        except UnreachableError as error:
            # It takes no connection any more: that is how the step before has left it.
            code, unanswered = int(ExitCode.UNREACHABLE), str(error)
        if code == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
        if code not in _JUDGED:
            raise RunError(f"the step in {out} ended with exit code {code}; the search ends here", code)
        for second, snapshot in tail.read():
            evidence.add(second, snapshot)
        if evidence.answer == "open":
            evidence.look()
        summary = load_run(out).summary or {}
        if code == ExitCode.UNREACHABLE:
            unanswered = unanswered or str(summary.get("verdict", {}).get("cause", UNANSWERED))
            if trial.number == 1:
                raise UnreachableError(f"already at {format_rate(trial.rate_hz)}, the first step: {unanswered}")
            return unanswered_step(trial, evidence, unanswered)
        failed, invalid = _other_checks(summary, self._criteria)
        return judged(trial, evidence, invalid=invalid, failed=failed)

    def rest(self, base_p50_ns: int, limit_s: float) -> Resting:
        """Waits until a trickle of visits is answered about as quickly as at first, `limit_s` at most.

        A target that takes no connection is asked again. Raises `KeyboardInterrupt` when the user ended it,
        `HarnessError` when the trickle could not be made.
        """
        began_s, why = self._clock(), ""
        while (left_s := limit_s - (self._clock() - began_s)) > 0:
            try:
                idle, why = self._trickle(base_p50_ns, left_s)
            except UnreachableError as error:
                why = str(error)
                self._tick()
                self._pause(min(_ASK_AGAIN_S, left_s))
                continue
            return Resting(round(self._clock() - began_s, 3), idle, why)
        return Resting(round(self._clock() - began_s, 3), limit_s <= 0, why)

    def _trickle(self, base_p50_ns: int, limit_s: float) -> tuple[bool, str]:
        """(whether the target was seen at rest within `limit_s`; what else kept that from being seen)."""
        recent: list[Histogram] = []

        def at_rest() -> bool:
            last = recent[-REST_SECONDS:]
            whole = Histogram.merged(last)
            middle = whole.quantile(0.5) if whole.count else None
            enough = len(last) == REST_SECONDS and whole.finite >= REST_SECONDS
            return enough and middle is not None and middle <= REST_RATIO * base_p50_ns

        rested = False
        with tempfile.TemporaryDirectory(prefix="harness-rest-") as scratch:
            out = Path(scratch) / "run"
            tail = SliceTail(out)

            def wish() -> Wish:
                nonlocal rested
                self._tick()
                for _, snapshot in tail.read():
                    recent.append(_times(snapshot))
                    rested = rested or at_rest()
                return "finish" if rested else "go on"

            config = msgspec.structs.replace(
                self._config,
                run_id=f"{self._config.run_id}-rest",
                out_dir=str(out),
                arrivals=f"constant:{TRICKLE_HZ}/s",
                duration_ns=ceil(limit_s) * NS_PER_S,
                drain_ns=0,
                loop=ceil(TRICKLE_HZ * limit_s / self._visits) + 1,
                thresholds=(),
            )
            code = self._conduct(config, wish, io.StringIO())
            if code == ExitCode.INTERRUPTED:
                raise KeyboardInterrupt
            if code not in _JUDGED:
                raise RunError(f"the trickle between two steps ended with exit code {code}; the search ends here", code)
            wish()  # what came at the very end
            summary = load_run(out).summary or {}
        # Without a threshold FAIL says that nothing became available, and rest asks for quick replies, no more.
        known = rested or code == ExitCode.FAIL_SLO
        return rested, "" if known else str(summary.get("verdict", {}).get("cause", ""))

    def _conduct(self, config: RunConfig, wish: Callable[[], Wish], people: TextIO) -> int:
        try:
            # What a run prints as its result is not this command's.
            with redirect_stdout(io.StringIO()):
                code = conduct(config, as_json=False, quiet=True, people=people, wish=wish, death=self._death)
        except UnreachableError:
            self._require_simulator()
            raise
        self._require_simulator()
        return code

    def _require_simulator(self) -> None:
        # Neither the next step nor another try could say anything about a target that we ourselves have lost.
        if (died := self._death()) is not None:
            raise InstrumentError(f"{died}; finished steps are kept")


def _times(snapshot: Snapshot) -> Histogram:
    """All replies of a second, error replies too: a service that refuses is not at rest because it does so quickly."""
    return snapshot.histogram("response_time")


def _other_checks(summary: Mapping[str, Any], criteria: Sequence[Criterion]) -> tuple[Failed | None, str]:
    """(what failed beside the shares that the test judges; why the instrument did not hold, "" if it did)."""
    checks = summary.get("verdict", {}).get("checks", [])
    shares = {criterion.name for criterion in criteria}
    failed = [check for check in checks if not check["ok"]]
    invalid = [f"{check['name']}: {check['message']}" for check in failed if check["kind"] == "validity"]
    others = [
        Failed(str(check["name"]), str(check["message"]))
        for check in failed
        if check["kind"] in ("slo", "guard") and check["name"] not in shares and check.get("enough_data", True)
    ]
    return (others[0] if others else None), (invalid[0] if invalid else "")
