"""Judge the instrument before the target (house section 7): was the load what the plan said, and are the numbers whole?

Everything is read from the summary, so a stored run can be judged again under other limits. What the target does to
itself (slow, frozen, refusing) touches none of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.config.model import ValidityLimits
from harness.judge.check import Check, quantity
from harness.measure.names import SETTLED_STEPS, SETTLED_VISITS

_OVERLOADED = "the generator was too busy: add --workers, lower the rate, or free the machine"
# A worker that waited for a CPU so long of a second was not alone on its core.
_CROWDED_RATIO = 0.1


def _late(summary: Mapping[str, Any]) -> str:
    """Why what was planned came late: a guard-rail that held it back, if one did, before the generator itself."""
    held = summary["generator"].get("held", {})
    if not held:
        return _busy(summary)
    limits = ", ".join(f"limits.{limit} held back {n}" for limit, n in held.items())
    return f"{limits}: lower the rate, or raise the limit if the target may be loaded so"


def _busy(summary: Mapping[str, Any]) -> str:
    """What kept the generator from its work: others on its core, if so, before its own load."""
    waited = summary["generator"].get("cpu_wait_max_ratio", 0.0)
    if waited < _CROWDED_RATIO:
        return _OVERLOADED
    return (
        f"other processes took the CPU, a worker waited for it for up to {quantity(waited, 'ratio')} of a second: "
        "free the machine"
    )


def check_validity(summary: Mapping[str, Any], limits: ValidityLimits) -> list[Check]:
    """The checks of kind "validity" (interfaces section 4, "Validity limits"), what may explain others first.

    Closed-loop runs have no plan and fill the CPU on purpose: lag, CPU and arrivals are not asked there.
    """
    generator = summary["generator"]
    pace = []
    if summary["load_model"] == "open":
        pace = [_cpu(summary, limits), _lag(summary, limits), *_arrivals(summary, limits)]
    return [
        _at_most(
            "workers_lost", generator["workers_lost"], limits.workers_lost, "",
            "a worker ended or fell silent, see its log; --tolerate-worker-loss accepts some",
        ),
        _at_most(
            "own_limits", generator.get("own_limits", 0), 0, "",
            "no descriptor, port or memory was left here for a connection: raise ulimit -n or use --connections pooled",
        ),
        _at_most(
            "loop_stall", generator.get("loop_stall_max_ms"), limits.loop_stall_max_ms, "ms",
            f"the event loop stood still: the worker was stopped, or starved; {_busy(summary)}",
        ),
        *pace,
        _dropped(summary, limits),
        _at_most(
            "slices_missing", generator["slices_missing"], 0, "",
            "seconds of measurement never reached the master: see the logs of master and workers, and run again",
        ),
        _ledger(summary),
        _at_most(
            "crossed", summary["chain"]["crossed"], limits.crossed, "",
            "a visit got the vid of another open visit: look for a shared cache or proxy in front of the target",
        ),
        *_steady(summary, limits),
    ]  # fmt: skip


def _steady(summary: Mapping[str, Any], limits: ValidityLimits) -> list[Check]:
    """Looked at always, where the run is long enough; a limit only if the profile sets one."""
    found = summary.get("steadiness")
    if found is None:
        return []
    drift = abs(found["drift_ratio"]) if found["drifts"] else 0.0
    limit = limits.drift_ratio
    ok = limit is None or drift <= limit
    advice = "" if ok else ": make the --warmup longer, or judge the two halves apart"
    message = f"{found['message']}{advice}"
    return [Check(name="steady", kind="validity", ok=ok, observed=drift, limit=limit, unit="ratio", message=message)]


def _at_most(name: str, observed: float | None, limit: float, unit: str, advice: str) -> Check:
    ok = observed is not None and observed <= limit
    seen = "not measured" if observed is None else quantity(observed, unit)
    message = seen if ok else f"{seen}, at most {quantity(limit, unit)}: {advice}"
    return Check(name=name, kind="validity", ok=ok, observed=observed, limit=limit, unit=unit, message=message)


def _lag(summary: Mapping[str, Any], limits: ValidityLimits) -> Check:
    lag = summary["latency_ms"].get("dispatch_lag")
    idle = not summary["attempts"]["total"]
    return _at_most("dispatch_lag_p99", 0.0 if idle else lag and lag["p99"], limits.lag_p99_ms, "ms", _late(summary))


def _cpu(summary: Mapping[str, Any], limits: ValidityLimits) -> Check:
    return _at_most("worker_cpu", summary["generator"].get("cpu_max_ratio"), limits.cpu_max_ratio, "ratio", _OVERLOADED)


def _arrivals(summary: Mapping[str, Any], limits: ValidityLimits) -> list[Check]:
    rates, phases = summary["rates"], summary["phases"]
    if not rates.get("planned_visits_hz"):
        return []
    if summary["ended"]["reason"] != "finished" or summary["generator"]["workers_lost"]:
        return []  # the plan was cut short: other checks say by what, and the pace until then was that of the plan
    planned, achieved = rates["planned_visits_hz"], rates["achieved_visits_hz"]
    # A visit begun at the warm-up's edge may fall on either side of it, at each worker: that is no deviation.
    slack = summary["generator"]["workers"] / phases["arrivals_s"] if phases["warmup_s"] else 0.0
    deviation = max(abs(achieved - planned) - slack, 0.0)
    advice = f"{quantity(achieved, '/s')} came where {quantity(planned, '/s')} were planned; {_late(summary)}"
    return [_at_most("arrivals", round(deviation / planned, 9), limits.arrivals_deviation_ratio, "ratio", advice)]


def _dropped(summary: Mapping[str, Any], limits: ValidityLimits) -> Check:
    visits = summary["visits"]
    ratio = visits["dropped"] / visits["planned"] if visits["planned"] else 0.0
    return _at_most(
        "dropped",
        ratio,
        limits.dropped_ratio,
        "ratio",
        f"visits came later than --max-lag allows; {_late(summary)}",
    )


def _ledger(summary: Mapping[str, Any]) -> Check:
    problems = ledger_problems(summary)
    return Check(
        name="ledger",
        kind="validity",
        ok=not problems,
        observed=len(problems),
        limit=0,
        unit="",
        message=f"{'; '.join(problems)}: see journal.jsonl for what was dealt and settled"
        if problems
        else "every planned visit and step is accounted for",
    )


def ledger_problems(summary: Mapping[str, Any]) -> list[str]:
    """Which equations of house section 6 the summary's counts break, one line each; empty when all hold.

    Besides the books themselves: the steps that were measured must be the steps that were settled.
    """
    problems = []
    for what, ends in (("visits", SETTLED_VISITS), ("steps", SETTLED_STEPS)):
        book = summary[what]
        parts = sum(book[name] for name in (*ends, "lost", "undealt"))
        if parts != book["planned"]:
            problems.append(f"{book['planned']} {what} were planned and {parts} are accounted for")
    for worker in summary["workers"]:
        parts = sum(worker[name] for name in (*SETTLED_VISITS, "lost", "revoked"))
        if parts != worker["dealt"]:
            problems.append(f"worker {worker['id']} was dealt {worker['dealt']} visits and accounts for {parts}")
    for outcome in SETTLED_STEPS:
        measured = sum(block["steps"][outcome] for block in summary["by_op"].values())
        if measured != summary["steps"][outcome]:
            problems.append(f"{summary['steps'][outcome]} steps settled as {outcome}, {measured} measured so")
    return problems
