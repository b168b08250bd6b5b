"""Traces made of traces, in one pass and constant memory: its head, a sample of its visitors, another speed.

Every visit that is read is checked (`harness.trace.check`, bodies only for being JSON), so a trace that cannot be used
ends the command before anything stands under the output's name. Lines keep all that the change does not concern:
unknown keys, the order of keys, the spelling of numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from harness.errors import TraceError
from harness.trace.check import Validation
from harness.trace.codec import ReadVisit
from harness.trace.edit import edit_header, edit_line, raw, seconds
from harness.trace.lines import BadLines, source_name
from harness.trace.model import MAX_SECONDS, Visit
from harness.trace.openvisits import OpenVisits
from harness.trace.share import share
from harness.trace.writer import open_output

NO_TOTALS = {"visits": None, "span_s": None}


class Kept(NamedTuple):
    """How many visits were read and how many of them written."""

    read: int
    written: int


class Warped(NamedTuple):
    """What another speed did: visits, and how many are open at the peak, before and after.

    `early` counts visits that come back before the visitor's earlier visit can have ended, though they did not before.
    """

    visits: int
    peak_before: int
    peak_after: int
    early: int


def head_trace(source: str | Path, output: str | Path, bad: BadLines, count: int) -> Kept:
    """Write the first `count` visits of a trace; what comes after them is not read."""
    validation = Validation(source, bad, requests=False)
    with _writing(output, edit_header(validation.header_line, NO_TOTALS)) as write:
        for read, _ in islice(validation, count):
            write(read.raw)
    return Kept(validation.visits, validation.visits)


def sample_trace(source: str | Path, output: str | Path, bad: BadLines, fraction: float, seed: int = 0) -> Kept:
    """Write all visits of that share of the visitors (0 < `fraction` <= 1): chains and returns stay whole.

    Whether a visitor is in depends on its name, the seed and the fraction alone, and whoever is in a small sample is in
    every larger one of the same seed. Raises `TraceError` when nobody is in.
    """

    def chosen(read: ReadVisit) -> bytes | None:
        return read.raw if share(f"sample/{seed}/{read.visit.visitor}") < fraction else None

    return _rewrite(Validation(source, bad, requests=False), source, output, NO_TOTALS, chosen)


def warp_trace(source: str | Path, output: str | Path, bad: BadLines, speed: float, *, think: bool = False) -> Warped:
    """Write the trace with arrivals `speed` times as fast (above 0; below 1 is slower), and think times too if asked.

    Think times belong to people, who do not hurry because more of them come: with these left alone, a higher speed
    means more visits open at once.
    """
    name = source_name(source)
    before, after = OpenVisits(), OpenVisits()
    returning = _Returning()
    early = 0

    def faster_step(_: int, fields: dict[str, msgspec.Raw]) -> None:
        if "think" in fields:
            fields["think"] = raw(seconds(msgspec.json.decode(fields["think"]) / speed))

    def faster(read: ReadVisit) -> bytes:
        nonlocal early
        visit = read.visit
        at_s, length_s = seconds(visit.at / speed), sum(step.think for step in visit.steps)
        warped_s = length_s / speed if think else length_s
        if max(at_s, warped_s) > MAX_SECONDS:
            raise TraceError(f"{name}:{read.line}: at: more than ten years after the start at this speed")
        before.add(visit.at, length_s)
        after.add(at_s, warped_s)
        early += returning.comes_early(visit, at_s, length_s, warped_s)
        return edit_line(read.raw, {"at": at_s}, faster_step if think else None)

    validation = Validation(source, bad, requests=False)
    span_s = validation.header.span_s
    # None where a header that said too much would say what no header may.
    changes = {} if span_s is None else {"span_s": seconds(span_s / speed) if span_s / speed <= MAX_SECONDS else None}
    kept = _rewrite(validation, source, output, changes, faster)
    return Warped(kept.written, before.peak, after.peak, early)


class _Returning:
    """Visitors that are to come again: when their visits end at the soonest, before and after the change."""

    def __init__(self) -> None:
        self._ends_s: dict[str, tuple[float, float]] = {}

    def comes_early(self, visit: Visit, at_s: float, length_s: float, warped_s: float) -> bool:
        """Whether a visit comes back before the earlier one can have ended, only now that it begins at `at_s`."""
        old_end_s, new_end_s = self._ends_s.pop(visit.visitor, (0.0, 0.0))
        if visit.returns:
            self._ends_s[visit.visitor] = (visit.at + length_s, at_s + warped_s)
        returns = any(step.identity == "return" for step in visit.steps)
        return returns and at_s < new_end_s and visit.at >= old_end_s


def _rewrite(
    validation: Validation,
    source: str | Path,
    output: str | Path,
    header: dict[str, Any],
    change: Callable[[ReadVisit], bytes | None],
) -> Kept:
    """Write what `change` makes of each visit, None for none of it; a trace without any visit is a `TraceError`."""
    written = 0
    with _writing(output, edit_header(validation.header_line, header)) as write:
        for read, _ in validation:
            line = change(read)
            if line is not None:
                write(line)
                written += 1
        if not written:
            why = "no visitor is in the sample" if validation.visits else "the trace holds no usable visit"
            raise TraceError(f"{source_name(source)}: {why}: nothing was written")
    return Kept(validation.visits, written)


@contextmanager
def _writing(output: str | Path, header: bytes) -> Iterator[Callable[[bytes], None]]:
    """A function that writes one line; the header comes first, and only with the first line or at the end."""
    with open_output(output) as stream:
        pending = header + b"\n"

        def write(line: bytes) -> None:
            nonlocal pending
            stream.write(pending + line + b"\n")
            pending = b""

        yield write
        stream.write(pending)
