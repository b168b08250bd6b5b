"""The history of a folder of runs: an index that can be lost, a log that cannot, and who may enter the baseline."""

from __future__ import annotations

import json
import runpy
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.config.model import Regression
from harness.errors import UsageError
from harness.judge.metric import follow
from harness.judge.nights import KnownChange, baseline
from harness.store.history import INDEX, LOG, Entry, History, series_of

write_night: Callable[..., str] = runpy.run_path(str(Path(__file__).with_name("nights_on_disk.py")))["write_night"]
P95 = follow("p95(response_time)")
NOW = "2026-02-01T00:00:00.000+00:00"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Six runs: a good one, an INVALID, a FAIL, a partial one, a good one of another series, a good one."""
    write_night(tmp_path, 1, 100.0)
    write_night(tmp_path, 2, 900.0, status="INVALID")
    write_night(tmp_path, 3, 300.0, status="FAIL")
    write_night(tmp_path, 4, 100.0, partial=True)
    write_night(tmp_path, 5, 50.0, arrivals="constant:5/s")
    write_night(tmp_path, 6, 101.0)
    return tmp_path


def in_baseline(runs: Path, series: str) -> list[str]:
    with History.open(runs) as history:
        nights = history.nights(series, [P95])
        return [night.run_id for night in baseline(nights, history.log.changes.values(), P95, Regression())]


def plain(entries: list[Entry]) -> list[Any]:
    return [msgspec.to_builtins(entry) for entry in entries]


def test_an_entry_says_what_manifest_and_summary_say(runs: Path) -> None:
    """Every field of the index, for the run that failed its threshold."""
    with History.open(runs) as history:
        entry = history.entry("run-003")
        assert history.values(entry, [P95]) == {P95.text: 300.0}
    assert entry == Entry(
        folder="2026-01-03-nightly-run-003", run_id="run-003", started_at="2026-01-03T03:00:00.000+00:00",
        scenario="nightly", series=entry.series, status="FAIL", exit_code=3, partial=False, duration_s=60.0,
        kept_slo=False, refused=frozenset(),
    )  # fmt: skip


def test_invalid_partial_and_failed_runs_never_enter_the_baseline(runs: Path) -> None:
    """Of one series only the two good runs count; the other series is apart."""
    with History.open(runs) as history:
        series = history.entry("run-001").series
        other = history.entry("run-005").series
    assert in_baseline(runs, series) == ["run-001", "run-006"]
    assert in_baseline(runs, other) == ["run-005"]


def test_people_can_accept_a_failed_run_but_no_invalid_or_partial_one(runs: Path) -> None:
    """Accepting the FAIL brings it in, rejecting a PASS takes it out; INVALID and partial are refused with one line."""
    with History.open(runs) as history:
        series = history.entry("run-001").series
        assert history.decide("run-003", "accepted", at=NOW, reason="known") == "run-003"
        history.decide("run-006", "rejected", at=NOW)
        for name, what in (("run-002", "INVALID"), ("run-004", "partial")):
            with pytest.raises(UsageError, match=f"{name} is {what} and cannot enter a baseline"):
                history.decide(name, "accepted", at=NOW)
    assert in_baseline(runs, series) == ["run-001", "run-003"]


def test_the_index_can_be_lost_or_damaged(runs: Path) -> None:
    """Deleted, garbage, of another version, rebuilt: entries and decisions are the same as before."""
    with History.open(runs) as history:
        before = plain(history.entries())
        history.decide("run-003", "accepted", at=NOW)
    other = sqlite3.connect(runs / INDEX)
    for spoil in (
        lambda: (runs / INDEX).unlink(),
        lambda: (runs / INDEX).write_bytes(b"not a database at all, but long enough to be looked at" * 40),
        lambda: (runs / INDEX).write_bytes(b""),
    ):
        spoil()
        with History.open(runs) as history:
            assert plain(history.entries()) == before
            assert history.log.decisions == {"run-003": "accepted"}
    other.close()
    database = sqlite3.connect(runs / INDEX)
    database.execute("PRAGMA user_version = 99")
    database.commit()
    database.close()
    with History.open(runs) as history:
        assert plain(history.entries()) == before
    with History.open(runs, rebuild=True) as history:
        assert plain(history.entries()) == before


def test_the_index_follows_the_folders(runs: Path) -> None:
    """A run that is removed, added or judged again is seen at the next opening, its values too."""
    with History.open(runs) as history:
        history.values(history.entry("run-001"), [P95])
    for file in (runs / "2026-01-06-nightly-run-006").iterdir():
        file.unlink()
    (runs / "2026-01-06-nightly-run-006").rmdir()
    write_night(runs, 7, 99.0)
    path = runs / "2026-01-01-nightly-run-001" / "summary.json"
    summary = json.loads(path.read_text())
    summary["latency_ms"]["response_time"]["p95"] = 123.5
    path.write_text(json.dumps(summary))
    with History.open(runs) as history:
        assert [entry.run_id for entry in history.entries()] == [
            "run-001", "run-002", "run-003", "run-004", "run-005", "run-007",
        ]  # fmt: skip
        assert history.values(history.entry("run-001"), [P95]) == {P95.text: 123.5}


def test_an_unreadable_run_is_said_and_left_out(runs: Path) -> None:
    """A broken summary or manifest costs a note, not the history."""
    (runs / "2026-01-01-nightly-run-001" / "summary.json").write_text("{")
    (runs / "2026-01-03-nightly-run-003" / "manifest.json").write_text("[]")
    with History.open(runs) as history:
        assert [entry.run_id for entry in history.entries()] == ["run-002", "run-004", "run-005", "run-006"]
        assert len(history.notes) == 2
        assert all("left out of the history" in note for note in history.notes)


def test_what_was_reported_and_decided_is_read_back(runs: Path) -> None:
    """Changes keep their report, decisions change their state, a confirmed first try is no night."""
    change = KnownChange(id="c-1", metric=P95.text, run_id="run-006", before=100.0, after=110.0, worse=True)
    with History.open(runs) as history:
        series = history.entry("run-001").series
        history.log.report([change])
        assert history.decide("c-1", "rejected", at=NOW) == "c-1"
        history.log.confirm("run-001", "run-006", NOW)
    with History.open(runs) as history:
        assert list(history.log.changes.values()) == [msgspec.structs.replace(change, state="rejected", decided_at=NOW)]
        assert next(night.run_id for night in history.nights(series, [P95])) == "run-002"
        with pytest.raises(UsageError, match="no change 'c-2' was reported"):
            history.decide("c-2", "accepted", at=NOW)


def test_a_damaged_log_is_an_error_with_its_line(runs: Path) -> None:
    """The log cannot be made anew, so nothing is guessed."""
    (runs / LOG).write_text('{"event": "rerun", "first": "a", "second": "b", "at": ""}\n{"event": "x"}\n')
    with pytest.raises(UsageError, match=r"history\.jsonl, line 2: not a line of a history"):
        History.open(runs)


def test_series_follow_what_shapes_a_run_and_nothing_else() -> None:
    """Seed, labels, output and a loopback port do not matter; arrivals, target host, policy and trace do."""
    config = {"arrivals": "constant:5/s", "target": "http://127.0.0.1:1", "retry": {"name": "none"}, "seed": 1}
    same = series_of(config, "t")
    for change in ({"seed": 2}, {"labels": {"a": "b"}}, {"out_dir": "x"}, {"target": "http://127.0.0.1:2"}):
        assert series_of(config | change, "t") == same, change
    for change in ({"arrivals": "constant:6/s"}, {"target": "http://test.example"}, {"retry": {"name": "x"}}):
        assert series_of(config | change, "t") != same, change
    assert series_of(config, "u") != same


def test_ids_may_be_shortened_but_not_doubtful(runs: Path) -> None:
    """A unique beginning names a run; several or none are said."""
    write_night(runs, 10, 1.0)
    with History.open(runs) as history:
        assert history.entry("run-010").run_id == "run-010"
        assert history.entry("run-01").run_id == "run-010"
        with pytest.raises(UsageError, match="7 runs 'run'"):
            history.entry("run")
        with pytest.raises(UsageError, match="no run 'x'"):
            history.entry("x")
