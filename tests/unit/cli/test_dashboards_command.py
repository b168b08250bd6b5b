"""`harness dashboards`: what it writes and says, and how it refuses what cannot be right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli.dashboards import dashboards
from harness.dashboards.build import built
from harness.errors import UsageError
from harness.judge.threshold import parse_slo

SLO = '[slo]\n"p99(response_time)" = "< 123ms"\n'


def run(*arguments: str) -> Result:
    """The command in this process; errors that end it come through."""
    return CliRunner().invoke(dashboards, arguments, catch_exceptions=False, standalone_mode=False)


def test_build_writes_all_files_and_names_them(tmp_path: Path) -> None:
    """Each file is what the code makes of the SLO file, stdout lists them, and other files are left alone."""
    (tmp_path / "slo.toml").write_text(SLO)
    out = tmp_path / "grafana"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    said = run("build", "--slo", str(tmp_path / "slo.toml"), "-o", str(out)).stdout.split()
    expected = built(parse_slo(SLO, "slo.toml"), "slo.toml")
    assert said == [str(out / name) for name in expected]
    assert {name: (out / name).read_text() for name in expected} == expected
    assert {path.name for path in out.iterdir()} == {"mine.txt", "dashboards", "prometheus"}
    assert "0.123" in expected["prometheus/rules.yml"]
    assert json.loads(expected["dashboards/run.json"])["uid"] == "harness-run"


def test_check_without_prometheus_is_about_the_files() -> None:
    """Each dashboard has a line, and nothing is wrong."""
    result = run("check")
    assert [line.partition(":")[0] for line in result.stdout.splitlines()] == ["run", "capacity", "regression"]
    assert all(line.endswith("0 problems") for line in result.stdout.splitlines())
    assert result.return_value == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("build", "--slo", "{tmp}/none.toml", "-o", "{tmp}/x"), "cannot read {tmp}/none.toml"),
        (("build", "-o", "{tmp}/file"), "cannot write {tmp}/file"),
        (("check", "--prometheus", "127.0.0.1:9090"), "is no URL of a Prometheus: write http://HOST:PORT"),
        (("check", "--prometheus", "http://127.0.0.1:1", "--from", "9", "--to", "5"), "--from must lie before --to"),
        (("check", "--prometheus", "http://127.0.0.1:1", "--from", "noon"), "'noon' is no moment"),
        (("check", "--prometheus", "http://127.0.0.1:1", "--var", "expected"), "write NAME=VALUE"),
        (("preview",), "a preview needs a Prometheus to ask: --prometheus http://"),
    ],
)
def test_what_cannot_be_right_is_one_line(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """A usage error that says what and where; nothing is written."""
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError) as refused:
        run(*(argument.replace("{tmp}", str(tmp_path)) for argument in arguments))
    assert said.replace("{tmp}", str(tmp_path)) in str(refused.value)
    assert sorted(tmp_path.iterdir()) == before
