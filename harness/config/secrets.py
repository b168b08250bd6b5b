"""Header values that may be secrets: references (`env:NAME`, `file:PATH`), resolved late and never shown.

A reference travels through configuration and manifest as it is; its value exists only in the worker. A header written
out in the profile is never printed or stored either: it may be a secret whose owner did not know of references.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.errors import UsageError

HIDDEN = "(hidden)"


def shown(value: str) -> str:
    """What may be printed or stored of a header's value: a reference as it is, anything else hidden."""
    return value if value.startswith(("env:", "file:")) else HIDDEN


def resolve_headers(headers: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """The headers with each reference replaced by its value; a file's trailing line break is dropped.

    Raises `UsageError` listing every header whose variable or file is missing, or whose value cannot be a header.
    """
    resolved: dict[str, str] = {}
    problems: list[str] = []
    for name, value in headers.items():
        try:
            resolved[name] = _resolve(value, environ)
        except UsageError as error:
            problems.append(f"client.headers.{name}: {error}")
    if problems:
        raise UsageError(problems[0] if len(problems) == 1 else "headers cannot be resolved", problems[1:] and problems)
    return resolved


def _resolve(value: str, environ: Mapping[str, str]) -> str:
    kind, _, where = value.partition(":")
    if kind == "env":
        if where not in environ:
            raise UsageError(f"the environment variable {where} is not set")
        value = environ[where]
    elif kind == "file":
        try:
            value = Path(where).expanduser().read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise UsageError(f"cannot read {where}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise UsageError(f"{where} is not UTF-8 text") from None
    if any(character in value for character in "\r\n\0"):
        raise UsageError("its value has a line break, which no header may have")
    return value
