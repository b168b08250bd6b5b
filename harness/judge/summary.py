"""`summarize`: everything a run came to, as summary.json (interfaces section 4) without its verdict.

Counts (visits, steps, attempts, chain, connections, errors, and the counts of by_op and by_cohort) are of the whole
run, so that they add up; visits and steps come from the ledger, which alone knows what was lost or never dealt. Times,
availability and rates are of the measured part: everything after the warm-up, the drain included, since replies that
come late belong to the load that asked for them. Absent means not measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from harness.judge.facts import RunFacts, WorkerFacts
from harness.judge.latency import latency_blocks, milliseconds
from harness.judge.steadiness import steadiness
from harness.judge.waiting import waiting_block
from harness.measure.availability import availability, eventual_counts, first_attempt_counts
from harness.measure.ledger import Ledger
from harness.measure.names import CHAIN_EVENTS, CONNECTION_EVENTS, RESULTS, SETTLED_STEPS
from harness.measure.snapshot import MAX_ERRORS, Snapshot
from harness.measure.transcript import told
from harness.units import NS_PER_S

SCHEMA = "harness.summary/1"
_KEPT = frozenset({"first_attempts", "first_available", "steps", "attempts"})


def summarize(
    *,
    run: RunFacts,
    measured: Snapshot,
    whole: Snapshot,
    slices: Sequence[tuple[int, Snapshot]],
    ledger: Ledger,
    workers: Sequence[WorkerFacts],
    rng: Random,
) -> dict[str, Any]:
    """The summary of a run as plain data; `verdict.judge` adds the verdict.

    `measured` is what follows the warm-up, `whole` the entire run, `slices` the measured seconds in order of time,
    whole or as `kept_of` leaves them (for the intervals, drawn with `rng`). `workers` has an entry for each worker that
    measured anything.
    """
    books = ledger.totals()
    ops, cohorts = whole.labels()
    summary: dict[str, Any] = {
        "schema": SCHEMA,
        "run_id": run.run_id,
        "started_at": run.started_at,
        "duration_s": run.duration_s,
        "trace_digest": run.trace_digest,
        "seed": run.seed,
        "config": run.config,
        "load_model": run.load_model,
        "ended": {"reason": run.ended, "message": run.ended_message},
        "phases": {"warmup_s": run.warmup_s, "arrivals_s": run.arrivals_s, "measured_s": run.duration_s - run.warmup_s},
        "visits": books["visits"],
        "steps": books["steps"],
        "attempts": _attempts(whole),
        "chain": _filled(CHAIN_EVENTS, whole.by_last("chain")),
        "connections": _connections(whole),
        "latency_ms": latency_blocks(measured),
        "time_to_available": waiting_block(measured),
        "by_op": {
            op: {
                "latency_ms": latency_blocks(measured, op=op),
                "steps": _filled(SETTLED_STEPS, whole.by_last("steps", op)),
                "attempts": _attempts(whole, op=op),
            }
            for op in ops
        },
        "by_cohort": {
            cohort: {
                "latency_ms": latency_blocks(measured, cohort=cohort),
                "steps": _filled(SETTLED_STEPS, whole.by_last("steps", None, cohort)),
                "attempts": _attempts(whole, cohort=cohort),
            }
            for cohort in cohorts
        },
        "availability": _availability([snapshot for _, snapshot in slices], rng),
        "rates": _rates(run, measured),
        **_steadiness([snapshot for _, snapshot in slices]),
        "errors": _errors(whole),
        "exemplars": [told(exemplar) for exemplar in whole.exemplars],
        "workers": _workers(ledger, workers),
        "generator": _generator(run, measured, whole, ledger, workers),
    }
    return summary


def kept_of(snapshot: Snapshot) -> Snapshot:
    """What `summarize` and `verdict.judge` need of one second's snapshot: small enough to keep for every second."""
    counters = {key: count for key, count in snapshot.counters.items() if key[0] in _KEPT}
    replies, service_ns = _served(snapshot)
    return Snapshot(counters=counters, sums={"served": replies, "service_ns": service_ns})


def _served(snapshot: Snapshot) -> tuple[int, int]:
    """(replies, their service time in ns) of a second, kept or whole."""
    if "served" in snapshot.sums:
        return snapshot.sums["served"], snapshot.sums["service_ns"]
    service = snapshot.histogram("service_time")
    return service.finite, service.total_ns


def _steadiness(slices: Sequence[Snapshot]) -> dict[str, Any]:
    found = steadiness([_served(snapshot) for snapshot in slices])
    if found is None:
        return {}
    block = {"warmup_suggested_s": found.warmup_s, "drift_ratio": found.drift_ratio, "drift_p": found.drift_p}
    return {"steadiness": {**block, "drifts": found.drifts, "message": str(found)}}


