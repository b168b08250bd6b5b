"""What a story is made of: chapters of sentences and tables, still free of any format."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Table(msgspec.Struct):
    """Cells as text; the first `texts` columns read as text, all others as numbers."""

    title: str
    columns: Sequence[str]
    rows: list[list[str]]
    texts: int = 1


class Section(msgspec.Struct):
    """A chapter: `lead` says the essential in sentences; `detail` tables are for where there is room.

    `folded` tables are for where they can be folded away.
    """

    key: str
    title: str
    lead: list[str]
    tables: list[Table] = []
    detail: list[Table] = []
    folded: list[Table] = []


class Story(msgspec.Struct):
    """The whole report: `status` is PASS, FAIL or INVALID (or a dash), `about` says which run, `why` what decided."""

    status: str
    exit_code: str
    run_id: str
    about: str
    why: list[str]
    cause: str
    sections: list[Section]

    def section(self, key: str) -> Section:
        """The chapter of that key; raises `KeyError` when there is none."""
        for section in self.sections:
            if section.key == key:
                return section
        raise KeyError(key)
