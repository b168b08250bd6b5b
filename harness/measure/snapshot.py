"""`Snapshot`: everything measured over some time at some worker, in a form that adds up.

Merging is associative and commutative and has a zero (`Snapshot()`), so slices of workers and seconds may be joined in
any order and grouping. Amounts (`sums`) add up over workers and seconds, peaks (`maxima`) keep the largest.

Counter keys (closed names, interfaces section 3):
    ("attempts", op, cohort, result)   ("steps", op, cohort, outcome)   ("visits", cohort, end)   ("chain", event)
    ("connections", event)   ("first_attempts", op, cohort)   ("first_available", op, cohort)
    ("own_limits",): connections for which this machine had no descriptor, port or memory
    ("held", limit): visits and requests that a guard-rail kept from beginning when they were due
    ("visits_started", cohort)   ("visits_ended", cohort): ends of visits that had started
Histogram keys: (measure, op, cohort, row); row is "ok" or "error"; op and cohort are "" where they have no meaning.
Sums: cpu_ns; visit_ns (how long visits that ended had been open). Maxima: loop_stall_max_ns, rss_bytes,
last_arrival_ns, cpu_wait_max_ns (in a second).

Error texts come from the target, so their number is bounded: the 49 smallest keys are kept, the rest is counted under
`OTHER_ERRORS`. "The smallest", not "the first": a key among the smallest of a union is among the smallest of each part,
so merging stays associative and the kept counts exact.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from harness.measure.exemplars import best
from harness.measure.histogram import Histogram
from harness.measure.transcript import Exemplar

CounterKey = tuple[str, ...]
HistogramKey = tuple[str, str, str, str]
ErrorKey = tuple[str, str, int, int, str]  # op, result, http_status, code, message

MAX_ERRORS = 50
OTHER_ERRORS: ErrorKey = ("(any)", "(any)", 0, -1, "(other)")


def count_error(errors: dict[ErrorKey, int], key: ErrorKey, n: int = 1) -> None:
    """Count an error `n` times, keeping at most `MAX_ERRORS` keys (see above)."""
    errors[key] = errors.get(key, 0) + n
    if len(errors) - (OTHER_ERRORS in errors) >= MAX_ERRORS:
        largest = max(kept for kept in errors if kept != OTHER_ERRORS)
        evicted = errors.pop(largest)
        errors[OTHER_ERRORS] = errors.get(OTHER_ERRORS, 0) + evicted


class Snapshot(msgspec.Struct):
    """Counters, histograms, errors, gauges and exemplars; see the module for the keys. `Snapshot()` is the zero."""

    counters: dict[CounterKey, int] = {}
    histograms: dict[HistogramKey, Histogram] = {}
    errors: dict[ErrorKey, int] = {}
    sums: dict[str, int] = {}
    maxima: dict[str, int] = {}
    exemplars: list[Exemplar] = []

    def merge(self, other: Snapshot) -> None:
        """Add all of `other`, which stays as it is and shares nothing with this one afterwards."""
        for key, n in other.counters.items():
            self.counters[key] = self.counters.get(key, 0) + n
        for place, histogram in other.histograms.items():
            self.histograms.setdefault(place, Histogram()).merge(histogram)
        for error, n in other.errors.items():
            count_error(self.errors, error, n)
        for name, amount in other.sums.items():
            self.sums[name] = self.sums.get(name, 0) + amount
        for name, peak in other.maxima.items():
            self.maxima[name] = max(self.maxima.get(name, peak), peak)
        if other.exemplars:
            self.exemplars = best(self.exemplars + other.exemplars)

    @classmethod
    def merged(cls, snapshots: Iterable[Snapshot]) -> Snapshot:
        """A new snapshot that holds all of `snapshots`."""
        whole = cls()
        for snapshot in snapshots:
            whole.merge(snapshot)
        return whole

    def pack(self) -> bytes:
        """The snapshot as MessagePack, for a message between processes."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def unpack(cls, data: bytes) -> Snapshot:
        """The snapshot that `pack` wrote. Raises `ValueError` when the bytes are not one."""
        try:
            return _DECODER.decode(data)
        except msgspec.DecodeError as error:
            raise ValueError(f"not a snapshot: {error}") from error

    def total(self, name: str, *fields: str | None) -> int:
        """The sum of all counters `name` whose further fields equal `fields`; None or leaving off matches all."""
        return sum(
            n
            for key, n in self.counters.items()
            if key[0] == name and all(want is None or want == have for want, have in zip(fields, key[1:], strict=False))
        )

    def by_last(self, name: str, *fields: str | None) -> dict[str, int]:
        """The counters that `total` would sum, split by their last field; sorted by it, zeros left out."""
        split: dict[str, int] = {}
        for key, n in sorted(self.counters.items()):
            matches = all(want is None or want == have for want, have in zip(fields, key[1:], strict=False))
            if key[0] == name and matches and n:
                split[key[-1]] = split.get(key[-1], 0) + n
        return dict(sorted(split.items()))

    def histogram(
        self, measure: str, *, op: str | None = None, cohort: str | None = None, row: str = "ok"
    ) -> Histogram:
        """A new histogram with all of `measure`, of one `op` or `cohort` if given."""
        return Histogram.merged(
            histogram
            for (of, in_op, in_cohort, in_row), histogram in self.histograms.items()
            if of == measure and in_row == row and op in (None, in_op) and cohort in (None, in_cohort)
        )

    def labels(self) -> tuple[list[str], list[str]]:
        """The ops and the cohorts that occur in attempts or steps, each sorted."""
        places = [key for key in self.counters if key[0] in ("attempts", "steps")]
        return sorted({key[1] for key in places}), sorted({key[2] for key in places})

    @property
    def visits_open(self) -> int:
        """Visits begun less visits ended within this snapshot; over all slices so far, the visits open now."""
        return self.total("visits_started") - self.total("visits_ended")


_DECODER = msgspec.msgpack.Decoder(Snapshot)
