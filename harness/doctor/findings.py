"""What the doctor finds: one line a subject, with a level, what was observed, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "bad"]


@dataclass(frozen=True)
class Finding:
    """One subject: `bad` makes the machine unfit, `warn` is worth knowing; `advice` is empty where none is needed."""

    subject: str
    level: Level
    observed: str
    advice: str = ""


def fit(findings: Iterable[Finding]) -> bool:
    """Whether nothing is bad."""
    return all(finding.level != "bad" for finding in findings)


def judged(value: float, *, warn: float, bad: float) -> Level:
    """The level of a value that should be small: above `bad`, above `warn`, or ok."""
    return "bad" if value > bad else "warn" if value > warn else "ok"


def render(findings: Iterable[Finding]) -> str:
    """The findings as lines for people; advice stands below its line."""
    lines: list[str] = []
    for finding in findings:
        lines.append(f"{finding.level:<4}  {finding.subject:<16}  {finding.observed}")
        if finding.advice:
            lines.append(f"{'':<24}{finding.advice}")
    return "\n".join(lines)
