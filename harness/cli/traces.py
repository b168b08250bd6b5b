"""The trace as the parent looks at it before a run: whole, once, in constant memory."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import TraceError
from harness.trace.check import Validation
from harness.trace.digest import trace_digest
from harness.trace.lines import BadLines, OnBadLine
from harness.trace.model import Visit


@dataclass(frozen=True)
class TraceFacts:
    """A trace that can be replayed; `cohorts` in the order in which they come, `notes` for people about what is odd."""

    digest: str
    visits: int
    steps: int
    cohorts: tuple[str, ...]
    notes: tuple[str, ...]


def check_trace(path: str, on_bad_line: OnBadLine, look: Callable[[Visit], None] | None = None) -> TraceFacts:
    """Reads and judges the whole trace; `look` gets each visit, in order.

    Raises `TraceError` for a file that cannot be read, for a bad line unless these are skipped, and for a trace that
    has no visit to replay.
    """
    bad = BadLines(on_bad_line)
    validation = Validation(path, bad)
    cohorts: dict[str, None] = {}
    for read, _ in validation:
        cohorts[read.visit.cohort] = None
        if look is not None:
            look(read.visit)
    validation.finish()
    if not validation.visits:
        raise TraceError(f"{path}: the trace has no visit to replay: record, import or invent one that has")
    notes = []
    if bad.count:
        notes.append(f"{bad.count} bad line(s) of the trace left out; the first: {bad.messages[0]}")
    if validation.warnings:
        notes.append(f"{validation.warnings} warning(s) about the trace: see harness trace validate {path}")
    return TraceFacts(trace_digest(path), validation.visits, validation.steps, tuple(cohorts), tuple(notes))


def keep_stdin(folder: Path) -> Path:
    """Puts standard input into a file in `folder`, because a trace is read more than once; returns its path."""
    path = folder / "stdin.jsonl"
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path
