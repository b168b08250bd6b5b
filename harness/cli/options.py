"""Click options made from the table of settings, and the settings read back through the rooms that judge them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from harness.config.resolve import Checks, Settled, settle
from harness.config.settings import Setting
from harness.config.table import SETTINGS

F = TypeVar("F", bound=Callable[..., Any])


def setting_options(*names: str) -> Callable[[F], F]:
    """A decorator that adds the options of the named settings, or of all that have a flag, to a command.

    Values arrive as texts: one parser, the table's, reads them all, so that every problem is reported at once.
    """

    def decorate(function: F) -> F:
        for setting in reversed(SETTINGS):
            if setting.flag is not None and (not names or setting.name in names):
                function = _option(setting, setting.flag)(function)
        return function

    return decorate


def _option(setting: Setting, flag: str) -> Callable[[F], F]:
    default = setting.shown(setting.default)
    text = setting.help
    if setting.kind.metavar:
        text += f" [default: {default}]" if default != "-" and "default" not in text else ""
        return click.option(
            flag,
            setting.option,
            metavar=setting.metavar or setting.kind.metavar,
            multiple=setting.shape != "one",
            hidden=setting.hidden,
            help=text,
        )
    return click.option(flag, setting.option, is_flag=True, default=None, help=text)


def read_settings(flags: Mapping[str, Any]) -> Settled:
    """The settings after flag > environment > profile > default; raises `UsageError` with every problem."""
    return settle(flags, os.environ, checks())


def checks() -> Checks:
    """The judgements of rooms that the configuration must not import."""
    from harness.judge.metric import follow
    from harness.judge.threshold import parse_threshold
    from harness.plan.arrivals import parse_arrivals

    return {
        "arrivals": parse_arrivals,
        "thresholds": parse_threshold,
        "limits.abort_on": parse_threshold,
        "regression.metrics": follow,
    }


def show_settings(settled: Settled) -> str:
    """Every setting as `name = value   (origin)`, one a line; what could be a secret is hidden."""
    # A key that takes one value or a map of them has two rows in the table: the map shows only when it is used.
    settings = [s for s in SETTINGS if not (s.name == "accounts" and settled.origins[s.name] == "default")]
    wide = max(len(setting.key or setting.option) for setting in settings)
    return "\n".join(
        f"{setting.key or setting.option:<{wide}} = {settled.text(setting.name)}   ({settled.origins[setting.name]})"
        for setting in settings
    )
