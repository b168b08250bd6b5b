"""Progress for people: plain lines, throttled by the run's own clock."""

from __future__ import annotations

from io import StringIO

import pytest

from harness.cli.progress import NoProgress, PlainProgress, open_progress, progress_line

EVENT = {
    "event": "progress", "t_s": 12.3, "phase": "measure", "planned": 1200, "started": 240, "open": 61, "settled": 179,
    "attempts": 512, "available_ratio": 0.982, "p50_ms": 11.9, "p95_ms": 31.04, "lag_p99_ms": 0.41,
    "errors": {"timeout": 1, "server_error": 7, "loading": 3, "reset": 2}, "workers": 2,
}  # fmt: skip


def test_a_line_says_everything_once() -> None:
    """A full event becomes one line with its three most frequent errors."""
    assert progress_line(EVENT) == (
        "  12s measure   visits 240/1200  open 61  settled 179  attempts 512  available 98.2 %  p50 11.9 ms  p95 31 ms"
        "  lag p99 0.41 ms  errors server_error 7, loading 3, reset 2  workers 2"
    )


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ({}, "   0s         "),
        ({"t_s": 1, "phase": "drain", "started": 5, "planned": None, "p50_ms": None, "errors": {}},
         "   1s drain     visits 5"),
    ],
)  # fmt: skip
def test_what_is_not_measured_is_left_out(event: dict[str, object], line: str) -> None:
    """Absent and null figures do not appear, and never as zero."""
    assert progress_line(event).rstrip() == line.rstrip()


def test_a_line_every_two_seconds_and_on_each_change_of_phase() -> None:
    """Events of the same phase within two seconds of the run are not repeated."""
    stream = StringIO()
    progress = PlainProgress(stream)
    for t_s, phase in [(0, "warmup"), (1, "warmup"), (1.5, "measure"), (3, "measure"), (3.5, "measure"), (4, "drain")]:
        progress.update({"t_s": t_s, "phase": phase})
    assert [line.split() for line in stream.getvalue().splitlines()] == [
        ["0s", "warmup"], ["2s", "measure"], ["4s", "measure"], ["4s", "drain"],
    ]  # fmt: skip


def test_the_view_fits_the_stream() -> None:
    """Quiet shows nothing, a file gets lines."""
    assert isinstance(open_progress(StringIO(), quiet=True), NoProgress)
    assert isinstance(open_progress(StringIO(), quiet=False), PlainProgress)
