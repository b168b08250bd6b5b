"""The table at the end of a run: plain text, at most 100 columns, no colours (the terminal adds them)."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from harness.report.parts import Story, Table
from harness.report.story import tell
from harness.report.words import clean

WIDTH = 100
_ORDER = ("visits", "steps", "times", "availability", "retries", "chain", "comparison", "instrument")
_INDENT = "  "
_GAP = "  "


def render_text(summary: Mapping[str, Any], *, max_errors: int = 8) -> str:
    """The summary as text for a terminal, verdict first; every line at most `WIDTH` characters, ends with a newline.

    At most `max_errors` kinds of errors are listed; the rest is counted in a last line.
    """
    story = tell(summary)
    lines = [clean("  ".join(part for part in (story.status, story.run_id, story.cause) if part), WIDTH)]
    lines += _wrapped(story.about)
    lines += [line for reason in story.why for line in _wrapped(reason)]
    for table in story.section("verdict").tables:
        lines += ["", table.title, *table_lines(Table("", ("", "", "", ""), [row[:4] for row in table.rows], texts=4))]
    told = {section.key for section in story.sections}
    for key in (key for key in _ORDER if key in told):
        lines += ["", *_section(story, key, max_errors)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _section(story: Story, key: str, max_errors: int) -> list[str]:
    section = story.section(key)
    lines = [section.title]
    for sentence in section.lead:
        lines += _wrapped(sentence)
    if key == "times" and section.tables:
        table = section.tables[0]
        lines[0] = table.title
        lines[1:1] = table_lines(Table("", ("", *table.columns[1:]), table.rows))
    if key == "comparison":
        for table in section.tables:
            lines += table_lines(Table("", table.columns, table.rows, table.texts))
    if key == "retries" and section.tables:
        rows = section.tables[0].rows
        lines += table_lines(Table("", section.tables[0].columns, rows[:max_errors], texts=6))
        if len(rows) > max_errors:
            lines.append(f"{_INDENT}and {len(rows) - max_errors} more kinds: see report.html")
    return lines


def _wrapped(sentence: str) -> list[str]:
    return textwrap.wrap(sentence, WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT * 2)


def table_lines(table: Table) -> list[str]:
    """Columns side by side: texts to the left, numbers to the right; too long a line is cut."""
    cells = [list(table.columns), *table.rows] if any(table.columns) else table.rows
    widths = [max(len(row[column]) for row in cells) for column in range(len(table.columns))]
    lines = []
    for row in cells:
        padded = (
            cell.ljust(width) if column < table.texts else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        line = _INDENT + _GAP.join(padded).rstrip()
        lines.append(line if len(line) <= WIDTH else line[: WIDTH - 1] + "…")
    return lines
