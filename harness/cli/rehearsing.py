"""A run in virtual time: plan, session, model and recorder put together as a real run puts them together."""

from __future__ import annotations

import gc

from harness.cli.planned import plan_end_ns, planned_visits
from harness.config.model import RunConfig
from harness.errors import TraceError
from harness.measure.recorder import Recorder
from harness.measure.snapshot import Snapshot
from harness.sim.behaviour import Behaviour
from harness.sim.rehearsal import rehearse
from harness.sim.rehearsed import RehearsalEnd
from harness.sim.scenario import Scenario
from harness.trace.lines import BadLines


def rehearsed(
    config: RunConfig, scenario: Scenario, rtt_ns: int, unchecked: BadLines | None = None
) -> tuple[RehearsalEnd, Snapshot]:
    """Rehearses the run of `config` against `scenario`, whose seed is the run's, as with `--target sim`.

    `unchecked` gets the trace's bad lines if it was not read through before. Raises `TraceError` for a trace that
    cannot be read or has no visit.
    """
    recorder = Recorder(closed=config.closed_slots is not None)
    behaviour = Behaviour(scenario, config.seed)
    visits = planned_visits(config, unchecked)
    was_enabled = gc.isenabled()
    # Nothing here makes cycles, and looking for them among so many open visits would take a tenth of the time.
    gc.disable()
    try:
        end = rehearse(visits, behaviour, config, recorder, rtt_ns=rtt_ns, plan_end_ns=plan_end_ns(config))
    finally:
        if was_enabled:
            gc.enable()
    if not end.visits:
        raise TraceError(f"{config.trace}: the trace has no visit to replay: record, import or invent one that has")
    return end, recorder.take()
