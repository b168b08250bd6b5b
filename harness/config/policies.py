"""A profile's own retry policies, `[retry.NAME]`: the fields of `RetryPolicy`, each checked like any other setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from harness.config.kinds import FLAG, Kind, choice, count, number
from harness.errors import UsageError
from harness.visitor.records import Result
from harness.visitor.retry import POLICIES, RetryPolicy

# internal_error is our own bug and ends the run; available and accepted are what a retry is for.
_RETRIABLE = tuple(
    result.name for result in Result if result not in (Result.available, Result.accepted, Result.internal_error)
)

_ONE: dict[str, Kind] = {
    "first_ms": number(above=True),
    "factor": number(1),
    "max_ms": number(above=True),
    "jitter": number(0, 1),
    "budget_s": number(above=True),
    "max_retries": count(0),
    "scope": choice(("step", "visit")),
    "throttled_min_ms": number(),
    "heed_retry_after": FLAG,
    "ids_on_retry": choice(("keep", "none", "hint")),
}
_MANY: dict[str, tuple[Kind, Callable[[list[Any]], object]]] = {
    "retry_on": (choice(_RETRIABLE), frozenset),
    "delays_ms": (number(above=True), tuple),
}


def read_policies(path: str, tables: Mapping[str, Any], problems: list[str]) -> dict[str, RetryPolicy]:
    """The policies in the profile's `[retry.*]` tables by name; findings are added to `problems`."""
    policies: dict[str, RetryPolicy] = {}
    for name, table in tables.items():
        where = f"{path}: retry.{name}"
        if not isinstance(table, dict):
            problems.append(f"{where}: expected a table, write [retry.NAME]")
        elif name in POLICIES:
            problems.append(f"{where}: this name is a built-in policy's; choose another")
        else:
            before = len(problems)
            fields = _fields(where, table, problems)
            if len(problems) == before:
                policies[name] = RetryPolicy(name=name, **fields)
                if policies[name].retry_on and not ({"budget_s", "max_retries"} & fields.keys()):
                    problems.append(f"{where}: retries without an end; give budget_s or max_retries")
    return policies


def _fields(where: str, table: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, value in table.items():
        try:
            if key in _MANY:
                kind, build = _MANY[key]
                if not isinstance(value, list):
                    raise UsageError("expected a list")
                fields[key] = build([kind.from_toml(item) for item in value])
            elif key in _ONE:
                fields[key] = _ONE[key].from_toml(value)
            else:
                close = get_close_matches(key, [*_ONE, *_MANY], n=1)
                raise UsageError(f"unknown key; did you mean '{close[0]}'?" if close else "unknown key")
        except UsageError as error:
            problems.append(f"{where}.{key}: {error}")
    return fields
