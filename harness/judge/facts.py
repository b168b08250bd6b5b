"""What the fleet knows of a run beyond the snapshots: the plain inputs of a summary."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Ended = Literal["finished", "interrupted", "guard", "instrument", "internal_error"]


class WorkerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One worker incarnation, by the id that the ledger uses. None means not measured.

    `cpu_max_ratio` is its busiest stretch, in cores: CPU time over wall time of windows of some seconds.
    `clock_offset_ms` is its clock minus the master's, as estimated before the start, give or take `clock_error_ms`;
    `clock_drift_ms` is by how much that had changed when it was last heard.
    """

    id: str
    clock_offset_ms: float | None = None
    clock_error_ms: float | None = None
    clock_drift_ms: float | None = None
    cpu_s: float | None = None
    cpu_max_ratio: float | None = None
    rss_max_mb: float | None = None


class RunFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One run: what it was, how long its phases took, how it ended.

    `duration_s` is the whole run, drain included; arrivals were judged from `warmup_s` on for `arrivals_s`, during
    which `planned_visits` were due (None in a closed-loop run: there is no plan to keep). `cpu_s` is that of the whole
    process tree. `slices_missing` counts closed seconds of live workers that never arrived. `ended_message` is one line
    that says why the run did not finish.
    """

    run_id: str
    started_at: str
    duration_s: float
    trace_digest: str
    seed: int
    config: dict[str, Any]
    load_model: Literal["open", "closed"]
    warmup_s: float = 0.0
    arrivals_s: float
    planned_visits: int | None
    cpu_s: float | None = None
    slices_missing: int = 0
    workers_lost: int = 0
    ended: Ended = "finished"
    ended_message: str = ""
