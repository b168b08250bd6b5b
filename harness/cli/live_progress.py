"""The live view of a run on a terminal: a bar of visits and the facts below it, redrawn in place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.cli.progress import facts


class LiveProgress:
    """Redraws one small block on a terminal; it disappears at the end, when the summary takes its place."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream)
        self._live = Live(console=self._console, transient=True, auto_refresh=False)
        self._live.start()

    def update(self, event: Mapping[str, Any]) -> None:
        """Shows the newest event."""
        self._live.update(_view(event), refresh=True)

    def note(self, text: str) -> None:
        """Says one line above the block."""
        self._console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        """Takes the block away and gives the terminal back."""
        self._live.stop()


def _view(event: Mapping[str, Any]) -> Group:
    planned, started = event.get("planned"), event.get("started") or 0
    head = Table.grid(padding=(0, 2))
    head.add_row(
        Text(f"{float(event.get('t_s', 0.0)):.0f} s", style="bold"),
        Text(str(event.get("phase", "")), style="cyan"),
        # Without a known number of visits the bar can only say that something moves.
        ProgressBar(total=planned or None, completed=started, width=40, pulse=not planned),
    )
    table = Table.grid(padding=(0, 2))
    for name, text in facts(event):
        table.add_row(Text(name, style="dim"), Text(text, style="red" if name == "errors" else ""))
    return Group(head, table)
