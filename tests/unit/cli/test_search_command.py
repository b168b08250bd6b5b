"""`harness capacity search` with runs in virtual time: what silence, a busy target and foreign folders make of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.cli.main import run_command
from harness.config.model import RunConfig
from harness.errors import ExitCode, StorageError, UnreachableError
from harness.sim.scenario import Fault, Ns, Scenario, Service
from harness.store.search_folder import only_search
from harness.units import NS_PER_MS
from tests.unit.cli.virtual_runs import VirtualRuns, is_trickle, rate_of

STEADY = Scenario(service=Service(distribution="constant", mean_ns=Ns(8 * NS_PER_MS), slots=4))
DEAD = Scenario(faults=(Fault(kind="reset", ratio=1.0),))
SLOW = Scenario(service=Service(distribution="constant", mean_ns=Ns(400 * NS_PER_MS)))
SLO = "p95(response_time) < 200ms"
UNREACHABLE = int(ExitCode.UNREACHABLE)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> VirtualRuns:
    """Runs against a service that takes 8 ms for everything."""
    return VirtualRuns(monkeypatch, STEADY)


class Search:
    """Searches of a trace of forty visits of one call, from 10/s up to 80/s, 4 s a step."""

    def __init__(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.trace, self.out = tmp_path / "trace.jsonl", tmp_path / "search"
        self._capsys = capsys
        self.error, self.error_lines = "", 0
        self.write(request={})

    def write(self, **fields: Any) -> None:
        """Another trace in the place of the old one."""
        step = {"op": "get_engagement", "identity": "fresh", **fields}
        lines: list[dict[str, Any]] = [{"harness_trace": 1, "source": "test", "anonymized": True}]
        lines += [{"visit": f"v{n}", "visitor": f"p{n}", "at": n, "steps": [step]} for n in range(40)]
        self.trace.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def run(self, *more: str) -> tuple[int, dict[str, Any]]:
        """(exit code, the result as JSON, empty where there is none); what was said to people is in `error`."""
        rates = ["--start", "10/s", "--max", "80/s", "--hold", "3s", "--settle", "1s", "--budget", "10m"]
        where = ["--target", "http://127.0.0.1:9", "--metrics", "off", "--out", str(self.out), "--threshold", SLO]
        code = run_command(["capacity", "search", str(self.trace), *rates, *where, "--json", *more])
        printed = self._capsys.readouterr()
        self.error = printed.err
        self.error_lines = sum(line.startswith("harness: error: ") for line in printed.err.splitlines())
        return code, json.loads(printed.out or "{}")

    def state(self) -> dict[str, Any]:
        """search.json."""
        content: dict[str, Any] = json.loads((self.out / "search.json").read_text())
        return content


@pytest.fixture
def search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Search:
    """Searches in a folder of the test."""
    return Search(tmp_path, capsys)


def verdicts(result: dict[str, Any]) -> list[tuple[float, str]]:
    """What became of each step."""
    return [(step["rate_hz"], step["verdict"]) for step in result["steps"]]


# Silence


def test_a_step_without_one_reply_is_broken_and_the_search_goes_below_it(runs: VirtualRuns, search: Search) -> None:
    """A target that falls silent above 25/s and is well again below: found, and the silence named as what limits."""
    runs.service = lambda config: DEAD if rate_of(config) > 25 else STEADY
    code, result = search.run()
    assert (code, result["bound"], result["limiting_slo"]) == (0, "estimate", "replies at all")
    assert verdicts(result)[:3] == [(10, "held"), (20, "held"), (40, "broken")]
    assert result["steps"][2]["why"].startswith("unreachable: not one readable reply to ")
    assert 25 / 1.06 <= result["max_rate_hz"] <= 25
    assert all(point["goodput_hz"] > 0 for point in json.loads((search.out / "capacity.json").read_text())["points"])


def test_a_first_step_without_one_reply_ends_with_7(runs: VirtualRuns, search: Search) -> None:
    """Then it is not the rate: one line, no step, and the same command may try again."""
    runs.service = lambda _: DEAD
    code, result = search.run()
    assert (code, result) == (UNREACHABLE, {})
    assert "error: already at 10/s, the first step: unreachable: not one readable reply to " in search.error
    assert search.state()["steps"] == []
    runs.service = lambda _: STEADY
    assert search.run()[0] == 0


def test_a_target_that_takes_no_connection_any_more_breaks_the_step(
    runs: VirtualRuns, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It died at 40/s and is back three asks later: broken, waited for, and searched below."""
    monkeypatch.setattr("harness.cli.search_step._ASK_AGAIN_S", 0.0)
    refused: list[RunConfig] = []

    def before(config: RunConfig) -> None:
        down = rate_of(config) == 40 or (is_trickle(config) and 0 < len(refused) < 4)
        if down:
            refused.append(config)
            raise UnreachableError("cannot connect to 127.0.0.1:9: connection refused")

    runs.before = before
    code, result = search.run()
    assert (code, verdicts(result)[2]) == (0, (40, "broken"))
    assert result["steps"][2]["why"] == "cannot connect to 127.0.0.1:9: connection refused"
    assert len(refused) == 4
    assert result["max_rate_hz"] < 40


# Between two steps


def break_above(rate_hz: float) -> Any:
    """A service that is too slow for the threshold above that rate."""
    return lambda config: SLOW if rate_of(config) > rate_hz else STEADY


