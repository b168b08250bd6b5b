"""From flags, environment, profile and defaults to settled values, each with its origin.

Four sources are read in order of rank, and everything that is wrong in any of them is reported at once, each problem
with the place where the user wrote it. What only later rooms can judge (arrivals, thresholds) comes in as `checks`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.config.profile import Profile, read_profile, read_slo
from harness.config.secrets import shown
from harness.config.settings import Setting
from harness.config.table import BY_NAME, SETTINGS
from harness.errors import UsageError
from harness.visitor.retry import POLICIES, RetryPolicy

FlagValue = str | bool | Sequence[str] | None
Checks = Mapping[str, Callable[[str], object]]


@dataclass
class Settled:
    """Every setting's value and where it came from: `flag --x`, `env HARNESS_X`, `FILE: table.key` or `default`."""

    values: dict[str, object]
    origins: dict[str, str]
    policies: dict[str, RetryPolicy]

    def text(self, name: str) -> str:
        """A value as text that may be printed: what could be a secret is hidden."""
        value = self.values[name]
        if name == "headers" and isinstance(value, dict):
            value = {header: shown(str(text)) for header, text in value.items()}
        return BY_NAME[name].shown(value)


def raise_problems(problems: Sequence[str]) -> None:
    """Raises one `UsageError` for all `problems`; returns when there is none."""
    if len(problems) == 1:
        raise UsageError(problems[0])
    if problems:
        raise UsageError(f"the configuration has {len(problems)} problems", problems)


def settle(
    flags: Mapping[str, FlagValue], environ: Mapping[str, str], checks: Checks, profile: str | None = None
) -> Settled:
    """The value of every setting after flag > environment > profile > default.

    `flags` maps option names (`allow_host`) to texts, lists of texts, booleans, or None where not given. `checks` maps
    setting names to functions that raise `UsageError` for a bad text. `profile` is a profile's path, if the flags and
    the environment name none. Raises `UsageError` with every problem found.
    """
    problems: list[str] = []
    given = _given(flags, environ, problems)
    found, origin = given.get("profile", (profile, "default"))
    read = read_profile(str(found)) if found is not None else Profile("")
    problems += read.problems
    settled = Settled({}, {}, {**POLICIES, **read.policies})
    for setting in SETTINGS:
        if setting.name in given:
            settled.values[setting.name], settled.origins[setting.name] = given[setting.name]
        elif setting.name in read.values:
            settled.values[setting.name] = read.values[setting.name]
            settled.origins[setting.name] = f"{read.name}: {read.keys[setting.name]}"
        else:
            settled.values[setting.name], settled.origins[setting.name] = setting.default, "default"
    settled.values["profile"], settled.origins["profile"] = found, origin
    _check(settled, checks, problems)
    _add_slo(settled, read, checks, problems)
    retry = settled.values["retry"]
    if retry not in settled.policies:
        known = ", ".join(settled.policies)
        problems.append(f"{_place(settled, 'retry')}: '{retry}' is no retry policy; known: {known}")
    raise_problems(problems)
    return settled


def _given(
    flags: Mapping[str, FlagValue], environ: Mapping[str, str], problems: list[str]
) -> dict[str, tuple[object, str]]:
    """What flags and environment say, by setting name, with its origin."""
    given: dict[str, tuple[object, str]] = {}
    for setting in SETTINGS:
        if setting.flag is None or setting.env is None:
            continue
        text = flags.get(setting.option)
        if text is not None and text != ():
            origin, place = f"flag {setting.flag}", setting.flag
        elif setting.env in environ:
            text, origin, place = environ[setting.env], f"env {setting.env}", setting.env
        else:
            continue
        try:
            given[setting.name] = _parse(setting, text), origin
        except UsageError as error:
            problems.append(f"{place}: {error}")
    return given


def _parse(setting: Setting, text: FlagValue) -> object:
    if isinstance(text, bool) or text is None:
        return text
    if setting.shape == "one":
        if not isinstance(text, str):
            raise UsageError("expected one value")
        return setting.kind.parse(text)
    items = [item.strip() for item in text.split(";") if item.strip()] if isinstance(text, str) else list(text)
    if setting.shape == "list":
        return tuple(setting.kind.parse(item) for item in items)
    pairs: dict[str, object] = {}
    for item in items:
        name, separator, value = item.partition(setting.separator)
        if not separator or not name.strip():
            raise UsageError(f"'{item}' is not {setting.metavar}")
        pairs[name.strip()] = setting.kind.parse(value.strip())
    return pairs


def _check(settled: Settled, checks: Checks, problems: list[str]) -> None:
    for name, check in checks.items():
        value = settled.values[name]
        for text in value if isinstance(value, tuple) else (value,):
            _run_check(check, str(text), _place(settled, name), problems)


def _run_check(check: Callable[[str], object], text: str, place: str, problems: list[str]) -> None:
    try:
        check(text)
    except UsageError as error:
        problems.append(f"{place}: {error}")


def _place(settled: Settled, name: str) -> str:
    """Where the user wrote a value, as the beginning of a problem line."""
    return settled.origins[name].removeprefix("flag ").removeprefix("env ")


def _add_slo(settled: Settled, profile: Profile, checks: Checks, problems: list[str]) -> None:
    """Puts the conditions of the SLO file, or else of the profile's [slo] table, before those of --threshold."""
    path = settled.values["slo"]
    if path is not None:
        conditions, place = read_slo(str(path), problems), str(path)
    elif profile.slo is not None:
        conditions, place = profile.slo, profile.name
    else:
        return
    for condition in conditions:
        if "thresholds" in checks:
            _run_check(checks["thresholds"], condition, f"{place}: slo", problems)
    own = settled.values["thresholds"]
    origin = f"{place}: slo"
    if isinstance(own, tuple) and own:
        settled.values["thresholds"] = conditions + own
        settled.origins["thresholds"] = f"{origin} and {settled.origins['thresholds']}"
    else:
        settled.values["thresholds"], settled.origins["thresholds"] = conditions, origin


def existing_file(path: str, what: str) -> None:
    """Raises `UsageError` when there is no readable file at `path`."""
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise UsageError(f"cannot read {what} {path}: {error.strerror}") from None
