"""Two targets in turns: who plays when, with which seed and where, and what ends the series. No run is carried out."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from harness.cli import turns
from harness.cli.options import read_settings
from harness.config.model import RunConfig
from harness.errors import HarnessError, UsageError

A, B = "http://127.0.0.1:1001", "http://127.0.0.1:1002"


def play(
    monkeypatch: pytest.MonkeyPatch, out: Path, codes: list[int]
) -> tuple[list[RunConfig], list[tuple[Path, Path]]]:
    """Plays three pairs with runs that end with these exit codes; returns what was asked for, and the folders."""
    monkeypatch.setenv("HARNESS_SEED", "7")
    asked: list[RunConfig] = []

    def conduct(config: RunConfig, **_: object) -> int:
        asked.append(config)
        return codes[len(asked) - 1]

    monkeypatch.setattr(turns, "conduct", conduct)
    settled = read_settings({})
    settled.values |= {"trace": "trace.jsonl", "out_dir": str(out)}
    return asked, turns.play_in_turns(settled, A, B, 3, people=io.StringIO())


def test_order_seeds_and_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A B, B A, A B; both runs of a pair share a seed, the next pair has the next; folders come back by side."""
    asked, folders = play(monkeypatch, tmp_path / "out", [0, 3, 5, 0, 0, 0])
    assert [(config.target, config.seed) for config in asked] == [(A, 7), (B, 7), (B, 8), (A, 8), (A, 9), (B, 9)]
    expected = [(tmp_path / "out" / f"0{n}-base", tmp_path / "out" / f"0{n}-new") for n in (1, 2, 3)]
    assert folders == expected
    assert asked[2].out_dir == str(expected[1][1])


def test_a_run_without_an_end_ends_the_series(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """After a guard's abort (6) no further run begins, and its code is the series' own; 130 is an interrupt."""
    with pytest.raises(HarnessError, match="exit code 6") as raised:
        play(monkeypatch, tmp_path / "a", [0, 6])
    assert raised.value.exit_code == 6
    with pytest.raises(KeyboardInterrupt):
        play(monkeypatch, tmp_path / "b", [0, 130])


def test_an_old_series_is_not_overwritten(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder that holds something is refused before anything is played."""
    (tmp_path / "old").write_text("x")
    with pytest.raises(UsageError, match="is not empty"):
        play(monkeypatch, tmp_path, [])