def _filled(names: Sequence[str], counted: Mapping[str, int]) -> dict[str, int]:
    return {name: counted.get(name, 0) for name in names}


def _known(**values: float | None) -> dict[str, float]:
    """The values that were measured."""
    return {name: value for name, value in values.items() if value is not None}


def _attempts(whole: Snapshot, op: str | None = None, cohort: str | None = None) -> dict[str, Any]:
    by_result = whole.by_last("attempts", op, cohort)
    return {"total": sum(by_result.values()), "by_result": _filled(RESULTS, by_result)}


def _connections(whole: Snapshot) -> dict[str, int]:
    counted = whole.by_last("connections")
    return _filled(CONNECTION_EVENTS, counted) if counted else {}


def _availability(slices: Sequence[Snapshot], rng: Random) -> dict[str, Any]:
    block: dict[str, Any] = {}
    for name, counts in (("first_attempt", first_attempt_counts), ("eventual", eventual_counts)):
        found = availability([counts(snapshot) for snapshot in slices], rng)
        if found is not None:
            block[f"{name}_ratio"] = found.ratio
            if found.ci95 is not None:
                block[f"{name}_ci95"] = list(found.ci95)
    return block


def _rates(run: RunFacts, measured: Snapshot) -> dict[str, float]:
    firsts = measured.total("first_attempts")
    attempts = measured.total("attempts")
    planned, measured_s = run.planned_visits, run.duration_s - run.warmup_s
    return _known(
        planned_visits_hz=planned / run.arrivals_s if planned is not None and run.arrivals_s > 0 else None,
        achieved_visits_hz=measured.total("visits_started") / run.arrivals_s if run.arrivals_s > 0 else None,
        attempts_hz=attempts / measured_s if measured_s > 0 else None,
        retry_amplification=attempts / firsts if firsts else None,
    )


def _errors(whole: Snapshot) -> list[dict[str, Any]]:
    most_first = sorted(whole.errors.items(), key=lambda item: (-item[1], item[0]))
    return [
        {"op": op, "result": result, **_answered(http_status, code), "message": message, "count": n}
        for (op, result, http_status, code, message), n in most_first[:MAX_ERRORS]
    ]


def _answered(http_status: int, code: int) -> dict[str, int]:
    """What the reply said, without what there was not: a call without a reply has neither."""
    return ({"http_status": http_status} if http_status > 0 else {}) | ({"code": code} if code >= 0 else {})


def _workers(ledger: Ledger, workers: Sequence[WorkerFacts]) -> list[dict[str, Any]]:
    books, facts = ledger.workers(), {worker.id: worker for worker in workers}
    nothing = dict.fromkeys(("dealt", "completed", "censored", "dropped", "lost", "revoked"), 0)
    rows = []
    for name in sorted(books.keys() | facts.keys()):
        worker = facts.get(name, WorkerFacts(id=name))
        measured = _known(
            clock_offset_ms=worker.clock_offset_ms,
            clock_error_ms=worker.clock_error_ms,
            clock_drift_ms=worker.clock_drift_ms,
            cpu_s=worker.cpu_s,
            rss_max_mb=worker.rss_max_mb,
        )
        rows.append({"id": name, **books.get(name, nothing), **measured})
    return rows


def _generator(
    run: RunFacts, measured: Snapshot, whole: Snapshot, ledger: Ledger, workers: Sequence[WorkerFacts]
) -> dict[str, Any]:
    busiest = [worker.cpu_max_ratio for worker in workers if worker.cpu_max_ratio is not None]
    waited_ns = measured.maxima.get("cpu_wait_max_ns")
    # A probe of the loop that came late is a stall as well, whoever noticed it.
    stalls = (measured.maxima.get("loop_stall_max_ns"), measured.histogram("loop_delay").max_ns)
    return {
        "workers": len(ledger.workers().keys() | {worker.id for worker in workers}),
        "workers_lost": run.workers_lost,
        "slices_missing": run.slices_missing,
        "own_limits": whole.total("own_limits"),
        **({"held": held} if (held := whole.by_last("held")) else {}),
        **_known(
            cpu_s=run.cpu_s,
            attempts_per_cpu_s=whole.total("attempts") / run.cpu_s if run.cpu_s else None,
            # A second that was closed late holds more than a second's wait.
            cpu_wait_max_ratio=None if waited_ns is None else min(round(waited_ns / NS_PER_S, 6), 1.0),
            loop_stall_max_ms=milliseconds(max((ns for ns in stalls if ns is not None), default=None)),
            cpu_max_ratio=max(busiest, default=None),
        ),
    }
