"""Progress of a run for people, on stderr: a live view on a terminal, plain lines elsewhere, nothing when quiet.

Drawn in the parent, which carries no load: one refresh of a live view costs milliseconds (stack notes), so no process
that sends requests may draw.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Protocol, TextIO

_EVERY_S = 2.0


class Progress(Protocol):
    """Shows a run while it goes on."""

    def update(self, event: Mapping[str, Any]) -> None:
        """Shows a progress event of the master."""

    def note(self, text: str) -> None:
        """Says one line."""

    def close(self) -> None:
        """Ends the view; the terminal is as before."""


def open_progress(stream: TextIO, *, quiet: bool) -> Progress:
    """The view that fits `stream`: live on a terminal, lines elsewhere, none when `quiet`."""
    if quiet:
        return NoProgress()
    if stream.isatty():
        # rich takes a tenth of a second to import, which only the view on a terminal needs.
        from harness.cli.live_progress import LiveProgress

        return LiveProgress(stream)
    return PlainProgress(stream)


class NoProgress:
    """Shows nothing."""

    def update(self, event: Mapping[str, Any]) -> None:
        """Shows nothing."""

    def note(self, text: str) -> None:
        """Shows nothing."""

    def close(self) -> None:
        """Nothing to end."""


class PlainProgress:
    """One line every two seconds of the run, and one whenever the phase changes."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream
        self._last_s = float("-inf")
        self._phase = ""

    def update(self, event: Mapping[str, Any]) -> None:
        """Writes a line if two seconds of the run have passed since the last one."""
        t_s, phase = float(event.get("t_s", 0.0)), str(event.get("phase", ""))
        if phase == self._phase and t_s - self._last_s < _EVERY_S:
            return
        self._last_s, self._phase = t_s, phase
        self.note(progress_line(event))

    def note(self, text: str) -> None:
        """Writes one line."""
        print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing to end."""


def progress_line(event: Mapping[str, Any]) -> str:
    """A progress event as one line; what was not measured yet is left out."""
    parts = [f"{float(event.get('t_s', 0.0)):4.0f}s {event.get('phase', ''):<8}"]
    parts += [f"{name} {value}" for name, value in facts(event)]
    return "  ".join(parts)


def facts(event: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The facts of a progress event as (name, text), in the order people read them; absent ones are left out."""
    found: list[tuple[str, str]] = []
    started, planned = event.get("started"), event.get("planned")
    if started is not None:
        found.append(("visits", f"{started}/{planned}" if planned is not None else str(started)))
    found += [(name, str(event[name])) for name in ("open", "settled", "attempts") if event.get(name) is not None]
    if event.get("available_ratio") is not None:
        found.append(("available", f"{100 * event['available_ratio']:.1f} %"))
    for name, text in (("p50_ms", "p50"), ("p95_ms", "p95"), ("lag_p99_ms", "lag p99")):
        if event.get(name) is not None:
            found.append((text, f"{event[name]:.3g} ms"))
    errors = event.get("errors") or {}
    if errors:
        worst = sorted(errors.items(), key=lambda item: -item[1])[:3]
        found.append(("errors", ", ".join(f"{name} {count}" for name, count in worst)))
    if event.get("workers") is not None:
        found.append(("workers", str(event["workers"])))
    return found
