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

from collections.abc import Sequence

from harness.measure.exemplars import Exemplars
from harness.measure.histogram import Histogram
from harness.measure.names import CHAIN_EVENTS, CONNECTION_EVENTS, OUTCOMES, RESULTS
from harness.measure.snapshot import Snapshot, count_error
from harness.visitor.records import ENGAGED, NO_REPLY, Attempt, Outcome, Result, StepOutcome, VisitOutcome

_FOLD_AFTER = 256

_OK, _ERROR, _INFINITE, _UNTIMED = range(4)


def _row(result: Result) -> int:
    if result in ENGAGED:
        return _OK
    if result in NO_REPLY:
        return _INFINITE
    return _UNTIMED if result is Result.internal_error else _ERROR


# Indexed by the result's number: hashing an enum member on the hot path costs more than all else.
_ROWS: tuple[int, ...] = tuple(_row(result) for result in Result)

_TTA = {
    Outcome.available: "time_to_available",
    Outcome.exhausted: "time_to_available_censored",
    Outcome.censored: "time_to_available_censored",
    Outcome.rejected: "time_to_available_never",
    Outcome.failed: "time_to_available_never",
    Outcome.not_available: "time_to_available_never",
}


class _Timer:
    """A histogram, and the times that wait to be folded into it."""

    __slots__ = ("histogram", "pending")

    def __init__(self) -> None:
        self.pending: list[int] = []
        self.histogram = Histogram()

    def fold(self) -> Histogram:
        self.histogram.add_all(self.pending)
        self.pending.clear()  # the same list goes on: appenders hold a reference
        return self.histogram


class _Cell:
    """What was counted for one op and cohort since the last `take`."""

    def __init__(self) -> None:
        self.results = [0] * len(RESULTS)
        self.outcomes = [0] * len(OUTCOMES)
        self.first_attempts = 0
        self.first_available = 0
        self.no_reply = 0
        self.timers = {
            (measure, row): _Timer()
            for measure, row in (
                ("response_time", "ok"),
                ("service_time", "ok"),
                ("response_time", "error"),
                ("service_time", "error"),
                ("connect_time", "ok"),
                ("dispatch_lag", "ok"),
                *((name, "ok") for name in set(_TTA.values())),
            )
        }
        # Bound methods, so that the hot path appends without a look-up; indexed by _OK and _ERROR.
        self.response = tuple(self.timers["response_time", row].pending.append for row in ("ok", "error"))
        self.service = tuple(self.timers["service_time", row].pending.append for row in ("ok", "error"))
        self.connect = self.timers["connect_time", "ok"].pending.append
        self.lag = self.timers["dispatch_lag", "ok"].pending.append

    def fold(self) -> None:
        for timer in self.timers.values():
            timer.fold()

    def move_into(self, snapshot: Snapshot, op: str, cohort: str) -> None:
        """Hand everything to `snapshot`; the cell must not be used afterwards."""
        for kind, names, counts in (("attempts", RESULTS, self.results), ("steps", OUTCOMES, self.outcomes)):
            snapshot.counters |= {(kind, op, cohort, name): n for name, n in zip(names, counts, strict=True) if n}
        firsts = (("first_attempts", self.first_attempts), ("first_available", self.first_available))
        snapshot.counters |= {(name, op, cohort): n for name, n in firsts if n}
        for (measure, row), timer in self.timers.items():
            histogram = timer.fold()
            if row == "ok" and measure in ("response_time", "service_time"):
                histogram.add_infinite(self.no_reply)
            if histogram.counts or histogram.infinite:
                snapshot.histograms[measure, op, cohort, row] = histogram


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
        self._chain = [0] * (len(CHAIN_EVENTS) + 1)
        self._loop_delay = Histogram()
        self._rest = Snapshot()
        self._pending = 0

    def _new_cell(self, op: str, cohort: str) -> _Cell:
        cell = self._cells[op, cohort] = _Cell()
        return cell

    def attempts(self, batch: Sequence[Attempt]) -> None:
        """Fold attempts that are over. Raises `ValueError` when one was answered before it was sent."""
        cells, chain, closed, errors = self._cells, self._chain, self._closed, self._rest.errors
        for attempt in batch:
            op, cohort, result = attempt.op, attempt.cohort, attempt.result
            cell = cells.get((op, cohort)) or self._new_cell(op, cohort)
            cell.results[result] += 1
            chain[attempt.chain] += 1
            if attempt.return_missed:
                self._count("chain", "return_missed")
            if attempt.stale:
                self._count("chain", "stale_sent")
            planned_ns, started_ns = attempt.planned_ns, attempt.started_ns
            connect_ns = 0
            if started_ns >= 0:
                if not closed:
                    cell.lag(started_ns - planned_ns if started_ns > planned_ns else 0)
                connected_ns = attempt.connected_ns
                if connected_ns > started_ns:
                    connect_ns = connected_ns - started_ns
                    cell.connect(connect_ns)
            row = _ROWS[result]
            if row <= _ERROR:
                done_ns = attempt.done_ns
                service_ns = done_ns - attempt.sent_ns
                cell.service[row](service_ns)
                cell.response[row](connect_ns + service_ns if closed else done_ns - planned_ns)
            elif row == _INFINITE:
                cell.no_reply += 1
            if row != _OK:
                count_error(errors, (op, RESULTS[result], attempt.http_status, attempt.code, attempt.message))
        self._exemplars.attempts(batch)
        self._pending += len(batch)
        if self._pending >= _FOLD_AFTER:
            self._pending = 0
            for cell in cells.values():
                cell.fold()

    def steps(self, batch: Sequence[StepOutcome]) -> None:
        """Fold steps that are settled."""
        self._exemplars.steps(batch)
        cells = self._cells
        for step in batch:
            op, cohort, outcome = step.op, step.cohort, step.outcome
            cell = cells.get((op, cohort)) or self._new_cell(op, cohort)
            cell.outcomes[outcome] += 1
            if step.attempts:
                cell.first_attempts += 1
                cell.first_available += step.first_available
            if op == "get_engagement" and step.planned_ns >= 0 and outcome in _TTA:
                cell.timers[_TTA[outcome], "ok"].pending.append(step.settled_ns - step.planned_ns)

    def visits(self, batch: Sequence[VisitOutcome]) -> None:
        """Fold visits that ended, after their attempts and steps."""
        self._exemplars.visits(batch)
        for visit in batch:
            self._count("visits", visit.cohort, visit.end.name)
            if visit.started_ns >= 0:
                self._count("visits_ended", visit.cohort)

    def visit_started(self, planned_ns: int, cohort: str) -> None:
        """Count a visit that begins now; `planned_ns` is its planned arrival."""
        self._count("visits_started", cohort)
        self._peak("last_arrival_ns", planned_ns)

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
        for name, n in zip(CHAIN_EVENTS, self._chain[1:], strict=True):
            if n:
                self._count("chain", name, n=n)
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
