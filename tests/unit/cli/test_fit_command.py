"""`harness capacity fit`: which runs it takes together, and which it does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.cli.main import run_command
from harness.config.model import RunConfig
from harness.sim.scenario import Fault, Ns, Scenario, Service
from harness.units import NS_PER_MS, NS_PER_S
from tests.unit.cli.virtual_runs import VirtualRuns

STEADY = Scenario(service=Service(distribution="constant", mean_ns=Ns(8 * NS_PER_MS)))


class Runs:
    """Runs of six seconds at a rate each, in virtual time, in folders of their own."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._path, self._capsys = tmp_path, capsys
        self.virtual = VirtualRuns(monkeypatch, STEADY)
        self.trace = tmp_path / "trace.jsonl"
        step = {"op": "get_engagement", "identity": "fresh", "request": {}}
        lines: list[dict[str, Any]] = [{"harness_trace": 1, "source": "test", "anonymized": True}]
        lines += [{"visit": f"v{n}", "visitor": f"p{n}", "at": n, "steps": [step]} for n in range(200)]
        self.trace.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def make(self, name: str, rate_hz: int, **fields: Any) -> str:
        """A run folder."""
        out = self._path / name
        about: dict[str, Any] = {
            "target": "https://a.example", "account": "12345678", "trace_digest": "sha256:1"
        } | fields  # fmt: skip
        config = RunConfig(
            run_id=name, trace=str(self.trace), arrivals=f"constant:{rate_hz}/s",
            duration_ns=6 * NS_PER_S, out_dir=str(out), loop=9, **about,
        )  # fmt: skip
        self.virtual.play(config)
        return str(out)

    def fit(self, *arguments: str) -> tuple[int, dict[str, Any], str]:
        """(exit code, document, what was said to people)."""
        code = run_command(["capacity", "fit", *arguments, "--json"])
        printed = self._capsys.readouterr()
        return code, json.loads(printed.out or "{}"), printed.err


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runs:
    """No run yet."""
    return Runs(tmp_path, monkeypatch, capsys)


def rates(document: dict[str, Any]) -> list[float]:
    """The points that were fitted."""
    return [point["rate_hz"] for point in document["points"]]


def test_runs_that_differ_in_their_rate_only_are_one_curve(runs: Runs) -> None:
    """Rates are what the curve is about; of a practice target on this machine the port does not matter."""
    folders = [runs.make(str(rate), rate, target=f"http://127.0.0.1:{4000 + rate}") for rate in (10, 20, 30)]
    code, document, _ = runs.fit(*folders)
    assert (code, rates(document), document["left_out"]) == (0, [10, 20, 30], [])


@pytest.mark.parametrize(
    ("field", "other", "words"),
    [
        ("target", {"target": "https://b.example"}, "target https://a.example against target https://b.example"),
        ("target", {"account": "87654321"}, "account 12345678 against account 87654321"),
        ("client", {"connections": "fresh"}, "connections browser against connections fresh"),
        ("trace", {"trace_digest": "sha256:2"}, "digest sha256:1 against digest sha256:2"),
    ],
)
def test_runs_of_different_kinds_are_not_pooled(runs: Runs, field: str, other: dict[str, Any], words: str) -> None:
    """Exit code 2 and one line that names what differs and where; --force FIELD, or all, takes them together."""
    folders = [runs.make("one", 10), runs.make("same", 20), runs.make("other", 30, **other)]
    code, document, said = runs.fit(*folders)
    assert (code, document) == (2, {})
    assert f"the runs are of different kinds: {field}: {words} (one against other); --force {field} pools" in said
    assert said.strip().count("\n") == 0
    for forced in (field, "all"):
        code, document, _ = runs.fit(*folders, "--force", forced)
        assert (code, rates(document)) == (0, [10, 20, 30])
    assert runs.fit(*folders, "--force", "think")[0] == 2


def test_a_field_that_is_none_is_refused(runs: Runs) -> None:
    """One line with the names that there are."""
    code, _, said = runs.fit(runs.make("one", 10), "--force", "moon")
    assert code == 2
    assert "--force moon: there is nothing of that name; there is target trace retry" in said


def test_a_run_without_one_reply_is_no_point(runs: Runs) -> None:
    """A target that was down has left its curve: left out, by name."""
    folders = [runs.make("one", 10), runs.make("two", 20)]
    runs.virtual.service = lambda _: Scenario(faults=(Fault(kind="reset", ratio=1.0),))
    code, document, _ = runs.fit(*folders, runs.make("down", 30))
    assert (code, rates(document)) == (0, [10, 20])
    assert document["left_out"] == ["down: not one reply came: a target that is down is no point of its curve"]
