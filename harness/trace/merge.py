"""Several traces as one: k sorted streams of visits merged by `at`, with names that tell where each came from.

Every visit and visitor of input number k (from 1) is renamed to `mK.NAME`. No tag begins with another one (the dot ends
it), and within an input the names differ already: so no two inputs can meet in a name, whatever they hold, merged
traces included.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.errors import TraceError
from harness.trace.check import MAX_COHORTS, Validation
from harness.trace.codec import encode_header
from harness.trace.edit import edit_line
from harness.trace.lines import BadLines, source_name
from harness.trace.model import ID_PATTERN, Header
from harness.trace.writer import open_output

_ID = re.compile(ID_PATTERN)


def merge_traces(sources: Sequence[str | Path], output: str | Path, bad: BadLines) -> list[int]:
    """Write the visits of all sources ordered by `at`; how many each one gave.

    Visits of one moment keep the order of the sources. Memory: one line of each source, and what the check of each
    remembers. Raises `TraceError` when a source cannot be used or has no visit; a renamed id that is too long and a
    cohort beyond the allowed number are bad lines.
    """
    validations = [Validation(source, bad, requests=False) for source in sources]
    counts = [0] * len(sources)
    cohorts: set[str] = set()

    def renamed(index: int) -> Iterator[tuple[float, int, bytes]]:
        name, tag = source_name(sources[index]), f"m{index + 1}."
        for read, _ in validations[index]:
            visit = read.visit
            names = {"visit": tag + visit.id, "visitor": tag + visit.visitor}
            cohorts.add(visit.cohort)
            if len(cohorts) > MAX_COHORTS:
                cohorts.discard(visit.cohort)
                bad.add(TraceError(f"{name}:{read.line}: cohort: more than {MAX_COHORTS} in all sources together"))
            elif too_long := next((key for key, text in names.items() if not _ID.fullmatch(text)), None):
                bad.add(TraceError(f"{name}:{read.line}: {too_long}: with {tag} before it longer than 80 characters"))
            else:
                counts[index] += 1
                yield visit.at, index, edit_line(read.raw, names)
        if not counts[index]:
            raise TraceError(f"{name}: the trace holds no usable visit")

    with open_output(output) as stream:
        stream.write(encode_header(_header([validation.header for validation in validations])) + b"\n")
        for _, _, line in heapq.merge(*map(renamed, range(len(sources))), key=lambda item: item[:2]):
            stream.write(line + b"\n")
    return counts


def _header(headers: Sequence[Header]) -> Header:
    """What the sources have in common."""
    created = {header.created for header in headers}
    return Header(
        harness_trace=1,
        source=" + ".join(header.source or "a trace without source" for header in headers),
        created=created.pop() if len(created) == 1 else "",
        anonymized=all(header.anonymized for header in headers),
    )
