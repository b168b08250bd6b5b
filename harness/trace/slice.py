"""A stretch of a trace's time, with times that begin at zero and with visitors that come from and go to nowhere else.

Who comes again is known only at the end, so the visits wait in temporary space until then.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from harness.errors import TraceError
from harness.trace.check import Validation
from harness.trace.codec import ReadVisit
from harness.trace.edit import edit_header, edit_line, raw, seconds
from harness.trace.lines import BadLines, source_name
from harness.trace.spool import open_spool
from harness.trace.writer import open_output


class Sliced(NamedTuple):
    """How many visits were written, and what became of those that reach beyond the slice.

    `left` visits were marked `returns`, but the visitor does not come again within the slice: they are marked no more.
    `came` visits carried the vid of a visit before the slice: they begin `fresh`.
    """

    visits: int
    left: int
    came: int


def slice_trace(source: str | Path, output: str | Path, bad: BadLines, start_s: float, end_s: float) -> Sliced:
    """Write the visits that begin at `start_s` or later and before `end_s`, with `start_s` as the new zero.

    A visit stays whole, even when it lasts beyond the end. The trace is read up to `end_s`, no further. Raises
    `TraceError` when no visit begins within.
    """
    validation = Validation(source, bad, requests=False)
    before: set[str] = set()
    awaited: dict[str, int] = {}
    visits = came = 0
    first_s = last_s = 0.0
    with open_spool() as spool:
        for read, _ in validation:
            visit = read.visit
            if visit.at >= end_s:
                break
            if visit.at < start_s:
                (before.add if visit.returns else before.discard)(visit.visitor)
                continue
            foreign = visit.visitor in before and any(step.identity == "return" for step in visit.steps)
            came += foreign
            spool.write(_moved(read, start_s, foreign=foreign) + b"\n")
            before.discard(visit.visitor)
            awaited.pop(visit.visitor, None)
            if visit.returns:
                awaited[visit.visitor] = visits
            first_s = first_s if visits else visit.at
            last_s = visit.at
            visits += 1
        if not visits:
            none = f"none of the {validation.visits} visits read begins in the slice"
            why = none if validation.visits else "the trace holds no usable visit"
            raise TraceError(f"{source_name(source)}: {why}")
        spool.seek(0)
        left = set(awaited.values())
        header = edit_header(validation.header_line, {"visits": visits, "span_s": seconds(last_s - first_s)})
        with open_output(output) as stream:
            stream.write(header + b"\n")
            for number, line in enumerate(spool):
                stream.write(edit_line(line, {"returns": False}) + b"\n" if number in left else line)
    return Sliced(visits, len(left), came)


def _moved(read: ReadVisit, start_s: float, *, foreign: bool) -> bytes:
    """The visit's line as the slice has it."""
    changes = {"at": seconds(read.visit.at - start_s)}
    return edit_line(read.raw, changes, _begin_fresh if foreign else None)


def _begin_fresh(_: int, step: dict[str, msgspec.Raw]) -> None:
    if "identity" in step and msgspec.json.decode(step["identity"]) == "return":
        step["identity"] = raw("fresh")
