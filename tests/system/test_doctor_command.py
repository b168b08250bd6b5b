"""`harness doctor` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.testing import running_simulator
from tests.system.harness_run import run_command

pytestmark = [pytest.mark.system, pytest.mark.alone]

SUBJECTS = ["descriptors", "local ports", "somaxconn", "cores", "memory", "packages", "clock", "timer", "rate"]


def test_the_doctor_looks_at_the_machine_and_the_target(tmp_path: Path) -> None:
    """Every subject has a line; the exit code says whether one is bad; the simulator was asked no engagement call."""
    with running_simulator() as sim:
        finished = run_command("doctor", "--target", sim.url, "--json", scratch=tmp_path, timeout_s=90)
        calls = sum(sim.truth()["outcomes"].values())
    document = json.loads(finished.stdout)
    found = {finding["subject"]: finding["level"] for finding in document["findings"]}
    assert list(found) == [*SUBJECTS, "dns", "guard", "reachable"]
    assert document["fit"] == ("bad" not in found.values())
    assert finished.exit_code == (0 if document["fit"] else 5), finished.explain()
    assert [found[subject] for subject in ("dns", "guard", "reachable")] == ["ok"] * 3
    assert calls == 0
    assert (document["rate"] is None) == (found["rate"] == "bad")


@pytest.mark.parametrize(
    ("target", "exit_code", "words"),
    [("http://192.0.2.1", 5, "nothing was sent"), ("sim", 2, "give a URL"), ("nonsense", 2, "--target")],
)
def test_targets_that_cannot_be_looked_at(tmp_path: Path, target: str, exit_code: int, words: str) -> None:
    """A forbidden target is a bad line, one that is none a usage error."""
    finished = run_command("doctor", "--target", target, scratch=tmp_path, timeout_s=90)
    assert finished.exit_code == exit_code, finished.explain()
    assert words in finished.stdout + finished.stderr
    assert "Traceback" not in finished.stderr
