"""Lines of `slices.jsonl.zst`: the snapshots of a run, second by second, exact enough to judge the run again.

One line per second and operation (and one with op "" for what belongs to none). `from_lines(to_lines(…))` gives the
same snapshots back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from harness.errors import UsageError
from harness.measure.histogram import Histogram
from harness.measure.snapshot import Snapshot, count_error
from harness.measure.transcript import Exemplar

_KEYED_BY_OP = frozenset({"attempts", "steps", "first_attempts", "first_available"})


def to_lines(second: int, snapshot: Snapshot) -> list[dict[str, Any]]:
    """The JSON-able lines of one second (0 or more, from the run's start), in a fixed order."""
    lines: dict[str, dict[str, Any]] = {}

    def line(op: str) -> dict[str, Any]:
        return lines.setdefault(op, {"second": second, "op": op})

    for key, n in sorted(snapshot.counters.items()):
        line(key[1] if key[0] in _KEYED_BY_OP else "").setdefault("counters", []).append([*key, n])
    for (measure, op, cohort, row), histogram in sorted(snapshot.histograms.items(), key=lambda item: item[0]):
        entry = {"measure": measure, "cohort": cohort, "row": row} | histogram.to_obj()
        line(op).setdefault("histograms", []).append(entry)
    for error, n in sorted(snapshot.errors.items()):
        line("").setdefault("errors", []).append([*error, n])
    if snapshot.sums:
        line("")["sums"] = dict(sorted(snapshot.sums.items()))
    if snapshot.maxima:
        line("")["maxima"] = dict(sorted(snapshot.maxima.items()))
    if snapshot.exemplars:
        line("")["exemplars"] = msgspec.to_builtins(snapshot.exemplars)
    return [lines[op] for op in sorted(lines)]


def from_lines(lines: Iterable[Mapping[str, Any]]) -> dict[int, Snapshot]:
    """The snapshots by second, ascending; lines may come in any order.

    Raises `UsageError` naming the line (from 1) that is not one of `to_lines`.
    """
    seconds: dict[int, Snapshot] = {}
    for number, line in enumerate(lines, 1):
        try:
            second = int(line["second"])
            seconds.setdefault(second, Snapshot()).merge(_snapshot_of(line))
        except (KeyError, TypeError, ValueError, msgspec.ValidationError) as error:
            raise UsageError(f"slices, line {number}: not a slice of a run ({error!r}); the file is damaged") from error
    return dict(sorted(seconds.items()))


def _snapshot_of(line: Mapping[str, Any]) -> Snapshot:
    snapshot = Snapshot()
    op = str(line["op"])
    for *key, n in line.get("counters", ()):
        snapshot.counters[tuple(str(field) for field in key)] = int(n)
    for entry in line.get("histograms", ()):
        place = (str(entry["measure"]), op, str(entry["cohort"]), str(entry["row"]))
        snapshot.histograms[place] = Histogram.from_obj(entry)
    for in_op, result, http_status, code, message, n in line.get("errors", ()):
        count_error(snapshot.errors, (str(in_op), str(result), int(http_status), int(code), str(message)), int(n))
    snapshot.sums |= {str(name): int(amount) for name, amount in line.get("sums", {}).items()}
    snapshot.maxima |= {str(name): int(peak) for name, peak in line.get("maxima", {}).items()}
    snapshot.exemplars = msgspec.convert(line.get("exemplars", []), list[Exemplar])
    return snapshot


def merge_from(slices: Mapping[int, Snapshot], first_second: int = 0) -> Snapshot:
    """One snapshot of all slices from `first_second` on: the whole run, or what follows the warm-up."""
    return Snapshot.merged(snapshot for second, snapshot in slices.items() if second >= first_second)
