"""Packaged files: found beside the package or inside it, and the shipped examples are usable."""

from __future__ import annotations

import pytest

from harness.cli.options import checks
from harness.config.build import build_config
from harness.config.files import packaged
from harness.config.resolve import settle
from harness.errors import InternalError
from harness.sim.scenario_file import load_scenario


def test_a_missing_packaged_file_is_our_fault() -> None:
    """A file that the installation lacks is an internal error with one line."""
    with pytest.raises(InternalError, match="lacks fixtures/none"):
        packaged("fixtures/none")


@pytest.mark.parametrize("name", ["profile.toml", "demo.toml"])
def test_shipped_profiles_are_without_problems(name: str) -> None:
    """Each shipped profile settles into a configuration whose trace exists."""
    settled = settle({}, {}, checks(), str(packaged(f"fixtures/{name}")))
    config = build_config(settled, run_id="r", trace=str(settled.values["trace"]), scenario="s")
    assert packaged(f"fixtures/{config.trace.rpartition('/')[2]}").exists()
    assert config.thresholds


def test_the_shipped_slo_file_is_without_problems() -> None:
    """fixtures/slo.toml reads and every condition of it is understood."""
    settled = settle({"slo": str(packaged("fixtures/slo.toml"))}, {}, checks())
    assert len(settled.values["thresholds"]) == 6  # type: ignore[arg-type]


def test_the_demo_scenario_reads() -> None:
    """fixtures/demo-scenario.toml is a scenario with a cold account."""
    assert load_scenario(str(packaged("fixtures/demo-scenario.toml"))).cold.lasts_ns > 0
