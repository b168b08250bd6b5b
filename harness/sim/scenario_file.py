"""Reading a scenario file (TOML), with every problem listed at once.

The shape of the file is the shape of `Scenario`: its tables, `[[freeze]]`, `[[fault]]` and `[[availability.levels]]`
as arrays of tables, durations as text. `base = "flaky"` starts from a preset instead of the defaults.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import msgspec

from harness.errors import UsageError
from harness.sim.scenario import PRESETS, Ns, Scenario, Table
from harness.units import parse_duration_ns, seconds_to_ns

T = TypeVar("T", bound=Table)


def load_scenario(name_or_path: str) -> Scenario:
    """The preset of that name, or the scenario in that TOML file.

    Raises `UsageError` when there is neither, or when the file is wrong; its `problems` hold every finding.
    """
    if name_or_path in PRESETS:
        return PRESETS[name_or_path]
    path = Path(name_or_path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        presets = " ".join(PRESETS)
        raise UsageError(f"scenario '{name_or_path}' is neither a file nor a preset ({presets})") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"scenario {path} cannot be read: {error}") from None
    return parse_scenario(text, origin=str(path), name=path.stem)


def parse_scenario(text: str, origin: str, name: str) -> Scenario:
    """The scenario written in `text` (TOML); `origin` names it in messages, `name` unless the text names it itself.

    Raises `UsageError` with every problem.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"scenario {origin} is not TOML: {error}") from None
    problems: list[str] = []
    base_name = table.pop("base", None)
    base = PRESETS.get(base_name, Scenario()) if isinstance(base_name, str) else Scenario()
    if base_name is not None and base_name not in PRESETS:
        problems.append(f"base: '{base_name}' is no preset ({' '.join(PRESETS)})")
    scenario = _read(Scenario, {"name": name, **table}, "", problems, base)
    if scenario is not None:
        problems += _contradictions(scenario)
    if scenario is None or problems:
        raise UsageError(f"scenario {origin} has {len(problems)} problem(s)", problems)
    return scenario


def _read(kind: type[T], table: object, path: str, problems: list[str], base: T | None) -> T | None:
    """A struct from a TOML table, over `base`; None if a field is wrong, with the findings added to `problems`."""
    if not isinstance(table, dict):
        problems.append(f"{path.rstrip('.')}: must be a table")
        return None
    found = len(problems)
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    problems.extend(f"{path}{key}: unknown key (known: {' '.join(fields)})" for key in table if key not in fields)
    values: dict[str, Any] = {}
    for key, field in fields.items():
        if key in table:
            old = getattr(base, field.name) if base is not None else None
            values[field.name] = _value(field.type, table[key], f"{path}{key}", problems, old)
        elif base is None and field.required:
            problems.append(f"{path}{key}: missing")
    if len(problems) > found:
        return None
    return kind(**values) if base is None else msgspec.structs.replace(base, **values)


def _value(kind: Any, value: object, path: str, problems: list[str], old: object) -> object:
    """A field's value, converted to `kind`; None if it is wrong, with the finding added to `problems`."""
    tables = [arg for arg in (kind, *get_args(kind)) if isinstance(arg, type) and issubclass(arg, Table)]
    if tables and get_origin(kind) is not tuple:
        base = old if isinstance(old, Table) else _defaults(tables[0])
        return _read(tables[0], value, f"{path}.", problems, base)
    if tables and isinstance(value, list):
        return tuple(_read(tables[0], item, f"{path}[{n}].", problems, None) for n, item in enumerate(value))
    try:
        return msgspec.convert(value, kind, dec_hook=_duration)
    except (msgspec.ValidationError, UsageError) as error:
        problems.append(f"{path}: {error}")
        return None


def _defaults(kind: type[T]) -> T | None:
    """The table with all its defaults, or None when some field has none."""
    return None if any(field.required for field in msgspec.structs.fields(kind)) else kind()


def _duration(kind: type, value: object) -> Ns:
    if kind is Ns and isinstance(value, str):
        return Ns(parse_duration_ns(value))
    if kind is Ns and isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return Ns(seconds_to_ns(value))
    raise UsageError(f"'{value}' is not a duration: write 250ms, 30s or 5m")


def _contradictions(scenario: Scenario) -> list[str]:
    """What no single field shows."""
    problems = []
    first = scenario.availability.not_available_first
    if isinstance(first, tuple) and (len(first) != 2 or first[0] > first[1]):
        problems.append("availability.not_available_first: write one number, or [least, most]")
    if scenario.availability.wave is not None and scenario.availability.wave.period_ns == 0:
        problems.append("availability.wave.period: must be above zero")
    starts = [level.at_ns for level in scenario.availability.levels]
    if starts != sorted(starts):
        problems.append("availability.levels: must be in order of 'at'")
    problems.extend(
        f"freeze[{n}].every: must be longer than the freeze itself"
        for n, freeze in enumerate(scenario.freezes)
        if freeze.every_ns is not None and freeze.every_ns <= freeze.lasts_ns
    )
    return problems
