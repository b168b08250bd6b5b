"""One run as the master sees it: conductor, run folder, metrics page, progress, and the end of it all."""

from __future__ import annotations

import os
import resource
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from time import monotonic_ns
from typing import Any

import harness
from harness.bench.machine import machine
from harness.cli.planned import plan_end_ns, planned_until, planned_visits
from harness.cli.run_metrics import RunMetrics, worker_counts, worker_cpu_ratios
from harness.config.build import public_config
from harness.config.model import RunConfig
from harness.errors import ExitCode, StorageError
from harness.export.state import RunState
from harness.fleet.master import Conductor
from harness.fleet.member import Member
from harness.fleet.messages import FromMaster
from harness.judge.abort import AbortGuard
from harness.judge.facts import Ended, RunFacts, WorkerFacts
from harness.judge.summary import kept_of, summarize
from harness.judge.threshold import parse_thresholds
from harness.judge.verdict import judge
from harness.measure.availability import eventual_counts
from harness.measure.series import series_line
from harness.measure.slices import to_lines
from harness.measure.snapshot import Snapshot
from harness.plan.arrivals import parse_arrivals
from harness.plan.schedule import Supply
from harness.report.charts import CURVE_MEASURES, percentile_curve
from harness.report.html import render_html
from harness.report.text import render_text
from harness.store.run_folder import RunFolder
from harness.units import NS_PER_MS, NS_PER_S

_PROGRESS_NS = NS_PER_S
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

Event = dict[str, Any]


