"""`harness plan`: figures that can be worked out by hand, ceilings, questions, and what it says to bad input."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.capacity import forecast
from harness.cli.main import run_command
from harness.errors import ExitCode

STEADY = '[service]\ndistribution = "constant"\nmean = "50ms"\n'


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 1,000 local ports."""
    monkeypatch.setattr("harness.doctor.host.local_ports", lambda: (30_000, 30_999))


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """100 visits of two calls with 1.96 s of thought between."""
    step = {"op": "get_engagement", "request": {}}
    lines = [{"harness_trace": 1, "source": "test", "anonymized": True}]
    for n in range(100):
        visit = {"visit": f"v{n}", "visitor": f"p{n}", "at": n}
        lines.append(visit | {"steps": [step | {"identity": "fresh"}, step | {"think": 1.96}]})
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def steady(tmp_path: Path) -> Path:
    """A service that takes 50 ms for everything."""
    path = tmp_path / "steady.toml"
    path.write_text(STEADY)
    return path


def planned(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    """Exit code and document."""
    code = run_command(["plan", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_figures_of_a_steady_plan(trace: Path, steady: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """10 visits/s of 2.06 s each: 21 open, one call in flight by Little's law, and every other figure by hand."""
    code, found = planned(
        capsys, trace, "--scenario", steady, "--arrivals", "constant:10/s:10s", "--worker-rate", "7/s", "--seed", "3"
    )
    assert code == 0
    latency = found.pop("latency_ms")
    assert {name: block["p99"] for name, block in latency.items()} == {
        "response_time": 50.0, "service_time": 50.0, "dispatch_lag": 0.0, "time_to_available": 50.0,
    }  # fmt: skip
    assert found == {
        "schema": "harness.plan/1",
        "trace": str(trace),
        "scenario": str(steady),
        "scenario_from": "--scenario",
        "arrivals": "constant:10/s:10s",
        "load_model": "open",
        "retry": "until-available",
        "connections": "browser",
        "seed": 3,
        "rtt_ms": 0.0,
        "visits": {"planned": 100, "completed": 100},
        "steps": {"settled": 200, "available": 200},
        "calls": {"total": 200, "available": 200},
        "duration_s": {"arrivals": 10.0, "until_all_is_over": 11.96},
        "rates": {
            "visits_hz": 10.0,
            "visits_busiest_second": 10,
            "calls_busiest_second": 20,
            "new_connections_busiest_second": 10,
            "new_sessions": 100,
            "new_sessions_busiest_minute": 100,
        },
        # 80 visits are seen whole, the last 20 for a tenth of a second more each.
        "concurrency": {
            "visits_open": {"mean": 18.58, "peak": 21},
            "calls_in_flight": {"mean": 0.9, "peak": 2},
            "connections_open": {"mean": 18.58, "peak": 21},
        },
        "needs": {
            "workers": 3,
            "workers_because_of": "calls",
            "worker_rate_hz": 7.0,
            "memory_mb": 400,
            "ports": 100,
            "ports_of_an_address": 1_000,
            "source_addresses": 1,
            "source_addresses_given": 1,
        },
        "retry_amplification": 1.0,
        "availability": {"first_attempt_ratio": 1.0, "eventual_ratio": 1.0},
        "time_to_available_ms": {"p50": 50.0, "p95": 50.0, "p99": 50.0},
        "breaches": [],
    }  # fmt: skip


def test_ports_and_addresses_of_fresh_connections(
    trace: Path, steady: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """20 connections a second, each for 50 ms and 60 s more: 1,200 ports and the one being opened, two addresses."""
    _, found = planned(
        capsys, trace, "--scenario", steady, "--connections", "fresh", "--arrivals", "constant:10/s", "--loop", 8
    )
    assert found["needs"]["ports"] == pytest.approx(1_200, abs=3)
    assert (found["needs"]["source_addresses"], found["needs"]["source_addresses_given"]) == (2, 1)
    run_command(["plan", str(trace), "--connections", "fresh", "--arrivals", "constant:10/s", "--loop", "8"])
    assert "2 source addresses for each target address, 1 given: repeat --source-address" in " ".join(
        capsys.readouterr().out.split()
    )


def test_descriptors_make_workers(trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """21 connections at once, 10 for each worker: three workers because of connections."""
    supply = forecast.Supply(ports=1_000, descriptors=110)
    end = _end(connections_max=21, calls_per_s_max=20)
    needs = forecast.forecast(end, forecast.Snapshot(), supply)["needs"]
    assert (needs["workers"], needs["workers_because_of"]) == (3, "connections")


def _end(**changes: int) -> Any:
    fields = dict.fromkeys(forecast.RehearsalEnd.__dataclass_fields__, 1)
    return forecast.RehearsalEnd(**{**fields, **changes})


def test_a_plan_that_breaks_ceilings_says_which(
    trace: Path, steady: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 6 with the figures, every broken ceiling by name; one that is met exactly is kept."""
    profile = tmp_path / "team.toml"
    profile.write_text("[limits]\nmax_visits_per_s = 10\nmax_open_visits = 20\nmax_new_sessions_per_min = 99\n")
    arguments = [trace, "--scenario", steady, "--arrivals", "constant:10/s", "--profile", profile]
    code, found = planned(capsys, *arguments)
    assert code == ExitCode.GUARD
    assert [(each["limit"], each["allowed"], each["planned"]) for each in found["breaches"]] == [
        ("limits.max_open_visits", 20, 21),
        ("limits.max_new_sessions_per_min", 99, 100),
    ]
    assert run_command(["plan", *map(str, arguments)]) == ExitCode.GUARD
    assert "limits.max_open_visits allows 20: 21 visits are open at once" in capsys.readouterr().out


def test_what_if_crosses_policies_with_availability(
    trace: Path, steady: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without retries the share in the end is the service's; with them it is nearly all, for 1/ratio calls a step."""
    _, found = planned(
        capsys, trace, "--scenario", steady, "--loop", 10, "--arrivals", "poisson:20/s", "--what-if",
        "retry=none,until-available", "--what-if", "availability=0.5", "--what-if", "availability=0.9,0.5",
    )  # fmt: skip
    rows = {(row["retry"], row["availability"]): row for row in found["what_if"]}
    assert list(rows) == [("none", 0.5), ("none", 0.9), ("until-available", 0.5), ("until-available", 0.9)]
    for (retry, ratio), row in rows.items():
        again = retry != "none"
        assert row["calls"] == pytest.approx(2_000 / ratio if again else 2_000, rel=0.05)
        assert row["retry_amplification"] == row["calls"] / 2_000
        assert row["eventual_ratio"] == pytest.approx(1.0 if again else ratio, rel=0.05)
        assert row["first_attempt_ratio"] == pytest.approx(ratio, rel=0.05)
        assert (row["time_to_available_ms"]["p95"] is None) == (not again)
    assert rows["until-available", 0.5]["time_to_available_ms"]["p95"] > 300


def test_the_usual_scenario_is_said_or_taken_from_the_target(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a scenario it is healthy, by default; a profile whose target is a simulator names its own."""
    assert run_command(["plan", str(trace)]) == 0
    assert "scenario healthy, the default" in " ".join(capsys.readouterr().out.split())
    profile = tmp_path / "team.toml"
    profile.write_text('[target]\nurl = "sim:flaky"\n')
    _, found = planned(capsys, trace, "--profile", profile)
    assert (found["scenario"], found["scenario_from"]) == ("flaky", f"{profile}: target.url")


def test_standard_input_and_bad_lines(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A trace from a pipe serves every question; bad lines are an error or, if asked for, left out and counted."""

    class Pipe:
        buffer = io.BytesIO(trace.read_bytes())

    monkeypatch.setattr(sys, "stdin", Pipe)
    _, found = planned(capsys, "-", "--what-if", "retry=none")
    assert (found["trace"], found["visits"]["planned"], found["what_if"][0]["calls"]) == ("-", 100, 200)
    broken = tmp_path / "broken.jsonl"
    broken.write_text(trace.read_text() + "{}\n")
    assert run_command(["plan", str(broken)]) == ExitCode.USAGE
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"harness: error: {broken}:102: ")
    assert run_command(["plan", str(broken), "--on-bad-line", "skip", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["visits"]["planned"] == 100
    assert said.err.startswith("1 bad lines skipped; the first: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scenario", "nowhere"], "scenario 'nowhere' is neither a file nor a preset"),
        (["--rtt", "soon"], "'soon' is not a duration"),
        (["--rtt", "10s"], "with a round trip that long no reply comes within the timeouts"),
        (["--worker-rate", "many"], "'many' is not a rate"),
        (
            ["--what-if", "weather=fine"],
            "--what-if 'weather=fine': write retry=none,sdk-sample or availability=0.5,0.9",
        ),
        (["--what-if", "retry=hope"], "--what-if retry: 'hope' is no retry policy; known: until-available"),
        (["--what-if", "availability=1.5"], "--what-if availability: '1.5' is no share"),
        (["--arrivals", "now"], "'now' is not an arrivals spec"),
    ],
)
def test_bad_input_is_one_clear_line(
    trace: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, what is wrong and what to write instead, nothing on stdout."""
    assert run_command(["plan", str(trace), *arguments]) == ExitCode.USAGE
    said = capsys.readouterr()
    assert (said.out, said.err.count("harness: error: ")) == ("", 1)
    assert message in said.err


def test_no_trace_and_an_empty_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both are said."""
    assert run_command(["plan"]) == ExitCode.USAGE
    assert "no trace given" in capsys.readouterr().err
    empty = tmp_path / "empty.jsonl"
    empty.write_text('{"harness_trace":1}\n')
    assert run_command(["plan", str(empty)]) == ExitCode.USAGE
    assert "the trace has no visit to replay" in capsys.readouterr().err
