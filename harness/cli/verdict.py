"""The end of a run on the terminal: result on stdout, words for people on stderr when stdout is for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import click

from harness.report.text import render_text
from harness.store.layout import REPORT

# The names of the checks by which the judge says how a run ended.
_ENDINGS = ("internal_error", "interrupted", "instrument", "guard", "unreachable")
_COLOURS = {"PASS": "green", "FAIL": "red", "INVALID": "yellow"}


def print_result(summary: Mapping[str, Any], out: Path | None, *, as_json: bool, quiet: bool, people: TextIO) -> None:
    """Prints a summary: as text, as one verdict line if `quiet`, as JSON if `as_json` (the text then goes to `people`).

    `out` is the run folder whose report is named, if there is one.
    """
    if as_json:
        print(json.dumps(summary, indent=2), flush=True)
    if quiet and not as_json:
        print(verdict_line(summary), flush=True)
    elif not quiet:
        stream = people if as_json else sys.stdout
        print(_coloured(render_text(summary), stream), file=stream)
        if out is not None and (out / REPORT).exists():
            print(f"report: {near(out / REPORT)}", file=stream, flush=True)


def ending_line(summary: Mapping[str, Any]) -> str | None:
    """Why a run did not come to its planned end, as one line, or None when it did."""
    for check in summary["verdict"]["checks"]:
        if not check["ok"] and check["name"] in _ENDINGS:
            return str(check["message"])
    return None


def verdict_line(summary: Mapping[str, Any]) -> str:
    """The verdict and every check that is not ok, as one line."""
    verdict = summary["verdict"]
    failed = [f"{check['name']}: {check['message']}" for check in verdict["checks"] if not check["ok"]]
    # Stable, so whatever decided comes first and the rest stays in its order.
    failed.sort(key=lambda told: told != verdict.get("cause"))
    return "  ".join([str(verdict["status"]), "; ".join(failed)]).rstrip()


def near(path: Path) -> str:
    """A path as the user would type it from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _coloured(text: str, stream: TextIO) -> str:
    word = text.partition(" ")[0]
    if not stream.isatty() or word not in _COLOURS:
        return text
    return click.style(word, fg=_COLOURS[word], bold=True) + text.removeprefix(word)