class MasterRun:
    """Conducts one run of `config` and leaves its folder behind.

    `tell` takes events for the parent. Raises `UsageError` when the metrics port is taken or the folder is not empty,
    `StorageError` when the folder cannot be written.
    """

    def __init__(self, config: RunConfig, send: Callable[[FromMaster], None], tell: Callable[[Event], None]) -> None:
        self._config = config
        self._tell = tell
        self._thresholds = parse_thresholds(config.thresholds)
        self._abort = AbortGuard(parse_thresholds(config.limits.abort_on))
        self._arrivals = parse_arrivals(config.arrivals)
        self._began = datetime.now(UTC)
        self._metrics: RunMetrics | None = None
        if config.metrics is not None:
            self._metrics = RunMetrics(config.metrics, config, self._thresholds, self._arrivals, plan_end_ns(config))
        self._folder = RunFolder.create(Path(config.out_dir), self._manifest())
        self._storage_error: StorageError | None = None
        self._planned = 0
        self._series: list[dict[str, Any]] = []
        self._kept: list[tuple[int, Snapshot]] = []
        self._measured = Snapshot()
        self._progress_ns = 0
        self._verdict: str | None = None
        self._slo_ok: dict[str, bool] = {}
        self._supply = Supply()
        visits = planned_visits(config, supply=self._supply)
        self.conductor = Conductor(config, visits, send, self, plan_end_ns(config))

    def _manifest(self) -> dict[str, Any]:
        config = self._config
        uname = os.uname()
        return {
            "schema": "harness.manifest/1",
            "run_id": config.run_id,
            "scenario": config.scenario,
            "started_at": self._began.isoformat(timespec="milliseconds"),
            "versions": {"harness": harness.__version__, "python": sys.version.split()[0]},
            "config": public_config(config),
            "seed": config.seed,
            "trace_digest": config.trace_digest,
            "labels": config.labels,
            "host": {
                "system": f"{uname.sysname} {uname.release}",
                "machine": uname.machine,
                "processor": str(machine()["model"]),
                "cores": os.cpu_count(),
            },
        }

    # Observer of the conductor

    def started(self, t0_ns: int, workers: int) -> None:
        """Tells the parent that the run begins."""
        self._tell({"event": "started", "t0_ns": t0_ns, "workers": workers})

    def arrived(self, second: int, snapshot: Snapshot, now_ns: int) -> None:
        """Ends the run when this makes an abort condition fail."""
        reason = self._abort.add(second, snapshot)
        if reason is not None and self.conductor.phase == "running":
            self.conductor.fail(reason, ExitCode.GUARD, now_ns)

    def second(self, second: int, snapshot: Snapshot) -> None:
        """Stores one second and keeps what the end needs of it."""
        conductor = self.conductor
        planned = None
        if self._config.closed_slots is None:
            planned = conductor.dealer.planned_by_second.get(second, 0)
        line = series_line(
            second,
            snapshot,
            planned=planned,
            open_visits=max(0, conductor.whole.visits_open),
            workers=len(conductor.members),
        )
        self._series.append(line)
        self._planned += planned or 0
        if self._metrics is not None:
            self._metrics.add(second, snapshot)
        if second * NS_PER_S >= self._config.warmup_ns:
            self._measured.merge(snapshot)
            self._kept.append((second, kept_of(snapshot)))
        self._store(lambda: self._folder.append_series(line))
        self._store(lambda: self._folder.append_slices(to_lines(second, snapshot)))

    def journal(self, entry: dict[str, object]) -> None:
        """Stores an entry of the journal."""
        self._store(lambda: self._folder.journal(entry))

    def _store(self, write: Callable[[], None]) -> None:
        try:
            write()
        except StorageError as error:
            self._storage_error = error
            self.conductor.interrupt(str(error), monotonic_ns())

    # While it goes on

    def turn(self) -> None:
        """Tells the parent how the run goes and renews the metrics page, once a second."""
        now_ns = monotonic_ns()
        if now_ns - self._progress_ns < _PROGRESS_NS:
            return
        self._progress_ns = now_ns
        self._publish(now_ns)
        if self.conductor.t0_ns:
            self._tell(self._progress(now_ns))

    def _progress(self, now_ns: int) -> Event:
        conductor = self.conductor
        whole = conductor.whole
        response, lag = whole.histogram("response_time"), whole.histogram("dispatch_lag")
        good, settled = eventual_counts(whole)
        errors = {
            name: count
            for name, count in whole.by_last("attempts").items()
            if name not in ("available", "not_available", "accepted")
        }
        return {
            "event": "progress",
            "t_s": max(0.0, (now_ns - conductor.t0_ns) / NS_PER_S),
            "phase": self._phase(now_ns),
            "planned": conductor.ledger.totals()["visits"]["planned"],
            "started": whole.total("visits_started"),
            "open": conductor.open_visits,
            "settled": whole.total("visits"),
            "attempts": whole.total("attempts"),
            "available_ratio": good / settled if settled else None,
            "p50_ms": _ms(response.quantile(0.5)),
            "p95_ms": _ms(response.quantile(0.95)),
            "lag_p99_ms": _ms(lag.quantile(0.99)),
            "errors": errors,
            "workers": len(conductor.members),
        }

    def _phase(self, now_ns: int) -> str:
        conductor = self.conductor
        if conductor.phase in ("gathering", "starting") or now_ns < conductor.t0_ns:
            return "starting"
        if conductor.phase == "finished":
            return "ended"
        offset_ns = now_ns - conductor.t0_ns
        if offset_ns < self._config.warmup_ns:
            return "warmup"
        return "drain" if conductor.phase == "draining" and offset_ns > self._arrivals_end_ns() else "measure"

    def _arrivals_end_ns(self) -> int:
        sooner = self.conductor.plan_ended is not None or self._supply.gave_out
        end_ns = None if sooner else plan_end_ns(self._config)
        return self.conductor.dealer.last_due_ns if end_ns is None else end_ns

    def _publish(self, now_ns: int) -> None:
        if self._metrics is not None:
            self._metrics.publish(self._state(now_ns, self._metrics))

    def _state(self, now_ns: int, metrics: RunMetrics) -> RunState:
        conductor = self.conductor
        offset_ns = max(0, now_ns - conductor.t0_ns) if conductor.t0_ns else 0
        running = offset_ns > 0
        planned_hz = self._arrivals.rate_at_hz(offset_ns) if running else None
        if running and planned_hz is None and self._config.closed_slots is None:
            planned_hz = float(conductor.dealer.planned_by_second.get(offset_ns // NS_PER_S, 0))
        phase = self._phase(now_ns)
        totals = conductor.ledger.totals()
        # What is undealt while the run goes on is not an end yet.
        master_only = {(what, "lost"): books["lost"] for what, books in totals.items()}
        if phase == "ended":
            master_only |= {(what, "undealt"): books["undealt"] for what, books in totals.items()}
        measured_s = (offset_ns - self._config.warmup_ns) / NS_PER_S
        slo_ok = self._slo_ok
        if self._verdict is None:
            slo_ok = metrics.thresholds_so_far(self._measured, measured_s)
        return RunState(
            phase=phase,
            planned_rate_hz=planned_hz,
            visits_planned=totals["visits"]["planned"] if phase == "ended" else self._planned,
            master_only=master_only,
            achieved_rate_hz=float(self._series[-1]["started"]) if self._series else None,
            workers=worker_counts(conductor, self._config.expect_workers),
            worker_cpu_ratio=worker_cpu_ratios(conductor),
            slo_ok=slo_ok,
            verdict=self._verdict,
        )

    # The end

    def finish(self) -> int:
        """Summarises, judges, writes, tells; returns the exit code. Raises `StorageError` when nothing can be written.

        A run that never began leaves a partial folder and tells why.
        """
        conductor = self.conductor
        try:
            if not conductor.t0_ns:
                message, exit_code = conductor.error or (
                    "the run was interrupted before it began",
                    ExitCode.INTERRUPTED,
                )
                self._folder.mark_partial(message)
                self._folder.close()
                self._tell({"event": "error", "message": message, "exit_code": int(exit_code)})
                return int(exit_code)
            return self._finish_run(conductor)
        finally:
            if self._metrics is not None:
                self._metrics.close()

    def _finish_run(self, conductor: Conductor) -> int:
        summary = self._judged(conductor)
        if not self._write(conductor, summary):
            # What could not be stored is told all the same, and the verdict says why it is not in the folder.
            summary = self._judged(conductor)
        self._verdict = summary["verdict"]["status"]
        self._slo_ok = {
            str(check["name"]): bool(check["ok"]) for check in summary["verdict"]["checks"] if check["kind"] == "slo"
        }
        self._publish(monotonic_ns())
        self._tell(
            {
                "event": "finished",
                "summary": summary,
                "out_dir": self._config.out_dir,
                "text": render_text(summary),
                "lingers": self._metrics is not None and self._metrics.scraped,
            }
        )
        if self._metrics is not None:
            self._metrics.linger()
        return int(summary["verdict"]["exit_code"])

    def _judged(self, conductor: Conductor) -> dict[str, Any]:
        config = self._config
        summary = summarize(
            run=self._run_facts(conductor),
            measured=self._measured,
            whole=conductor.whole,
            slices=self._kept,
            ledger=conductor.ledger,
            workers=[_worker_facts(member) for member in conductor.everyone()],
            rng=Random(f"bootstrap/{config.seed}"),
        )
        limits = config.validity.tolerating(config.tolerate_worker_loss)
        slices = [snapshot for _, snapshot in self._kept]
        summary["verdict"] = judge(summary, self._measured, thresholds=self._thresholds, limits=limits, slices=slices)
        return summary

    def _write(self, conductor: Conductor, summary: dict[str, Any]) -> bool:
        """Writes summary and report; False when the disk failed only now."""
        failed_before = self._storage_error is not None
        reason = conductor.cut_short
        if reason is not None:
            self._store(lambda: self._folder.mark_partial(reason))
        notes = [f"The run was cut short: {reason}."] if reason is not None else []
        html = render_html(summary, self._series, self._curves(), notes)
        ended_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._store(lambda: self._folder.finish(summary, html, {"ended_at": ended_at}))
        return failed_before or self._storage_error is None

    def _curves(self) -> dict[str, list[tuple[float, float]]]:
        histograms = {measure: self._measured.histogram(measure) for measure in CURVE_MEASURES}
        return {measure: percentile_curve(histogram) for measure, histogram in histograms.items() if histogram.count}

    def _run_facts(self, conductor: Conductor) -> RunFacts:
        config = self._config
        warmup_s = config.warmup_ns / NS_PER_S
        arrivals_ns = self._arrivals_end_ns()
        if config.closed_slots is not None and plan_end_ns(self._config) is None:
            arrivals_ns = conductor.ended_ns - conductor.t0_ns
        by_second = conductor.dealer.planned_by_second
        planned = sum(count for second, count in by_second.items() if second * NS_PER_S >= config.warmup_ns)
        if conductor.cut_ns is not None and conductor.cut_ns < arrivals_ns:
            # Rates are of the time that took place; what was due after it is in the books, as undealt.
            arrivals_ns = conductor.cut_ns
            planned = planned_until(arrivals_ns, by_second, config.warmup_ns)
        ended, message = self._ended(conductor)
        if not conductor.plan_counted:
            message = f"{message}; the plan went on, what is planned here is not all of it".removeprefix("; ")
        return RunFacts(
            run_id=config.run_id,
            started_at=self._began.isoformat(timespec="milliseconds"),
            duration_s=(conductor.ended_ns - conductor.t0_ns) / NS_PER_S,
            trace_digest=config.trace_digest,
            seed=config.seed,
            config=public_config(config),
            load_model="open" if config.closed_slots is None else "closed",
            warmup_s=warmup_s,
            arrivals_s=max(arrivals_ns / NS_PER_S - warmup_s, 1e-9),
            planned_visits=planned if config.closed_slots is None else None,
            cpu_s=_own_and_parent_cpu_s() + _others_cpu_s(conductor),
            slices_missing=sum(member.missing_slices for member in conductor.everyone()),
            workers_lost=conductor.workers_lost,
            ended=ended,
            ended_message=message,
        )

    def _ended(self, conductor: Conductor) -> tuple[Ended, str]:
        if self._storage_error is not None:
            return "internal_error", str(self._storage_error)
        if conductor.error is not None:
            message, exit_code = conductor.error
            if exit_code is ExitCode.GUARD:
                return "guard", message
            return "instrument" if exit_code is ExitCode.INVALID else "internal_error", message
        if conductor.interrupted is not None:
            return "interrupted", conductor.interrupted
        return "finished", f"the plan ended early: {conductor.plan_ended}" if conductor.plan_ended else ""


def _worker_facts(member: Member) -> WorkerFacts:
    return WorkerFacts(
        id=member.worker,
        clock_offset_ms=member.offset_ns / NS_PER_MS,
        clock_error_ms=_ms(member.clock_error_ns),
        clock_drift_ms=_ms(member.clock_drift_ns),
        cpu_s=member.cpu_ns / NS_PER_S,
        cpu_max_ratio=member.cpu_max_ratio,
        rss_max_mb=member.rss_max_bytes / 1e6,
    )


def _ms(value_ns: int | None) -> float | None:
    return None if value_ns is None else value_ns / NS_PER_MS


def _others_cpu_s(conductor: Conductor) -> float:
    """CPU seconds that workers report; one inside this very process is not another."""
    own = (socket.gethostname(), os.getpid())
    return sum(each.cpu_ns for each in conductor.everyone() if (each.host, each.pid) != own) / NS_PER_S


def _own_and_parent_cpu_s() -> float:
    """CPU seconds of this process, and of the parent that draws the progress; workers report their own."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    seconds = own.ru_utime + own.ru_stime
    stat = Path(f"/proc/{os.getppid()}/stat")
    if "HARNESS_EVENTS_FD" in os.environ and stat.exists():
        fields = stat.read_text().rpartition(")")[2].split()
        seconds += (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS
    return seconds
