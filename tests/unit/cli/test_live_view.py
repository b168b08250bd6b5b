"""The live view: drawn into a terminal that exists in memory only."""

from __future__ import annotations

from io import StringIO

from harness.cli.live_progress import LiveProgress


class Terminal(StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_the_view_shows_the_facts_and_goes_away() -> None:
    """Figures, phase and notes are drawn; text of the target is not read as markup; the cursor is given back."""
    terminal = Terminal()
    view = LiveProgress(terminal)
    view.note("simulator at http://[::1]:9")
    view.update({"t_s": 3, "phase": "measure", "planned": 10, "started": 4, "p95_ms": 31.0, "errors": {"reset": 2}})
    view.close()
    drawn = terminal.getvalue()
    for part in ("simulator at http://[::1]:9", "measure", "4/10", "31 ms", "reset 2", "\x1b[?25h"):
        assert part in drawn
