"""A run folder read for a comparison."""

from __future__ import annotations

from pathlib import Path

from harness.errors import UsageError
from harness.judge.compare import ComparedRun
from harness.measure.slices import from_lines
from harness.store.stored_run import load_run


def compared_run(path: Path) -> ComparedRun:
    """The run in the folder `path` with all that a comparison needs.

    Raises `UsageError` when there is none, when it has no summary, or when its slices are torn or missing.
    """
    stored = load_run(path)
    if stored.summary is None:
        raise UsageError(f"{path} has no summary to compare: {stored.reason or 'the run did not come to its end'}")
    slices = from_lines(stored.slices())
    if stored.notes:
        raise UsageError(f"{path} is not whole and cannot be compared: {stored.notes[0]}")
    return ComparedRun(manifest=stored.manifest, summary=stored.summary, slices=slices)
