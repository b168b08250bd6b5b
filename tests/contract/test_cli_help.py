"""The command line in step with its table: every command loads, every option is there, help stays cheap."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from harness.cli.main import COMMANDS, LazyGroup, cli
from harness.config.table import SETTINGS

ROOT = Path(__file__).parents[2]
# interfaces section 1: the options of `harness run`.
RUN_OPTIONS = [
    "--target",
    "--account",
    "--allow-host",
    "--resolve",
    "--profile",
    "--arrivals",
    "--duration",
    "--warmup",
    "--drain",
    "--max-think",
    "--limit-visits",
    "--loop",
    "--amplify",
    "--speed",
    "--warp-think",
    "--retry",
    "--connections",
    "--timeout",
    "--connect-timeout",
    "--max-lag",
    "--insecure",
    "--source-address",
    "--ca-file",
    "--client-cert",
    "--slo",
    "--threshold",
    "--tolerate-worker-loss",
    "--workers",
    "--bind",
    "--expect-workers",
    "--metrics",
    "--linger",
    "--out",
    "--seed",
    "--label",
    "--web",
    "--json",
    "--quiet",
    "--yes-production",
    "--show-config",
    "--on-bad-line",
]


def command(name: str) -> click.Command:
    found = LazyGroup.get_command(cli, click.Context(cli), name)  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_loads_and_explains_itself(name: str) -> None:
    """Each listed command exists under its name and has a help text."""
    found = command(name)
    assert found.name == name
    assert found.help


def test_run_has_the_documented_options() -> None:
    """`harness run` has exactly the options of the interface, and none besides them that is shown."""
    shown = {
        flag
        for parameter in command("run").params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for flag in parameter.opts
    }
    assert shown == set(RUN_OPTIONS)


def test_every_flag_has_a_mirror_and_a_key() -> None:
    """Each flag has an environment mirror; those without a profile key are the ones that must not have one."""
    assert {setting.env for setting in SETTINGS if setting.flag} == {
        "HARNESS_" + setting.flag[2:].replace("-", "_").upper() for setting in SETTINGS if setting.flag
    }
    without = {setting.flag for setting in SETTINGS if setting.flag and not setting.key}
    # Thresholds have a table of their own, [slo]; the others speak about this one command line.
    assert without == {"--yes-production", "--slo", "--threshold", "--profile", "--json", "--quiet"}


@pytest.mark.parametrize(
    "heavy", ["locust", "gevent", "rich", "msgspec", "orjson", "jinja2", "asyncio", "harness.config"]
)
def test_help_imports_nothing_heavy(heavy: str) -> None:
    """`harness --help` imports click and nothing else that costs."""
    code = (
        "import sys; from harness.cli.main import run_command; run_command(['--help']);"
        f"sys.exit(any(name.split('.')[0] == {heavy!r} or name == {heavy!r} for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout


def test_the_parent_is_not_monkey_patched() -> None:
    """The modules that conduct a run import neither locust nor gevent."""
    code = (
        "import sys, harness.cli.conduct, harness.cli.demo, harness.cli.check;"
        "sys.exit(' '.join(sorted({'locust', 'gevent'} & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
