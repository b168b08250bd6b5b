"""Profile and SLO files: TOML, read tolerantly enough to name every problem at once (interfaces section 6).

Nothing here raises on a bad key or value: problems are collected as lines that begin with file and key, and what can be
read is returned, so that one run of the command shows all there is to mend.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from harness.config.kinds import PATH
from harness.config.policies import read_policies
from harness.config.settings import Setting
from harness.config.table import SETTINGS
from harness.errors import UsageError
from harness.toml_file import read_toml
from harness.visitor.retry import RetryPolicy

_BY_KEY: dict[str, list[Setting]] = {}
for _setting in SETTINGS:
    if _setting.key is not None:
        _BY_KEY.setdefault(_setting.key, []).append(_setting)

_TABLES = sorted({key.partition(".")[0] for key in _BY_KEY} | {"retry", "slo"})


@dataclass
class Profile:
    """What a profile says: `values` by setting name, the keys they came from, SLO conditions, retry policies."""

    name: str
    values: dict[str, object] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    slo: tuple[str, ...] | None = None
    policies: dict[str, RetryPolicy] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_profile(path: str) -> Profile:
    """The profile in a TOML file; relative paths in it are taken from its own folder.

    Raises `UsageError` when the file cannot be read or is no TOML; every other finding is in `problems`.
    """
    profile = Profile(path)
    for table, content in read_toml(path).items():
        if table not in _TABLES:
            profile.problems.append(_unknown(path, table, _TABLES, "table"))
        elif not isinstance(content, dict):
            profile.problems.append(f"{path}: {table}: expected a table, write [{table}]")
        elif table == "slo":
            profile.slo = _slo(path, content, profile.problems)
        elif table == "retry":
            profile.policies = read_policies(path, content, profile.problems)
        else:
            _read_table(profile, Path(path).parent, table, content)
    return profile


def read_slo(path: str, problems: list[str]) -> tuple[str, ...]:
    """The conditions of an SLO file: its `[slo]` table, or the whole file when there is none.

    Findings are added to `problems`. Raises `UsageError` when the file cannot be read or is no TOML.
    """
    content = read_toml(path)
    table = content.get("slo", content)
    if not isinstance(table, dict) or not table:
        problems.append(f'{path}: no conditions: write [slo] and "p99(response_time)" = "< 800ms"')
        return ()
    return _slo(path, table, problems)


def _read_table(profile: Profile, folder: Path, table: str, content: Mapping[str, Any]) -> None:
    known = [key.partition(".")[2] for key in _BY_KEY if key.startswith(table + ".")]
    for name, value in content.items():
        key = f"{table}.{name}"
        if key not in _BY_KEY:
            profile.problems.append(_unknown(profile.name, key, known, "key"))
            continue
        setting = _fitting(_BY_KEY[key], value)
        try:
            profile.values[setting.name] = _value(setting, value, folder)
            profile.keys[setting.name] = key
        except UsageError as error:
            profile.problems.append(f"{profile.name}: {key}{error}")


def _fitting(settings: list[Setting], value: object) -> Setting:
    """Of the settings that share a key (one account or a map of them) the one whose shape the value has."""
    shape = "map" if isinstance(value, dict) else "list" if isinstance(value, list) else "one"
    return next((setting for setting in settings if setting.shape == shape), settings[0])


def _value(setting: Setting, value: object, folder: Path) -> object:
    """The setting's value; the text of a raised `UsageError` continues the key (`[2]: …`, `: …`)."""
    if setting.shape == "list":
        if not isinstance(value, list):
            raise UsageError(f": expected a list of {setting.kind.toml_name.removeprefix('a ')}s")
        return tuple(_item(setting, item, f"[{index}]") for index, item in enumerate(value))
    if setting.shape == "map":
        if not isinstance(value, dict):
            raise UsageError(": expected a table of names and values")
        return {name: _item(setting, item, f".{name}") for name, item in value.items()}
    found = _item(setting, value, "")
    return str(folder / str(found)) if setting.kind is PATH else found


def _item(setting: Setting, value: object, where: str) -> object:
    try:
        return setting.kind.from_toml(value)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def _slo(path: str, table: Mapping[str, Any], problems: list[str]) -> tuple[str, ...]:
    conditions = []
    for metric, limits in table.items():
        for limit in limits if isinstance(limits, list) else [limits]:
            if isinstance(limit, str):
                conditions.append(f"{metric} {limit}")
            else:
                problems.append(f'{path}: slo."{metric}": expected a text such as "< 800ms", or a list of them')
    return tuple(conditions)


def _unknown(path: str, key: str, known: Iterable[str], what: str) -> str:
    close = get_close_matches(key.rpartition(".")[2], list(known), n=1)
    hint = f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(known)}"
    return f"{path}: {key}: unknown {what}{hint}"
