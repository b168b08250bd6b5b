"""`summary.md`: the story for a pull request or a chat; GitHub's table syntax, everything foreign escaped."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from harness.report.parts import Table
from harness.report.story import tell

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~<>&@:])")


def render_markdown(summary: Mapping[str, Any]) -> str:
    """The summary as Markdown, verdict first; no text of the summary can become markup, a link or a mention."""
    story = tell(summary)
    lines = [f"# {escape(story.status)}: {escape(story.run_id)}", "", escape(story.about), ""]
    lines += [f"- {escape(reason)}" for reason in story.why]
    for section in story.sections:
        lines += ["", f"## {section.title}", ""]
        lines += [escape(sentence) + "  " for sentence in section.lead]
        for table in section.tables + section.detail:
            lines += ["", *_table(table)]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """`text` with every character that Markdown or HTML could act on made literal."""
    return _SPECIAL.sub(lambda match: _ENTITIES.get(match[1], "\\" + match[1]), text)


# A backslash does not keep GitHub from linking mentions and addresses, or from reading HTML; an entity does.
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "@": "&#64;", ":": "&#58;", "|": "&#124;"}


def _table(table: Table) -> list[str]:
    rules = ["---" if column < table.texts else "---:" for column in range(len(table.columns))]
    rows = [[escape(cell) for cell in row] for row in ([*table.columns], *table.rows)]
    rows.insert(1, rules)
    return [f"**{escape(table.title)}**", "", *("| " + " | ".join(row) + " |" for row in rows)]
