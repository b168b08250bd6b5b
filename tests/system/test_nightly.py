"""`harness nightly` with real runs: what it leaves behind, a confirmed regression, and an INVALID night.

The limits of validity are wide, for it is not the machine that is tested here.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.system.harness_run import ROOT, Finished, run_command

pytestmark = pytest.mark.system

SOUND = "lag_p99_ms = 5000\nloop_stall_max_ms = 20000\ncpu_max_ratio = 1\n" + (
    "arrivals_deviation_ratio = 1\ndropped_ratio = 1"
)
HISTORY_NIGHTS = 8


def profile(folder: Path, *, service: str, validity: str = SOUND) -> Path:
    """A night of two seconds against a simulator whose replies take `service`."""
    scenario = folder / f"scenario-{service}.toml"
    scenario.write_text(f'name = "x"\n[service]\ndistribution = "constant"\nmean = "{service}"\nslots = 64\n')
    path = folder / f"night-{service}.toml"
    path.write_text(
        f"""
[target]
url = "sim:{scenario}"
[load]
trace = "{ROOT / "fixtures/small.jsonl"}"
arrivals = "constant:25/s"
loop = 20
duration = "2s"
drain = "5s"
max_think = "50ms"
metrics = "off"
[validity]
{validity}
[regression]
metrics = ["p50(service_time)"]
"""
    )
    return path


def nightly(profile: Path, runs: Path, *options: str, scratch: Path) -> Finished:
    return run_command("nightly", str(profile), "--runs", str(runs), "--json", *options, scratch=scratch, timeout_s=120)


@pytest.fixture(scope="module")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Finished, Path]:
    """The first night in an empty folder, and that folder."""
    folder = tmp_path_factory.mktemp("night")
    runs = folder / "runs"
    options = ("--reports", str(folder / "reports"))
    return nightly(profile(folder, service="20ms"), runs, *options, scratch=folder / "scratch"), runs


def test_the_first_night_passes_and_leaves_every_report(first_night: tuple[Finished, Path]) -> None:
    """Exit 0; stdout is the summary of the run folder; all four reports in both places; no history to judge by yet."""
    finished, runs = first_night
    assert finished.exit_code == 0, finished.explain()
    [folder] = [path for path in runs.iterdir() if path.is_dir()]
    summary = json.loads((folder / "summary.json").read_text())
    assert json.loads(finished.stdout) == summary
    [check] = [check for check in summary["verdict"]["checks"] if check["kind"] == "regression"]
    assert (check["ok"], check["message"]) == (True, "not enough history: 0 baseline nights, 5 are needed")
    reports = runs.parent / "reports"
    for name in ("summary.json", "report.html", "junit.xml", "summary.md"):
        assert (reports / name).read_bytes() == (folder / name).read_bytes() != b"", name
    names = [case.get("name") for case in ElementTree.parse(reports / "junit.xml").iter("testcase")]
    assert sorted(map(str, names)) == sorted(check["name"] for check in summary["verdict"]["checks"])
    assert 'id="comparison"' in (reports / "report.html").read_text()
    assert summary["exemplars"]


def test_a_slower_target_is_a_confirmed_regression(first_night: tuple[Finished, Path], tmp_path: Path) -> None:
    """Eight nights at 20 ms, then one at 60: exit 4 after a second run, which stands for both in the history."""
    runs = tmp_path / "runs"
    [night] = [path for path in first_night[1].iterdir() if path.is_dir()]
    for at in range(HISTORY_NIGHTS):
        copy_night(night, runs, at)
    finished = nightly(profile(tmp_path, service="60ms"), runs, scratch=tmp_path / "scratch")
    assert finished.exit_code == 4, finished.explain()
    assert "once more, to confirm" in finished.stderr
    summary = json.loads(finished.stdout)
    failed = {check["name"] for check in summary["verdict"]["checks"] if not check["ok"]}
    assert "p50(service_time) against history" in failed
    [metric] = summary["history"]["metrics"]
    assert metric["baseline_nights"] == HISTORY_NIGHTS
    assert summary["confirms"]["exit_code"] == 4
    # Two seconds are too little for a comparison second by second; it is made, and says so.
    assert summary["comparison"]["base"] == [f"night-{HISTORY_NIGHTS - 1}"]
    assert [change["metric"] for change in summary["comparison"]["changes"]] == ["p50(service_time)"]
    said = [json.loads(line) for line in (runs / "history.jsonl").read_text().splitlines()]
    assert [(line["event"], line["first"], line["second"]) for line in said if line["event"] == "rerun"] == [
        ("rerun", summary["confirms"]["run_id"], summary["run_id"])
    ]
    listed = run_command(
        "history", "list", "--runs", str(runs), "--profile", str(tmp_path / "night-60ms.toml"), "--json",
        scratch=tmp_path / "list",
    )  # fmt: skip
    places = [json.loads(line)["place"] for line in listed.stdout.splitlines()]
    assert places == [*["yes"] * HISTORY_NIGHTS, "first try", "no"]


def copy_night(night: Path, runs: Path, at: int) -> None:
    """The run of `night` as one of an earlier day, its times a little different."""
    folder = runs / f"2026-01-{at + 1:02}"
    shutil.copytree(night, folder)
    factor = 1 + 0.01 * (at % 3 - 1)
    for name in ("manifest.json", "summary.json"):
        content = json.loads((folder / name).read_text())
        content |= {"run_id": f"night-{at}", "started_at": f"2026-01-{at + 1:02}T02:30:00.000+00:00"}
        for block in content.get("latency_ms", {}).values():
            block |= {stat: value * factor for stat, value in block.items() if stat != "count" and value is not None}
        (folder / name).write_text(json.dumps(content))


def test_an_invalid_night_is_not_repeated_and_no_baseline(tmp_path: Path) -> None:
    """Exit 5 with its cause, one run only, and it stands in the history as never to be a baseline."""
    runs = tmp_path / "runs"
    night = profile(tmp_path, service="20ms", validity="lag_p99_ms = 0.000001")
    finished = nightly(night, runs, scratch=tmp_path / "scratch")
    assert finished.exit_code == 5, finished.explain()
    summary = json.loads(finished.stdout)
    assert [check for check in summary["verdict"]["checks"] if check["kind"] == "regression"] == []
    assert "dispatch_lag_p99" in {check["name"] for check in summary["verdict"]["checks"] if not check["ok"]}
    listed = run_command("history", "list", "--runs", str(runs), "--json", scratch=tmp_path / "list")
    assert [json.loads(line)["place"] for line in listed.stdout.splitlines()] == ["never"]
    accepted = run_command("history", "accept", summary["run_id"], "--runs", str(runs), scratch=tmp_path / "accept")
    assert (accepted.exit_code, accepted.error_lines) == (
        2,
        [f"harness: error: run {summary['run_id']} is INVALID and cannot enter a baseline, whoever accepts it"],
    )


def test_a_wrong_metric_or_a_named_folder_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """One line, exit 2, no run folder."""
    night = profile(tmp_path, service="20ms")
    night.write_text(night.read_text().replace("p50(service_time)", "p50(serving_time)"))
    finished = nightly(night, tmp_path / "runs", scratch=tmp_path / "one")
    assert finished.exit_code == 2
    assert "regression.metrics" in finished.stderr
    night.write_text(
        night.read_text().replace("p50(serving_time)", "p50(service_time)").replace("loop = 20", 'out = "x"')
    )
    finished = nightly(night, tmp_path / "runs", scratch=tmp_path / "two")
    assert finished.exit_code == 2
    assert "a nightly run names its folder itself" in finished.stderr
    assert not (tmp_path / "runs").exists()


def test_a_damaged_history_is_told_before_anything_runs(tmp_path: Path) -> None:
    """Half a line in history.jsonl: one line, exit 2, and no run was made for nothing."""
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "history.jsonl").write_text('{"event":"deci')
    finished = nightly(profile(tmp_path, service="20ms"), runs, scratch=tmp_path / "scratch")
    assert (finished.exit_code, len(finished.error_lines)) == (2, 1), finished.explain()
    assert "history.jsonl, line 1: not a line of a history" in finished.stderr
    assert [path.name for path in runs.iterdir() if path.is_dir()] == []
