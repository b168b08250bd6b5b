"""`harness history` over made-up run folders: what it prints, stores and refuses."""

from __future__ import annotations

import csv
import json
import runpy
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import pytest
from click.testing import CliRunner, Result
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from harness.cli.history import history
from harness.errors import UsageError
from harness.judge.nights import change_id

_NIGHTS = Path(__file__).parents[1] / "store" / "nights_on_disk.py"
write_night: Callable[..., str] = runpy.run_path(str(_NIGHTS))["write_night"]
WOBBLE = (0.0, 1.0, -1.0, 0.5, -0.5)
PROFILE = '[regression]\nmetrics = ["p95(response_time)"]\n'


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Fifteen nights at 100 ms, one of them INVALID, then eight at 120 ms."""
    folder = tmp_path / "runs"
    folder.mkdir()
    (tmp_path / "p.toml").write_text(PROFILE)
    for at in range(1, 24):
        level = 120 if at > 15 else 100
        write_night(folder, at, level + WOBBLE[at % 5], status="INVALID" if at == 3 else "PASS")
    return folder


def run(runs: Path, *arguments: str) -> Result:
    profile = str(runs.parent / "p.toml")
    command = [arguments[0], "--runs", str(runs), "--profile", profile, *arguments[1:]]
    return CliRunner().invoke(history, command, catch_exceptions=False, standalone_mode=False)


def test_list_shows_each_run_and_its_place(runs: Path) -> None:
    """Night 3 is never in the baseline; the newest fourteen valid nights are; the last column is the metric."""
    head, *lines = run(runs, "list").stdout.splitlines()
    assert head.split() == ["started", "run", "scenario", "series", "verdict", "baseline", "p95(response_time)"]
    cells = [line.split() for line in lines]
    assert [row[1] for row in cells] == [f"run-{at:03}" for at in range(1, 24)]
    assert [row[5] for row in cells] == ["no", "no", "never", *["no"] * 6, *["yes"] * 14]
    assert cells[0] == ["2026-01-01T03:00:00", "run-001", "nightly", cells[0][3], "PASS", "no", "101", "ms"]


def test_detect_finds_the_step_and_stores_nothing(runs: Path) -> None:
    """One change, with the id it will have when it is reported; twice the same."""
    first = run(runs, "detect", "--json")
    [found] = [json.loads(line) for line in first.stdout.splitlines()]
    assert found == {
        "id": change_id("p95(response_time)", "run-016"), "metric": "p95(response_time)", "run_id": "run-016",
        "before": 100.25, "after": 120.25, "worse": True, "reported_by": "", "state": "open", "decided_at": "",
    } | {key: found[key] for key in ("before", "after")}  # fmt: skip
    assert (found["before"], found["after"]) == (pytest.approx(100, abs=0.6), pytest.approx(120, abs=0.6))
    assert run(runs, "detect", "--json").stdout == first.stdout
    assert "not reported yet" in run(runs, "detect").stdout


def test_detect_says_when_there_is_nothing(tmp_path: Path) -> None:
    """Quiet nights: stdout is empty, people read it on stderr."""
    folder = tmp_path / "runs"
    folder.mkdir()
    (tmp_path / "p.toml").write_text(PROFILE)
    for at in range(1, 12):
        write_night(folder, at, 100 + WOBBLE[at % 5])
    result = run(folder, "detect")
    assert (result.stdout, result.stderr) == ("", "no change points\n")


def test_accept_and_reject(runs: Path) -> None:
    """A run is decided by a unique beginning of its id and shows it in the list; an INVALID one is refused."""
    assert run(runs, "reject", "run-023", "--reason", "somebody tested beside it").stdout == "run-023 rejected\n"
    assert run(runs, "list").stdout.splitlines()[-1].split()[5] == "rejected"
    [line] = (runs / "history.jsonl").read_text().splitlines()
    said = json.loads(line)
    assert (said["run"], said["decision"], said["reason"]) == ("run-023", "rejected", "somebody tested beside it")
    with pytest.raises(UsageError, match="INVALID and cannot enter a baseline"):
        run(runs, "accept", "run-003")


def test_show_tells_a_run(runs: Path) -> None:
    """Its fields and metrics, one a line."""
    lines = dict(line.split(maxsplit=1) for line in run(runs, "show", "run-003").stdout.splitlines() if " " in line)
    assert (lines["status"], lines["place"], lines["p95(response_time)"]) == ("INVALID", "never", "100.5 ms")


def test_export_as_csv_and_json_lines(runs: Path, tmp_path: Path) -> None:
    """The same rows in both forms: every run, its place and its metric."""
    run(runs, "export", "--format", "csv", "-o", str(tmp_path / "h.csv"))
    with (tmp_path / "h.csv").open() as file:
        rows = list(csv.DictReader(file))
    lines = [json.loads(line) for line in run(runs, "export").stdout.splitlines()]
    assert [(row["run_id"], row["place"], float(row["p95(response_time)"])) for row in rows] == [
        (line["run_id"], line["place"], line["metrics"]["p95(response_time)"]) for line in lines
    ]
    assert len(rows) == 23


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    """It is told what to give."""
    (tmp_path / "p.toml").write_text(PROFILE)
    with pytest.raises(UsageError, match="give the folder that holds the run folders with --runs"):
        run(tmp_path / "none", "list")


def test_openmetrics_tells_each_night_as_it_stood(runs: Path) -> None:
    """Values in seconds, the band of the nights before, the change at its night, and verdicts, at the runs' starts."""
    text = run(runs, "export", "--openmetrics").stdout
    found: dict[tuple[str, ...], list[float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert sample.labels.pop("scenario") == "nightly"
            assert datetime.fromtimestamp(float(sample.timestamp), UTC).hour == 3
            name = sample.name.removeprefix("harness_history_")
            found.setdefault((name, *sorted(sample.labels.values())), []).append(sample.value)
    p95 = "p95(response_time)"
    values = [round((120 if at > 15 else 100) + WOBBLE[at % 5], 3) for at in range(1, 24)]
    assert found["value", p95] == pytest.approx([value / 1000 for value in values])
    assert found["verdict", "INVALID"] == [1]
    assert len(found["verdict", "PASS"]) == 22
    assert found["exit_code",] == [5 if at == 3 else 0 for at in range(1, 24)]
    assert found["change_ratio", p95] == [pytest.approx(0.2, abs=0.01)]
    # The first five sound nights have no band; then the median of the sound nights before, as sorted lists tell it.
    sound = [value for at, value in enumerate(values, 1) if at != 3]
    medians = [median(sound[max(0, night - 14) : night]) for night in range(5, 15)]
    assert found["baseline", "median", p95][: len(medians)] == pytest.approx([value / 1000 for value in medians])
    bands = zip(
        found["baseline", "low", p95], found["baseline", "median", p95], found["baseline", "high", p95], strict=True
    )
    assert all(low < centre < high for low, centre, high in bands)


def test_a_reason_that_is_no_text_is_kept_as_far_as_it_is(runs: Path) -> None:
    """A byte that is no UTF-8 in --reason becomes a question mark; the decision stands."""
    assert run(runs, "accept", "run-001", "--reason", "bad\udcff").stdout == "run-001 accepted\n"
    [line] = (runs / "history.jsonl").read_text().splitlines()
    assert json.loads(line)["reason"] == "bad?"
