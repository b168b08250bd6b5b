"""`harness compare` on stored runs: exit codes, table, JSON, refusals. The folders are written, not played."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.measure.slices import to_lines
from harness.store.run_folder import RunFolder
from tests.system.harness_run import run_command
from tests.unit.judge.runs import made_run

pytestmark = pytest.mark.system


def stored(path: Path, seed: int, **changes: Any) -> str:
    """A run folder that holds a made-up run; returns its path as text."""
    run = made_run(seed, **changes)
    folder = RunFolder.create(path, run.manifest)
    for second, snapshot in run.slices.items():
        folder.append_slices(to_lines(second, snapshot))
    folder.finish(run.summary, None)
    return str(path)


def test_exit_codes_say_what_was_found(tmp_path: Path) -> None:
    """0 for two plays of one target, 4 and the metric's name for a slower one, 5 for an INVALID run, 2 for oranges."""
    base = stored(tmp_path / "base", 1, run_id="one")
    same, slow = stored(tmp_path / "same", 2), stored(tmp_path / "slow", 3, slower=1.3, run_id="two")
    invalid = stored(tmp_path / "invalid", 4, status="INVALID", run_id="three")
    other = stored(tmp_path / "other", 5, config={"arrivals": "constant:9/s"})
    metric = ("--metric", "p95(response_time)")
    ends = {
        name: run_command("compare", base, new, *metric, scratch=tmp_path / f"out-{name}")
        for name, new in (("same", same), ("slow", slow), ("invalid", invalid), ("other", other))
    }
    assert {name: end.exit_code for name, end in ends.items()} == {"same": 0, "slow": 4, "invalid": 5, "other": 2}
    first, *rest = ends["slow"].stdout.splitlines()
    assert first.startswith("FAIL  1 of 1 metrics are worse: p95(response_time): ")
    assert any(line.strip().startswith("WORSE  p95(response_time)") for line in rest)
    assert ends["invalid"].stdout.startswith("INVALID  INVALID in itself: three")
    assert "arrivals: arrivals constant:50/s against arrivals constant:9/s; --force arrivals" in ends["other"].stderr
    forced = run_command("compare", base, other, *metric, "--force", "arrivals", scratch=tmp_path / "forced")
    assert forced.exit_code == 0, forced.explain()


def test_json_is_the_whole_answer(tmp_path: Path) -> None:
    """--json prints the comparison as data on stdout, both values and interval of each metric in it."""
    base, slow = stored(tmp_path / "base", 1), stored(tmp_path / "slow", 3, slower=1.3)
    end = run_command("compare", base, slow, "--metric", "p50(response_time)", "--json", scratch=tmp_path / "out")
    found = json.loads(end.stdout)
    [change] = found["changes"]
    assert (found["schema"], found["status"], found["exit_code"]) == ("harness.comparison/1", "FAIL", end.exit_code)
    assert change["ci95"][0] < change["effect"] < change["ci95"][1]
    assert change["ratio"] == pytest.approx(change["new"] / change["base"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere", "nowhere"), "there is no run folder nowhere"),
        (("a", "b", "--force", "moon"), "--force moon: there is nothing of that name"),
        (("a", "b", "--repeat", "2"), "Invalid value for '--repeat'"),
        (("a", "b", "--alpha", "0"), "Invalid value for '--alpha'"),
        (
            ("http://127.0.0.1:1", "http://127.0.0.1:2", "--repeat", "3", "--metric", "max(response_time)"),
            "a max cannot be",
        ),
    ],
)
def test_bad_words_are_told_in_one_line(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    """Each ends with 2, one line that says what is wrong, and nothing on stdout."""
    end = run_command("compare", *arguments, scratch=tmp_path)
    assert (end.exit_code, end.stdout) == (2, "")
    assert len(end.stderr.strip().splitlines()) == 1
    assert words in end.stderr


def test_a_torn_run_is_not_compared(tmp_path: Path) -> None:
    """Slices that end in the middle are refused, not compared as far as they go."""
    base, torn = stored(tmp_path / "base", 1), stored(tmp_path / "torn", 2)
    slices = Path(torn) / "slices.jsonl.zst"
    slices.write_bytes(slices.read_bytes()[:-7])
    end = run_command("compare", base, torn, scratch=tmp_path / "out")
    assert end.exit_code == 2
    assert "is not whole and cannot be compared" in end.stderr
