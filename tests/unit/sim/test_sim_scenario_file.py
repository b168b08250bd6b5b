"""Scenario files: what they may say, and every problem at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.sim.scenario import (
    PRESETS,
    Availability,
    Cold,
    Fault,
    Freeze,
    Level,
    Ns,
    Scenario,
    Service,
    Sessions,
    Wave,
)
from harness.sim.scenario_file import load_scenario, parse_scenario

WHOLE = """
name = "everything"
bad_ids = "404"
strict = true
retry_after_s = 2
accounts = ["12345678"]

[service]
distribution = "exponential"
mean = "25ms"
slots = 4
max_waiting = 100

[sessions]
max_age = "1h"
idle = "5m"
max_calls = 9
per_visitor = 2
per_account = 1000
remember = 90

[availability]
not_available_first = [1, 3]
ratio = 0.5
levels = [{ at = 0, ratio = 1.0 }, { at = "20s", ratio = 0.25 }]
wave = { amplitude = 0.1, period = "1m" }

[cold]
lasts = "2s"
calls = 5

[engagement]
valid_for_s = 300

[[freeze]]
at = "20s"
lasts = "10s"

[[fault]]
kind = "reset"
ratio = 0.01
at = "5s"
lasts = "1s"
"""


def test_a_file_that_says_everything() -> None:
    """Every key of every table arrives at its place, durations as nanoseconds."""
    second = 1_000_000_000
    scenario = parse_scenario(WHOLE, "test.toml", "test")
    assert scenario == Scenario(
        name="everything",
        bad_ids="404",
        strict=True,
        retry_after_s=2,
        accounts=("12345678",),
        service=Service(distribution="exponential", mean_ns=Ns(25_000_000), slots=4, max_waiting=100),
        sessions=Sessions(
            max_age_ns=Ns(3600 * second),
            idle_ns=Ns(300 * second),
            max_calls=9,
            per_visitor=2,
            per_account=1000,
            remember_ns=Ns(90 * second),
        ),
        availability=Availability(
            not_available_first=(1, 3),
            ratio=0.5,
            levels=(Level(at_ns=Ns(0), ratio=1.0), Level(at_ns=Ns(20 * second), ratio=0.25)),
            wave=Wave(amplitude=0.1, period_ns=Ns(60 * second)),
        ),
        cold=Cold(lasts_ns=Ns(2 * second), calls=5),
        engagement=scenario.engagement,
        freezes=(Freeze(at_ns=Ns(20 * second), lasts_ns=Ns(10 * second)),),
        faults=(Fault(kind="reset", ratio=0.01, at_ns=Ns(5 * second), lasts_ns=Ns(second)),),
    )
    assert scenario.engagement.valid_for_s == 300


def test_a_file_may_change_a_preset() -> None:
    """`base` keeps everything of the preset that the file does not name, inside tables too."""
    scenario = parse_scenario('base = "knee"\n[service]\nslots = 2\n', "x.toml", "x")
    preset = PRESETS["knee"].service
    assert scenario.service == Service(
        distribution=preset.distribution, mean_ns=preset.mean_ns, slots=2, max_waiting=preset.max_waiting
    )


def test_every_problem_is_listed_at_once() -> None:
    """Unknown keys, wrong types, values out of range and missing keys come together, each with its place."""
    text = """
    base = "nothing"
    bad_ids = "maybe"
    tempo = 3
    [service]
    mean = "soon"
    slots = 0
    [availability]
    ratio = 1.5
    [cold]
    lasts = -1
    [[freeze]]
    at = "1s"
    [[fault]]
    kind = "explode"
    ratio = 0.1
    """
    with pytest.raises(UsageError) as caught:
        parse_scenario(text, "bad.toml", "bad")
    places = sorted(problem.split(":")[0] for problem in caught.value.problems)
    assert places == [
        "availability.ratio",
        "bad_ids",
        "base",
        "cold.lasts",
        "fault[0].kind",
        "freeze[0].lasts",
        "service.mean",
        "service.slots",
        "tempo",
    ]
    assert str(caught.value) == "scenario bad.toml has 9 problem(s)"


def test_contradictions_between_keys() -> None:
    """What no single key shows is found, too."""
    text = """
    [availability]
    not_available_first = [3, 1]
    levels = [{ at = 5, ratio = 1 }, { at = 1, ratio = 0 }]
    wave = { amplitude = 0.5, period = 0 }
    [[freeze]]
    at = 1
    lasts = 5
    every = 5
    """
    with pytest.raises(UsageError) as caught:
        parse_scenario(text, "x.toml", "x")
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "availability.not_available_first",
        "availability.wave.period",
        "availability.levels",
        "freeze[0].every",
    ]


@pytest.mark.parametrize("text", ["service = 3", "[[service]]\nslots = 1", 'fault = "reset"', "name = 5", "= 3"])
def test_misshapen_files_are_refused_with_one_line(text: str) -> None:
    """A value where a table belongs, or no TOML at all, is a UsageError, never anything else."""
    with pytest.raises(UsageError) as caught:
        parse_scenario(text, "x.toml", "x")
    assert "\n" not in str(caught.value)


def test_presets_have_the_documented_names() -> None:
    """The names of the presets are those of the interface."""
    assert list(PRESETS) == ["healthy", "cold-account", "flaky", "freeze", "caps", "knee"]
    assert load_scenario("flaky") is PRESETS["flaky"]


def test_a_file_is_found_by_its_path_and_named_after_it(tmp_path: Path) -> None:
    """A path works where a preset name does; a missing one says what there is."""
    path = tmp_path / "slow.toml"
    path.write_text('[service]\nmean = "1s"\n')
    assert load_scenario(str(path)).name == "slow"
    with pytest.raises(UsageError, match="neither a file nor a preset \\(healthy cold-account"):
        load_scenario(str(tmp_path / "none.toml"))
