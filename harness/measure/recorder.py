"""`Recorder`: folds the records of one worker into a `Snapshot`, in small portions, about two microseconds each.

Each (op, cohort) has a cell: result counts, and for each measure a list of times not yet folded beside its histogram.
Lists are folded when a few hundred attempts are pending, so no turn of the event loop pays for more. `take` turns the
cells into a snapshot and begins anew. The rules of interfaces section 3 live here and nowhere else:

- response and service time, row "ok": engagement replies and accepted updates, and as +infinity whatever had no
  readable reply; row "error": error replies. Our own `internal_error` has no time.
- dispatch lag: every attempt that was begun. Connect time: attempts that opened a connection.
- time to available, per get_engagement step: available ones have a time; exhausted and censored ones were cut off
  (`…_censored`); rejected, failed and not_available ones never will be (`…_never`).
- closed-loop runs: response time = connect + service, no lag.
"""

from __future__ import annotations

from typing import Final

from harness.measure.exemplars import Exemplars
from harness.measure.histogram import Histogram
from harness.measure.names import CHAIN_EVENTS, CONNECTION_EVENTS, OUTCOMES, RESULTS
from harness.measure.snapshot import Snapshot, count_error
from harness.visitor.records import ENGAGED, NO_REPLY, Attempt, Outcome, Result, StepOutcome, VisitEnd, VisitOutcome

_FOLD_AFTER = 256

_OK: Final = 0
_ERROR: Final = 1
_INFINITE: Final = 2
_UNTIMED: Final = 3


def _row(result: Result) -> int:
    if result in ENGAGED:
        return _OK
    if result in NO_REPLY:
        return _INFINITE
    return _UNTIMED if result is Result.internal_error else _ERROR


# Indexed by the result's number: hashing an enum member on the hot path costs more than all else.
_ROWS: list[int] = [_row(result) for result in Result]

_TTA = {
    Outcome.available: "time_to_available",
    Outcome.exhausted: "time_to_available_censored",
    Outcome.censored: "time_to_available_censored",
    Outcome.rejected: "time_to_available_never",
    Outcome.failed: "time_to_available_never",
    Outcome.not_available: "time_to_available_never",
}
_TTA_OF: list[str | None] = [_TTA.get(outcome) for outcome in Outcome]


class _Timer:
    """A histogram, and the times that wait to be folded into it."""

    __slots__ = ("histogram", "pending")

    def __init__(self) -> None:
        self.pending: list[int] = []
        self.histogram = Histogram()

    def fold(self) -> Histogram:
        if self.pending:
            self.histogram.add_all(self.pending)
            self.pending = []
        return self.histogram


class _Cell:
    """What was counted for one op and cohort since the last `take`; timers with two rows are indexed by _OK, _ERROR."""

    def __init__(self) -> None:
        self.results = [0] * len(RESULTS)
        self.outcomes = [0] * len(OUTCOMES)
        self.first_attempts = 0
        self.first_available = 0
        self.no_reply = 0
        self.response = [_Timer(), _Timer()]
        self.service = [_Timer(), _Timer()]
        self.connect = _Timer()
        self.lag = _Timer()
        self.available = {name: _Timer() for name in _TTA.values()}

    def timers(self) -> list[tuple[str, str, _Timer]]:
        """All of them, with measure and row."""
        rows = ("ok", "error")
        return [
            *(("response_time", row, timer) for row, timer in zip(rows, self.response, strict=True)),
            *(("service_time", row, timer) for row, timer in zip(rows, self.service, strict=True)),
            ("connect_time", "ok", self.connect),
            ("dispatch_lag", "ok", self.lag),
            *((name, "ok", timer) for name, timer in self.available.items()),
        ]

    def fold(self) -> None:
        for _, _, timer in self.timers():
            timer.fold()

    def move_into(self, snapshot: Snapshot, op: str, cohort: str) -> None:
        """Hand everything to `snapshot`; the cell must not be used afterwards."""
        for kind, names, counts in (("attempts", RESULTS, self.results), ("steps", OUTCOMES, self.outcomes)):
            snapshot.counters |= {(kind, op, cohort, name): n for name, n in zip(names, counts, strict=True) if n}
        firsts = (("first_attempts", self.first_attempts), ("first_available", self.first_available))
        snapshot.counters |= {(name, op, cohort): n for name, n in firsts if n}
        for measure, row, timer in self.timers():
            histogram = timer.fold()
            if row == "ok" and measure in ("response_time", "service_time"):
                histogram.add_infinite(self.no_reply)
            if histogram.counts or histogram.infinite:
                snapshot.histograms[measure, op, cohort, row] = histogram


