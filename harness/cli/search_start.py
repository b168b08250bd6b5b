"""Before the first step of a capacity search: what the trace is like, what was done already, and the plan."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from pathlib import Path

import msgspec

from harness.capacity.bounds import Shape, highest_rate, plan_times, shape_of
from harness.capacity.search import SearchPlan, Step
from harness.cli.simulator import is_simulator
from harness.cli.traces import TraceFacts, check_trace
from harness.cli.verdict import near
from harness.config.build import absolute_paths, public_config
from harness.config.guard import is_loopback
from harness.config.model import RunConfig
from harness.doctor.host import connections_hz
from harness.engine.endpoint import resolve_endpoint
from harness.errors import UsageError
from harness.store.layout import MANIFEST
from harness.store.search_folder import SearchState, load_search
from harness.store.stored_run import load_run
from harness.trace.model import Visit
from harness.trace.newsessions import new_sessions_s
from harness.units import NS_PER_S, format_rate

Say = Callable[[str], None]

# Of what makes a run these differ from step to step, or do not change what is searched for.
_FREE = (
    "run_id", "trace", "scenario", "arrivals", "duration_ns", "warmup_ns", "loop", "metrics", "linger_ns", "out_dir",
    "cohorts", "labels", "web", "origins", "user_agent", "log_attempts",
)  # fmt: skip
_SHAPE_VISITS = 100_000


@dataclass(frozen=True)
class Request:
    """What `harness capacity search` was asked for beside a run's settings; rates a second, times in seconds."""

    start_hz: float
    max_hz: float
    budget_s: float
    hold_s: float | None
    settle_s: float | None
    cooldown_s: float
    process: str
    out: Path | None
    resume: bool


def look_at(config: RunConfig, say: Say) -> tuple[Shape, TraceFacts]:
    """(the shape of the trace's visits, what else it shows); raises `TraceError` for one that cannot be replayed."""
    seen: list[tuple[int, int, float]] = []

    def look(visit: Visit) -> None:
        if len(seen) < _SHAPE_VISITS:
            cap_s = float("inf") if config.max_think_ns is None else config.max_think_ns / NS_PER_S
            stay_s = sum(min(step.think, cap_s) for step in visit.steps)
            seen.append((len(visit.steps), sum(1 for _ in new_sessions_s(visit)), stay_s))

    facts = check_trace(config.trace, config.on_bad_line, look)
    for note in facts.notes:
        say(note)
    return msgspec.structs.replace(shape_of(seen), visits=facts.visits), facts


def open_search(out: Path, request: Request, config: RunConfig, digest: str, shape: Shape, say: Say) -> SearchState:
    """The search in `out` to go on with, or a new one.

    Raises `UsageError` when the folder holds something else, or a search with other options, each of which is named.
    """
    options = _lasting(config)
    if config.origins.get("user_agent", "default") != "default":
        options["user_agent"] = config.user_agent
    options |= {"trace_digest": digest, "start_hz": request.start_hz, "process": request.process}
    options |= {"max_hz": request.max_hz, "cooldown_s": request.cooldown_s}
    given = {"hold_s": request.hold_s, "settle_s": request.settle_s}
    known = load_search(out)
    if known is None:
        if request.resume:
            raise UsageError(f"there is no search to go on with in {near(out)}: leave out --resume")
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError(f"{near(out)} is not empty and holds no search: name another folder with --out")
        settle_s, hold_s = plan_times(request.budget_s, request.hold_s, request.settle_s, shape.stay_s)
        # Kept as they came to be: another budget must not change the steps of a search that goes on.
        options |= {"hold_s": hold_s, "settle_s": settle_s}
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        return SearchState(started_at=now, options=_plain(options), plan={})
    now_given = _plain(options | {name: ceil(value) for name, value in given.items() if value is not None})
    differing = [
        f"{name} was {known.options.get(name)!r} and is {value!r}"
        for name, value in now_given.items()
        if known.options.get(name) != value
    ]
    if differing:
        raise UsageError(
            f"{near(out)} holds a search with other options: give the same, or another folder with --out", differing
        )
    say(f"going on with the search in {near(out)}: {len(known.steps)} finished step(s)")
    return known


def require_own_steps(out: Path, steps: Sequence[Step], config: RunConfig) -> None:
    """Looks whether the run folders of finished steps are those that this search made, by `config`.

    Raises `UsageError` with every folder that is missing, or of which run id, trace or an option is another.
    """
    expected = _plain(_lasting(absolute_paths(config)))
    if is_simulator(config.target):
        del expected["target"]  # each simulator has a port of its own
    problems: list[str] = []
    for step in steps:
        folder = out / step.run
        if not (folder / MANIFEST).exists():
            problems.append(f"{step.run} is not there")
            continue
        manifest = load_run(folder).manifest
        made = manifest["config"]
        unlike = [name for name, value in expected.items() if name in made and made[name] != value]
        if step.run_id and manifest.get("run_id") != step.run_id:
            unlike.append("run id")
        if unlike:
            problems.append(f"{step.run} is of another run: {', '.join(unlike)}")
    if problems:
        raise UsageError(
            f"{near(out)} holds runs that are not the steps of its search: give another folder with --out", problems
        )


def _lasting(config: RunConfig) -> dict[str, object]:
    """What all steps of a search have in common."""
    return {name: value for name, value in public_config(config).items() if name not in _FREE}


def _plain(options: dict[str, object]) -> dict[str, object]:
    """The options as they are when they were written down and read back."""
    plain: dict[str, object] = json.loads(json.dumps(options))
    return plain


def planned(request: Request, state: SearchState, config: RunConfig, shape: Shape, say: Say) -> SearchPlan:
    """The plan of a search; raises `UsageError` when nothing can be tried within what is allowed."""
    limits = config.limits
    most_hz, why = highest_rate(
        request.max_hz,
        shape,
        max_visits_per_s=limits.max_visits_per_s,
        max_new_sessions_per_min=limits.max_new_sessions_per_min,
        connections_hz=_connections_hz(config),
        fresh=config.connections == "fresh",
        process=request.process,
        workers=config.expect_workers,
    )
    if most_hz < request.start_hz:
        raise UsageError(f"--start {format_rate(request.start_hz)} is above what {why} allows: {format_rate(most_hz)}")
    if why != "--max":
        less = "; --process constant needs less room" if "by chance" in why and config.expect_workers == 1 else ""
        say(f"no more than {format_rate(most_hz)} will be tried: {why}{less}")
    plan = SearchPlan(
        start_hz=request.start_hz,
        max_hz=most_hz,
        max_why=why,
        settle_s=int(state.options["settle_s"]),
        hold_s=int(state.options["hold_s"]),
        budget_s=request.budget_s,
    )
    if plan.settle_s + plan.hold_s > plan.budget_s:
        raise UsageError(
            f"--budget {plan.budget_s:.0f}s is shorter than one step, {plan.settle_s} s to settle and "
            f"{plan.hold_s} s held: give a longer one, or a shorter --hold and --settle"
        )
    return plan


def _connections_hz(config: RunConfig) -> float | None:
    """New connections a second that this machine's ports allow to the target; None where they are no limit."""
    if is_simulator(config.target) or config.connections == "pooled":
        return None
    addresses = resolve_endpoint(config).addresses
    if all(is_loopback(str(address[0])) for _, address in addresses):
        return None
    return connections_hz() * max(1, len(config.source_addresses)) * len(addresses)