def test_the_trickles_own_end_is_told_of(runs: VirtualRuns, search: Search) -> None:
    """An INVALID trickle that never saw the target at rest: the search ends, and the reason is the instrument's."""
    runs.service = lambda config: SLOW if is_trickle(config) else break_above(25)(config)
    runs.cpu = lambda config: 0.97 if is_trickle(config) else 0.1
    code, result = search.run("--cooldown", "5s")
    assert (code, result["bound"], result["max_rate_hz"]) == (0, "at_least", 20)
    assert result["reason"].startswith("the target did not come to rest after 40/s (worker_cpu: ")


def test_a_trickle_that_could_not_be_made_ends_the_search(runs: VirtualRuns, search: Search) -> None:
    """An error of our own in it is no sign of a busy target: its exit code is the search's."""
    runs.service = break_above(25)
    runs.before = lambda config: int(ExitCode.INTERNAL) if is_trickle(config) else None
    code, result = search.run()
    assert (code, result) == (ExitCode.INTERNAL, {})
    assert "the trickle between two steps ended with exit code 1; the search ends here" in search.error

    def full(config: RunConfig) -> None:
        if is_trickle(config):
            raise StorageError("the disk is full")

    runs.before = full
    assert search.run()[0] == ExitCode.INTERNAL
    assert "the disk is full" in search.error


def test_ctrl_c_in_the_trickle_is_heard_even_when_the_target_is_at_rest(runs: VirtualRuns, search: Search) -> None:
    """The user wants the end of the search, not of the wait."""
    runs.service = break_above(25)
    play = runs.conduct

    def conduct(config: RunConfig, **more: Any) -> int:
        code = play(config, **more)
        return int(ExitCode.INTERRUPTED) if is_trickle(config) else code

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.cli.search_step.conduct", conduct)
        assert search.run()[0] == ExitCode.INTERRUPTED
    assert (runs.trickles, runs.steps) == (1, [10, 20, 40])
    # The step itself was finished: it is kept, and what follows begins with the rest that is still owed.
    assert [(step["rate_hz"], step.get("cooling", False)) for step in search.state()["steps"]][-1] == (40, True)
    assert search.run()[0] == 0
    assert is_trickle(runs.configs[4])
    assert runs.steps.count(40) == 1
    assert not any(step.get("cooling") for step in search.state()["steps"])


def test_rest_is_measured_by_the_first_step_that_counts(runs: VirtualRuns, search: Search) -> None:
    """A first step that was INVALID, on a machine that was busy, does not make a slow target look at rest."""
    waits = Scenario(service=Service(distribution="constant", mean_ns=Ns(150 * NS_PER_MS)))
    crowded = Scenario(service=Service(distribution="constant", mean_ns=Ns(900 * NS_PER_MS)))
    runs.cpu = lambda _: 0.97 if len(runs.configs) == 1 else 0.1

    def service(config: RunConfig) -> Scenario:
        if is_trickle(config):
            return waits
        return crowded if len(runs.configs) == 1 else break_above(25)(config)

    runs.service = service
    code, result = search.run("--cooldown", "4s")
    assert code == 0
    assert verdicts(result)[:2] == [(10, "invalid"), (10, "held")]
    assert result["reason"].startswith("the target did not come to rest after 40/s")


# What is refused


def test_a_hold_of_nothing_is_refused(runs: VirtualRuns, search: Search) -> None:
    """One line, exit code 2, nothing made."""
    assert search.run("--hold", "0s") == (2, {})
    assert search.error_lines == 1
    assert "--hold 0s holds nothing" in search.error
    assert not search.out.exists()
    assert runs.configs == []


def test_two_searches_do_not_share_a_folder(runs: VirtualRuns, search: Search) -> None:
    """While one is at work in it the other is refused in one line; afterwards it is not."""
    with only_search(search.out):
        assert search.run() == (2, {})
        assert f"another search is at work in {search.out}" in search.error
        assert search.error_lines == 1
    assert runs.configs == []
    assert search.run()[0] == 0


def test_a_folder_made_for_nothing_is_taken_away(tmp_path: Path) -> None:
    """A search that was refused leaves no folder behind, one that kept something does."""
    with pytest.raises(ZeroDivisionError), only_search(tmp_path / "a" / "b"):
        raise ZeroDivisionError
    assert not (tmp_path / "a" / "b").exists()
    with only_search(tmp_path / "kept"):
        (tmp_path / "kept" / "search.json").touch()
    assert (tmp_path / "kept" / "search.json").exists()


def test_step_folders_of_another_run_are_refused(runs: VirtualRuns, search: Search) -> None:
    """A folder that was put in a step's place: what differs is named, exit code 2, and nothing is sent."""
    assert search.run()[0] == 0
    path, made = search.out / "step-01-10hz" / "manifest.json", len(runs.configs)
    whole = path.read_text()
    for name, value in {
        "trace_digest": "sha256:0",
        "target": "http://127.0.0.1:10",
        "thresholds": ["p50(response_time) < 1s"],
        "connections": "fresh",
    }.items():
        manifest = json.loads(whole)
        manifest["config"][name] = value
        path.write_text(json.dumps(manifest))
        assert search.run() == (2, {})
        assert f"step-01-10hz is of another run: {name}" in search.error
    path.write_text(json.dumps(json.loads(whole) | {"run_id": "other"}))
    assert search.run() == (2, {})
    assert "step-01-10hz is of another run: run id" in search.error
    path.write_text(whole)
    assert search.run()[0] == 0  # the same search is only told again
    assert len(runs.configs) == made


def test_a_step_folder_that_is_gone_is_named(runs: VirtualRuns, search: Search) -> None:
    """A finished step without its run cannot be reused."""
    assert search.run()[0] == 0
    (search.out / "step-02-20hz").rename(search.out / "elsewhere")
    assert search.run() == (2, {})
    assert "step-02-20hz is not there" in search.error