class _Visits:
    """What was counted of the visits of one cohort since the last `take`."""

    def __init__(self) -> None:
        self.started = 0
        self.ended = 0
        self.ends = [0] * len(VisitEnd)

    def move_into(self, snapshot: Snapshot, cohort: str) -> None:
        counts: dict[tuple[str, ...], int] = {("visits", cohort, end.name): self.ends[end] for end in VisitEnd}
        counts["visits_started", cohort] = self.started
        counts["visits_ended", cohort] = self.ended
        snapshot.counters |= {key: n for key, n in counts.items() if n}


class Recorder:
    """Collects what happened at one worker; `take` hands it over.

    `closed` says that the run is closed-loop (response = connect + service, no dispatch lag); visits that ended within
    the first `warmup_ns` are no exemplars.
    """

    def __init__(self, *, closed: bool = False, warmup_ns: int = 0) -> None:
        self._closed = closed
        self._exemplars = Exemplars(warmup_ns)
        self._begin()

    def _begin(self) -> None:
        self._cells: dict[tuple[str, str], _Cell] = {}
        self._visits: dict[str, _Visits] = {}
        self._chain = [0] * (len(CHAIN_EVENTS) + 1)
        self._return_missed = self._stale_sent = 0
        self._last_arrival_ns = -1
        self._stayed_ns = 0
        self._loop_delay = Histogram()
        self._rest = Snapshot()
        self._pending = 0

    def _cell(self, op: str, cohort: str) -> _Cell:
        cell = self._cells.get((op, cohort))
        if cell is None:
            cell = self._cells[op, cohort] = _Cell()
        return cell

    def _visits_of(self, cohort: str) -> _Visits:
        visits = self._visits.get(cohort)
        if visits is None:
            visits = self._visits[cohort] = _Visits()
        return visits

    def attempts(self, batch: list[Attempt]) -> None:
        """Fold attempts that are over. Raises `ValueError` when one was answered before it was sent."""
        if not batch:
            return
        chain, closed = self._chain, self._closed
        op, cohort = batch[0].op, batch[0].cohort
        cell = self._cell(op, cohort)
        for attempt in batch:
            if attempt.cohort != cohort or attempt.op != op:
                op, cohort = attempt.op, attempt.cohort
                cell = self._cell(op, cohort)
            result = attempt.result
            cell.results[result] += 1
            chain[attempt.chain] += 1
            if attempt.return_missed:
                self._return_missed += 1
            if attempt.stale:
                self._stale_sent += 1
            planned_ns, started_ns = attempt.planned_ns, attempt.started_ns
            connect_ns = 0
            if started_ns >= 0:
                if not closed:
                    cell.lag.pending.append(started_ns - planned_ns if started_ns > planned_ns else 0)
                connected_ns = attempt.connected_ns
                if connected_ns > started_ns:
                    connect_ns = connected_ns - started_ns
                    cell.connect.pending.append(connect_ns)
            row = _ROWS[result]
            if row <= _ERROR:
                done_ns = attempt.done_ns
                service_ns = done_ns - attempt.sent_ns
                cell.service[row].pending.append(service_ns)
                cell.response[row].pending.append(connect_ns + service_ns if closed else done_ns - planned_ns)
            elif row == _INFINITE:
                cell.no_reply += 1
            if row != _OK:
                key = (op, RESULTS[result], attempt.http_status, attempt.code, attempt.message)
                count_error(self._rest.errors, key)
        self._exemplars.attempts(batch)
        self._pending += len(batch)
        if self._pending >= _FOLD_AFTER:
            self._pending = 0
            for cell in self._cells.values():
                cell.fold()

    def steps(self, batch: list[StepOutcome]) -> None:
        """Fold steps that are settled."""
        self._exemplars.steps(batch)
        for step in batch:
            op, outcome = step.op, step.outcome
            cell = self._cell(op, step.cohort)
            cell.outcomes[outcome] += 1
            if step.attempts:
                cell.first_attempts += 1
                if step.first_available:
                    cell.first_available += 1
            if op == "get_engagement" and step.planned_ns >= 0:
                measure = _TTA_OF[outcome]
                if measure is not None:
                    cell.available[measure].pending.append(step.settled_ns - step.planned_ns)

    def visits(self, batch: list[VisitOutcome]) -> None:
        """Fold visits that ended, after their attempts and steps."""
        self._exemplars.visits(batch)
        for visit in batch:
            counts = self._visits_of(visit.cohort)
            counts.ends[visit.end] += 1
            if visit.started_ns >= 0:
                counts.ended += 1
                self._stayed_ns += visit.ended_ns - visit.started_ns

    def visit_started(self, planned_ns: int, cohort: str) -> None:
        """Count a visit that begins now; `planned_ns` is its planned arrival."""
        self._visits_of(cohort).started += 1
        if planned_ns > self._last_arrival_ns:
            self._last_arrival_ns = planned_ns

    def connection(self, event: str, n: int = 1) -> None:
        """Count connection events: one of `names.CONNECTION_EVENTS`, else `ValueError`."""
        if event not in CONNECTION_EVENTS:
            raise ValueError(f"'{event}' is not a connection event")
        self._count("connections", event, n=n)

    def held(self, limit: str) -> None:
        """Count a visit or request that a guard-rail kept from beginning when it was due; `limit` is its key."""
        self._count("held", limit)

    def own_limit(self) -> None:
        """Count a connection that this machine had no descriptor, port or memory for."""
        self._count("own_limits")

    def loop_delay(self, delay_ns: int) -> None:
        """Count one probe of the event loop's delay (0 or more)."""
        self._loop_delay.add(delay_ns)

    def stall(self, stall_ns: int) -> None:
        """Note the length of a stall of the event loop; the longest is kept."""
        self._peak("loop_stall_max_ns", stall_ns)

    def usage(self, *, cpu_ns: int, rss_bytes: int, waited_ns: int = 0) -> None:
        """Note CPU time spent since the last call, the memory resident now, and how long we waited for a CPU."""
        self._rest.sums["cpu_ns"] = self._rest.sums.get("cpu_ns", 0) + cpu_ns
        self._peak("rss_bytes", rss_bytes)
        self._peak("cpu_wait_max_ns", waited_ns)

    def take(self) -> Snapshot:
        """Everything folded since the last `take`; the recorder is empty afterwards."""
        snapshot = self._rest
        for (op, cohort), cell in self._cells.items():
            cell.move_into(snapshot, op, cohort)
        for cohort, visits in self._visits.items():
            visits.move_into(snapshot, cohort)
        missed = (("return_missed", self._return_missed), ("stale_sent", self._stale_sent))
        for name, n in (*zip(CHAIN_EVENTS, self._chain[1:], strict=True), *missed):
            if n:
                self._count("chain", name, n=n)
        if self._last_arrival_ns >= 0:
            self._peak("last_arrival_ns", self._last_arrival_ns)
        if self._stayed_ns:
            snapshot.sums["visit_ns"] = self._stayed_ns
        snapshot.exemplars = self._exemplars.take()
        if self._loop_delay.counts:
            snapshot.histograms["loop_delay", "", "", "ok"] = self._loop_delay
        self._begin()
        return snapshot

    def _count(self, *key: str, n: int = 1) -> None:
        counters = self._rest.counters
        counters[key] = counters.get(key, 0) + n

    def _peak(self, name: str, value: int) -> None:
        self._rest.maxima[name] = max(self._rest.maxima.get(name, value), value)
