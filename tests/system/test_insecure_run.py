"""`--insecure` says so loudly: at the start, whatever else is quiet, and in what the run leaves behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.harness_run import ROOT, Finished, run_to_end, start_run
from tests.system.plain_locust import Locust, write_profile
from tests.system.test_bad_input import small_trace

pytestmark = pytest.mark.system

HONEST = (0, 5)
UNREACHABLE = 7


@pytest.fixture(scope="module")
def https_target() -> Iterator[str]:
    """The practice target with a certificate that nobody knows."""
    command = [sys.executable, "-m", "harness", "sim", "--port", "0", "--tls"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield next(word for word in process.stdout.readline().split() if word.startswith("https://"))
        finally:
            process.terminate()


def warnings(text: str) -> list[str]:
    """The lines of warning."""
    return [line for line in text.splitlines() if "certificate is NOT verified" in line]


@pytest.mark.parametrize("loudness", [[], ["--quiet"], ["--json"]])
def test_a_run_without_verification_warns_and_its_report_tells(
    tmp_path: Path, https_target: str, loudness: list[str]
) -> None:
    """One line on stderr however quiet the run is, and a note beside the target in the report."""
    trace = small_trace(tmp_path / "trace.jsonl")
    finished: Finished = run_to_end(trace, https_target, "--insecure", *loudness, scratch=tmp_path, timeout_s=60)
    assert finished.exit_code in HONEST, finished.explain()
    assert len(warnings(finished.stderr)) == 1, finished.explain()
    assert warnings(finished.stderr)[0].startswith("harness: WARNING: --insecure")
    assert "certificate NOT verified" in (finished.out / "report.html").read_text()
    assert ("certificate NOT verified" in " ".join(finished.stdout.split())) is (loudness == [])


def test_plain_locust_warns_too(tmp_path: Path, https_target: str) -> None:
    """There is no parent command then: the master itself says it, once."""
    profile = write_profile(tmp_path, small_trace(tmp_path / "trace.jsonl"), https_target)
    profile.write_text(profile.read_text() + "[client]\ninsecure = true\n")
    args = ("--headless", "--only-summary", "--harness-config", str(profile))
    with Locust(*args, scratch=tmp_path) as locust:
        code = locust.wait(60)
    assert code in HONEST, locust.explain()
    assert len(warnings(locust.stderr)) == 1, locust.explain()


def test_without_it_an_unknown_certificate_is_refused(tmp_path: Path, https_target: str) -> None:
    """Verification is the default: no warning, no load."""
    finished = start_run(small_trace(tmp_path / "trace.jsonl"), https_target, scratch=tmp_path).wait(60)
    assert finished.exit_code == UNREACHABLE, finished.explain()
    assert warnings(finished.stderr) == []
    assert "--insecure" in finished.stderr
