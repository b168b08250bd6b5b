"""Composition root of Locust's processes: `locustfiles/engagement.py` imports this, and the harness is installed."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.cli.master_run import MasterRun
from harness.cli.run import settle_profile
from harness.config.model import RunConfig
from harness.errors import UsageError
from harness.fleet.entry import EngagementUser, RunShape, install

__all__ = ["EngagementUser", "RunShape"]


def _load_config(path: str) -> RunConfig:
    """The run's configuration: complete JSON from the parent command, or a profile (TOML) of the user's own."""
    if not path:
        raise UsageError("no configuration: add --harness-config PROFILE.toml (or start with `harness run`)")
    if Path(path).suffix == ".json":
        return msgspec.json.decode(Path(path).read_bytes(), type=RunConfig)
    return settle_profile(path)


install(_load_config, MasterRun)
