"""Composition root of `locustfiles/classic.py`: profile and plan are read here, the visitors are of `fleet.classic`."""

from __future__ import annotations

from harness.cli.planned import plan_end_ns, planned_visits
from harness.cli.run import settle_profile
from harness.config.model import RunConfig
from harness.errors import UsageError
from harness.fleet.classic import ClassicVisitor, install_classic

__all__ = ["ClassicVisitor"]


def _load_config(path: str) -> RunConfig:
    if not path:
        raise UsageError("no configuration: add --harness-config PROFILE.toml")
    return settle_profile(path)


install_classic(_load_config, planned_visits, plan_end_ns)
